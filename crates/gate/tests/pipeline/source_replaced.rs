//! Tests of the rule that only the current source forwards a delivery, acknowledges a
//! duplicate or responds to a handshake. A reload can replace the source
//! of a delivery while its body arrives, or while it waits for another delivery of its event.
//! A removed key must stop counting at once (CVE-2026-45005).

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hookgate_core::{Head, Key, Provider, Secret, Signer, Verified, Verifier, VerifyError};
use hookgate_gate::{
    AcceptedHead, Admission, CheckedRequest, Delivery, Gate, InboundRequest, ObservedVerdict,
    Outcome, Reason, Refusal, Source, SourceBuilder,
};
use hookgate_replay::{MemoryStore, ReplayStore};
use http::{HeaderMap, Method, StatusCode, Uri};
use tokio::time::sleep;

use crate::support::{BODY, Step, Steps, TestClock};

/// The two keys: their ids and their secrets.
const OLD: (&str, &str) = ("old", "whsec_5f0c8a6de2b94a13");
const NEW: (&str, &str) = ("new", "whsec_94a135f0c8a6de2b");

/// How long a body takes to arrive. The reload comes at half of it.
const BODY_TIME: Duration = Duration::from_secs(1);

/// A request of Zoom's handshake. The response is signed with the key.
const HANDSHAKE: &[u8] =
    br#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;

/// Whether a request notices that its source was replaced. The control does not.
#[derive(Clone, Copy, Debug)]
enum Notices {
    /// A reload, whenever it looks.
    AReloadEachTime,
    Reloads,
    Nothing,
}

/// A gate, and the source as the latest reload left it.
struct Reloadable {
    gate: Gate<MemoryStore>,
    current: Mutex<Option<Arc<Source>>>,
}

impl Reloadable {
    fn new(source: Source) -> Arc<Self> {
        let gate = Gate::builder(MemoryStore::new()).clock(TestClock::new());
        Arc::new(Self {
            gate: gate.build(),
            current: Mutex::new(Some(Arc::new(source))),
        })
    }

    fn current(&self) -> Option<Arc<Source>> {
        self.current.lock().unwrap().clone()
    }

    fn reload(&self, source: Option<Source>) {
        *self.current.lock().unwrap() = source.map(Arc::new);
    }

    /// Admits a delivery that is signed with `key` and whose body arrives at once.
    async fn admit_at_once(&self, key: (&str, &str)) -> Result<Admission<MemoryStore>, Refusal> {
        let mut request = Request::new(self, key, Steps::whole(BODY), Notices::Reloads);
        request.admit().await
    }

    async fn forwarded(&self, key: (&str, &str)) -> Delivery<MemoryStore> {
        match self.admit_at_once(key).await {
            Ok(Admission::Forward(delivery)) => delivery,
            other => panic!("expected to forward, got {other:?}"),
        }
    }

    /// Admits a delivery that is signed with `key`, and replaces the source by `after` while
    /// the body arrives. Returns the decision and the calls of the request's callbacks.
    async fn reload_during_body(
        &self,
        key: (&str, &str),
        after: Option<Source>,
        notices: Notices,
    ) -> (Result<Admission<MemoryStore>, Refusal>, Vec<String>) {
        let request = Request::new(self, key, slowly(BODY), notices);
        self.reload_during(request, after).await
    }

    /// Admits `request`, and replaces the source by `after` while the body arrives.
    async fn reload_during(
        &self,
        mut request: Request<'_>,
        after: Option<Source>,
    ) -> (Result<Admission<MemoryStore>, Refusal>, Vec<String>) {
        let reload = async {
            sleep(BODY_TIME / 2).await;
            self.reload(after);
        };
        let (admission, ()) = tokio::join!(request.admit(), reload);
        (admission, request.observed)
    }
}

/// A request whose source is the current one of a [`Reloadable`].
struct Request<'g> {
    reloadable: &'g Reloadable,
    headers: HeaderMap,
    body: Steps,
    notices: Notices,
    observed: Vec<String>,
}

impl<'g> Request<'g> {
    fn new(
        reloadable: &'g Reloadable,
        (_, secret): (&str, &str),
        body: Steps,
        notices: Notices,
    ) -> Self {
        let signer = Signer::new(beatapi().scheme(), &Secret::new(secret).unwrap()).unwrap();
        let now = reloadable.gate.clock().now();
        Self {
            reloadable,
            headers: signer.sign(BODY, now, None).unwrap(),
            body,
            notices,
            observed: Vec::new(),
        }
    }

