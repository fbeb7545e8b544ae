//! Questions of the gate and the gateway about a verifier, and deliveries of any age.

use hookgate_core::Window;
use hookgate_core::internal::{
    claimed_id_header, claimed_timestamp, have_equal_settings, ignore_age,
};

use super::*;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A scheme with headers for the time and the id.
const HEADERS: &str = "alg = 'hmac-sha256'\nsig = { in = 'header:x-sig', enc = 'hex' }\n\
    ts = { in = 'header:x-time', unit = 's' }\nid = 'header:x-id'\nmsg = '{id}.{ts}.{body}'";

/// Returns the scheme of a provider, or a scheme of its own for the name `headers`.
fn scheme_of(name: &str) -> Scheme {
    match name {
        "headers" => scheme(HEADERS),
        name => Provider::named(name).unwrap().scheme().clone(),
    }
}

fn verifier(name: &str) -> Verifier {
    builder(&scheme_of(name)).build().unwrap()
}

fn signed(name: &str) -> Request<Bytes> {
    let signer = Signer::new(&scheme_of(name), &secret()).unwrap();
    let request = post("/", r#"{"id":"evt_1"}"#);
    signer.sign_request(request, NOW, Some("evt_1")).unwrap()
}

#[test]
fn the_claims_of_a_head_are_its_timestamp_and_the_header_of_its_id() {
    for (provider, id_header) in [("headers", Some("x-id")), ("stripe", None)] {
        let (verifier, request) = (verifier(provider), signed(provider));
        let claimed = claimed_timestamp(&verifier, Head::from(&request));
        assert_eq!(claimed, Some(NOW), "{provider}");
        let header = claimed_id_header(&verifier, Head::from(&request));
        assert_eq!(header.map(|name| name.as_str()), id_header, "{provider}");
    }
    let unsigned = post("/", "{}");
    let claimed = claimed_timestamp(&verifier("stripe"), Head::from(&unsigned));
    assert_eq!(claimed, None);
}

#[test]
fn a_verifier_that_ignores_ages_still_checks_signatures() {
    let later = NOW.plus(YEAR);
    for provider in ["stripe", "headers", "netlify"] {
        let request = signed(provider);
        let verify = |verifier: &Verifier, body: &'static [u8]| {
            let verified = verifier.verify(Head::from(&request), Bytes::from_static(body), later);
            verified.map(drop)
        };
        let usual = verify(&verifier(provider), br#"{"id":"evt_1"}"#);
        assert_eq!(usual, Err(VerifyError::TimestampTooOld), "{provider}");
        let ageless = ignore_age(verifier(provider));
        assert_eq!(verify(&ageless, br#"{"id":"evt_1"}"#), Ok(()), "{provider}");
        assert!(
            verify(&ageless, br#"{"id":"evt_2"}"#).is_err(),
            "{provider}"
        );
    }
}

#[test]
fn the_window_of_the_operator_replaces_that_of_the_scheme() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let stripe = Provider::named("stripe").unwrap();
    let request = signed("stripe");
    for (past, age, expected) in [
        (10, 9, Ok(())),
        (10, 11, Err(VerifyError::TimestampTooOld)),
        (1, 2, Err(VerifyError::TimestampTooOld)),
    ] {
        let window = Window::new(minutes(past), minutes(1));
        let verifier = builder(stripe.scheme()).window(window).build().unwrap();
        let now = NOW.plus(minutes(age));
        let verified = verifier.verify(Head::from(&request), request.body().clone(), now);
        assert_eq!(verified.map(drop), expected, "{past} {age}");
    }
}

#[test]
fn a_handshake_has_a_method_of_its_own() {
    for (provider, method, expected) in [
        ("dropbox", Method::GET, true),
        ("dropbox", Method::PUT, false),
        ("stripe", Method::GET, false),
    ] {
        let verifier = verifier(provider);
        assert_eq!(
            verifier.is_handshake_method(&method),
            expected,
            "{provider} {method}"
        );
    }
}

#[test]
fn builders_have_equal_settings_if_no_setting_but_the_keys_differs() {
    let stripe = Provider::named("stripe").unwrap();
    let one = || {
        Verifier::builder(stripe.scheme())
            .url("https://a.example/")
            .param("a", "1")
    };
    assert!(have_equal_settings(&one(), &one().key(secret())));
    let day = Duration::from_secs(24 * 3600);
    for (setting, other) in [
        ("window", one().window(Window::new(day, day))),
        ("url", one().url("https://b.example/")),
        ("param", one().param("a", "2")),
        ("variant", one().variant("new")),
        ("published", one().with_insecure_published_secrets()),
        ("keys", one().fetched_keys()),
    ] {
        assert!(!have_equal_settings(&one(), &other), "{setting}");
        assert!(have_equal_settings(&other, &other.clone()), "{setting}");
    }
}

#[test]
fn the_ids_of_the_keys_are_visible_and_different() {
    let stripe = Provider::named("stripe").unwrap();
    let build = |ids: [&str; 2]| {
        let keys = ids.map(|id| Key::new(secret()).id(id));
        let builder = keys
            .into_iter()
            .fold(Verifier::builder(stripe.scheme()), VerifierBuilder::key);
        builder.build()
    };
    assert!(build(["new", "old"]).is_ok());
    for second in ["new", "", "two words"] {
        let refused = build(["new", second]);
        assert!(
            matches!(refused, Err(BuildError::KeyId { index: 1 })),
            "{second:?}"
        );
    }
}

#[test]
fn a_pending_delivery_counts_the_bytes_of_its_body() {
    let (verifier, request) = (verifier("stripe"), signed("stripe"));
    let HeadOutcome::Delivery(mut pending) = verifier.begin(Head::from(&request), NOW).unwrap()
    else {
        panic!("a handshake");
    };
    assert!(pending.is_empty());
    for (index, byte) in request.body().chunks(1).enumerate() {
        assert_eq!(pending.len(), index);
        pending.push(Bytes::copy_from_slice(byte));
        assert!(!pending.is_empty());
    }
    assert_eq!(pending.len(), request.body().len());
    assert!(pending.finish(NOW).is_ok());
}
