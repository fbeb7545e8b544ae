//! Generated requests: signing and reading agree, and no header value causes a panic.

use super::rfc::cases;
use super::*;

/// A pseudo-random sequence that is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn text(&mut self) -> String {
        let len = self.below(12);
        let mut visible = || char::from(u8::try_from(0x20 + self.below(0x5f)).unwrap());
        (0..len).map(|_| visible()).collect()
    }
}

#[test]
fn a_drafted_signature_is_read_with_the_same_base() {
    const COMPONENTS: &[&str] = &[
        "@method",
        "@target-uri",
        "@authority",
        "@scheme",
        "@request-target",
        "@path",
        "@query",
        "@query-param;name=Pet",
        "@query-param;name=a b\"ç",
        "date",
        "x-random",
        "x-empty",
        "content-digest",
    ];
    let address = Address::new(&Uri::from_static("https://Hooks.Example:443")).unwrap();
    let mut numbers = Numbers(9421);
    for _ in 0..2_000 {
        let mut request = Request::of_the_rfc();
        request.uri = Uri::from_static("/foo?Pet=dog&a+b%22%C3%A7=%0A+%2B");
        let random = HeaderName::from_static("x-random");
        for _ in 0..=numbers.below(3) {
            request = request.with(random.clone(), &numbers.text());
        }
        request = request.with(HeaderName::from_static("x-empty"), " ");
        let body = numbers.text().into_bytes();
        let digest = Digests::of(&body).header();
        request.headers.insert(CONTENT_DIGEST, digest);

        let mut names = COMPONENTS.to_vec();
        for _ in 0..numbers.below(names.len()) {
            names.swap_remove(numbers.below(names.len()));
        }
        let components = components(&names);
        let texts = [(); 4].map(|()| (numbers.below(2) == 0).then(|| numbers.text()));
        let [keyid, nonce, tag, _] = &texts;
        let metadata = Metadata {
            created: Some(UnixTime::from_secs(numbers.below(1 << 31) as i64)),
            expires: texts[3].as_ref().map(|_| CREATED),
            keyid: keyid.as_deref(),
            algorithm: texts[3].as_ref().map(|_| "hmac-sha256"),
            nonce: nonce.as_deref(),
            tag: tag.as_deref(),
        };
        let draft = Draft::new(
            "sig1",
            &components,
            metadata,
            request.head(),
            Some(&address),
        );
        let draft = draft.unwrap();
        let base = draft.base().to_vec();
        draft.finish(&body, &mut request.headers);

        let policy = Policy {
            label: (numbers.below(2) == 0).then(|| "sig1".to_owned()),
            components,
            tag: tag.clone(),
            algorithm: "hmac-sha256",
        };
        let found = policy.read(request.head(), Some(&address)).unwrap();
        assert_eq!(found.base, base);
        assert_eq!(found.signature, body);
        assert_eq!(found.created, metadata.created);
        assert_eq!(found.expires, metadata.expires);
        assert_eq!(&found.keyid, keyid);
        assert_eq!(&found.nonce, nonce);
        if let Some(digests) = found.digests {
            assert!(digests.matches(&body));
            assert!(!digests.matches(b"another body altogether"));
        }
        // One line for each component, and one for `@signature-params`.
        let lines = base.split(|byte| *byte == b'\n').count();
        assert_eq!(lines, names.len() + 1);
    }
}

#[test]
fn mutated_headers_never_cause_a_panic() {
    const BYTES: &[u8] = b"\"\\()=:;,@?%- \t*a0\xff";
    let case = &cases()[1];
    let policy = policy(&["@authority"]);
    let mut numbers = Numbers(9530);
    let mut good = 0;
    for _ in 0..20_000 {
        let mut request = Request::of_the_rfc();
        for (name, value) in [
            (SIGNATURE_INPUT, case.input),
            (SIGNATURE, case.signature),
            (CONTENT_DIGEST, DIGEST),
            (http::header::HOST, "example.com"),
        ] {
            let mut bytes = value.as_bytes().to_vec();
            for _ in 0..numbers.below(3) {
                let at = numbers.below(bytes.len());
                match numbers.below(3) {
                    0 => bytes[at] = BYTES[numbers.below(BYTES.len())],
                    1 => bytes.insert(at, BYTES[numbers.below(BYTES.len())]),
                    _ => bytes.truncate(at),
                }
                if bytes.is_empty() {
                    break;
                }
            }
            let value = HeaderValue::from_bytes(&bytes).unwrap();
            request.headers.insert(name, value);
        }
        good += usize::from(policy.read(request.head(), None).is_ok());
    }
    // At least the unmutated requests are accepted.
    assert!(good > 100, "{good}");
}
