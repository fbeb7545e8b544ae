//! [`LeaseRenewal`]: keeps other workers from an entry while its attempt lasts.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::error_log::ErrorLog;
use super::pause::Pause;
use crate::entry::EntryLease;
use crate::store::{Changed, QueueStore};

/// The part of the lease that is left for recording the result of an attempt: an eighth, up to
/// this time.
const MAX_RESERVE: Duration = Duration::from_secs(5);

/// The longest lease and the longest run. The clock can express them.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The lease of an attempt.
pub(super) struct LeaseRenewal<'a, Q> {
    pub(super) queue: &'a Q,
    pub(super) lease: &'a EntryLease,
    pub(super) errors: &'a ErrorLog,
    /// The duration of the lease, and of each renewal.
    pub(super) duration: Duration,
    /// How long the lease is renewed.
    pub(super) max_run: Duration,
    /// The time at which the queue was asked for the entry.
    pub(super) leased_at: Instant,
}

impl<Q: QueueStore> LeaseRenewal<'_, Q> {
    /// Returns whether the attempt may begin.
    pub(super) fn is_open(&self) -> bool {
        Instant::now() < self.last_moment(self.leased_at)
    }

    /// Renews the lease after each third of its duration. Completes when the attempt must end.
    pub(super) async fn run(self) {
        let end = self.leased_at + self.max_run.min(MAX);
        let mut last_moment = self.last_moment(self.leased_at);
        let mut renew_at = self.leased_at + self.duration() / 3;
        while last_moment < end {
            sleep_until(renew_at).await;
            let Some(renewed_at) = self.renew_before(last_moment).await else {
                break;
            };
            last_moment = self.last_moment(renewed_at).min(end);
            renew_at = renewed_at + self.duration() / 3;
        }
        sleep_until(last_moment).await;
    }

    /// Renews the lease, and repeats that until the queue answers or the attempt must end. Returns
    /// the time of the call, or `None` if the lease is not renewed.
    async fn renew_before(&self, last_moment: Instant) -> Option<Instant> {
        let mut pause = Pause::new();
        loop {
            let asked = Instant::now();
            let renewing = self.queue.renew(self.lease, self.duration());
            match timeout_at(last_moment, renewing).await.ok()? {
                Ok(Changed::Yes) => return Some(asked),
                Ok(Changed::No) => return None,
                Err(error) => self.errors.log(&error, "renewing the lease of an attempt"),
            }
            let pause = pause.next();
            if Instant::now() + pause >= last_moment {
                return None;
            }
            sleep(pause).await;
        }
    }

    /// Returns the time at which an attempt must end whose lease began at `leased_at`.
    fn last_moment(&self, leased_at: Instant) -> Instant {
        let duration = self.duration();
        leased_at + duration - MAX_RESERVE.min(duration / 8)
    }

    fn duration(&self) -> Duration {
        self.duration.min(MAX)
    }
}
