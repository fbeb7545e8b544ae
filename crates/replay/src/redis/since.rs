//! Since when the server remembers, and whether it still does.
//!
//! A server that was emptied, or started again without its data, looks like one that
//! has seen no event: every replay would pass. So there is an entry beside the events
//! that says since when there are any, and a claim looks at it in the same step. It has
//! no time to live; if it is gone, the events are.
//!
//! A server that has come back with older data has that entry. What it lost is what was
//! written last, and so the gate keeps a witness: the event that it has committed last.
//! If that is gone before its time, so may be everything that was done since nobody knows
//! when, and the server remembers only from now on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::future::join_all;
use hookgate_core::{ReplayKey, UnixTime};
use tokio::time::timeout;

use super::config::RedisConfig;
use super::script::{Answer, SINCE};
use super::wire::Wire;
use crate::store::StoreError;

/// What the gate knows of what the server remembers.
pub(super) struct Memory {
    config: Arc<RedisConfig>,
    shift: Arc<AtomicU64>,
    /// By the first byte of the key, each in a slot of a cluster: a cluster can lose the
    /// memory of one master, and a claim must ask no other.
    witnesses: [Mutex<Option<Witness>>; 256],
    /// A server has lost what it remembered, and has not been told so of every slot:
    /// telling it of one leaves nothing there that says so of the others.
    untold: AtomicBool,
}

/// The event that the gate has committed last.
struct Witness {
    key: ReplayKey,
    /// What the server has of it, which says until when.
    entry: String,
    /// When the gate was told that. Once the server remembers only since later, the
    /// witness says nothing more: what was signed before is refused anyway.
    told: UnixTime,
}

/// What scripts look at, after what else they are told.
pub(super) struct Evidence {
    /// The entry that says since when, and that of the witness, if there is one.
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<String>,
}

/// What is done about one slot.
#[derive(Clone, Copy)]
enum Look {
    Ask,
    /// It has lost what it remembered; a server loses of one slot as of all, and there is
    /// not a witness of all.
    Tell,
    /// Of a cluster, one master loses.
    AskAndTell,
}

impl Look {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Tell => "tell",
            Self::AskAndTell => "ask and tell",
        }
    }
}

impl Memory {
    pub(super) fn new(config: Arc<RedisConfig>, shift: Arc<AtomicU64>) -> Self {
        Self {
            config,
            shift,
            witnesses: [const { Mutex::new(None) }; 256],
            untold: AtomicBool::new(false),
        }
    }

    /// For the events whose key begins with `first`.
    pub(super) fn evidence(&self, first: u8) -> Evidence {
        let mut keys = vec![format!("{}:{{{first:02x}}}since", self.config.prefix)];
        let mut arguments = Vec::new();
        if let Some(witness) = &*self.witness(first) {
            keys.push(self.config.key(witness.key));
            arguments.push(witness.entry.clone());
            arguments.push(witness.told.secs().to_string());
        }
        Evidence { keys, arguments }
    }

    /// Remembers that the server has `entry` of the event.
    pub(super) fn committed(&self, key: ReplayKey, entry: String) {
        let told = now();
        *self.witness(key.as_bytes()[0]) = Some(Witness { key, entry, told });
    }

    /// By how many milliseconds the store's clock is ahead of the server's.
    pub(super) fn shift(&self) -> String {
        self.shift.load(Ordering::SeqCst).to_string()
    }

    /// Looks whether the server has all that it had, and has it remember from now on
    /// where it has not. Of a cluster, what cannot be looked at now is looked at by claims.
    ///
    /// # Errors
    ///
    /// The server could not be asked, or told, of every slot: nothing may be claimed.
    pub(super) async fn look(&self, wire: &Wire) -> Result<Answer, StoreError> {
        if let Wire::Cluster(_) = wire {
            let found = self.look_at_all(wire, Look::AskAndTell).await;
            let is_lost = found.iter().flatten().any(|found| *found == Answer::Lost);
            return Ok(if is_lost { Answer::Lost } else { Answer::Whole });
        }
        if !self.untold.load(Ordering::SeqCst) {
            let found = self.look_at_all(wire, Look::Ask).await;
            let found = found.into_iter().collect::<Result<Vec<_>, _>>()?;
            if !found.contains(&Answer::Lost) {
                return Ok(Answer::Whole);
            }
        }
        self.untold.store(true, Ordering::SeqCst);
        let told = self.look_at_all(wire, Look::Tell).await;
        told.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.untold.store(false, Ordering::SeqCst);
        Ok(Answer::Lost)
    }

    async fn look_at_all(&self, wire: &Wire, look: Look) -> Vec<Result<Answer, StoreError>> {
        join_all((0..=u8::MAX).map(|first| self.look_at(wire, first, look))).await
    }

    async fn look_at(&self, wire: &Wire, first: u8, look: Look) -> Result<Answer, StoreError> {
        let evidence = self.evidence(first);
        let keys: Vec<&str> = evidence.keys.iter().map(String::as_str).collect();
        let mut arguments = vec![
            now().secs().to_string(),
            look.as_str().to_owned(),
            self.shift(),
        ];
        arguments.extend(evidence.arguments);
        let mut wire = wire.clone();
        let answer = SINCE.run(&mut wire, &keys, &arguments);
        let answer = timeout(self.config.timeout, answer).await;
        let answer = answer.map_err(|_| StoreError::new("no answer in time"))?;
        Answer::read(answer.map_err(StoreError::new)?, "since")
    }

    /// Likewise at the slot of one event of a cluster.
    pub(super) async fn look_again(&self, wire: &Wire, first: u8) -> Result<Answer, StoreError> {
        self.look_at(wire, first, Look::AskAndTell).await
    }

    /// Tells operators.
    pub(super) fn cry_loss(&self) {
        tracing::error!(
            server = %self.config,
            prefix = self.config.prefix,
            "the replay store has lost what it remembered: it was emptied, or was started \
             again without its data, or has come back with older data than it had. What was \
             signed up to now is refused, as it may have been delivered before; a retry that \
             is signed anew is forwarded, even of an event that was done"
        );
    }

    fn witness(&self, first: u8) -> MutexGuard<'_, Option<Witness>> {
        let witness = self.witnesses[usize::from(first)].lock();
        witness.unwrap_or_else(PoisonError::into_inner)
    }
}

/// In seconds, as those have it who say when deliveries were signed.
fn now() -> UnixTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "other gates, and those after this one, go by it"
    )]
    let now = SystemTime::now();
    UnixTime::from(now)
}
