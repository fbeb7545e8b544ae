//! [`Pause`]: growing pauses while a call fails.

use std::time::Duration;

/// Doubles the pause after each failure, from 100 ms to 10 s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pause(Duration);

impl Pause {
    const FIRST: Duration = Duration::from_millis(100);
    const MAX: Duration = Duration::from_secs(10);

    pub(super) const fn new() -> Self {
        Self(Self::FIRST)
    }

    /// Returns the pause after another failure.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (2 * pause).min(Self::MAX);
        pause
    }
}
