//! Runs the conformance suite on the reference implementation.

use hookgate_queue::conformance::{self, PausedClock};

conformance::suite!(paused, async |limits| PausedClock::memory(limits));
