//! Every value of a sender has one accepted form. Each other form is refused with its own error.

#![expect(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use hookgate_core::{
    BuildError, Head, HeadOutcome, Key, MAX_CANDIDATES, MAX_KEYS, Provider, Scheme, Secret,
    SecretError, Signer, UnixTime, Verified, Verifier, VerifyError,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const SECRET: &str = "whsec_c3RyaWN0bmVzcy1vZi1ob29rZ2F0ZQ==";
const BODY: &str = r#"{"id":"evt_1","type":"t","event":"t"}"#;

/// A verifier, and the headers of a good delivery.
struct Fixture {
    verifier: Verifier,
    headers: HeaderMap,
}

impl Fixture {
    fn new(provider: &str) -> Self {
        let provider = Provider::named(provider).unwrap();
        let secret = Secret::new(SECRET).unwrap();
        let signer = Signer::new(provider.scheme(), &secret).unwrap();
        let headers = signer.sign(BODY.as_bytes(), NOW, Some("msg_1")).unwrap();
        let verifier = Verifier::builder(provider.scheme())
            .key(secret)
            .build()
            .unwrap();
        Self { verifier, headers }
    }

    fn verify(&self) -> Result<Verified, VerifyError> {
        self.verify_at(NOW)
    }

    fn verify_at(&self, now: UnixTime) -> Result<Verified, VerifyError> {
        let (method, uri) = (Method::POST, Uri::from_static("/"));
        let head = Head::new(&method, &uri, &self.headers);
        self.verifier
            .verify(head, Bytes::from_static(BODY.as_bytes()), now)
            .map(|checked| checked.delivery().unwrap())
    }

    fn with(mut self, change: impl FnOnce(&mut HeaderMap)) -> Result<(), VerifyError> {
        change(&mut self.headers);
        self.verify().map(drop)
    }
}

fn set(name: &'static str, value: &str) -> impl FnOnce(&mut HeaderMap) {
    let value = HeaderValue::from_str(value).unwrap();
    move |headers| drop(headers.insert(HeaderName::from_static(name), value))
}

fn repeat(name: &'static str) -> impl FnOnce(&mut HeaderMap) {
    move |headers| {
        let value = headers[name].clone();
        headers.append(name, value);
    }
}

fn remove(name: &'static str) -> impl FnOnce(&mut HeaderMap) {
    move |headers| drop(headers.remove(name))
}

#[test]
fn the_unchanged_fixtures_verify() {
    for provider in ["beatapi", "beel", "standard-webhooks", "svix", "videogen"] {
        let verified = Fixture::new(provider).verify().unwrap();
        let in_header = !provider.starts_with("bee") && provider != "beatapi";
        assert_eq!(
            verified.id(),
            Some(if in_header { "msg_1" } else { "evt_1" }),
            "{provider}"
        );
        assert_eq!(verified.timestamp(), Some(NOW), "{provider}");
        assert_eq!(verified.event_type(), Some("t"), "{provider}");
    }
}

#[test]
fn a_missing_or_repeated_header_is_refused() {
    for (provider, name, missing, repeated) in [
        (
            "beatapi",
            "x-beatapi-signature",
            VerifyError::SignatureMissing,
            VerifyError::SignatureRepeated,
        ),
        (
            "beatapi",
            "x-beatapi-timestamp",
            VerifyError::TimestampMissing,
            VerifyError::TimestampRepeated,
        ),
        (
            "beel",
            "beel-signature",
            VerifyError::SignatureMissing,
            VerifyError::SignatureRepeated,
        ),
        (
            "svix",
            "svix-id",
            VerifyError::FieldMissing,
            VerifyError::FieldRepeated,
        ),
        (
            "svix",
            "svix-timestamp",
            VerifyError::TimestampMissing,
            VerifyError::TimestampRepeated,
        ),
        (
            "videogen",
            "webhook-signature",
            VerifyError::SignatureMissing,
            VerifyError::SignatureRepeated,
        ),
        (
            "videogen",
            "webhook-id",
            VerifyError::FieldMissing,
            VerifyError::FieldRepeated,
        ),
    ] {
        assert_eq!(
            Fixture::new(provider).with(remove(name)),
            Err(missing),
            "{provider} {name}"
        );
        assert_eq!(
            Fixture::new(provider).with(repeat(name)),
            Err(repeated),
            "{provider} {name}"
        );
    }
}

