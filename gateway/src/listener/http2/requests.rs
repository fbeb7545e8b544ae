//! The requests in progress of one HTTP/2 connection. Together they decide whether the connection
//! may make room for another one.

use std::sync::Arc;

use tokio::sync::watch;

use crate::listener::connection_table::{Evicted, LastRequest, Slot, Stall};

/// The requests in progress of one connection.
pub(super) struct Requests {
    /// The lock of the sender keeps the counts and the slot consistent.
    counts: watch::Sender<Counts>,
    slot: Arc<Slot>,
}

/// How many requests are in progress.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) active: u32,
    /// The active requests that wait for more of their bodies.
    stalled: u32,
}

/// A request, which counts as active until it is dropped.
pub(super) struct ActiveRequest {
    requests: Arc<Requests>,
    pub(super) last_request: LastRequest,
}

impl Requests {
    pub(super) fn new(slot: &Arc<Slot>) -> Arc<Self> {
        Arc::new(Self {
            counts: watch::Sender::default(),
            slot: Arc::clone(slot),
        })
    }

    /// Returns the counts, which notify of each start and each end of a request.
    pub(super) fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.subscribe()
    }

    /// Counts a request.
    ///
    /// # Errors
    ///
    /// Returns [`Evicted`] if the connection must close.
    pub(super) fn start(self: &Arc<Self>) -> Result<ActiveRequest, Evicted> {
        let mut started = Ok(());
        self.counts.send_modify(|counts| {
            started = self.slot.start_request();
            counts.active += u32::from(started.is_ok());
        });
        started.map(|()| ActiveRequest {
            requests: Arc::clone(self),
            last_request: LastRequest::Unverified,
        })
    }
}

/// These changes send no notification: no receiver waits for the count of stalled requests.
impl Stall for ActiveRequest {
    fn stall(&self) {
        let Requests { counts, slot } = &*self.requests;
        counts.send_if_modified(|counts| {
            counts.stalled += 1;
            if counts.stalled == counts.active {
                slot.stall();
            }
            false
        });
    }

    fn resume(&self) -> Result<(), Evicted> {
        let Requests { counts, slot } = &*self.requests;
        let mut resumed = Ok(());
        counts.send_if_modified(|counts| {
            counts.stalled -= 1;
            resumed = slot.resume();
            false
        });
        resumed
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let Requests { counts, slot } = &*self.requests;
        counts.send_modify(|counts| {
            counts.active -= 1;
            if counts.active == 0 {
                slot.end_request(self.last_request, std::time::Instant::now());
            } else if counts.active == counts.stalled {
                slot.stall();
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use prometheus::IntGauge;

    use super::*;
    use crate::listener::connection_table::{BodyWait, ConnectionTable};

    /// Calls `test` with the requests of a connection, and a function that returns whether the
    /// connection makes room for another one.
    fn with_requests(test: impl FnOnce(&Arc<Requests>, &dyn Fn() -> bool)) {
        let table = ConnectionTable::default();
        let gauge = IntGauge::new("open", "open").expect("the name is valid");
        let client = "192.0.2.1".parse().expect("the address is valid");
        let open = table.open(&gauge, 1, Some(client), |_| {});
        let open = open.expect("a slot is free");
        let makes_room = || table.open(&gauge, 1, Some(client), |_| {}).is_some();
        test(&Requests::new(open.slot()), &makes_room);
    }

    #[test]
    fn a_connection_makes_room_once_all_its_requests_have_stalled() {
        with_requests(|requests, makes_room| {
            let first = requests.start().expect("the connection is open");
            let _first_wait = BodyWait::begin(&first);
            let second = requests.start().expect("the connection is open");
            assert!(!makes_room());
            let second_wait = BodyWait::begin(&second);
            assert!(makes_room());
            assert_eq!(second_wait.end(), Err(Evicted));
            assert!(requests.start().is_err());
        });
    }

    #[test]
    fn a_connection_makes_no_room_after_a_body_has_gone_on() {
        with_requests(|requests, makes_room| {
            let first = requests.start().expect("the connection is open");
            let second = requests.start().expect("the connection is open");
            let first_wait = BodyWait::begin(&first);
            let _second_wait = BodyWait::begin(&second);
            assert_eq!(first_wait.end(), Ok(()));
            assert!(!makes_room());
            drop(first);
            assert!(makes_room());
        });
    }

    #[test]
    fn a_wait_that_is_dropped_ends() {
        with_requests(|requests, makes_room| {
            let request = requests.start().expect("the connection is open");
            drop(BodyWait::begin(&request));
            assert!(!makes_room());
            drop(BodyWait::begin(&request));
            drop(request);
            assert!(makes_room());
        });
    }
}
