//! Responses to duplicates, refusals and probes, as the providers expect them: from the gateway
//! and from the layer.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hookgate_core::{Provider, Secret, Signer, Verifier};
use hookgate_tests::{Behaviour, Gateway, ReceivedResponse, Upstream, now, send};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::sleep;
use tower_hookgate::{HookgateLayer, Source};

const SECRET: &str = "acknowledgement-secret-0123456789";
const URL: &str = "https://hooks.example.com/hooks/provider";
/// The longest time that a test waits for the gateway.
const WAIT_LIMIT: Duration = Duration::from_secs(60);
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// An entry point with one source, and the upstream behind it.
struct EntryPoint {
    name: &'static str,
    address: SocketAddr,
    upstream: Upstream,
    gateway: Option<Gateway>,
}

/// The secret of a provider. The key of Adyen is hexadecimal.
fn secret(provider: &str) -> &'static str {
    match provider {
        "adyen" => "44782def547aaa06c910c43932b1eb0c71fc68d9d0c057550c48ec2acf6ba057",
        _ => SECRET,
    }
}

impl EntryPoint {
    /// Starts a gateway and a layer for deliveries of `provider`. `keys` are further keys of the
    /// source in the gateway.
    async fn both(provider: &'static str, keys: &str) -> [Self; 2] {
        let entry = Provider::named(provider).expect("the catalogue has the provider");
        let needs_url = entry.scheme().needs_url();
        let params: Vec<String> = entry.scheme().params().map(str::to_owned).collect();

        let upstream = Upstream::start().await;
        let url = if needs_url {
            format!("url = {URL:?}\n")
        } else {
            String::new()
        };
        let values: Vec<String> = params
            .iter()
            .map(|name| format!("{name} = \"p\""))
            .collect();
        let gateway = Gateway::builder(upstream.address())
            .env("SECRET", secret(provider))
            .table(&format!(
                "[[sources]]\nname = \"provider\"\npath = \"/hooks/provider\"\n\
                 provider = {provider:?}\nsecrets = [\"env:SECRET\"]\nupstream = \"app\"\n\
                 params = {{ {} }}\n{url}{keys}\n",
                values.join(", ")
            ))
            .start_without_default_sources();
        let gateway = Self {
            name: "gateway",
            address: gateway.address(),
            upstream,
            gateway: Some(gateway),
        };

        let mut verifier = Verifier::builder(entry.scheme());
        verifier = verifier.key(Secret::new(secret(provider)).expect("the secret is not empty"));
        if needs_url {
            verifier = verifier.url(URL);
        }
        for name in params {
            verifier = verifier.param(name, "p");
        }
        let verifier = verifier.build().expect("the secret fits");
        let source = Source::builder("provider", verifier)
            .provider(&entry)
            .build();
        let layer = HookgateLayer::new(source);
        let upstream = Upstream::start_with(|router| router.layer(layer)).await;
        let layer = Self {
            name: "layer",
            address: upstream.address(),
            upstream,
            gateway: None,
        };
        [gateway, layer]
    }

    /// Sends a POST request. Returns the response and the number of forwarded requests.
    async fn post(&self, request: Request<Bytes>) -> (ReceivedResponse, usize) {
        let (mut parts, body) = request.into_parts();
        let host = http::HeaderValue::from_static("hooks.example.com");
        parts.headers.insert("host", host);
        let body = Full::new(body).map_err(|never| match never {}).boxed();
        let response = send(self.address, Request::from_parts(parts, body)).await;
        (response, self.upstream.take_received().len())
    }
}

fn request(headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let mut request = Request::post("/hooks/provider");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let body = Bytes::copy_from_slice(body.as_bytes());
    request.body(body).expect("the request is valid")
}

fn signed(provider: &str, headers: &[(&str, &str)], body: &str) -> Request<Bytes> {
    let entry = Provider::named(provider).expect("the catalogue has the provider");
    let secret = Secret::new(secret(provider)).expect("the secret is not empty");
    let mut signer = Signer::builder(entry.scheme(), &secret);
    if entry.scheme().needs_url() {
        signer = signer.url(URL);
    }
    for name in entry.scheme().params() {
        signer = signer.param(name, "p");
    }
    if provider == "twilio" {
        signer = signer.variant("form");
    }
    if provider == "cloudevents" {
        signer = signer.variant("binary");
    }
    let signer = signer.build().expect("the secret fits");
    let signed = signer.sign_request(request(headers, body), now(), Some("e1"));
    signed.expect("the delivery is signed")
}

