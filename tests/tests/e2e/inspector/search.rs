//! "Did X arrive?", and texts of senders that must change no response.

use std::time::Duration;

use hookgate_core::{Provider, Secret, Signer};
use hookgate_tests::{Gateway, Upstream, now, send_bytes, send_raw};
use http::Request;
use serde_json::Value;

use super::{ApiCall, deliver, deliver_forged, deliveries, start, with_inspector};

const SECRET: &str = "a-github-secret-0123456789";

/// Starts a gateway with a source of GitHub, which sends an unsigned delivery id.
async fn start_github() -> (Gateway, Upstream) {
    let upstream = Upstream::start().await;
    let github = "[[sources]]\nname = \"github\"\npath = \"/hooks/github\"\nprovider = \"github\"\n\
                  secrets = [\"env:GITHUB_SECRET\"]\nupstream = \"app\"";
    let builder = Gateway::builder(upstream.address())
        .table(github)
        .env("GITHUB_SECRET", SECRET);
    (with_inspector(builder, "").start(), upstream)
}

async fn deliver_push(gateway: &Gateway, delivery_id: &str) {
    let provider = Provider::named("github").expect("the catalogue has GitHub");
    let secret = Secret::new(SECRET).expect("not empty");
    let signer = Signer::new(provider.scheme(), &secret).expect("a signer");
    let headers = signer.sign(b"{}", now(), None).expect("signed");
    let mut request = Request::post("/hooks/github").body("{}".into());
    let request_headers = request.as_mut().expect("a request").headers_mut();
    request_headers.extend(headers);
    let delivery_id = delivery_id.parse().expect("visible");
    request_headers.insert("x-github-delivery", delivery_id);
    request_headers.insert("x-github-event", "push".parse().expect("visible"));
    send_bytes(gateway.address(), request.expect("a request")).await;
}

#[tokio::test]
async fn a_delivery_is_found_by_each_of_its_ids() {
    let (gateway, _upstream) = start_github().await;
    deliver(&gateway, "evt_signed_1").await;
    deliveries(&gateway, "", 1).await;
    deliver_push(&gateway, "72d3162e-cc78-11e3-81ab-4c9367dc0958").await;
    let all = deliveries(&gateway, "", 2).await;
    let request_id = all[0]["request_id"].as_str().expect("an id");
    for (query, source) in [
        ("q=evt_signed_1", "beatapi"),
        ("q=72d3162e-cc78-11e3-81ab-4c9367dc0958", "github"),
        ("q=72D3162E-cc78", "github"),
        (&format!("q={request_id}"), "github"),
        ("q=evt_signed_1&source=beatapi", "beatapi"),
    ] {
        let found = deliveries(&gateway, query, 1).await;
        assert_eq!(found[0]["source"], source, "{query}");
    }
    // The control: an id that did not arrive is not found.
    for query in ["q=evt_signed_2", "q=evt_signed_1&source=github"] {
        let call = ApiCall::get(&format!("/api/deliveries?{query}"));
        let list = call.json(&gateway).await;
        assert_eq!(list["deliveries"], Value::Array(Vec::new()), "{query}");
        let message = list["message"].as_str().expect("a message");
        assert!(message.starts_with("not among the records since "));
    }
}

/// Texts that would break out of JSON, of an event of a stream, of a header or of markup.
const HOSTILE: [&str; 6] = [
    "</script><script>alert(1)</script>",
    "\"},{\"seq\":1,\"outcome\":\"forwarded",
    "%0d%0aSet-Cookie:%20a=b",
    "data: {}\\n\\nevent: deliveries",
    "\u{2028}\u{202e}\u{feff}",
    "'; DROP TABLE deliveries; --",
];

#[tokio::test]
async fn texts_of_a_sender_stay_texts() {
    let (gateway, _upstream) = start("capture = \"all\"").await;
    for text in HOSTILE {
        let request = format!(
            "POST /hooks/beatapi HTTP/1.1\r\nHost: hooks.example\r\nUser-Agent: {text}\r\n\
             Content-Type: {text}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n"
        );
        send_raw(
            gateway.address(),
            request.as_bytes(),
            Duration::from_secs(10),
        )
        .await;
    }
    let listed = deliveries(&gateway, "", HOSTILE.len()).await;
    for text in HOSTILE {
        let is_it = |record: &&Value| record["user_agent"] == text;
        let record = listed.iter().find(is_it).expect("the text is unchanged");
        assert_eq!(record["content_type"], text);
        let id = record["request_id"].as_str().expect("an id");
        let path = format!("/api/deliveries/{id}");
        let detail = ApiCall::get(&path).send(&gateway).await;
        assert_eq!(detail.headers["content-type"], "application/json");
        assert_eq!(detail.headers["x-content-type-options"], "nosniff");
        assert!(!detail.body.contains(&b'\n'));
        let download = ApiCall::get(&format!("{path}/capture"))
            .send(&gateway)
            .await;
        let disposition = &download.headers["content-disposition"];
        assert_eq!(
            disposition,
            &format!("attachment; filename=\"hookgate-{id}.capture\"")
        );
        assert_eq!(download.headers["content-type"], "application/octet-stream");
        assert!(!download.headers.contains_key("set-cookie"));
    }
    for wildcard in ["q=%25", "q=_%25_", "q=%5C"] {
        let call = ApiCall::get(&format!("/api/deliveries?{wildcard}"));
        let found = call.json(&gateway).await["deliveries"].clone();
        let count = found.as_array().expect("a list").len();
        assert!(count < HOSTILE.len(), "{wildcard} is no pattern: {found}");
    }
}

/// In observe mode a replay is forwarded and verifies, so it could pass for a new delivery.
#[tokio::test]
async fn replays_in_observe_mode_push_out_no_genuine_delivery() {
    let upstream = Upstream::start().await;
    let builder = Gateway::builder(upstream.address()).every_source("mode = \"observe\"");
    let gateway = with_inspector(builder, "keep = 4").start();
    for event in ["evt_1", "evt_2"] {
        deliver(&gateway, event).await;
    }
    for _ in 0..10 {
        deliver(&gateway, "evt_1").await;
    }
    // The records keep their order, so every replay is recorded before this request.
    deliver_forged(&gateway, "evt_3").await;
    deliveries(&gateway, "outcome=observed_refused", 1).await;
    deliveries(&gateway, "outcome=observed_forwarded", 2).await;
    // The control: the replays do fill the other half.
    deliveries(&gateway, "outcome=observed_duplicate", 1).await;
}
