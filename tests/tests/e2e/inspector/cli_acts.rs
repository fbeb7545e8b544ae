//! `hookgate events forget`, `resend`, `show --explain` and `show --save`, and the steps of the
//! runbook for a provider's Resend that does nothing.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer, UnixTime};
use hookgate_tests::{Behaviour, Gateway, ReceivedResponse, Upstream, binary, now, send_bytes};
use http::{Request, StatusCode};
use serde_json::Value;

use super::cli::{events, events_as_reader, failure, success, text};
use super::{deliver, deliveries, with_inspector};

/// The secret of each source of these tests.
const SECRET: &str = "whsec_5f0c8a6de2b94a135f0c8a6de2b94a13";

/// A gateway with one source, which has the name of its provider.
struct Shop {
    gateway: Gateway,
    upstream: Upstream,
    provider: &'static str,
}

impl Shop {
    /// Starts a gateway that captures `capture` deliveries of `provider`.
    async fn start(provider: &'static str, capture: &str) -> Self {
        let upstream = Upstream::start().await;
        let source = format!(
            "[[sources]]\nname = \"{provider}\"\npath = \"/hooks\"\nprovider = \"{provider}\"\n\
             secrets = [\"env:SHOP_SECRET\"]\nupstream = \"app\"\n"
        );
        let builder = Gateway::builder(upstream.address()).table(&source);
        let gateway = with_inspector(builder, &format!("capture = \"{capture}\""))
            .env("SHOP_SECRET", SECRET)
            .start_without_default_sources();
        Self {
            gateway,
            upstream,
            provider,
        }
    }

    /// Signs a delivery as the provider does.
    fn signed(&self, body: &str, id: &str, at: UnixTime) -> Request<Bytes> {
        let provider = Provider::named(self.provider).expect("the catalogue has the provider");
        let secret = Secret::new(SECRET).expect("the secret is not empty");
        let signer = Signer::new(provider.scheme(), &secret).expect("the secret fits the scheme");
        let headers = signer.sign(body.as_bytes(), at, Some(id));
        let mut request = Request::post("/hooks").body(Bytes::from(body.to_owned()));
        let request_headers = request
            .as_mut()
            .expect("the request is valid")
            .headers_mut();
        request_headers.extend(headers.expect("the delivery is signed"));
        // The unsigned id of the delivery is no part of the signature.
        if let Some(name) = provider.facts().delivery_id() {
            let id = id.parse().expect("the id is a header value");
            request_headers.insert(name.value().clone(), id);
        }
        request.expect("the request is valid")
    }

    async fn send(&self, request: &Request<Bytes>) -> ReceivedResponse {
        send_bytes(self.gateway.address(), request.clone()).await
    }

    /// Sends a delivery, waits for its record, and returns its outcome. `count` is the number of
    /// records from then on.
    async fn deliver(&self, request: &Request<Bytes>, count: usize) -> String {
        self.send(request).await;
        let records = deliveries(&self.gateway, "", count).await;
        records[0]["outcome"]
            .as_str()
            .expect("an outcome")
            .to_owned()
    }

    fn events(&self, arguments: &[&str]) -> Output {
        events(&self.gateway, arguments)
    }

    /// Returns the rows of `events list --search TEXT`, as words.
    fn rows(&self, text: &str) -> Vec<Vec<String>> {
        let list = success(&self.events(&["list", "--search", text]));
        let rows = list
            .lines()
            .skip(1)
            .take_while(|line| !line.starts_with("times"));
        let words = |row: &str| row.split_whitespace().map(str::to_owned).collect();
        rows.map(words).collect()
    }

