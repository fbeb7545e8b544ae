//! A delivery of one event, as it passes the product's gate.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hookgate_core::{Chunk, Head, Provider, Secret, Signer, UnixTime, Verifier};
use hookgate_gate::{Admission, BodyError, BodySource, Clock, Gate, Refusal, Source};
use hookgate_replay::ReplayStore;
use http::{HeaderMap, Method, Uri};

/// The keys of the source before and after a reload.
pub const OLD: &str = "whsec_5f0c8a6de2b94a13";
pub const NEW: &str = "whsec_94a135f0c8a6de2b";

const NOW: UnixTime = UnixTime::from_secs(1_784_187_600);
const BODY: &[u8] = br#"{"id":"evt_1","event":"task.succeeded"}"#;

#[derive(Debug)]
struct StandingClock;

impl Clock for StandingClock {
    fn now(&self) -> UnixTime {
        NOW
    }
}

/// Creates a gate with `store`.
pub fn gate<S: ReplayStore>(store: S) -> Gate<S> {
    Gate::builder(store).clock(StandingClock).build()
}

/// Returns a source that verifies with `key`.
pub fn source(key: &str) -> Arc<Source> {
    let provider = provider();
    let secret = Secret::new(key).expect("a secret");
    let verifier = Verifier::builder(provider.scheme()).key(secret).build();
    let verifier = verifier.expect("the secret fits");
    Arc::new(
        Source::builder("beatapi", verifier)
            .provider(&provider)
            .build(),
    )
}

/// Returns the headers of a delivery of the event that `key` signs.
pub fn headers(key: &str) -> HeaderMap {
    let secret = Secret::new(key).expect("a secret");
    let signer = Signer::new(provider().scheme(), &secret).expect("the secret fits");
    signer
        .sign(BODY, NOW, None)
        .expect("the delivery is signed")
}

fn provider() -> Provider {
    Provider::named("beatapi").expect("the catalogue has the provider")
}

/// Returns the head of a delivery with these headers.
pub fn head(headers: &HeaderMap) -> Head<'_> {
    static ROOT: LazyLock<Uri> = LazyLock::new(Uri::default);
    Head::new(&Method::POST, &ROOT, headers)
}

/// The body of the delivery, in one chunk.
#[derive(Debug)]
pub struct Body(bool);

impl Body {
    pub fn new() -> Self {
        Self(false)
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::new()
    }
}

impl BodySource for Body {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        // Another thread can run before the body arrives.
        shuttle::future::yield_now().await;
        let is_first = !std::mem::replace(&mut self.0, true);
        Ok(is_first.then(|| Bytes::from_static(BODY).into()))
    }
}

/// Admits a delivery with `headers`.
///
/// # Errors
///
/// Returns the refusal of the gate.
pub async fn admit<S: ReplayStore>(
    gate: &Gate<S>,
    source: &Source,
    headers: &HeaderMap,
) -> Result<Admission<S>, Refusal> {
    let head = gate.begin(source, head(headers), None)?;
    gate.admit(head.receive(&mut Body::new()).await?).await
}