#[test]
fn the_items_of_a_signature_list_follow_its_grammar() {
    let header = |change: &dyn Fn(&str) -> String| {
        let fixture = Fixture::new("beel");
        let value = change(fixture.headers["beel-signature"].to_str().unwrap());
        fixture.with(set("beel-signature", &value))
    };
    assert_eq!(header(&str::to_owned), Ok(()));
    assert_eq!(header(&|v| format!("x=1,{v},v2=00")), Ok(()));
    assert_eq!(
        header(&|v| format!("t=1,{v}")),
        Err(VerifyError::TimestampRepeated)
    );
    assert_eq!(
        header(&|v| v.replace("t=", "u=")),
        Err(VerifyError::TimestampMissing)
    );
    assert_eq!(
        header(&|v| v.replace("t=1", "t=01")),
        Err(VerifyError::TimestampMalformed)
    );
    // BeeL's own library removes blanks around an item. It removes others, too.
    assert_eq!(header(&|v| v.replace(",v1", ", v1")), Ok(()));
    assert_eq!(
        header(&|v| v.replace("v1=", "v1 =")),
        Err(VerifyError::SignatureVersionUnknown)
    );
    assert_eq!(
        header(&|v| v.replace("v1=", "v1= ")),
        Err(VerifyError::SignatureMalformed)
    );
    assert_eq!(
        header(&|v| v.replace("v1=", "v0=")),
        Err(VerifyError::SignatureVersionUnknown)
    );
    assert_eq!(
        header(&|v| v.replace("v1=", "v1=sha256=")),
        Err(VerifyError::SignatureMalformed)
    );
    assert_eq!(
        header(&|v| format!("{v},v1=")),
        Err(VerifyError::SignatureMalformed)
    );
    assert_eq!(
        header(&|_| String::new()),
        Err(VerifyError::SignatureMalformed)
    );
    let more =
        |count| move |v: &str| format!("{v}{}", format!(",v1={}", "0".repeat(64)).repeat(count));
    assert_eq!(header(&more(MAX_CANDIDATES - 1)), Ok(()));
    assert_eq!(
        header(&more(MAX_CANDIDATES)),
        Err(VerifyError::SignatureTooMany)
    );
}

#[test]
fn every_prefix_of_a_signature_is_refused() {
    for (provider, name) in [
        ("beatapi", "x-beatapi-signature"),
        ("svix", "svix-signature"),
    ] {
        let whole = Fixture::new(provider).headers[name]
            .to_str()
            .unwrap()
            .to_owned();
        for len in 0..whole.len() {
            let refused = Fixture::new(provider).with(set(name, &whole[..len]));
            assert_ne!(refused, Ok(()), "{provider} {len}");
        }
        for longer in [
            format!("{whole}0"),
            format!("{whole}00"),
            format!("{whole}="),
            format!("{whole}A==="),
        ] {
            assert_ne!(
                Fixture::new(provider).with(set(name, &longer)),
                Ok(()),
                "{longer}"
            );
        }
    }
}

#[test]
fn header_names_of_two_schemes_do_not_mix() {
    for (provider, other) in [
        ("svix", "webhook-id"),
        ("standard-webhooks", "svix-signature"),
    ] {
        let mixed = Fixture::new(provider).with(set(other, "x"));
        assert_eq!(mixed, Err(VerifyError::SchemesMixed), "{provider}");
    }
}

#[test]
fn an_id_must_not_contain_its_delimiter() {
    for bad in ["msg.1784187600", "msg 1", "", "msg\u{e9}"] {
        let value = HeaderValue::from_bytes(bad.as_bytes()).unwrap();
        let refused = Fixture::new("svix").with(|headers| drop(headers.insert("svix-id", value)));
        assert_eq!(refused, Err(VerifyError::FieldMalformed), "{bad:?}");
    }
    // The delimiter of a custom scheme is excluded too, although the scheme does not list it.
    let scheme = Scheme::from_toml(
        r#"
        alg = "hmac-sha256"
        sig = { in = "header:x-sig", enc = "hex" }
        msg = "{id}.{header:x-more}.{body}"
        id  = "header:x-id"
        "#,
    )
    .unwrap();
    let verifier = Verifier::builder(&scheme)
        .key(Secret::new(SECRET).unwrap())
        .build()
        .unwrap();
    let (method, uri) = (Method::POST, Uri::from_static("/"));
    for (id, more, expected) in [
        ("a", "b", VerifyError::SignatureMismatch),
        ("a.b", "c", VerifyError::FieldMalformed),
        ("a", "b.c", VerifyError::FieldMalformed),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-id", id), ("x-more", more), ("x-sig", &"0".repeat(64))] {
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let head = Head::new(&method, &uri, &headers);
        let refused = verifier
            .verify(head, Bytes::from_static(b"{}"), NOW)
            .unwrap_err();
        assert_eq!(refused, expected, "{id} {more}");
    }
}

