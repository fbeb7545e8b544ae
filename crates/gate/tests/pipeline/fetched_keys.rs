//! Deliveries whose keys are fetched: when the gate asks for a key, and the response without one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hookgate_core::{Chunk, Head, Scheme, Verifier, VerifyError};
use hookgate_gate::{
    Admission, BodyError, BodySource, Mode, ObservedVerdict, Outcome, Reason, SourceBuilder,
};
use hookgate_keys::{
    Document, DocumentRequest, FetchDocument, FetchError, FetchFuture, KeyFetcher, KeySettings,
};
use http::{HeaderMap, Method, Uri};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::support::{BODY, Fixture, Steps};

const SCHEME: &str = r#"
    alg  = "ecdsa-p256-sha256"
    sig  = { in = "header:x-signature", enc = "base64" }
    ts   = { in = "header:x-time", unit = "s" }
    msg  = "{ts}.{body}"
    id   = "json:/id"
    body = "json"
    keys = { fetch = "jwks", url = "https://keys.example.com/jwks", id = "header:x-key" }
"#;

/// A provider with one key, which may be out of reach.
#[derive(Debug)]
struct Provider {
    pair: EcdsaKeyPair,
    requests: AtomicUsize,
    is_down: bool,
    delay: Duration,
}

impl Provider {
    fn new(is_down: bool) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self {
            pair,
            requests: AtomicUsize::new(0),
            is_down,
            delay: Duration::ZERO,
        }
    }

    /// Returns the headers of a delivery of `body` that is signed at `now`.
    fn headers(&self, body: &[u8], now: i64) -> HeaderMap {
        let message = [now.to_string().as_bytes(), b".", body].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &message).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-signature", STANDARD.encode(signature).parse().unwrap());
        headers.insert("x-time", now.into());
        headers.insert("x-key", "a".parse().unwrap());
        headers
    }

    fn document(&self) -> String {
        let point = &self.pair.public_key().as_ref()[1..];
        let [x, y] = [&point[..32], &point[32..]].map(|half| URL_SAFE_NO_PAD.encode(half));
        format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","kid":"a"}}]}}"#)
    }
}

impl FetchDocument for Provider {
    fn fetch<'r>(&'r self, _: &'r DocumentRequest) -> FetchFuture<'r> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            tokio::time::sleep(self.delay).await;
            match self.is_down {
                true => Err(FetchError::TimedOut),
                false => Ok(Document::new(self.document())),
            }
        })
    }
}

/// A body from a client.
struct FromClient(IpAddr, Steps);

impl BodySource for FromClient {
    async fn chunk(&mut self) -> Result<Option<Chunk>, BodyError> {
        self.1.chunk().await
    }

    fn client(&self) -> Option<IpAddr> {
        Some(self.0)
    }
}

fn fixture(
    provider: &Arc<Provider>,
    adjust: impl FnOnce(SourceBuilder) -> SourceBuilder,
) -> Fixture {
    fixture_with(KeySettings::default(), provider, adjust)
}

fn fixture_with(
    settings: KeySettings,
    provider: &Arc<Provider>,
    adjust: impl FnOnce(SourceBuilder) -> SourceBuilder,
) -> Fixture {
    let scheme = Scheme::from_toml(SCHEME).unwrap();
    let keys = KeyFetcher::new("source", &scheme, settings, provider.clone());
    let verifier = Verifier::builder(&scheme).fetched_keys().build().unwrap();
    let source = SourceBuilder::keys(
        hookgate_gate::Source::builder("source", verifier),
        keys.unwrap(),
    );
    let mut fixture = Fixture::new();
    fixture.source = adjust(source).build();
    fixture
}

async fn reason(fixture: &Fixture, headers: &HeaderMap, body: &'static [u8]) -> Option<Reason> {
    let received = fixture
        .receive(Method::POST, headers, None, Steps::whole(body))
        .await;
    received.err().map(|refusal| refusal.reason())
}

