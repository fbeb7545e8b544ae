//! Tests of the retention that keeps every replay out.
//!
//! A captured delivery arrives for the first time at each second that the window accepts, each
//! time at a source of its own. It is then replayed at that source every second for 1 400 s.
//! Verification depends only on the bytes and the time, so it runs once a second for all
//! sources; each source makes its own claim. The retention runs by a monotonic clock, and the
//! window by wall clocks, which may be wrong. A first delivery arrives at the start of its
//! second, and a replay at the end of its second.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use hookgate_core::{
    Head, Identity, Provider, ReplayKey, ReplayScope, Secret, Signer, UnixTime, Verified, Verifier,
    Window,
};
use hookgate_gate::Source;
use hookgate_replay::{Claim, ClaimOptions, MemoryStore, ReplayStore, Settled};
use http::{HeaderMap, Method, Uri};
use tokio::time::advance;

const SIGNED: i64 = 1_784_187_600;
const REPLAYS: i64 = 1_400;

const EXACT: Clocks = Clocks { first: 0, later: 0 };
/// The clocks under which a delivery is acceptable for the longest time: the first process has
/// a clock that is ahead, and the later ones have clocks that are behind.
const WRONG: Clocks = Clocks {
    first: 30,
    later: -30,
};

#[tokio::test(start_paused = true)]
async fn no_replay_passes_within_the_security_retention() {
    for captured in [
        Captured::with_id(Window::DEFAULT),
        Captured::without_id(Window::DEFAULT),
    ] {
        for clocks in [EXACT, WRONG] {
            let accepted = captured.replays_accepted(secs(661), clocks).await;
            assert_eq!(accepted, 0, "{:?}, {clocks:?}", captured.identity);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_replay_passes_under_other_windows() {
    for (past, future) in [(300, 60), (0, 300), (0, 0)] {
        let window = Window::new(secs(past), secs(future));
        let retention = window.security_retention();
        let captured = Captured::with_id(window);
        assert_eq!(captured.replays_accepted(retention, WRONG).await, 0);
        // The control.
        let retention = retention - secs(1);
        assert_eq!(captured.replays_accepted(retention, WRONG).await, 1);
    }
}

/// The control: a retention that is one second shorter lets a replay in.
#[tokio::test(start_paused = true)]
async fn a_shorter_retention_lets_replays_in() {
    let captured = Captured::with_id(Window::DEFAULT);
    for (retention, clocks, is_hole) in [
        (300, EXACT, true),
        (600, EXACT, true),
        (601, EXACT, false),
        (601, WRONG, true),
        (660, WRONG, true),
    ] {
        let accepted = captured.replays_accepted(secs(retention), clocks).await;
        let what = format!("{retention} s, {clocks:?}: {accepted} accepted");
        assert_eq!(accepted > 0, is_hole, "{what}");
    }
}

#[test]
fn a_source_raises_a_retention_that_is_too_short() {
    for retention in [0, 300, 600, 660] {
        let captured = Captured::with_id(Window::DEFAULT);
        let source = Source::builder("a", captured.verifier).retention(secs(retention));
        assert_eq!(source.build().retention(), secs(661));
    }
}

/// The number of seconds by which the wall clocks are ahead.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    /// The clock of the process that accepts the delivery.
    first: i64,
    /// The clocks of the processes that the delivery is replayed to.
    later: i64,
}

/// A delivery that an attacker captured.
struct Captured {
    verifier: Verifier,
    headers: HeaderMap,
    body: Bytes,
    identity: Identity,
}

impl Captured {
    fn with_id(window: Window) -> Self {
        let body = br#"{"type":"invoice.paid"}"#;
        Self::new(
            "standard-webhooks",
            window,
            body,
            Some("msg_1"),
            Identity::Id,
        )
    }

    fn without_id(window: Window) -> Self {
        let body = b"command=%2Fdeploy&text=production";
        Self::new("slack", window, body, None, Identity::Exact)
    }

    fn new(
        provider: &str,
        window: Window,
        body: &'static [u8],
        id: Option<&str>,
        identity: Identity,
    ) -> Self {
        let provider = Provider::named(provider).unwrap();
        let scheme = provider.scheme();
        let secret = Secret::new("whsec_aG9va2dhdGUtcmV0ZW50aW9uLXRlc3Qta2V5").unwrap();
        let signer = Signer::new(scheme, &secret).unwrap();
        let headers = signer.sign(body, UnixTime::from_secs(SIGNED), id).unwrap();
        let verifier = Verifier::builder(scheme).key(secret).window(window);
        Self {
            verifier: verifier.build().unwrap(),
            headers,
            body: Bytes::from_static(body),
            identity,
        }
    }

    /// Returns the number of accepted replays, over all times of the first acceptance.
    async fn replays_accepted(&self, retention: Duration, clocks: Clocks) -> usize {
        let store = MemoryStore::new();
        let (mut sources, mut sent, mut accepted) = (Vec::new(), 0, 0);
        let first = self.moments();
        // `second` counts from the signature in true time.
        for second in first.start() - clocks.first..=first.end() - clocks.first + REPLAYS {
            let shown = second + clocks.first;
            if first.contains(&shown) {
                let verified = self
                    .verify(shown * 1_000)
                    .expect("the time is in the window");
                let key = key(&verified, shown);
                assert!(accepts(&store, key, retention).await);
                sources.push((second, shown, key));
            }
            advance(Duration::from_millis(999)).await;
            let verified = self.verify((second + clocks.later) * 1_000 + 999);
            if let (Some(verified), Some((_, shown, of))) = (&verified, sources.first()) {
                assert_eq!(key(verified, *shown), *of, "a replay is the same event");
            }
            for (since, _, key) in &sources {
                if second - since >= REPLAYS {
                    continue;
                }
                sent += 1;
                // Only a delivery that verifies reaches the store.
                if verified.is_some() && accepts(&store, *key, retention).await {
                    accepted += 1;
                }
            }
            advance(Duration::from_millis(1)).await;
        }
        let moments = first.end() - first.start() + 1;
        assert_eq!(sent, moments * REPLAYS, "every replay was sent");
        accepted
    }

    /// Returns the seconds after the signature at which the window accepts the delivery.
    fn moments(&self) -> RangeInclusive<i64> {
        let window = self.verifier.window();
        let seconds = |side: Duration| i64::try_from(side.as_secs()).unwrap();
        let moments = -seconds(window.future())..=seconds(window.past());
        assert!(self.verify((moments.start() - 1) * 1_000 + 999).is_none());
        assert!(self.verify((moments.end() + 1) * 1_000).is_none());
        moments
    }

    /// Verifies the delivery `after` milliseconds after its signature.
    fn verify(&self, after: i64) -> Option<Verified> {
        let (method, uri) = (Method::POST, Uri::from_static("/"));
        let head = Head::new(&method, &uri, &self.headers);
        let now = UnixTime::from_millis(SIGNED * 1_000 + after);
        let checked = self.verifier.verify(head, self.body.clone(), now).ok()?;
        let verified = checked.delivery().expect("no handshake");
        assert_eq!(verified.identity(), self.identity);
        Some(verified)
    }
}

/// Returns the replay key of the event at the source for this second.
fn key(verified: &Verified, moment: i64) -> ReplayKey {
    let scope = ReplayScope::new(&[&moment.to_string()]);
    verified.replay_keys(&scope)[0]
}

/// Returns whether a delivery is accepted. An accepted delivery is committed at once.
async fn accepts(store: &MemoryStore, key: ReplayKey, retention: Duration) -> bool {
    let options = ClaimOptions::new(secs(60), retention);
    match store.claim(key, options).await.unwrap() {
        Claim::Granted(lease) => {
            let settled = store.commit(&lease, retention).await.unwrap();
            assert_eq!(settled, Settled::Applied);
            true
        }
        Claim::Done => false,
        other => panic!("nothing else is under way: {other:?}"),
    }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
