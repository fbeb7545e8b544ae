//! [`DataLossDetector`]: notices when the server has lost events.
//!
//! A server that was emptied, or restarted without its data, looks like a server that has
//! seen no event, and every replay would pass. So the server stores an *epoch* beside the
//! events: the time since when it has remembered every event. The entry has no time to live.
//! A claim reads it in the same atomic step. If the entry is gone, so are the events.
//!
//! A server that has come back with older data has an epoch, but it lacks the latest writes.
//! So the gate keeps a *witness* in its own memory: the event that it committed last. If the
//! server does not have the witness, it may lack any number of events, and its epoch is moved
//! to the present.
//!
//! The operator can remove a done event, which may be the witness of any gate. The server
//! therefore keeps the values of removed events until their retention would have ended.
//!
//! There is one epoch and one witness for each first byte of a key, because the keys with one
//! first byte share a slot of a cluster.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use futures_util::future::join_all;
use hookgate_core::{ReplayKey, UnixTime};
use tokio::time::timeout;

use super::config::RedisConfig;
use super::connection::Connection;
use super::error::ScriptError;
use super::script::{EPOCH, Reply};

/// Keeps the witnesses of this gate, and probes the server for them.
pub(super) struct DataLossDetector {
    config: Arc<RedisConfig>,
    clock_shift: Arc<AtomicU64>,
    /// One witness for each first byte of a key. A cluster can lose the data of one master,
    /// and a claim must not need another node.
    witnesses: [Mutex<Option<Witness>>; 256],
    /// Whether a loss was found and its record is not yet complete. A slot whose new epoch is
    /// recorded looks intact, so a new probe would not find the loss in the other slots.
    is_record_incomplete: AtomicBool,
}

/// The event that this gate committed last.
struct Witness {
    key: ReplayKey,
    /// The value that the server must have for the key. It contains the end of the retention.
    entry: String,
    /// When the gate received the reply. A witness from before the server's epoch proves
    /// nothing, because deliveries signed before the epoch are refused anyway.
    committed_at: UnixTime,
}

/// The keys and arguments that a script needs to check one slot.
pub(super) struct Evidence {
    /// The key of the epoch. If there is a witness, also its key and that of the forgotten
    /// events.
    pub(super) keys: Vec<String>,
    pub(super) arguments: Vec<String>,
}

/// Whether the server has all events that it had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerData {
    /// The probe found nothing missing.
    Intact,
    Lost,
}

/// The kind of a probe.
#[derive(Clone, Copy)]
enum ProbeMode {
    /// Checks the slot and changes nothing.
    Check,
    /// Records a loss without a check. A single server loses the data of all slots, although
    /// only some slots have a witness.
    Record,
    /// Checks the slot and records a loss. In a cluster, each master loses data on its own.
    CheckAndRecord,
}

impl ProbeMode {
    fn as_str(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Record => "record",
            Self::CheckAndRecord => "check and record",
        }
    }
}

impl DataLossDetector {
    pub(super) fn new(config: Arc<RedisConfig>, clock_shift: Arc<AtomicU64>) -> Self {
        Self {
            config,
            clock_shift,
            witnesses: [const { Mutex::new(None) }; 256],
            is_record_incomplete: AtomicBool::new(false),
        }
    }

    /// Returns the evidence for events whose key begins with `first_byte`.
    pub(super) fn evidence(&self, first_byte: u8) -> Evidence {
        let mut keys = vec![format!("{}:{{{first_byte:02x}}}since", self.config.prefix)];
        let mut arguments = Vec::new();
        if let Some(witness) = &*self.witness(first_byte) {
            keys.push(self.config.key(witness.key));
            keys.push(self.config.forgotten_key(first_byte));
            arguments.push(witness.entry.clone());
            arguments.push(witness.committed_at.secs().to_string());
        }
        Evidence { keys, arguments }
    }

    /// Makes a committed event the witness of its slot. `entry` is the server's value.
    pub(super) fn set_witness(&self, key: ReplayKey, entry: String) {
        let committed_at = now();
        *self.witness(key.as_bytes()[0]) = Some(Witness {
            key,
            entry,
            committed_at,
        });
    }