    /// Creates a request of Zoom's handshake.
    fn handshake(reloadable: &'g Reloadable, (_, secret): (&str, &str), notices: Notices) -> Self {
        let zoom = Provider::named("zoom").unwrap();
        let signer = Signer::new(zoom.scheme(), &Secret::new(secret).unwrap()).unwrap();
        let now = reloadable.gate.clock().now();
        Self {
            reloadable,
            headers: signer.sign(HANDSHAKE, now, None).unwrap(),
            body: slowly(HANDSHAKE),
            notices,
            observed: Vec::new(),
        }
    }

    async fn admit(&mut self) -> Result<Admission<MemoryStore>, Refusal> {
        let mut source = self.reloadable.current().unwrap();
        self.reloadable.gate.admit_current(&mut source, self).await
    }
}

impl InboundRequest for Request<'_> {
    type Route = Arc<Source>;

    fn head(&self) -> Head<'_> {
        static URI: LazyLock<Uri> = LazyLock::new(Uri::default);
        Head::new(&Method::POST, &URI, &self.headers)
    }

    fn declared_len(&self) -> Option<u64> {
        None
    }

    fn receive<'s>(
        &mut self,
        head: AcceptedHead<'s>,
    ) -> impl Future<Output = Result<CheckedRequest<'s>, Refusal>> + Send {
        head.receive(&mut self.body)
    }

    fn is_current(&self, source: &Arc<Source>) -> bool {
        match (self.notices, self.reloadable.current()) {
            (Notices::Nothing, _) => true,
            (Notices::AReloadEachTime, _) => false,
            (Notices::Reloads, Some(current)) => Arc::ptr_eq(&current, source),
            (Notices::Reloads, None) => false,
        }
    }

    async fn find_route(&mut self) -> Result<Arc<Source>, Refusal> {
        let current = self.reloadable.current();
        current.ok_or_else(|| Reason::SourceUnknown.into())
    }

    fn on_routed(&mut self, _: &Arc<Source>) {
        self.observed.push("routed".to_owned());
    }

    fn on_checked(&mut self) {
        self.observed.push("checked".to_owned());
    }

    fn on_verified(&mut self, _: &Arc<Source>, verified: &Verified) {
        let key_id = verified.key_id();
        self.observed.push(format!("verified by {key_id}"));
    }

    fn on_admitted(&mut self) {
        self.observed.push("admitted".to_owned());
    }
}

/// Returns a body that takes [`BODY_TIME`] to arrive.
fn slowly(body: &'static [u8]) -> Steps {
    let (start, rest) = body.split_at(5);
    Steps::of([
        Step::Chunk(start),
        Step::Sleep(BODY_TIME),
        Step::Chunk(rest),
    ])
}

fn beatapi() -> Provider {
    Provider::named("beatapi").unwrap()
}

/// Starts to build a source that accepts these keys.
fn with_keys(keys: &[(&str, &str)]) -> SourceBuilder {
    of_provider(&beatapi(), keys)
}

/// Starts to build a source of `provider` that accepts these keys.
fn of_provider(provider: &Provider, keys: &[(&str, &str)]) -> SourceBuilder {
    let mut verifier = Verifier::builder(provider.scheme());
    for (id, secret) in keys {
        verifier = verifier.key(Key::new(Secret::new(*secret).unwrap()).id(*id));
    }
    Source::builder(provider.name(), verifier.build().unwrap()).provider(provider)
}

