//! The fuzz targets: one function for each. It takes bytes and panics if a promise of a library
//! crate or of the gateway does not hold.
//!
//! `tests/tests/corpora.rs` includes this file and replays the committed corpora, so the code here
//! must not need libFuzzer. A new target also needs a file in `fuzz_targets`, an entry in
//! `Cargo.toml`, a corpus, and a test that replays the corpus.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a panic is a finding")]

mod capture;
mod chunked_body;
mod differential;
mod event_id;
mod form;
mod forwarded;
mod hop_by_hop;
mod http1;
mod key_document;
mod proxy_header;
mod queue_entry;
mod queue_message;
mod queue_record;
mod redis_reply;
mod request_head;
mod response_differential;
mod response_head;
mod scheme;
mod signature_header;
mod template;

use bytes::Bytes;
use hookgate_core::{Head, Scheme, Secret, Signer, SignerBuilder, UnixTime, Variant, Verifier};
use hookgate_core::{RequestOutcome, VerifierBuilder, VerifyError};
use http::Request;

pub use self::capture::capture;
pub use self::chunked_body::chunked_body;
pub use self::differential::differential;
pub use self::event_id::event_id;
pub use self::form::form;
pub use self::forwarded::forwarded;
pub use self::hop_by_hop::hop_by_hop;
pub use self::key_document::key_document;
pub use self::proxy_header::proxy_header;
pub use self::queue_message::queue_message;
pub use self::queue_record::queue_record;
pub use self::redis_reply::redis_reply;
pub use self::request_head::{framing, request_head};
pub use self::response_differential::response_differential;
pub use self::response_head::response_head;
pub use self::scheme::scheme;
pub use self::signature_header::signature_header;
pub use self::template::template;

/// The time of signing and of arrival.
const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const URL: &str = "https://hooks.example.com/in";
const PARAM: &str = "hookgate";

/// A secret for every key rule except those of public keys. Its 64 hexadecimal digits are also
/// valid base64.
const SECRET: &str = "5f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a135f0c8a6de2b94a13";

/// A private and a public key.
const ED25519: [&str; 2] = [
    include_str!("../../crates/core/tests/keys/ed25519.private.pem"),
    include_str!("../../crates/core/tests/keys/ed25519.public.pem"),
];
const P256: [&str; 2] = [
    include_str!("../../crates/core/tests/keys/p256.private.pem"),
    include_str!("../../crates/core/tests/keys/p256.public.pem"),
];
const RSA: [&str; 2] = [
    include_str!("../../crates/core/tests/keys/rsa.private.pem"),
    include_str!("../../crates/core/tests/keys/rsa.public.pem"),
];

/// A verifier and a signer of one variant with the same key.
struct Pair {
    verifier: Verifier,
    signer: Signer,
}

impl Pair {
    /// Returns `None` if no test key fits the scheme.
    fn new(scheme: &Scheme, variant: Variant<'_>) -> Option<Self> {
        let keys = match variant.algorithm() {
            "ed25519" => ED25519,
            name if name.contains("p256") || name.ends_with("es256") => P256,
            name if name.starts_with("rsa") || name.ends_with("rs256") => RSA,
            _ => [SECRET; 2],
        };
        let [private, public] = keys.map(encodings);
        private
            .into_iter()
            .zip(public)
            .find_map(|(private, public)| {
                Some(Self {
                    verifier: verifier(scheme, variant, public)?.build().ok()?,
                    signer: signer(scheme, variant, &private).build().ok()?,
                })
            })
    }

    fn verify(&self, request: &Request<Bytes>) -> Result<RequestOutcome, VerifyError> {
        let body = request.body().clone();
        self.verifier.verify(Head::from(request), body, NOW)
    }
}

/// Returns a key in the encodings that schemes accept.
fn encodings(text: &str) -> [Secret; 4] {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    let der = match hex::decode(text) {
        Ok(bytes) => bytes,
        Err(_) => {
            let inner: String = text.lines().filter(|l| !l.starts_with("---")).collect();
            STANDARD.decode(inner).unwrap()
        }
    };
    let encoded = STANDARD.encode(&der);
    let prefixed = format!("whsec_{encoded}");
    [text.trim().to_owned(), encoded, hex::encode(&der), prefixed]
        .map(|text| Secret::new(text).unwrap())
}

fn verifier(scheme: &Scheme, variant: Variant<'_>, key: Secret) -> Option<VerifierBuilder> {
    // Reading the published secrets of the whole catalogue would dominate the time of an input.
    let mut builder = Verifier::builder(scheme)
        .key(key)
        .with_insecure_published_secrets();
    if scheme.needs_url() {
        builder = builder.url(URL);
    }
    for name in scheme.params() {
        builder = builder.param(name, PARAM);
    }
    Some(match variant.name() {
        Some(name) => builder.variant(name),
        None => builder,
    })
}

fn signer(scheme: &Scheme, variant: Variant<'_>, key: &Secret) -> SignerBuilder {
    let mut builder = Signer::builder(scheme, key);
    if scheme.needs_url() {
        builder = builder.url(URL);
    }
    for name in scheme.params() {
        builder = builder.param(name, PARAM);
    }
    match variant.name() {
        Some(name) => builder.variant(name),
        None => builder,
    }
}

fn request(body: &[u8]) -> Request<Bytes> {
    let body = Bytes::copy_from_slice(body);
    Request::post("/in").body(body).unwrap()
}
