//! Claims that turn out to be nobody's.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

use super::link::Conn;
use super::script::{Answer, SETTLE};
use super::wire::Wire;
use super::{Inner, RedisStore, token_text};
use crate::backoff::Backoff;
use crate::store::Lease;

/// Gives a claim back when it turns out that nobody holds it: its answer was
/// lost, came too late, or its asker went away. Otherwise the event would be
/// refused until its lease ends, which may be as long as it would be remembered.
pub(super) struct GiveBack {
    store: RedisStore,
    /// As if it had been granted.
    claimed: Lease,
    /// For how long nobody else can claim it.
    lease: Duration,
    /// The connections that it went over.
    pub(super) sent: Vec<Conn>,
}

impl GiveBack {
    /// How many are under way at most; the leases of others run out.
    pub(super) const PLACES: usize = 4096;

    /// How long an answer is waited for.
    const PATIENCE: Duration = Duration::from_secs(10);

    pub(super) fn new(store: &RedisStore, claimed: Lease, lease: Duration) -> Self {
        Self {
            store: store.clone(),
            claimed,
            lease,
            sent: Vec::new(),
        }
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
        if self.sent.is_empty() {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Ok(place) = Arc::clone(&self.store.0.give_back).try_acquire_owned() else {
            tracing::warn!(
                "a claim that failed is not given back, as too many are; its lease ends"
            );
            return;
        };
        let abandoned = Abandoned {
            store: Arc::downgrade(&self.store.0),
            claimed: self.claimed.clone(),
            _place: place,
        };
        runtime.spawn(abandoned.give_back(std::mem::take(&mut self.sent), self.lease));
    }
}

/// A claim that nobody holds, or one that will be when the server comes to it.
struct Abandoned {
    store: Weak<Inner>,
    claimed: Lease,
    _place: OwnedSemaphorePermit,
}

impl Abandoned {
    async fn give_back(self, sent: Vec<Conn>, lease: Duration) {
        let mut backoff = Backoff::until_lease_ends(lease);
        let mut is_open = false;
        for conn in sent.into_iter().rev() {
            // A connection to a node does not let the release overtake the claim; one to a
            // cluster may have become another.
            let is_in_order = matches!(conn.wire, Wire::Node(_));
            is_open |= match self.release_over(conn).await {
                Some(Answer::Stale) => !is_in_order,
                answer => answer.is_none(),
            };
        }
        let mut was_stale = false;
        while is_open && self.store.strong_count() > 0 && backoff.wait().await {
            let Some(conn) = self.other_connection().await else {
                continue;
            };
            match self.release_over(conn).await {
                // What lies in a connection that broke may be read after another was opened, but
                // not long after: a server that answers reads them all.
                Some(Answer::Stale) if !was_stale => was_stale = true,
                answer => is_open = answer.is_none(),
            }
        }
    }

    /// None while there is none.
    async fn other_connection(&self) -> Option<Conn> {
        let store = self.store.upgrade()?;
        store
            .link
            .conn(Instant::now() + GiveBack::PATIENCE)
            .await
            .ok()
    }

    /// What the server answered, if it did. The release says nothing of earlier ones: that the
    /// claim is not there is not to be taken for that it was given back.
    async fn release_over(&self, mut conn: Conn) -> Option<Answer> {
        let store = self.store.upgrade().map(RedisStore)?;
        let key = store.0.config.key(self.claimed.key());
        let token = token_text(self.claimed.token());
        let arguments = store.settlement(self.claimed.key(), &token, None, false);
        // Whoever drops the store is rid of it, whatever is waited for here.
        drop(store);
        let keys = [key.as_str()];
        let release = SETTLE.run(&mut conn.wire, &keys, &arguments);
        let answer = timeout(GiveBack::PATIENCE, release).await.ok()?.ok()?;
        Answer::read(answer, &token).ok()
    }
}