    /// Removes the witnesses, because the server forgets their events on purpose.
    #[cfg(feature = "test-util")]
    pub(super) fn remove_witnesses(&self) {
        for witness in &self.witnesses {
            *witness.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// Returns the number of milliseconds to add to the server's clock, as a script argument.
    pub(super) fn clock_shift(&self) -> String {
        self.clock_shift.load(Ordering::SeqCst).to_string()
    }

    /// Checks all slots of the server, and moves their epoch to the present if data is lost.
    ///
    /// In a cluster, slots that cannot be reached now are left to the claims.
    ///
    /// # Errors
    ///
    /// Returns [`ScriptError`] if a single server does not answer for every slot. Nothing may
    /// be claimed then.
    pub(super) async fn probe(&self, connection: &Connection) -> Result<ServerData, ScriptError> {
        if let Connection::Cluster(_) = connection {
            let results = self
                .probe_all_slots(connection, ProbeMode::CheckAndRecord)
                .await;
            let is_lost = |data: &ServerData| *data == ServerData::Lost;
            return Ok(match results.iter().flatten().any(is_lost) {
                true => ServerData::Lost,
                false => ServerData::Intact,
            });
        }
        if !self.is_record_incomplete.load(Ordering::SeqCst) {
            let results = self.probe_all_slots(connection, ProbeMode::Check).await;
            let results = results.into_iter().collect::<Result<Vec<_>, _>>()?;
            if !results.contains(&ServerData::Lost) {
                return Ok(ServerData::Intact);
            }
        }
        self.is_record_incomplete.store(true, Ordering::SeqCst);
        let results = self.probe_all_slots(connection, ProbeMode::Record).await;
        results.into_iter().collect::<Result<Vec<_>, _>>()?;
        self.is_record_incomplete.store(false, Ordering::SeqCst);
        Ok(ServerData::Lost)
    }

    /// Checks the slot of the events whose key begins with `first_byte`, and records a loss.
    pub(super) async fn probe_slot(
        &self,
        connection: &Connection,
        first_byte: u8,
    ) -> Result<ServerData, ScriptError> {
        self.run_probe(connection, first_byte, ProbeMode::CheckAndRecord)
            .await
    }

    async fn probe_all_slots(
        &self,
        connection: &Connection,
        mode: ProbeMode,
    ) -> Vec<Result<ServerData, ScriptError>> {
        join_all((0..=u8::MAX).map(|first_byte| self.run_probe(connection, first_byte, mode))).await
    }

    async fn run_probe(
        &self,
        connection: &Connection,
        first_byte: u8,
        mode: ProbeMode,
    ) -> Result<ServerData, ScriptError> {
        let evidence = self.evidence(first_byte);
        let mut arguments = vec![
            now().secs().to_string(),
            mode.as_str().to_owned(),
            self.clock_shift(),
        ];
        arguments.extend(evidence.arguments);
        let mut connection = connection.clone();
        let reply = EPOCH.run(&mut connection, &evidence.keys, &arguments);
        let reply = match timeout(self.config.timeout, reply).await {
            Ok(reply) => reply.map_err(ScriptError::Redis)?,
            Err(_elapsed) => return Err(ScriptError::Timeout(self.config.timeout)),
        };
        match Reply::read(reply, "epoch")? {
            Reply::DataIntact => Ok(ServerData::Intact),
            Reply::DataLost => Ok(ServerData::Lost),
            _ => Err(ScriptError::Malformed),
        }
    }

    /// Logs a loss of data for the operator.
    pub(super) fn log_data_loss(&self) {
        tracing::error!(
            server = %self.config,
            prefix = self.config.prefix,
            "the replay store has lost events: the server was emptied, was restarted without its \
             data, or has come back with older data. Deliveries signed before now are refused, \
             because they may have been delivered before; a retry that is signed again is \
             forwarded, even if its event is done"
        );
    }

    fn witness(&self, first_byte: u8) -> MutexGuard<'_, Option<Witness>> {
        let witness = self.witnesses[usize::from(first_byte)].lock();
        witness.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the time in seconds, which is also the unit of the times in signatures.
fn now() -> UnixTime {
    #[expect(
        clippy::disallowed_methods,
        reason = "other gates, and later processes of this gate, compare this time with theirs"
    )]
    let now = SystemTime::now();
    UnixTime::from(now)
}
