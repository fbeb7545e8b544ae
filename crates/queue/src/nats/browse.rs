//! Reads entries without leasing them.

use std::collections::HashMap;

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::{consumer, stream};
use futures_util::{StreamExt as _, TryStreamExt as _};
use hookgate_core::ReplayKey;
use tokio::time::Instant;

use super::clock::ServerTime;
use super::error::CallError;
use super::message::StoredEntry;
use super::names;
use super::server::{Server, Wanted};
use super::store::NatsQueue;
use crate::entry::{Entry, EntryId, EntryInfo, EntryState, Failure, FailureKind};
use crate::store::{EntryFilter, Page};

/// The number of messages that are read at a time, if they are small.
const READS_AT_A_TIME: u64 = 64;

/// The memory for messages that are read at a time, by their average size.
const READ_SPACE: u64 = 4 * 1024 * 1024;

/// How far the consumer of each source has come, by the name of the source.
pub(super) type Positions = HashMap<String, Position>;

/// How far a consumer has come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Position {
    /// The number of the last message that it has delivered.
    delivered: u64,
    /// Every message up to this number is settled. A server before NATS 2.10 that was killed may have
    /// such messages nevertheless, and delivers none of them.
    settled: u64,
}

/// An entry in one of the streams.
pub(super) enum Stored {
    /// The entry is no dead letter.
    Open(StoredEntry),
    /// The entry is a dead letter.
    Dead {
        entry: StoredEntry,
        /// The number of its message in the stream of dead letters.
        sequence: u64,
        /// Whether the stream of entries has its message, too.
        has_message: bool,
    },
}

/// Reads an entry. Reports a message that is none.
pub(super) fn read_message(message: &StreamMessage) -> Option<StoredEntry> {
    let time = ServerTime::from_nanos(message.time.unix_timestamp_nanos());
    let entry = StoredEntry::read(
        &message.subject,
        message.sequence,
        time,
        Some(&message.headers),
        &message.payload,
    );
    match entry {
        Ok(entry) => Some(entry),
        Err(error) => {
            let (subject, sequence) = (&message.subject, message.sequence);
            tracing::warn!(%error, %subject, sequence, "a message of the queue is left out");
            None
        }
    }
}

impl Server {
    async fn work_message(&self, id: EntryId) -> Result<Option<StoredEntry>, CallError> {
        let message = self.read(&self.work, Wanted::Number(id.0)).await?;
        Ok(message.and_then(|message| read_message(&message)))
    }

    /// Finds an entry. A dead letter comes first: the message of the entry may still be in the stream.
    pub(super) async fn find_entry(&self, id: EntryId) -> Result<Option<Stored>, CallError> {
        let work = self.work_message(id).await?;
        let dead = self.dead_message(id).await?;
        Ok(match (work, dead) {
            (None, None) => None,
            // After a deletion of the stream, another entry may have the same number.
            (Some(work), Some((dead, _))) if dead.stored_at != work.stored_at => {
                Some(Stored::Open(work))
            }
            (work, Some((entry, sequence))) => Some(Stored::Dead {
                entry,
                sequence,
                has_message: work.is_some(),
            }),
            (Some(work), None) => Some(Stored::Open(work)),
        })
    }

    async fn dead_message(&self, id: EntryId) -> Result<Option<(StoredEntry, u64)>, CallError> {
        let subject = self.names.dead_with_id(id);
        let wanted = Wanted::Last { subject: &subject };
        let message = self.read(&self.dead, wanted).await?;
        Ok(message.and_then(|message| Some((read_message(&message)?, message.sequence))))
    }

