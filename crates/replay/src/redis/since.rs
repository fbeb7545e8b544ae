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

use std::sync::atomic::{AtomicU64, Ordering};
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

/// Whether it is known that the server has lost what it remembered.
#[derive(Clone, Copy)]
enum Loss {
    Known,
    Sought,
}

impl Memory {
    pub(super) fn new(config: Arc<RedisConfig>, shift: Arc<AtomicU64>) -> Self {
        Self {
            config,
            shift,
            witnesses: [const { Mutex::new(None) }; 256],
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
    /// where it has not. What cannot be looked at now is looked at by claims.
    pub(super) async fn look(&self, wire: &Wire) -> Answer {
        let found = self.look_at_all(wire, Loss::Sought).await;
        let is_lost = found.contains(&Answer::Lost);
        // A server loses of one as of all, and there is not a witness of all. Of a
        // cluster, one master does.
        if is_lost && found.contains(&Answer::Whole) && matches!(wire, Wire::Node(_)) {
            self.look_at_all(wire, Loss::Known).await;
        }
        match is_lost {
            true => Answer::Lost,
            false if found.contains(&Answer::Full) => Answer::Full,
            false => Answer::Whole,
        }
    }

    async fn look_at_all(&self, wire: &Wire, loss: Loss) -> Vec<Answer> {
        let looks = (0..=u8::MAX).map(|first| {
            let look = self.look_at(wire.clone(), first, loss);
            timeout(self.config.timeout, look)
        });
        let found = join_all(looks).await;
        found.into_iter().flatten().flatten().collect()
    }

    async fn look_at(&self, mut wire: Wire, first: u8, loss: Loss) -> Result<Answer, StoreError> {
        let evidence = self.evidence(first);
        let keys: Vec<&str> = evidence.keys.iter().map(String::as_str).collect();
        let mut arguments = vec![
            now().secs().to_string(),
            u8::from(matches!(loss, Loss::Known)).to_string(),
            self.shift(),
        ];
        arguments.extend(evidence.arguments);
        let answer = SINCE.run(&mut wire, &keys, &arguments).await;
        Answer::read(answer.map_err(StoreError::new)?, "since")
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
