//! Identity: only a signed value identifies an event.

use super::*;

#[test]
fn an_unsigned_value_never_identifies_an_event() {
    for (provider, identity) in [
        ("stripe", Identity::Id),
        ("slack", Identity::Exact),
        ("github", Identity::Content),
        ("linear", Identity::Exact),
        ("mailgun", Identity::Id),
        ("netlify", Identity::Content),
    ] {
        let provider = Provider::named(provider).unwrap();
        let verifier = builder(provider.scheme()).build().unwrap();
        let signer = Signer::new(provider.scheme(), &secret()).unwrap();
        let body = r#"{"id":"evt_1"}"#;
        let mut request = signer
            .sign_request(post("/", body), NOW, Some("evt_1"))
            .unwrap();
        for header in [
            "idempotency-key",
            "x-github-delivery",
            "linear-delivery",
            "webhook-id",
        ] {
            request
                .headers_mut()
                .insert(header, HeaderValue::from_static("forged"));
        }
        let verified = delivery(&verifier, &request).unwrap();
        assert_eq!(verified.identity(), identity, "{}", provider.name());
        assert_ne!(verified.id(), Some("forged"));
    }
}

#[test]
fn a_retry_that_counts_attempts_in_the_signed_body_is_the_same_event() {
    for (provider, body) in [
        ("intercom", r#"{"id":"ID","delivery_attempts":N}"#),
        ("launchdarkly", r#"{"_id":"ID","n":N}"#),
        ("notion", r#"{"id":"ID","attempt_number":N}"#),
        ("uber", r#"{"event_id":"ID","n":N}"#),
    ] {
        let provider = Provider::named(provider).unwrap();
        let verifier = builder(provider.scheme()).build().unwrap();
        let signer = Signer::new(provider.scheme(), &secret()).unwrap();
        let scope = ReplayScope::new(&["test"]);
        let keys = |id: &str, attempt: &str| {
            let body = body.replace("ID", id).replace('N', attempt);
            let request = signer.sign_request(post("/", &body), NOW, None).unwrap();
            delivery(&verifier, &request).unwrap().replay_keys(&scope)
        };
        assert_eq!(keys("e1", "1"), keys("e1", "2"), "{}", provider.name());
        assert_ne!(keys("e1", "1"), keys("e2", "1"), "{}", provider.name());
    }
}

#[test]
fn every_signed_byte_distinguishes_events_without_an_id() {
    let scope = ReplayScope::new(&["test"]);
    for (provider, by_content) in [("github", true), ("slack", false), ("stripe", false)] {
        let provider = Provider::named(provider).unwrap();
        let verifier = builder(provider.scheme()).build().unwrap();
        let signer = Signer::new(provider.scheme(), &secret()).unwrap();
        let keys = |body: &str, delivery_id: &str| {
            let request = signer.sign_request(post("/", body), NOW, None).unwrap();
            let verified = delivery(&verifier, &request).unwrap();
            assert_eq!(verified.is_identified_by_content(), by_content);
            let with_id = verified.replay_keys_with_delivery_id(&scope, delivery_id);
            (verified.replay_keys(&scope), with_id)
        };
        let (one, other) = (keys(r#"{"id":"a"}"#, "1"), keys(r#"{"id":"b"}"#, "1"));
        assert_eq!(one.0.len(), 1);
        assert_ne!(one.0, other.0, "{}", provider.name());
        assert_ne!(one.1, other.1, "{}", provider.name());
        let redelivered = keys(r#"{"id":"a"}"#, "2");
        assert_eq!(redelivered.0, one.0);
        // The unsigned id of a delivery completes a content, and no other identity.
        assert_eq!(redelivered.1 != one.1, by_content, "{}", provider.name());
    }
}