    pub(super) async fn find_consumer(
        &self,
        source: &str,
    ) -> Result<Option<consumer::Info>, CallError> {
        use async_nats::jetstream::ErrorCode;
        match self.consumer_info(source).await {
            Ok(info) => Ok(Some(info)),
            Err(CallError::Refused(error))
                if error.error_code() == ErrorCode::CONSUMER_NOT_FOUND =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) async fn consumer_info(&self, source: &str) -> Result<consumer::Info, CallError> {
        let name = names::consumer(source, self.stream_number());
        let call = format!("CONSUMER.INFO.{}.{name}", self.names.work);
        self.api(&call, &serde_json::json!({})).await
    }

    pub(super) async fn stream_info(&self, name: &str) -> Result<stream::Info, CallError> {
        let call = format!("STREAM.INFO.{name}");
        self.api(&call, &serde_json::json!({})).await
    }
}

impl NatsQueue {
    pub(super) async fn find(&self, key: ReplayKey) -> Result<Option<EntryInfo>, CallError> {
        let server = &self.server;
        let entry = match self.marked(key).await? {
            Some(entry) => Some(entry),
            None => {
                let subject = server.names.entries_with_key(key);
                let wanted = Wanted::Last { subject: &subject };
                let message = server.read(&server.work, wanted).await?;
                message.and_then(|message| read_message(&message))
            }
        };
        match entry {
            None => Ok(None),
            Some(entry) => self.describe(&entry, &mut Positions::new()).await.map(Some),
        }
    }

    pub(super) async fn read_entry(&self, id: EntryId) -> Result<Option<Entry>, CallError> {
        let Some(stored) = self.server.find_entry(id).await? else {
            return Ok(None);
        };
        let (Stored::Open(entry) | Stored::Dead { entry, .. }) = stored;
        Ok(Some(Entry {
            info: self.describe(&entry, &mut Positions::new()).await?,
            envelope: entry.envelope,
            body: entry.body,
        }))
    }

    /// Returns the facts about an entry, with the state as far as this process knows it.
    ///
    /// The server does not tell which messages are in flight. So an entry is in flight if this
    /// process has leased it, or if it was delivered and never settled. A settled message that came back
    /// is a delivered entry.
    pub(super) async fn describe(
        &self,
        entry: &StoredEntry,
        positions: &mut Positions,
    ) -> Result<EntryInfo, CallError> {
        let now = self.server.clock.now();
        let mut info = entry.info(now);
        if entry.dead.is_some() {
            return Ok(info);
        }
        let last_lease = self.leases.last(entry.id);
        if let Some(open) = last_lease.as_ref().filter(|open| Instant::now() < open.end) {
            info.state = EntryState::InFlight;
            info.attempts = open.attempts;
            info.last_failure = open.last_failure;
            info.due_in = None;
            return Ok(info);
        }
        let position = self.position(&entry.facts.source, positions).await?;
        if entry.id.0 > position.delivered {
            return Ok(info);
        }
        if entry.id.0 <= position.settled {
            info.state = EntryState::Delivered;
            info.due_in = None;
            return Ok(info);
        }
        let progress = self.server.progress(entry.id, entry.stored_at).await?;
        let settled = progress.as_ref().map_or(0, |progress| progress.delivered);
        match (progress, last_lease) {
            (_, Some(lost)) if lost.delivered > settled => {
                info.attempts = lost.attempts;
                info.last_failure = Some(Failure {
                    kind: FailureKind::Lost,
                    status: None,
                    at: now.system_time(),
                });
            }
            (Some(progress), _) => {
                info.attempts = progress.attempts;
                info.due_in = Some(ServerTime(progress.due).since(now));
                info.last_failure = progress.failure.as_ref().map(Failure::from);
            }
            (None, _) => {
                info.state = EntryState::InFlight;
                info.attempts = info.attempts.saturating_add(1);
                info.due_in = None;
            }
        }
        Ok(info)
    }

    async fn position(
        &self,
        source: &str,
        positions: &mut Positions,
    ) -> Result<Position, CallError> {
        if let Some(position) = positions.get(source) {
            return Ok(*position);
        }
        let consumer = self.server.find_consumer(source).await?;
        let position = consumer.map_or_else(Position::default, |info| Position {
            delivered: info.delivered.stream_sequence,
            settled: info.ack_floor.stream_sequence,
        });
        positions.insert(source.to_owned(), position);
        Ok(position)
    }

