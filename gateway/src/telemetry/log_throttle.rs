//! What is to be said once a minute, however often it happens.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Seldom {
    start: Instant,
    /// The minute in which it was said, counted from 1; 0 if it never was.
    said: AtomicU64,
}

impl Default for Seldom {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            said: AtomicU64::new(0),
        }
    }
}

impl Seldom {
    /// Whether it is to be said now. If so, it counts as said.
    pub(crate) fn is_due(&self) -> bool {
        self.is_due_after(self.start.elapsed())
    }

    fn is_due_after(&self, since: Duration) -> bool {
        let minute = since.as_secs() / MINUTE.as_secs() + 1;
        self.said.swap(minute, Ordering::Relaxed) != minute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_minute() {
        let seldom = Seldom::default();
        let said = |at| {
            let due = (0..50).map(|_| seldom.is_due_after(Duration::from_secs(at)));
            due.filter(|is_due| *is_due).count()
        };
        assert_eq!([said(0), said(1), said(61)], [1, 0, 1]);
    }
}
