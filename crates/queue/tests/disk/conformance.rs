//! The suite that every queue must pass.

use std::sync::Arc;
use std::time::Duration;

use hookgate_queue::conformance::{Harness, Limits, ProcessEnd};
use hookgate_queue::{DiskQueue, DiskQueueBuilder, TestClock};

use tempfile::TempDir;

use crate::support::*;

/// A queue, and the settings with which it is opened again.
struct Reopened {
    fixture: Fixture,
    builder: DiskQueueBuilder,
}

impl Reopened {
    fn new(limits: Limits) -> Self {
        let clock = Arc::new(TestClock::stopped());
        let builder = DiskQueue::builder()
            .max_bytes(limits.max_bytes)
            .max_bytes_per_source(limits.max_bytes_per_source)
            .keep_delivered(limits.keep_delivered)
            .with_test_clock(Arc::clone(&clock));
        Self::open(tempfile::tempdir().unwrap(), clock, builder)
    }

    fn open(folder: TempDir, clock: Arc<TestClock>, builder: DiskQueueBuilder) -> Self {
        let queue = builder.clone().open(folder.path()).unwrap();
        let fixture = Fixture {
            folder,
            clock,
            queue,
        };
        Self { fixture, builder }
    }
}

impl Harness for Reopened {
    type Queue = DiskQueue;

    const SLACK: Duration = Duration::ZERO;

    fn queue(&self) -> &DiskQueue {
        &self.fixture.queue
    }

    async fn advance(&self, duration: Duration) {
        self.fixture.advance(duration);
    }

    async fn reopen(self, end: ProcessEnd) -> Self {
        let Self { fixture, builder } = self;
        let Fixture {
            folder,
            clock,
            queue,
        } = fixture;
        match end {
            ProcessEnd::Stopped => drop(queue),
            // A killed process runs no destructor. `processes.rs` kills real ones.
            ProcessEnd::Killed => std::mem::forget(queue),
        }
        Self::open(folder, clock, builder)
    }
}

mod suite {
    use super::Reopened;

    hookgate_queue::conformance::suite!(real, async |limits| Reopened::new(limits));
}