    pub(super) async fn list_entries(
        &self,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Vec<EntryInfo>, CallError> {
        let mut found = Vec::new();
        if filter.state != Some(EntryState::Dead) {
            found = self.list_work(filter, page).await?;
        }
        if matches!(filter.state, None | Some(EntryState::Dead)) {
            // A worker may be about to remove the message of an entry that is a dead letter.
            let dead = self.list_dead(filter, page).await?;
            let is_dead = |info: &EntryInfo| {
                let is_same =
                    |dead: &EntryInfo| (dead.id, dead.stored_at) == (info.id, info.stored_at);
                dead.iter().any(is_same)
            };
            found.retain(|info| !is_dead(info));
            found.extend(dead);
            found.sort_by_key(|info| info.id);
            found.truncate(page.limit);
        }
        Ok(found)
    }

    async fn list_work(
        &self,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Vec<EntryInfo>, CallError> {
        let server = &self.server;
        let subject = match &filter.source {
            Some(source) => server.names.entries_of(source),
            None => format!("{}.>", server.names.work),
        };
        let state = server.stream_info(&server.names.work).await?.state;
        let average = state.bytes / state.messages.max(1);
        let chunk = (READ_SPACE / average.max(1)).clamp(1, READS_AT_A_TIME);
        let mut positions = Positions::new();
        let mut found = Vec::new();
        let mut from = page
            .after
            .map_or(1, |id| id.0 + 1)
            .max(state.first_sequence);
        while found.len() < page.limit && from <= state.last_sequence {
            let wanted = Wanted::Next {
                subject: &subject,
                from,
            };
            let Some(first) = server.read(&server.work, wanted).await? else {
                break;
            };
            let rest = first.sequence + 1..(first.sequence + chunk).min(state.last_sequence + 1);
            from = rest.end.max(first.sequence + 1);
            let rest: Vec<_> = futures_util::stream::iter(rest)
                .map(|number| server.read(&server.work, Wanted::Number(number)))
                .buffered(usize::try_from(chunk).unwrap_or(1))
                .try_collect()
                .await?;
            for message in std::iter::once(first).chain(rest.into_iter().flatten()) {
                let entry = read_message(&message).filter(|entry| is_wanted(filter, entry));
                let Some(entry) = entry else { continue };
                let info = self.describe(&entry, &mut positions).await?;
                let is_wanted = filter.state.is_none_or(|state| state == info.state);
                if is_wanted && found.len() < page.limit {
                    found.push(info);
                }
            }
        }
        Ok(found)
    }

    /// Lists dead letters. Their subjects contain their numbers.
    async fn list_dead(
        &self,
        filter: &EntryFilter,
        page: Page,
    ) -> Result<Vec<EntryInfo>, CallError> {
        let server = &self.server;
        let mut subjects = self.dead_subjects(filter.source.as_deref()).await?;
        subjects.retain(|(id, _)| page.after.is_none_or(|after| *id > after));
        subjects.sort_unstable();
        let now = server.clock.now();
        let mut found = Vec::new();
        for (_, subject) in subjects {
            if found.len() == page.limit {
                break;
            }
            let wanted = Wanted::Last { subject: &subject };
            let message = server.read(&server.dead, wanted).await?;
            let entry = message.and_then(|message| read_message(&message));
            found.extend(
                entry
                    .filter(|entry| is_wanted(filter, entry))
                    .map(|e| e.info(now)),
            );
        }
        Ok(found)
    }

    async fn dead_subjects(
        &self,
        source: Option<&str>,
    ) -> Result<Vec<(EntryId, String)>, CallError> {
        let server = &self.server;
        let filter = server.names.dead_of(source);
        let info = server.dead.info_with_subjects(filter).await;
        let mut subjects = info.map_err(CallError::malformed)?;
        let mut found = Vec::new();
        while let Some(subject) = subjects.next().await {
            let (subject, _) = subject.map_err(CallError::malformed)?;
            found.extend(
                server
                    .names
                    .read_dead(&subject)
                    .map(|(_, id)| (id, subject)),
            );
        }
        Ok(found)
    }
}

fn is_wanted(filter: &EntryFilter, entry: &StoredEntry) -> bool {
    let info = entry.info(entry.stored_at);
    let matches = |wanted: &Option<Box<str>>, found: Option<&str>| {
        wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
    };
    matches(&filter.source, Some(&info.source))
        && matches(&filter.tenant, info.tenant.as_deref())
        && matches(&filter.key_id, Some(&info.key_id))
        && matches(&filter.event_id, info.event_id.as_deref())
}