#[test]
fn a_key_is_active_only_in_its_validity_period() {
    let provider = Provider::named("beatapi").unwrap();
    let key = |text: &str| Key::new(Secret::new(text).unwrap());
    let verifier = |keys: Vec<Key>| {
        let builder = Verifier::builder(provider.scheme());
        keys.into_iter()
            .fold(builder, |builder, key| builder.key(key))
            .build()
            .unwrap()
    };
    let verify = |verifier| {
        Fixture {
            verifier,
            ..Fixture::new("beatapi")
        }
        .verify()
    };
    let (before, after) = (
        UnixTime::from_secs(NOW.secs() - 1),
        UnixTime::from_secs(NOW.secs() + 1),
    );
    let other = || key("whsec_b3RoZXItc2VjcmV0LW90aGVyLXNlY3JldA==");

    let verified = verify(verifier(vec![other(), key(SECRET).id("new")])).unwrap();
    assert_eq!(verified.key_id(), "new");
    assert!(verify(verifier(vec![key(SECRET).not_before(NOW).not_after(NOW)])).is_ok());
    for late in [key(SECRET).not_after(before), key(SECRET).not_before(after)] {
        assert_eq!(
            verify(verifier(vec![late.clone()])).unwrap_err(),
            VerifyError::NoActiveKey
        );
        let refused = verify(verifier(vec![other(), late])).unwrap_err();
        assert_eq!(refused, VerifyError::SignatureMismatch);
    }
}

#[test]
fn a_missing_malformed_or_published_key_does_not_build() {
    let build = |provider: &str, secrets: &[&str]| {
        let provider = Provider::named(provider).unwrap();
        let builder = Verifier::builder(provider.scheme());
        let keys = secrets.iter().map(|text| Secret::new(*text).unwrap());
        keys.fold(builder, |builder, key| builder.key(key)).build()
    };
    let error = |provider, secret| match build(provider, &[secret]).unwrap_err() {
        BuildError::Secret { error, .. } => error,
        other => panic!("{other}"),
    };
    assert_eq!(build("beatapi", &[]).unwrap_err(), BuildError::NoKey);
    let many: Vec<String> = (0..=MAX_KEYS)
        .map(|n| format!("whsec_number_{n}_of_too_many"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(build("beatapi", &many[1..]).is_ok());
    assert_eq!(
        build("beatapi", &many).unwrap_err(),
        BuildError::TooManyKeys
    );

    assert!(matches!(
        error("svix", "whsec_!!!"),
        SecretError::Encoding(_)
    ));
    assert!(matches!(
        error("svix", "whsk_c3ZpeA=="),
        SecretError::Encoding(_)
    ));
    assert_eq!(error("beatapi", "whsec_test"), SecretError::Published);
    // A secret that one provider publishes is refused for every provider.
    assert_eq!(
        error("videogen", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        SecretError::Published
    );
    let short = "standard-webhooks-ed25519";
    assert_eq!(
        error(short, "whpk_AAAA"),
        SecretError::Length {
            expected: 32,
            found: 3
        }
    );
    // A point of small order: one signature would be valid for many messages.
    assert_eq!(
        error(short, &format!("whpk_{}=", "A".repeat(43))),
        SecretError::PublicKey
    );

    let weak = build("svix", &["whsec_QUFBQUFBQUE=", SECRET]).unwrap();
    assert_eq!(weak.weak_keys().collect::<Vec<_>>(), [0]);
}

#[test]
fn debug_output_contains_no_secret() {
    let fixture = Fixture::new("beatapi");
    let (method, uri) = (Method::POST, Uri::from_static("/"));
    let head = Head::new(&method, &uri, &fixture.headers);
    let HeadOutcome::Delivery(mut pending) = fixture.verifier.begin(head, NOW).unwrap() else {
        panic!("a delivery");
    };
    pending.push(Bytes::from_static(b"canary"));
    let shown = format!("{pending:?} {:?}", fixture.verifier);
    let signature = fixture.headers["x-beatapi-signature"].to_str().unwrap();
    let first = u8::from_str_radix(&signature[..2], 16).unwrap();
    let second = u8::from_str_radix(&signature[2..4], 16).unwrap();
    for secret in [
        "canary",
        "c3RyaWN0",
        signature,
        &format!("{first}, {second}, "),
    ] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}