    /// Returns how many deliveries the upstream has received since the last call.
    fn received(&self) -> usize {
        self.upstream.take_received().len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_of_github_is_forwarded_after_forget() {
    let shop = Shop::start("github", "none").await;
    let id = "72d3162e-cc78-11e3-81ab-4c9367dc0958";
    let delivery = shop.signed(r#"{"action":"opened","number":7}"#, id, now());
    assert_eq!(shop.deliver(&delivery, 1).await, "forwarded");
    // The program had a bug. Redeliver alone does nothing.
    assert_eq!(shop.deliver(&delivery, 2).await, "duplicate");
    assert_eq!(shop.received(), 1);

    let rows = shop.rows(id);
    assert_eq!(
        (&*rows[0][1], &*rows[1][1]),
        ("duplicate", "forwarded"),
        "{rows:?}"
    );
    let request = rows[1].last().expect("the last column is the request id");
    let forgotten = success(&shop.events(&["forget", request]));
    assert!(
        forgotten.starts_with("forgot the event of request "),
        "{forgotten}"
    );

    assert_eq!(shop.deliver(&delivery, 3).await, "forwarded");
    assert_eq!(shop.received(), 1);
    assert_eq!(shop.rows(id)[0][1], "forwarded");
    // The control: forget works once.
    assert_eq!(shop.deliver(&delivery, 4).await, "duplicate");
    assert_eq!(shop.received(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_of_stripe_is_forwarded_after_forget() {
    let shop = Shop::start("stripe", "none").await;
    let body = r#"{"id":"evt_1PqRsTuVwXyZ","type":"charge.succeeded"}"#;
    let delivery = |age| {
        let at = now().minus(std::time::Duration::from_secs(age));
        shop.signed(body, "", at)
    };
    assert_eq!(shop.deliver(&delivery(20), 1).await, "forwarded");
    // Each resend has a fresh signature.
    assert_eq!(shop.deliver(&delivery(10), 2).await, "duplicate");
    assert_eq!(shop.received(), 1);
    assert_eq!(shop.rows("evt_1PqRsTuVwXyZ").len(), 2);

    let arguments = [
        "forget",
        "--source",
        "stripe",
        "--event",
        "evt_1PqRsTuVwXyZ",
    ];
    let forgotten = success(&shop.events(&arguments));
    let expected = "forgot the event evt_1PqRsTuVwXyZ of source stripe; its next delivery is \
                    forwarded\n";
    assert_eq!(forgotten, expected);
    assert_eq!(shop.deliver(&delivery(0), 3).await, "forwarded");
    assert_eq!(shop.received(), 1);
    assert_eq!(shop.rows("evt_1PqRsTuVwXyZ")[0][1], "forwarded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_of_shopify_is_resent_from_its_capture() {
    let shop = Shop::start("shopify", "all").await;
    let (id, body) = (
        "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
        r#"{"id":820982911946154508}"#,
    );
    let delivery = shop.signed(body, id, now());
    assert_eq!(shop.deliver(&delivery, 1).await, "forwarded");
    assert_eq!(shop.received(), 1);

    let request = shop.rows(id)[0].last().expect("a request id").clone();
    let resent = success(&shop.events(&["resend", &request]));
    assert!(resent.starts_with("resent as request "), "{resent}");
    assert!(resent.ends_with(": forwarded, status 204\n"), "{resent}");
    let received = shop.upstream.take_received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].headers["hookgate-resent"], "true");
    assert_eq!(received[0].headers["x-shopify-webhook-id"], id);
    assert_eq!(received[0].body, body);
    let records = deliveries(&shop.gateway, "", 2).await;
    assert_eq!(records[0]["resent_by"], "ops");
    let shown = records[0]["request_id"].as_str().expect("an id");
    let shown = success(&shop.events(&["show", shown]));
    assert!(
        shown.contains("\nresend          by token ops, of request "),
        "{shown}"
    );

    // A delivery with the same id is forwarded after forget, and is a duplicate before.
    assert_eq!(shop.deliver(&delivery, 3).await, "duplicate");
    assert_eq!(shop.received(), 0);
    success(&shop.events(&["forget", &request]));
    assert_eq!(shop.deliver(&delivery, 4).await, "forwarded");
    assert_eq!(shop.received(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn acts_are_refused_with_a_reason() {
    let shop = Shop::start("stripe", "none").await;
    let delivery = shop.signed(r#"{"id":"evt_1"}"#, "", now());
    assert_eq!(shop.deliver(&delivery, 1).await, "forwarded");
    let request = shop.rows("evt_1")[0].last().expect("a request id").clone();
    for arguments in [
        &["resend", &*request][..],
        &["forget", &request],
        &["forget", "--source", "stripe", "--event", "evt_1"],
    ] {
        let refused = failure(&events_as_reader(&shop.gateway, arguments));
        assert!(
            refused.contains("the gateway does not allow this (status 403)"),
            "{refused}"
        );
        assert!(refused.contains("may = \"act\""), "{refused}");
    }
    let uncaptured = failure(&shop.events(&["resend", &request]));
    assert!(
        uncaptured.contains("not possible (status 409)"),
        "{uncaptured}"
    );
    let unknown = failure(&shop.events(&["resend", "evt_1"]));
    assert!(
        unknown.contains("no delivery has the request id evt_1"),
        "{unknown}"
    );
    let unknown = ["forget", "--source", "stripe", "--event", "evt_404"];
    let unknown = failure(&shop.events(&unknown));
    assert!(unknown.contains("not found (status 404)"), "{unknown}");
    for arguments in [
        &["forget"][..],
        &["forget", "--event", "evt_1"],
        &["resend"],
    ] {
        let usage = shop.events(arguments);
        assert_eq!(usage.status.code(), Some(2), "{}", text(&usage));
    }
    // Nothing was forgotten and nothing was sent.
    assert_eq!(shop.deliver(&delivery, 2).await, "duplicate");
    assert_eq!(shop.received(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_that_the_upstream_fails_is_an_error() {
    let shop = Shop::start("stripe", "all").await;
    let delivery = shop.signed(r#"{"id":"evt_1"}"#, "", now());
    assert_eq!(shop.deliver(&delivery, 1).await, "forwarded");
    let request = shop.rows("evt_1")[0].last().expect("a request id").clone();
    let failed = Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR);
    shop.upstream.queue_behaviour(failed);
    let failed = failure(&shop.events(&["resend", &request]));
    assert!(failed.contains("500"), "{failed}");
    let json = success(&shop.events(&["resend", &request, "--json"]));
    let json: Value = serde_json::from_str(&json).expect("the output is JSON");
    assert_eq!(json["status"], 204, "{json}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_delivery_is_explained_and_its_capture_verifies() {
    let shop = Shop::start("stripe", "refused").await;
    let mut delivery = shop.signed(r#"{"id":"evt_1"}"#, "", now());
    *delivery.body_mut() = Bytes::from("{\"id\":\"evt_1\"}\n");
    assert_eq!(shop.deliver(&delivery, 1).await, "refused");
    let request = shop.rows("")[0].last().expect("a request id").clone();

    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("capture");
    let path = file.to_str().expect("the path is UTF-8");
    let arguments = ["show", &request, "--body", "--save", path];
    let shown = success(&shop.events(&arguments));
    for expected in [
        "refused: signature_mismatch, status 401\n",
        "\nrequest\n  POST /hooks\n",
        "\n  stripe-signature: t=",
        "\nbody\n{\"id\":\"evt_1\"}\n",
        "\nexplanation\nrefused: ",
        "(body_text_edited)",
        "\nverify it yourself\n  hookgate verify ",
    ] {
        assert!(shown.contains(expected), "{expected}\n{shown}");
    }
    let mode = std::fs::metadata(&file)
        .expect("the file exists")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    // The file is not overwritten.
    let again = failure(&shop.events(&arguments));
    assert!(again.contains("does not overwrite a file"), "{again}");

    let verified = Command::new(binary())
        .args([
            "verify",
            "--provider",
            "stripe",
            "--secret",
            "env:SECRET",
            "--explain",
        ])
        .args(["--capture", path])
        .env("SECRET", SECRET)
        .output()
        .expect("the command runs");
    let verified = failure(&verified);
    assert!(verified.contains("(body_text_edited)"), "{verified}");

    let object = success(&shop.events(&["show", &request, "--json"]));
    let object: Value = serde_json::from_str(&object).expect("the output is JSON");
    let code = &object["explanation"]["causes"][0]["code"];
    assert_eq!(code, "body_text_edited", "{object}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_without_a_capture_says_so() {
    let (gateway, _upstream) = super::start("").await;
    deliver(&gateway, "evt_1").await;
    deliveries(&gateway, "", 1).await;
    let explained = failure(&events(&gateway, &["show", "evt_1", "--explain"]));
    assert!(explained.contains("not found (status 404)"), "{explained}");
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("capture");
    let path = file.to_str().expect("the path is UTF-8");
    let saved = failure(&events(&gateway, &["show", "evt_1", "--save", path]));
    assert!(saved.contains("no capture"), "{saved}");
    assert!(!file.exists());
    let shown = success(&events(&gateway, &["show", "evt_1"]));
    assert!(
        shown.contains("\nresend          not possible: "),
        "{shown}"
    );
}