fn source(keys: &[(&str, &str)]) -> Source {
    with_keys(keys).build()
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_removed_while_the_body_arrives_stops_counting() {
    let reloadable = Reloadable::new(source(&[OLD]));
    let after = Some(source(&[NEW]));
    let (admission, observed) = reloadable
        .reload_during_body(OLD, after, Notices::Reloads)
        .await;
    let refusal = admission.unwrap_err();
    let mismatch = Reason::Verify(VerifyError::SignatureMismatch);
    // The sender may have signed for the other source, so it is asked to retry.
    assert_eq!(
        (refusal.reason(), refusal.status()),
        (mismatch, StatusCode::SERVICE_UNAVAILABLE)
    );
    assert_eq!(observed, ["routed", "checked", "routed", "checked"]);
    assert_eq!(reloadable.gate.store().entries(), Some(0));

    // The control: a request that does not notice the reload is forwarded.
    let reloadable = Reloadable::new(source(&[OLD]));
    let after = Some(source(&[NEW]));
    let (admission, observed) = reloadable
        .reload_during_body(OLD, after, Notices::Nothing)
        .await;
    assert!(matches!(admission, Ok(Admission::Forward(_))));
    assert_eq!(
        observed,
        ["routed", "checked", "verified by old", "admitted"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_removed_while_the_delivery_waits_stops_counting() {
    let reloadable = Reloadable::new(source(&[OLD, NEW]));
    for (notices, is_forwarded) in [(Notices::Reloads, false), (Notices::Nothing, true)] {
        reloadable.reload(Some(source(&[OLD, NEW])));
        let first = reloadable.forwarded(OLD).await;
        let mut second = Request::new(&reloadable, OLD, Steps::whole(BODY), notices);
        let reload = async {
            sleep(Duration::from_secs(1)).await;
            reloadable.reload(Some(source(&[NEW])));
            first.settle(Outcome::Failed).await;
        };
        let (admission, ()) = tokio::join!(second.admit(), reload);
        assert_eq!(admission.is_ok(), is_forwarded, "{notices:?}");
        drop(admission);
        // Its claim is released: a delivery that the current source accepts is forwarded.
        drop(reloadable.forwarded(NEW).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_delivery_whose_key_stays_is_forwarded_by_the_new_source() {
    let reloadable = Reloadable::new(source(&[OLD]));
    let after = Some(source(&[NEW, OLD]));
    let (admission, observed) = reloadable
        .reload_during_body(OLD, after, Notices::Reloads)
        .await;
    assert!(matches!(admission, Ok(Admission::Forward(_))));
    let verified = "verified by old";
    assert_eq!(
        observed,
        [
            "routed", "checked", "routed", "checked", verified, "admitted"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_delivery_for_the_new_source_is_asked_to_retry() {
    let reloadable = Reloadable::new(source(&[OLD]));
    let after = Some(source(&[NEW]));
    let (admission, _) = reloadable
        .reload_during_body(NEW, after, Notices::Reloads)
        .await;
    let status = admission.unwrap_err().status();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reloadable.admit_at_once(NEW).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_enforces_decides_about_a_request_that_was_only_observed() {
    for (key, is_forwarded) in [(OLD, false), (NEW, true)] {
        let observing = with_keys(&[OLD]).with_insecure_observe_mode().build();
        let reloadable = Reloadable::new(observing);
        let after = Some(source(&[NEW]));
        let (admission, _) = reloadable
            .reload_during_body(key, after, Notices::Reloads)
            .await;
        let found = matches!(admission, Ok(Admission::Forward(_)));
        assert_eq!(found, is_forwarded, "{key:?}: {admission:?}");
    }
    // The control: without a reload, the source that observes forwards both.
    let reloadable = Reloadable::new(with_keys(&[OLD]).with_insecure_observe_mode().build());
    for (key, is_genuine) in [(OLD, true), (NEW, false)] {
        let Ok(Admission::Observed(observed)) = reloadable.admit_at_once(key).await else {
            panic!("expected to observe");
        };
        let verdict = observed.verdict();
        assert_eq!(verdict == ObservedVerdict::Genuine, is_genuine, "{key:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_removed_while_the_body_arrives_is_unknown() {
    let reloadable = Reloadable::new(source(&[OLD]));
    let (admission, _) = reloadable
        .reload_during_body(OLD, None, Notices::Reloads)
        .await;
    assert_eq!(admission.unwrap_err().reason(), Reason::SourceUnknown);
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_signs_no_response_to_a_handshake() {
    let zoom = Provider::named("zoom").unwrap();
    let reloadable = Reloadable::new(of_provider(&zoom, &[OLD]).build());
    let request = Request::handshake(&reloadable, OLD, Notices::Reloads);
    let after = of_provider(&zoom, &[NEW]).build();
    let (admission, observed) = reloadable.reload_during(request, Some(after)).await;
    let refusal = admission.unwrap_err();
    assert_eq!(
        (refusal.reason(), refusal.status()),
        (Reason::SourceUnavailable, StatusCode::SERVICE_UNAVAILABLE)
    );
    assert_eq!(observed, ["routed", "checked"]);
    // The retry gets its response, by a key of the new source.
    let mut retry = Request::handshake(&reloadable, NEW, Notices::Reloads);
    assert!(matches!(retry.admit().await, Ok(Admission::Handshake(_))));

    // The control: a request that does not notice the reload gets the response.
    let reloadable = Reloadable::new(of_provider(&zoom, &[OLD]).build());
    let request = Request::handshake(&reloadable, OLD, Notices::Nothing);
    let after = of_provider(&zoom, &[NEW]).build();
    let (admission, _) = reloadable.reload_during(request, Some(after)).await;
    assert!(matches!(admission, Ok(Admission::Handshake(_))));
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_source_is_replaced_without_end_is_asked_to_retry() {
    let reloadable = Reloadable::new(source(&[OLD]));
    let notices = Notices::AReloadEachTime;
    let mut request = Request::new(&reloadable, OLD, Steps::whole(BODY), notices);
    let refusal = request.admit().await.unwrap_err();
    assert_eq!(refusal.reason(), Reason::SourceUnavailable);
    assert_eq!(refusal.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reloadable.gate.store().entries(), Some(0));
}
