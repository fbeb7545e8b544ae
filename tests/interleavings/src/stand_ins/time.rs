//! A clock that stands still until a model advances it.

use std::cell::Cell;
use std::ops::{Add, AddAssign, Sub};
use std::sync::LazyLock;
use std::time::Duration;

std::thread_local! {
    /// All threads of a model are coroutines of one thread.
    static NOW: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// The moment at which the clock of every model starts.
static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

/// Sets the clock to its start.
pub fn reset() {
    NOW.set(Duration::ZERO);
}

pub fn advance(by: Duration) {
    NOW.set(NOW.get() + by);
}

/// A moment, like that of `tokio::time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(Duration);

impl Instant {
    pub fn now() -> Self {
        Self(NOW.get())
    }

    pub fn elapsed(self) -> Duration {
        Self::now() - self
    }

    pub fn saturating_duration_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }

    pub fn into_std(self) -> std::time::Instant {
        *START + self.0
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self(self.0 + duration)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, duration: Duration) {
        self.0 += duration;
    }
}

impl Sub for Instant {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.saturating_duration_since(earlier)
    }
}
