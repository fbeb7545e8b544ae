//! For how long a delivery must be remembered so that no replay of it passes.
//!
//! The bytes of one delivery arrive for the first time at every second at which the
//! window lets them pass, at a source of its own for each, and again every second for
//! 1 400 s. Verification depends on nothing but the bytes and the time, so it runs once
//! a second for all sources; claims are made for each. Retention is measured in time
//! that passes, from the first whole second to the last moment of every other, and
//! the window on wall clocks, which may be wrong.

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
/// What makes bytes live longest: they are first seen by a clock that is ahead, and
/// later by one that is behind.
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
async fn no_replay_passes_another_window_either() {
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

/// The control: less is a hole, to the second.
#[tokio::test(start_paused = true)]
async fn replays_pass_if_the_retention_is_shorter() {
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
fn no_source_can_be_built_with_a_hole() {
    for retention in [0, 300, 600, 660] {
        let captured = Captured::with_id(Window::DEFAULT);
        let source = Source::builder("a", captured.verifier).retention(secs(retention));
        assert_eq!(source.build().retention(), secs(661));
    }
}

/// By how many seconds wall clocks are ahead.
#[derive(Clone, Copy, Debug)]
struct Clocks {
    /// That of the process that accepts the delivery.
    first: i64,
    /// That of those that it is replayed to.
    later: i64,
}

/// A delivery that somebody has recorded.
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

    /// How many replays are accepted, over all moments of first acceptance.
    async fn replays_accepted(&self, retention: Duration, clocks: Clocks) -> usize {
        let store = MemoryStore::new();
        let (mut sources, mut sent, mut accepted) = (Vec::new(), 0, 0);
        let first = self.moments();
        // Seconds from the signature on, by no clock in particular.
        for second in first.start() - clocks.first..=first.end() - clocks.first + REPLAYS {
            let shown = second + clocks.first;
            if first.contains(&shown) {
                let verified = self.verify(shown * 1_000).expect("it is in the window");
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
                // What does not verify does not reach the store.
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

    /// The seconds, from the signature on, at which a clock lets it pass.
    fn moments(&self) -> RangeInclusive<i64> {
        let window = self.verifier.window();
        let seconds = |side: Duration| i64::try_from(side.as_secs()).unwrap();
        let moments = -seconds(window.future())..=seconds(window.past());
        assert!(self.verify((moments.start() - 1) * 1_000 + 999).is_none());
        assert!(self.verify((moments.end() + 1) * 1_000).is_none());
        moments
    }

    /// Verifies it so many milliseconds after its signature.
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

/// The key of the event at the source of a moment.
fn key(verified: &Verified, moment: i64) -> ReplayKey {
    let scope = ReplayScope::new(&[&moment.to_string()]);
    verified.replay_keys(&scope)[0]
}

/// Whether a delivery is let through; if so, it is delivered at once.
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