#[tokio::test]
async fn a_duplicate_gets_the_acknowledgement_of_its_provider() {
    let adyen = r#"{"notificationItems":[{"NotificationRequestItem":{"pspReference":"p1",
        "merchantAccountCode":"m","merchantReference":"r","eventCode":"AUTHORISATION",
        "success":"true","amount":{"value":1,"currency":"EUR"}}}]}"#;
    for (provider, headers, body, status, content_type, expected) in [
        (
            "adyen",
            &[][..],
            adyen,
            200,
            Some("text/plain"),
            "[accepted]",
        ),
        (
            "cloudevents",
            &[("content-type", "text/plain")],
            "x",
            204,
            None,
            "",
        ),
        ("xero", &[], "{}", 200, None, ""),
    ] {
        for entry in EntryPoint::both(provider, "").await {
            let name = format!("{provider}, {}", entry.name);
            let (first, forwarded) = entry.post(signed(provider, headers, body)).await;
            assert_eq!((first.outcome(), forwarded), (None, 1), "{name}");
            let (again, forwarded) = entry.post(signed(provider, headers, body)).await;
            assert_eq!(
                (again.outcome(), forwarded),
                (Some("duplicate"), 0),
                "{name}"
            );
            assert_eq!(again.status.as_u16(), status, "{name}");
            let found = again.headers.get("content-type");
            assert_eq!(
                found.map(|value| value.as_bytes()),
                content_type.map(str::as_bytes)
            );
            assert_eq!(again.body, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_refusal_has_no_body_if_the_provider_takes_one_for_a_mistake() {
    for (provider, header, is_empty) in [
        ("xero", "x-xero-signature", true),
        // The control: other providers get problem details.
        ("woocommerce", "x-wc-webhook-signature", false),
    ] {
        let wrong = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for entry in EntryPoint::both(provider, "").await {
            let forged = request(&[(header, wrong)], "{}");
            let mut other_method = forged.clone();
            *other_method.method_mut() = Method::PUT;
            let too_large = request(&[(header, wrong)], &"a".repeat(1024 * 1024 + 1));
            for (refused, status) in [(forged, 401), (other_method, 405), (too_large, 413)] {
                let (refused, forwarded) = entry.post(refused).await;
                assert_eq!((refused.status.as_u16(), forwarded), (status, 0));
                let name = format!("{provider}, {}, {status}", entry.name);
                assert_eq!(refused.body.is_empty(), is_empty, "{name}");
            }
            let gone = Behaviour::Response(StatusCode::GONE, &[], Bytes::from("gone"));
            entry.upstream.queue_behaviour(gone);
            let (withheld, _) = entry.post(signed(provider, &[], "{}")).await;
            assert_eq!(withheld.status, StatusCode::BAD_GATEWAY);
            let name = format!("{provider}, {}, 502", entry.name);
            assert_eq!(withheld.body.is_empty(), is_empty, "{name}");
        }
    }
}

#[tokio::test]
async fn a_duplicate_gets_the_first_response_if_the_provider_acts_on_it() {
    const CALL: &str = "CallSid=CA1&CallStatus=in-progress";
    const TWIML: &str = "<Response><Say>Hello</Say></Response>";
    let headers = [FORM, ("i-twilio-idempotency-token", "t1")];
    for entry in EntryPoint::both("twilio", "").await {
        let name = entry.name;
        let response = [("content-type", "text/xml"), ("x-other", "1")];
        let respond = |body: Bytes| {
            const HEADERS: &[(&str, &str)] = &[("content-type", "text/xml"), ("x-other", "1")];
            entry
                .upstream
                .queue_behaviour(Behaviour::Response(StatusCode::OK, HEADERS, body));
        };
        respond(TWIML.into());
        let (first, forwarded) = entry.post(signed("twilio", &headers, CALL)).await;
        assert_eq!(
            (&first.body[..], forwarded),
            (TWIML.as_bytes(), 1),
            "{name}"
        );
        assert_eq!(first.headers[response[1].0], response[1].1, "{name}");

        for _ in 0..2 {
            let (again, forwarded) = entry.post(signed("twilio", &headers, CALL)).await;
            assert_eq!(
                (again.outcome(), forwarded),
                (Some("duplicate"), 0),
                "{name}"
            );
            assert_eq!(again.status, StatusCode::OK, "{name}");
            assert_eq!(again.body, TWIML, "{name}");
            assert_eq!(again.headers["content-type"], "text/xml", "{name}");
            assert!(!again.headers.contains_key("x-other"), "{name}");
        }

        // A response above 16 KiB is not kept. The duplicate gets the acknowledgement.
        let large = [FORM, ("i-twilio-idempotency-token", "t2")];
        respond(Bytes::from(vec![b'x'; 16 * 1024 + 1]));
        let (first, forwarded) = entry.post(signed("twilio", &large, CALL)).await;
        assert_eq!((first.body.len(), forwarded), (16 * 1024 + 1, 1), "{name}");
        let (again, forwarded) = entry.post(signed("twilio", &large, CALL)).await;
        assert_eq!(
            (&again.body[..], forwarded),
            (&b"<Response/>"[..], 0),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_sender_that_hung_up_gets_the_first_response_by_its_retry() {
    let headers = [FORM, ("i-twilio-idempotency-token", "t1")];
    let [entry, _] = EntryPoint::both("twilio", "").await;
    let gateway = entry.gateway.as_ref().expect("the first entry point");
    let held = entry.upstream.hold_response(StatusCode::CREATED);
    let arrived = async {
        while entry.upstream.take_received().is_empty() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        // The sender hangs up while its delivery is in flight.
        () = arrived => {}
        _ = entry.post(signed("twilio", &headers, "a=1")) => panic!("the upstream holds it back"),
    }
    // The retry waits for the delivery in flight. An acknowledgement would have the status 200.
    let release = async {
        // The claim follows the verification at once.
        let start = Instant::now();
        while gateway.existing_counter("hookgate_body_bytes_count").await < 2 {
            assert!(start.elapsed() < WAIT_LIMIT, "{}", gateway.log());
            sleep(Duration::from_millis(5)).await;
        }
        held.release();
    };
    let retry = entry.post(signed("twilio", &headers, "a=1"));
    let ((again, forwarded), ()) = tokio::join!(retry, release);
    assert_eq!(
        (again.status, again.outcome()),
        (StatusCode::CREATED, Some("duplicate"))
    );
    assert_eq!(forwarded, 0, "only the first delivery is forwarded");
}

#[tokio::test]
async fn a_failed_delivery_is_forwarded_again_and_its_response_is_not_kept() {
    let headers = [FORM, ("i-twilio-idempotency-token", "t1")];
    for entry in EntryPoint::both("twilio", "").await {
        let failure = Behaviour::Response(StatusCode::BAD_GATEWAY, &[], Bytes::from("no"));
        entry.upstream.queue_behaviour(failure);
        let (first, forwarded) = entry.post(signed("twilio", &headers, "a=1")).await;
        assert_eq!((first.status, forwarded), (StatusCode::BAD_GATEWAY, 1));
        let success = Behaviour::Response(StatusCode::OK, &[], Bytes::from("yes"));
        entry.upstream.queue_behaviour(success);
        let (second, forwarded) = entry.post(signed("twilio", &headers, "a=1")).await;
        assert_eq!(
            (&second.body[..], forwarded),
            (&b"yes"[..], 1),
            "{}",
            entry.name
        );
        let (third, forwarded) = entry.post(signed("twilio", &headers, "a=1")).await;
        assert_eq!(
            (&third.body[..], forwarded),
            (&b"yes"[..], 0),
            "{}",
            entry.name
        );
    }
}

#[tokio::test]
async fn equal_bytes_are_told_apart_by_the_delivery_id_of_the_provider() {
    let order = r#"{"id":12}"#;
    let header = "x-shopify-webhook-id";
    for entry in EntryPoint::both("shopify", "").await {
        for (id, expected) in [("a1", 1), ("b2", 1), ("a1", 0), ("b2", 0), ("c3", 1)] {
            let (_, forwarded) = entry.post(signed("shopify", &[(header, id)], order)).await;
            assert_eq!(forwarded, expected, "{}, {id}", entry.name);
        }
    }
    // The operator chooses another rule.
    for (rule, ids) in [
        ("\"content\"", [("a1", 1), ("b2", 0), ("a1", 0)]),
        ("\"off\"", [("a1", 1), ("b2", 1), ("a1", 1)]),
    ] {
        let [gateway, _] = EntryPoint::both("shopify", &format!("dedupe = {rule}")).await;
        for (id, expected) in ids {
            let (_, forwarded) = gateway
                .post(signed("shopify", &[(header, id)], order))
                .await;
            assert_eq!(forwarded, expected, "{rule}, {id}");
        }
    }
}

#[tokio::test]
async fn without_a_delivery_id_equal_bytes_are_all_forwarded() {
    for entry in EntryPoint::both("woocommerce", "").await {
        for _ in 0..2 {
            let (_, forwarded) = entry.post(signed("woocommerce", &[], r#"{"id":12}"#)).await;
            assert_eq!(forwarded, 1, "{}", entry.name);
        }
    }
}

#[tokio::test]
async fn only_the_events_that_can_repeat_leave_the_strict_rule() {
    let dispatch = r#"{"action":"nightly-build","client_payload":{}}"#;
    let push = r#"{"after":"0123456789abcdef","ref":"refs/heads/main"}"#;
    for entry in EntryPoint::both("github", "").await {
        for (body, id, expected) in [
            (dispatch, "1", 1),
            (dispatch, "2", 1),
            (dispatch, "2", 0),
            (push, "3", 1),
            // A captured delivery under another id stays refused.
            (push, "4", 0),
        ] {
            let request = signed("github", &[("x-github-delivery", id)], body);
            let (_, forwarded) = entry.post(request).await;
            assert_eq!(forwarded, expected, "{}, {id}", entry.name);
        }
    }
}

#[tokio::test]
async fn a_probe_is_answered_and_not_forwarded() {
    for (provider, body) in [
        ("slack", "ssl_check=1&token=x"),
        ("woocommerce", "webhook_id=7"),
    ] {
        for entry in EntryPoint::both(provider, "").await {
            let (answered, forwarded) = entry.post(request(&[FORM], body)).await;
            assert_eq!(
                (answered.status, forwarded),
                (StatusCode::OK, 0),
                "{provider}"
            );
            assert!(answered.body.is_empty(), "{provider}");
            // The control: anything else without a signature is refused.
            let (refused, forwarded) = entry.post(request(&[FORM], "a=1")).await;
            assert_eq!(
                (refused.status, forwarded),
                (StatusCode::UNAUTHORIZED, 0),
                "{provider}"
            );
        }
    }
}
