//! The source of the time of day, so that tests can set it.

use std::fmt;
use std::time::{Instant, SystemTime};

use hookgate_core::UnixTime;

/// A clock that the gate reads the time of day from.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> UnixTime;

    /// Returns a time that a step of the time of day does not move. The boot fence measures the time
    /// since the start by it.
    ///
    /// The default is the steady clock of the machine.
    fn steady(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the whole program reads the time of day here, so that tests can replace it"
    )]
    fn now(&self) -> UnixTime {
        SystemTime::now().into()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> UnixTime {
        (**self).now()
    }

    fn steady(&self) -> Instant {
        (**self).steady()
    }
}
