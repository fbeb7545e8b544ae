//! Claims that turn out to be nobody's.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout};

use super::link::Conn;
use super::script::{Answer, SETTLE};
use super::{Inner, RedisStore, token_text};
use crate::store::{Lease, Settled};

/// Gives a claim back when it turns out that nobody holds it: its answer was
/// lost, came too late, or its asker went away. Otherwise the event would be
/// refused until its lease ends, which may be as long as it would be remembered.
pub(super) struct GiveBack {
    store: RedisStore,
    /// As if it had been granted.
    lease: Lease,
    /// For how long nobody else can claim it.
    length: Duration,
    sent: Vec<Conn>,
}

impl GiveBack {
    /// How many are under way at most; the leases of others run out.
    pub(super) const PLACES: usize = 4096;

    /// How long a server is waited for that has the claim.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Between two tries after that: at first, and at most.
    const FIRST_PAUSE: Duration = Duration::from_millis(100);
    const LONGEST_PAUSE: Duration = Duration::from_secs(10);

    pub(super) fn new(store: &RedisStore, lease: Lease, length: Duration) -> Self {
        Self {
            store: store.clone(),
            lease,
            length,
            sent: Vec::new(),
        }
    }

    pub(super) fn sent(&mut self, conn: &Conn) {
        self.sent.push(conn.clone());
    }

    /// The claim is somebody's to settle.
    pub(super) fn granted(mut self) {
        self.sent.clear();
    }

    /// The claim was not granted. An earlier try may be under way still.
    pub(super) fn refused(&mut self) {
        self.sent.pop();
    }
}

impl Drop for GiveBack {
    fn drop(&mut self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        for conn in self.sent.drain(..) {
            let Ok(place) = Arc::clone(&self.store.0.give_back).try_acquire_owned() else {
                return;
            };
            let open = Open {
                store: Arc::downgrade(&self.store.0),
                lease: self.lease.clone(),
                end: Instant::now() + self.length,
                _place: place,
            };
            runtime.spawn(open.give_back(conn));
        }
    }
}

/// A claim that nobody holds, or will be one when the server comes to it.
struct Open {
    store: Weak<Inner>,
    lease: Lease,
    end: Instant,
    _place: OwnedSemaphorePermit,
}

impl Open {
    async fn give_back(self, conn: Conn) {
        if self.is_released_over(conn).await {
            return;
        }
        let mut pause = GiveBack::FIRST_PAUSE;
        let mut was_absent = false;
        while Instant::now() + pause < self.end {
            sleep(pause).await;
            pause = (2 * pause).min(GiveBack::LONGEST_PAUSE);
            let Some(store) = self.store.upgrade().map(RedisStore) else {
                return;
            };
            match store.settle(&self.lease, None).await {
                // What lies in a connection that broke may be read after another was opened, but
                // not long after: a server that answers reads them all.
                Ok(Settled::Stale) if !was_absent => was_absent = true,
                Ok(_) => return,
                Err(_) => was_absent = false,
            }
        }
    }

    /// Over the connection that the claim went over, the release cannot overtake it. Whether
    /// it arrived.
    async fn is_released_over(&self, mut conn: Conn) -> bool {
        let Some(store) = self.store.upgrade().map(RedisStore) else {
            return true;
        };
        let key = store.0.config.key(self.lease.key());
        let token = token_text(self.lease.token());
        let arguments = store.settlement(self.lease.key(), &token, None, false);
        // Nobody has to wait for this to be rid of the store.
        drop(store);
        let keys = [key.as_str()];
        let release = SETTLE.run(&mut conn.wire, &keys, &arguments);
        match timeout(GiveBack::PATIENCE, release).await {
            Ok(Ok(value)) => Answer::read(value, &token).is_ok(),
            _ => false,
        }
    }
}
