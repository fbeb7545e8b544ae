//! Fuzz target: any value of a signature header. A delivery without the genuine signature never
//! verifies.

use std::sync::OnceLock;

use bytes::Bytes;
use hookgate_core::{Provider, RequestOutcome, Scheme};
use http::{HeaderName, HeaderValue, Request};

use super::{NOW, Pair, request};

const BODY: &[u8] = br#"{"id":"evt_1","type":"t"}"#;

/// A byte of the input that is replaced by the genuine value of the header.
const GENUINE: u8 = 1;

/// Providers of every kind of scheme, and their signature headers.
const PROVIDERS: [(&str, &[&str]); 18] = [
    ("stripe", &["stripe-signature"]),
    ("persona", &["persona-signature"]),
    ("recurly", &["recurly-signature"]),
    ("http-message-signatures", &["signature-input", "signature"]),
    ("vonage", &["authorization"]),
    ("standard-webhooks", &["webhook-signature"]),
    ("standard-webhooks-ed25519", &["webhook-signature"]),
    ("beel", &["beel-signature"]),
    ("cronofy", &["cronofy-hmac-sha256"]),
    (
        "docusign",
        &[
            "x-docusign-signature-1",
            "x-docusign-signature-2",
            "x-docusign-signature-10",
        ],
    ),
    ("workos", &["workos-signature"]),
    ("twitch", &["twitch-eventsub-message-signature"]),
    ("sanity", &["sanity-webhook-signature"]),
    (
        "http-message-signatures-ed25519",
        &["signature-input", "signature", "content-digest"],
    ),
    ("messagebird", &["messagebird-signature-jwt"]),
    ("coinbase-cdp", &["x-hook0-signature"]),
    ("mercado-pago", &["x-signature"]),
    ("netlify", &["x-webhook-signature"]),
];

/// Schemes with combinations that no provider of the catalogue uses.
const CUSTOM_SCHEMES: [&str; 2] = [
    r#"
    alg = "jwt-es256"
    key = { enc = "pem" }
    sig = { in = "header:x-signature", prefix = "Bearer ", prefix_optional = true }
    ts = { in = "claim:iat", unit = "s" }
    claims = { digest = "{body|sha256:base64}", iss = "{param:app}" }
    id = "claim:jti"
    "#,
    r#"
    alg = "ecdsa-p256-sha256"
    key = { enc = "pem" }
    sig = { in = ["header:x-signature", "header:x-signature-2"], items = ";", pair = ":", key = "*", trim = true, groups = "|", enc = "base64" }
    msg = "{body}"
    "#,
];

/// A scheme with a genuine delivery.
struct Fixture {
    pair: Pair,
    signed: Request<Bytes>,
    headers: Vec<HeaderName>,
}

impl Fixture {
    fn new(scheme: &Scheme, headers: &[&'static str]) -> Self {
        let variant = scheme.variants().last().unwrap();
        let pair = Pair::new(scheme, variant).unwrap();
        let signed = pair.signer.sign_request(request(BODY), NOW, Some("msg_1"));
        let signed = signed.unwrap();
        assert!(
            pair.verify(&signed).is_ok(),
            "the unchanged delivery must verify: {signed:?}"
        );
        Self {
            pair,
            signed,
            headers: headers
                .iter()
                .copied()
                .map(HeaderName::from_static)
                .collect(),
        }
    }

    fn all() -> &'static [Self] {
        static ALL: OnceLock<Vec<Fixture>> = OnceLock::new();
        ALL.get_or_init(|| {
            let providers = PROVIDERS.iter().map(|(name, headers)| {
                let provider = Provider::named(name).unwrap();
                Self::new(provider.scheme(), headers)
            });
            let custom = CUSTOM_SCHEMES.iter().map(|text| {
                let scheme = Scheme::from_toml(text).unwrap();
                Self::new(&scheme, &["x-signature", "x-signature-2"])
            });
            providers.chain(custom).collect()
        })
    }
}

/// Verifies a delivery with changed signature headers.
///
/// The first byte of `data` chooses a scheme. The lines after it are the values of its headers. A
/// byte of 1 is replaced by the genuine value, so that inputs can also verify.
pub fn signature_header(data: &[u8]) {
    let Some((choice, values)) = data.split_first() else {
        return;
    };
    let fixtures = Fixture::all();
    let fixture = &fixtures[usize::from(*choice) % fixtures.len()];
    let mut delivery = fixture.signed.clone();
    for name in &fixture.headers {
        delivery.headers_mut().remove(name);
    }
    let mut genuine = false;
    for (name, line) in fixture
        .headers
        .iter()
        .zip(values.split(|byte| *byte == b'\n'))
    {
        let original = fixture.signed.headers().get(name);
        let original = original.map_or(&b""[..], HeaderValue::as_bytes);
        let mut value = Vec::new();
        for byte in line {
            match *byte {
                GENUINE => {
                    genuine = true;
                    value.extend_from_slice(original);
                }
                byte => value.push(byte),
            }
        }
        // A line that ends with two tabs occurs as two headers.
        let (value, twice) = match value.strip_suffix(b"\t\t") {
            Some(value) => (value, true),
            None => (&value[..], false),
        };
        let Ok(value) = HeaderValue::from_bytes(value) else {
            return;
        };
        if twice {
            delivery.headers_mut().append(name, value.clone());
        }
        delivery.headers_mut().append(name, value);
    }
    match fixture.pair.verify(&delivery) {
        Ok(RequestOutcome::Delivery(_)) => assert!(genuine, "{delivery:?}"),
        Ok(RequestOutcome::Handshake(_)) => panic!("the delivery became a handshake: {delivery:?}"),
        Err(error) => assert!(!error.label().is_empty()),
    }
}
