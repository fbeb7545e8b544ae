use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::VerifyError;

/// A moment in wall-clock time, in milliseconds since the Unix epoch.
///
/// Always passed in as an argument: this crate reads no clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(i64);

impl UnixTime {
    /// `seconds` since the Unix epoch; saturates far outside any window.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// `milliseconds` since the Unix epoch.
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

    /// This moment and `duration` more.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This moment less `duration`.
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

/// How far a timestamp may lie in the past and in the future, both inclusive.
///
/// The default is 300 s both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    past: Duration,
    future: Duration,
}

impl Window {
    /// The default of nearly every provider: five minutes both ways.
    pub const DEFAULT: Self = Self {
        past: Duration::from_secs(300),
        future: Duration::from_secs(300),
    };

    /// A window of `past` back and `future` ahead.
    pub const fn new(past: Duration, future: Duration) -> Self {
        Self { past, future }
    }

    /// The window that lets through what either does.
    pub(crate) fn widest(self, other: Self) -> Self {
        Self::new(self.past.max(other.past), self.future.max(other.future))
    }

    /// How old a timestamp may be.
    pub const fn past(self) -> Duration {
        self.past
    }

    /// How far ahead a timestamp may be.
    pub const fn future(self) -> Duration {
        self.future
    }

    /// For how long the bytes of one delivery can pass this window: both sides,
    /// one second because a timestamp is a whole second, and twice the error of
    /// the clocks (30 s each). Whoever forgets a delivery earlier lets its
    /// replay in.
    pub fn security_retention(self) -> Duration {
        const CLOCK_ERROR: Duration = Duration::from_secs(30);
        self.past
            .saturating_add(self.future)
            .saturating_add(Duration::from_secs(1))
            .saturating_add(2 * CLOCK_ERROR)
    }

    /// Checks `at` against the clock, in the sender's own `unit`.
    pub(crate) fn check(
        self,
        at: UnixTime,
        now: UnixTime,
        precision: Precision,
    ) -> Result<(), VerifyError> {
        // A timestamp in whole seconds is compared in whole seconds: a delivery
        // of exactly the window's age passes whatever the fraction of the clock.
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

/// How finely a sender's timestamps are grained.
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
    fn extremes_do_not_overflow() {
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
        // Signed 300 s ahead of a clock that is 30 s ahead, and replayed until it is
        // 300 s old for one that is 30 s behind.
        assert_eq!(
            Window::DEFAULT.security_retention(),
            Duration::from_secs(661)
        );
        let ever = Window::new(Duration::MAX, Duration::MAX).security_retention();
        assert_eq!(ever, Duration::MAX);
    }
}
