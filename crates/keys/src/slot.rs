//! One document: its keys, their age, and the request that is under way.

use std::sync::Arc;
use std::time::Duration;

use hookgate_core::{FetchedKey, UnixTime};
use tokio::sync::watch;

use crate::document::NamedKey;
use crate::target::{Content, Target};

/// The least time between two requests for a document that lacks a key.
pub(crate) const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// The time after the first failure until the next request. Each further failure doubles the wait.
const FIRST_BACKOFF: Duration = Duration::from_secs(5);

/// The keys of a document.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) keys: Vec<NamedKey>,
    pub(crate) fetched: UnixTime,
    /// The age at which the document is fetched again.
    pub(crate) fresh_for: Duration,
}

/// The state of one document.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub(crate) loaded: Option<Arc<Loaded>>,
    /// The begin of the last request.
    pub(crate) attempted: UnixTime,
    /// Requests that failed since the last success.
    pub(crate) failures: u32,
    /// Closes when the request that is under way has ended.
    pub(crate) flight: Option<watch::Receiver<()>>,
    /// The last use of a key.
    pub(crate) used: UnixTime,
}

impl Loaded {
    /// Returns the key that `target` names.
    pub(crate) fn key(&self, target: &Target) -> Option<&FetchedKey> {
        let named = |id: &Option<String>| id.as_deref() == Some(&*target.key);
        match (target.content, &self.keys[..]) {
            (Content::OneKey, [(id, key)]) => (id.is_none() || named(id)).then_some(key),
            (Content::OneKey, _) => None,
            (Content::AllKeys, keys) => keys.iter().find(|(id, _)| named(id)).map(|(_, key)| key),
        }
    }

    /// Returns the use that the age of the keys allows. `keep` is the age up to which keys count in an
    /// outage.
    pub(crate) fn freshness(&self, keep: Duration, now: UnixTime) -> Freshness {
        match since(self.fetched, now) {
            // Three quarters of the age: the next document arrives before it is needed.
            Some(age) if age < self.fresh_for * 3 / 4 => Freshness::Fresh,
            Some(age) if age < self.fresh_for => Freshness::Due,
            Some(age) if age >= keep => Freshness::Expired,
            // With a clock that was set back, the keys could be of any age.
            Some(_) | None => Freshness::Stale,
        }
    }
}

/// The use of keys that their age allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    Fresh,
    /// The keys count, and their document should be fetched again meanwhile.
    Due,
    /// The keys count only if their document cannot be fetched again.
    Stale,
    /// The keys do not count.
    Expired,
}

impl Slot {
    pub(crate) fn new(now: UnixTime) -> Self {
        Self {
            loaded: None,
            attempted: now,
            failures: 0,
            flight: None,
            used: now,
        }
    }

    /// Returns the request that is under way.
    pub(crate) fn flight(&self) -> Option<watch::Receiver<()>> {
        // The channel of a task that panicked is closed.
        self.flight
            .clone()
            .filter(|flight| flight.has_changed().is_ok())
    }

    /// Whether a failure is long enough ago for another request.
    pub(crate) fn has_backed_off(&self, now: UnixTime) -> bool {
        let doubled = 1 << (self.failures.saturating_sub(1)).min(8);
        let backoff = (FIRST_BACKOFF * doubled).min(REFRESH_INTERVAL);
        self.failures == 0 || has_passed(self.attempted, backoff, now)
    }

    /// Whether the last request is long enough ago to ask for a key that the document lacks.
    pub(crate) fn may_have_new_keys(&self, now: UnixTime) -> bool {
        has_passed(self.attempted, REFRESH_INTERVAL, now)
    }
}

/// Returns the time from `start` to `now`; `None` if the clock was set back.
pub(crate) fn since(start: UnixTime, now: UnixTime) -> Option<Duration> {
    /// How far the clocks of deliveries at the same time may differ: a delivery reads the clock
    /// and then waits.
    const DIFFERENCE: i64 = 60_000;
    let milliseconds = now.millis().saturating_sub(start.millis());
    (milliseconds > -DIFFERENCE)
        .then(|| Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0)))
}

/// Whether `wait` has passed since `start`, or the clock was set back.
pub(crate) fn has_passed(start: UnixTime, wait: Duration, now: UnixTime) -> bool {
    since(start, now).is_none_or(|passed| passed >= wait)
}
