//! The comparisons of the product.

use std::hint::black_box;

use bytes::Bytes;
use hookgate_core::{
    Head, Provider, RequestOutcome, Scheme, Secret, Signer, UnixTime, Verifier, VerifyError,
};
use http::{HeaderMap, Method, Request, Uri};

use crate::hidden::{hide, without_reports};

pub const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);

/// A scheme whose secret, or whose expected signature, is compared.
pub struct Case {
    pub name: &'static str,
    provider: &'static str,
    variant: Option<&'static str>,
    /// The last one signs the genuine delivery.
    secrets: &'static [&'static str],
    /// The secret of the forged delivery. It has the form of the others.
    forger: &'static str,
    hidden: Hidden,
}

/// The bytes that memcheck takes for undefined.
#[derive(Clone, Copy, PartialEq)]
enum Hidden {
    Secrets,
    /// The body, which makes the expected signature undefined. It stands for a secret in base64:
    /// memcheck loses track of bytes that are looked up in a table.
    Body,
}

const TEXT: &[&str] = &["kR7-shared-text-of-a-secret"];
const FORGER: &str = "kR7-another-text-of-no-use!";

const fn hmac(name: &'static str, provider: &'static str) -> Case {
    Case {
        name,
        provider,
        variant: None,
        secrets: TEXT,
        forger: FORGER,
        hidden: Hidden::Secrets,
    }
}

pub const CASES: &[Case] = &[
    hmac("hmac-sha1", "github-sha1"),
    hmac("hmac-sha256", "github"),
    hmac("hmac-sha512", "paystack"),
    hmac("jwt-hs256", "monday"),
    Case {
        variant: Some("v1"),
        ..hmac("sha256-of-secret-and-body", "hubspot")
    },
    Case {
        variant: Some("token"),
        ..hmac("token", "gitlab")
    },
    Case {
        secrets: &["sender:kR7-shared-password"],
        forger: "sender:kR7-another-password",
        ..hmac("basic-auth", "postmark")
    },
    Case {
        secrets: &[
            "kR7-first-text-of-a-secret",
            "kR7-second-text-of-a-secret",
            "kR7-third-text-of-a-secret",
        ],
        ..hmac("three-secrets", "github")
    },
    Case {
        secrets: &["whsec_a1I3LXNoYXJlZC1ieXRlcy1vZi1hLWtleQ=="],
        forger: "whsec_a1I3LWFub3RoZXItYnl0ZXMtb2YtYS1rZXk=",
        hidden: Hidden::Body,
        ..hmac("hmac-sha256-base64", "standard-webhooks")
    },
];

/// Verifies a genuine and a forged delivery.
pub fn verify(case: &Case) {
    let provider = Provider::named(case.provider).expect("the catalogue has the provider");
    let scheme = provider.scheme();
    let genuine = case.secrets.last().expect("a case has a secret");
    let deliveries = [(*genuine, true), (case.forger, false)]
        .map(|(secret, is_genuine)| (Delivery::sign(scheme, case, secret), is_genuine));
    let verifier = without_reports(|| case.verifier(scheme));
    for (delivery, is_genuine) in deliveries {
        if case.hidden == Hidden::Body {
            hide(&delivery.body);
        }
        let head = Head::new(&delivery.method, &delivery.uri, &delivery.headers);
        let outcome = black_box(verifier.verify(head, delivery.body.clone(), NOW));
        without_reports(|| match outcome {
            Ok(RequestOutcome::Delivery(_)) => assert!(is_genuine, "{}", case.name),
            Err(VerifyError::SignatureMismatch) => assert!(!is_genuine, "{}", case.name),
            other => panic!("{}: {other:?}", case.name),
        });
    }
}

/// Compares the token of a handshake, which the operator gives as a parameter.
pub fn handshake() {
    let provider = Provider::named("meta").expect("the catalogue has the provider");
    let token: Box<str> = "kR7-token-of-the-handshake".into();
    let targets = [&*token, "kR7-token-of-no-use-at-all"]
        .map(|token| format!("/?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=7"));
    hide(token.as_bytes());
    let verifier = without_reports(|| {
        Verifier::builder(provider.scheme())
            .key(Secret::new(TEXT[0]).expect("a secret"))
            .param("verify_token", token)
            .build()
            .expect("the parameter fits")
    });
    for (target, is_genuine) in targets.into_iter().zip([true, false]) {
        let uri: Uri = target.parse().expect("a target");
        let headers = HeaderMap::new();
        let head = Head::new(&Method::GET, &uri, &headers);
        let outcome = black_box(verifier.verify(head, Bytes::new(), NOW));
        without_reports(|| match outcome {
            Ok(RequestOutcome::Handshake(_)) => assert!(is_genuine),
            Err(VerifyError::HandshakeRefused) => assert!(!is_genuine),
            other => panic!("{other:?}"),
        });
    }
}

const URL: &str = "https://hooks.example.com/";

impl Case {
    fn verifier(&self, scheme: &Scheme) -> Verifier {
        let mut builder = Verifier::builder(scheme).url(URL);
        if let Some(variant) = self.variant {
            builder = builder.variant(variant);
        }
        for secret in self.secrets {
            let secret = Secret::new(*secret).expect("a secret");
            if self.hidden == Hidden::Secrets {
                hide(secret.text().expect("a text").as_bytes());
            }
            builder = builder.key(secret);
        }
        builder.build().expect("the secrets fit the scheme")
    }
}

struct Delivery {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Delivery {
    fn sign(scheme: &Scheme, case: &Case, secret: &str) -> Self {
        let secret = Secret::new(secret).expect("a secret");
        let mut builder = Signer::builder(scheme, &secret).url(URL);
        if let Some(variant) = case.variant {
            builder = builder.variant(variant);
        }
        let signer = builder.build().expect("the secret fits the scheme");
        let body = Bytes::from_static(br#"{"id":"evt_1","type":"paid"}"#);
        let request = Request::post(URL).body(body).expect("a request");
        let signed = signer.sign_request(request, NOW, Some("evt_1"));
        let (parts, body) = signed.expect("the delivery is signed").into_parts();
        Self {
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            // A copy, because no static byte can be hidden.
            body: Bytes::copy_from_slice(&body),
        }
    }
}