#[tokio::test]
async fn a_captured_delivery_verifies_with_a_key_that_is_fetched() {
    let provider = Arc::new(Provider::new(false));
    let fixture = fixture(&provider, |source| source);
    let headers = provider.headers(BODY, super::support::NOW - 1_000_000);
    let uri = Uri::from_static("/hooks");
    let head = Head::new(&Method::POST, &uri, &headers);
    let (gate, source) = (&fixture.gate, &fixture.source);
    let verified = gate.verify_captured(source, head, BODY.into()).await;
    assert_eq!(verified.unwrap().key_id(), "a");
    assert_eq!(provider.requests.load(Ordering::SeqCst), 1);
    // The control: another key has signed this one.
    let headers = Provider::new(false).headers(BODY, super::support::NOW);
    let head = Head::new(&Method::POST, &uri, &headers);
    let refused = gate.verify_captured(source, head, BODY.into()).await;
    assert_eq!(
        refused.unwrap_err().reason(),
        Reason::Verify(VerifyError::SignatureMismatch)
    );
}

#[tokio::test]
async fn a_genuine_delivery_is_admitted_once() {
    let provider = Arc::new(Provider::new(false));
    let fixture = fixture(&provider, |source| source);
    let headers = provider.headers(BODY, super::support::NOW);
    for is_first in [true, false] {
        let received = fixture
            .receive(Method::POST, &headers, None, Steps::whole(BODY))
            .await;
        let received = received.unwrap();
        assert_eq!(received.verified().unwrap().key_id(), "a");
        match fixture.gate.admit(received).await.unwrap() {
            Admission::Forward(delivery) => {
                assert!(is_first);
                delivery.into_parts().1.settle(Outcome::Delivered).await;
            }
            Admission::Duplicate(_) => assert!(!is_first),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(provider.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nothing_is_fetched_for_a_delivery_that_fails_without_a_key() {
    let provider = Arc::new(Provider::new(false));
    let fixture = fixture(&provider, |source| source);
    let now = super::support::NOW;
    let good = provider.headers(BODY, now);
    let without = |name: &str| {
        let mut headers = good.clone();
        headers.remove(name);
        headers
    };
    for (headers, body, expected) in [
        (without("x-signature"), BODY, VerifyError::SignatureMissing),
        (without("x-time"), BODY, VerifyError::TimestampMissing),
        (without("x-key"), BODY, VerifyError::FieldMissing),
        (
            provider.headers(BODY, now - 301),
            BODY,
            VerifyError::TimestampTooOld,
        ),
        (
            provider.headers(b"text", now),
            b"text",
            VerifyError::FieldMalformed,
        ),
    ] {
        let found = reason(&fixture, &headers, body).await;
        assert_eq!(found, Some(Reason::Verify(expected)));
    }
    assert_eq!(provider.requests.load(Ordering::SeqCst), 0);
    // The control: a forged delivery that is well-formed does ask for its key.
    let forged = Provider::new(false).headers(BODY, now);
    let found = reason(&fixture, &forged, BODY).await;
    assert_eq!(found, Some(Reason::Verify(VerifyError::SignatureMismatch)));
    assert_eq!(provider.requests.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_key_that_cannot_be_had_is_a_503_and_a_hostile_name_too() {
    let now = super::support::NOW;
    for (is_down, key, expected) in [
        (true, "a", VerifyError::KeyUnavailable),
        (false, "b", VerifyError::KeyUnknown),
    ] {
        let provider = Arc::new(Provider::new(is_down));
        let fixture = fixture(&provider, |source| source);
        let mut headers = provider.headers(BODY, now);
        headers.insert("x-key", key.parse().unwrap());
        let refused = fixture
            .receive(Method::POST, &headers, None, Steps::whole(BODY))
            .await;
        let refusal = refused.unwrap_err();
        assert_eq!(refusal.reason(), Reason::Verify(expected));
        assert_eq!(refusal.status().as_u16(), 503);
    }
    // A source that was built without its fetcher has no key.
    let provider = Provider::new(false);
    let scheme = Scheme::from_toml(SCHEME).unwrap();
    let verifier = Verifier::builder(&scheme).fetched_keys().build().unwrap();
    let mut fixture = Fixture::new();
    fixture.source = hookgate_gate::Source::builder("source", verifier).build();
    let found = reason(&fixture, &provider.headers(BODY, now), BODY).await;
    assert_eq!(found, Some(Reason::Verify(VerifyError::KeyUnavailable)));
}

#[tokio::test]
async fn a_source_that_observes_forwards_a_delivery_whose_key_cannot_be_had() {
    let provider = Arc::new(Provider::new(true));
    let fixture = fixture(&provider, SourceBuilder::with_insecure_observe_mode);
    assert_eq!(fixture.source.mode(), Mode::Observe);
    let headers = provider.headers(BODY, super::support::NOW);
    let received = fixture
        .receive(Method::POST, &headers, None, Steps::whole(BODY))
        .await;
    let admission = fixture.gate.admit(received.unwrap()).await.unwrap();
    assert_eq!(admission.body().map(|body| &body[..]), Some(BODY));
    let Admission::Observed(observed) = admission else {
        panic!("an observed delivery");
    };
    assert!(matches!(
        observed.verdict(),
        ObservedVerdict::Refused(refusal)
            if refusal.reason() == Reason::Verify(VerifyError::KeyUnavailable)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_slow_key_host_does_not_let_a_delivery_outlive_its_window() {
    let mut slow = Provider::new(false);
    slow.delay = Duration::from_secs(2);
    let provider = Arc::new(slow);
    let fixture = fixture(&provider, |source| source);
    let headers = provider.headers(BODY, super::support::NOW - 299);
    let received = fixture.receive(Method::POST, &headers, None, Steps::whole(BODY));
    let clock = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        fixture.clock.advance(2);
    };
    let (received, ()) = tokio::join!(received, clock);
    let refusal = received.unwrap_err();
    assert_eq!(
        refusal.reason(),
        Reason::Verify(VerifyError::TimestampTooOld)
    );
}

/// Delivers `BODY` from `client`. Returns whether it was forwarded.
async fn deliver_from(fixture: &Fixture, client: IpAddr, headers: &HeaderMap) -> bool {
    let uri = Uri::from_static("/hooks");
    let head = Head::new(&Method::POST, &uri, headers);
    let accepted = fixture.gate.begin(&fixture.source, head, None).unwrap();
    let Ok(received) = accepted
        .receive(&mut FromClient(client, Steps::whole(BODY)))
        .await
    else {
        return false;
    };
    match fixture.gate.admit(received).await {
        Ok(Admission::Forward(delivery)) => {
            delivery.into_parts().1.settle(Outcome::Delivered).await;
            true
        }
        _ => false,
    }
}

#[tokio::test]
async fn a_replayed_delivery_wins_its_network_no_share_of_the_requests_for_keys() {
    let client = |number: u32| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
    let (genuine, replayer) = (client(1), client(2));
    let provider = Arc::new(Provider::new(false));
    // The sender chooses the document, so the budget bounds the requests.
    let settings = KeySettings::default().url("https://keys.example.com/{key}/jwks.json");
    let fixture = fixture_with(settings, &provider, |source| source);
    let headers = provider.headers(BODY, super::support::NOW);
    assert!(deliver_from(&fixture, genuine, &headers).await);
    assert!(!deliver_from(&fixture, replayer, &headers).await);
    let name = |name: String| {
        let mut headers = headers.clone();
        headers.insert("x-key", name.parse().unwrap());
        headers
    };
    for number in 0..100 {
        let hostile = name(format!("hostile-{number}"));
        assert!(!deliver_from(&fixture, client(1000 + number), &hostile).await);
    }
    let before = provider.requests.load(Ordering::SeqCst);
    for (client, requests) in [(replayer, 0), (genuine, 1)] {
        let other = name(format!("other-{requests}"));
        assert!(!deliver_from(&fixture, client, &other).await);
        let after = provider.requests.load(Ordering::SeqCst);
        assert_eq!(after - before, requests, "{client}");
    }
}
