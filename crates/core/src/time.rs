//! Points in time, and the window in which a timestamp is accepted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::VerifyError;

/// A point in wall-clock time, in milliseconds since the Unix epoch.
///
/// Callers pass the current time as an argument, because this crate reads no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// Creates a time from the seconds since the Unix epoch. The result saturates far outside
    /// any window.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Creates a time from the milliseconds since the Unix epoch.
    pub const fn from_millis(milliseconds: i64) -> Self {
        Self(milliseconds)
    }

    /// Whole seconds since the Unix epoch.
    pub const fn secs(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Returns the time `duration` later.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// Returns the time `duration` earlier.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }
}

impl From<SystemTime> for UnixTime {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(millis(after)),
            Err(before) => Self(-millis(before.duration())),
        }
    }
}

/// How far a timestamp may be in the past and in the future. Both bounds are inclusive.
///
/// The default is 300 s in each direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    past: Duration,
    future: Duration,
}

impl Window {
    /// The default window of nearly every provider: five minutes in each direction.
    pub const DEFAULT: Self = Self {
        past: Duration::from_secs(300),
        future: Duration::from_secs(300),
    };

    /// Creates a window that accepts timestamps from `past` ago to `future` ahead.
    pub const fn new(past: Duration, future: Duration) -> Self {
        Self { past, future }
    }

    /// Returns the smallest window that contains both windows.
    pub(crate) fn widest(self, other: Self) -> Self {
        Self::new(self.past.max(other.past), self.future.max(other.future))
    }

    /// Greatest age of a timestamp.
    pub const fn past(self) -> Duration {
        self.past
    }

    /// Greatest distance of a timestamp into the future.
    pub const fn future(self) -> Duration {
        self.future
    }

    /// Returns for how long the bytes of one delivery can pass this window.
    ///
    /// The sum is: the past side, the future side, one second because a timestamp is a whole
    /// second, and 30 s of error for each of two clocks. A receiver that forgets a delivery
    /// earlier accepts its replay.
    pub fn security_retention(self) -> Duration {
        const CLOCK_ERROR: Duration = Duration::from_secs(30);
        self.past
            .saturating_add(self.future)
            .saturating_add(Duration::from_secs(1))
            .saturating_add(2 * CLOCK_ERROR)
    }

    /// Checks the timestamp `at` against the current time, at the sender's precision.
    pub(crate) fn check(
        self,
        at: UnixTime,
        now: UnixTime,
        precision: Precision,
    ) -> Result<(), VerifyError> {
        // A timestamp in whole seconds is compared in whole seconds. A delivery that is exactly
        // as old as the window allows then passes, whatever the fraction of the clock is.
        let age = match precision {
            Precision::Seconds => (now.secs().saturating_sub(at.secs())).saturating_mul(1000),
            Precision::Milliseconds => now.millis().saturating_sub(at.millis()),
        };
        if age > millis(self.past) {
            Err(VerifyError::TimestampTooOld)
        } else if age < -millis(self.future) {
            Err(VerifyError::TimestampTooNew)
        } else {
            Ok(())
        }
    }
}

impl Default for Window {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The precision of a sender's timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Precision {
    Seconds,
    Milliseconds,
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_is_inclusive_on_both_sides() {
        let now = UnixTime::from_millis(1_000_000_999);
        let check = |seconds: i64| {
            Window::DEFAULT.check(UnixTime::from_secs(seconds), now, Precision::Seconds)
        };
        assert_eq!(check(1_000_000 - 300), Ok(()));
        assert_eq!(check(1_000_000 + 300), Ok(()));
        assert_eq!(check(1_000_000 - 301), Err(VerifyError::TimestampTooOld));
        assert_eq!(check(1_000_000 + 301), Err(VerifyError::TimestampTooNew));
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        for now in [i64::MIN, -1, 0, i64::MAX] {
            for at in [i64::MIN, -1, 0, 99_999_999_999, i64::MAX] {
                let (at, now) = (UnixTime::from_secs(at), UnixTime::from_millis(now));
                for precision in [Precision::Seconds, Precision::Milliseconds] {
                    let _: Result<(), VerifyError> = Window::DEFAULT.check(at, now, precision);
                }
            }
        }
    }

    #[test]
    fn the_same_bytes_stay_acceptable_for_at_most_the_security_retention() {
        // A sender whose clock is 30 s ahead signs 300 s ahead of that clock. A receiver whose
        // clock is 30 s behind accepts the delivery until it is 300 s old.
        assert_eq!(
            Window::DEFAULT.security_retention(),
            Duration::from_secs(661)
        );
        let ever = Window::new(Duration::MAX, Duration::MAX).security_retention();
        assert_eq!(ever, Duration::MAX);
    }
}
