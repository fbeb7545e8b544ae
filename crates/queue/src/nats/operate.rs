//! The acts of an operator: entries are retried and deleted.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use serde::de::IgnoredAny;
use serde_json::json;

use super::browse::{Stored, read_message};
use super::clock::ServerTime;
use super::enqueue::is_taken;
use super::error::CallError;
use super::lease::nak;
use super::message::StoredEntry;
use super::server::Wanted;
use super::state::{KeyMark, Progress};
use super::store::NatsQueue;
use crate::entry::{EntryId, EntryState};
use crate::store::Changed;

/// An entry that is due earlier than this is not made due: a worker could lease it at the same
/// moment, and another one would lease it once more.
const SOON: Duration = Duration::from_secs(1);

impl NatsQueue {
    pub(super) async fn make_due(&self, id: EntryId) -> Result<Changed, CallError> {
        let server = &self.server;
        let entry = match self.find_to_change(id).await? {
            None => return Ok(Changed::No),
            Some(Stored::Open(entry)) => entry,
            Some(Stored::Dead {
                entry, sequence, ..
            }) => return self.store_again(&entry, sequence).await,
        };
        let info = self.describe(&entry, &mut Default::default()).await?;
        if info.state != EntryState::Waiting {
            return Ok(Changed::No);
        }
        let progress = server.progress(id, entry.stored_at).await?;
        if info.due_in.is_some_and(|wait| wait < SOON) {
            return Ok(Changed::Yes);
        }
        let ack = progress.as_ref().map(|progress| progress.ack.clone());
        let progress = match progress {
            Some(progress) => Progress {
                due: server.clock.now().0,
                ..progress
            },
            // No worker has seen the entry, because its first attempt is not due yet.
            None => Progress {
                stored_at: entry.stored_at.0,
                attempts: entry.facts.attempts,
                delivered: 0,
                due: server.clock.now().0,
                failure: info.last_failure.map(Into::into),
                ack: String::new(),
            },
        };
        server
            .write_state(server.names.progress(id), &progress)
            .await?;
        if let Some(ack) = ack.filter(|ack| !ack.is_empty()) {
            server.settle(&ack, nak(Duration::ZERO)).await?;
        }
        Ok(Changed::Yes)
    }

    /// Finds an entry that the operator changes. Removes the message that a dead letter has left in the
    /// stream of entries, because it has the subject of the entry.
    async fn find_to_change(&self, id: EntryId) -> Result<Option<Stored>, CallError> {
        let found = self.server.find_entry(id).await?;
        if let Some(Stored::Dead {
            entry,
            has_message: true,
            ..
        }) = &found
        {
            self.remove_message(entry).await?;
        }
        Ok(found)
    }

    /// Removes the message of an entry from the stream of entries. The consumer must know about the
    /// removal of a message that it has delivered.
    async fn remove_message(&self, entry: &StoredEntry) -> Result<Changed, CallError> {
        let (server, id) = (&self.server, entry.id);
        let progress = server.progress(id, entry.stored_at).await?;
        let mut settled = Changed::No;
        if let Some(progress) = progress.filter(|progress| !progress.ack.is_empty()) {
            match server.settle(&progress.ack, AckKind::Ack.into()).await {
                Ok(()) => settled = Changed::Yes,
                // The consumer has been created again since then.
                Err(CallError::NoResponders) => {}
                Err(error) => return Err(error),
            }
            server.clear_state(server.names.progress(id)).await;
        }
        // A message that a killed server has again is settled, and stays.
        let deleted = self.delete_message(&server.names.work, id.0).await?;
        Ok(match settled {
            Changed::Yes => settled,
            Changed::No => deleted,
        })
    }

    /// Stores a dead letter as a new entry, and then deletes it. A crash in between leaves both,
    /// and the next retry of the dead letter finds the entry.
    async fn store_again(&self, dead: &StoredEntry, sequence: u64) -> Result<Changed, CallError> {
        let server = &self.server;
        let subject = server.names.entry(&dead.facts.source, &dead.name);
        let (mut headers, payload) = dead.encode_again();
        headers.insert(
            async_nats::header::NATS_MESSAGE_ID,
            format!("again-{}-{sequence}", dead.id),
        );
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        match server.publish(subject, headers, payload).await {
            Ok(_) => {}
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(error.error),
        }
        if let [_, others @ ..] = &dead.keys[..] {
            let mark = KeyMark {
                source: dead.facts.source.to_string(),
                name: dead.name.0.clone(),
                dead: None,
            };
            self.mark_keys(others, &mark).await?;
        }
        self.delete_message(&server.names.dead, sequence).await?;
        self.unmark_keys(dead.keys.get(..1).unwrap_or_default())
            .await;
        Ok(Changed::Yes)
    }

    pub(super) async fn delete_entry(&self, id: EntryId) -> Result<Changed, CallError> {
        let entry = match self.find_to_change(id).await? {
            None => return Ok(Changed::No),
            Some(Stored::Open(entry)) => entry,
            Some(Stored::Dead {
                entry, sequence, ..
            }) => return self.delete_dead_letter(&entry, sequence).await,
        };
        let info = self.describe(&entry, &mut Default::default()).await?;
        if info.state == EntryState::InFlight {
            return Ok(Changed::No);
        }
        let deleted = self.remove_message(&entry).await?;
        if let [_, others @ ..] = &entry.keys[..] {
            self.unmark_keys(others).await;
        }
        self.note_due(Duration::ZERO);
        Ok(deleted)
    }

    async fn delete_dead_letter(
        &self,
        dead: &StoredEntry,
        sequence: u64,
    ) -> Result<Changed, CallError> {
        let changed = self
            .delete_message(&self.server.names.dead, sequence)
            .await?;
        self.unmark_keys(&dead.keys).await;
        Ok(changed)
    }

    /// Deletes dead letters from the oldest on. The stream has them in the order of their
    /// burial.
    pub(super) async fn delete_old_dead(&self, age: Duration) -> Result<u64, CallError> {
        let server = &self.server;
        let subject = server.names.dead_of(None);
        let (mut count, mut from) = (0, 1);
        loop {
            let wanted = Wanted::Next {
                subject: &subject,
                from,
            };
            let Some(message) = server.read(&server.dead, wanted).await? else {
                return Ok(count);
            };
            let buried_at = ServerTime::from_nanos(message.time.unix_timestamp_nanos());
            if server.clock.now().since(buried_at) <= age {
                return Ok(count);
            }
            from = message.sequence + 1;
            if let Some(dead) = read_message(&message) {
                self.delete_dead_letter(&dead, message.sequence).await?;
                count += 1;
            }
        }
    }

    async fn delete_message(&self, stream: &str, sequence: u64) -> Result<Changed, CallError> {
        let call = format!("STREAM.MSG.DELETE.{stream}");
        let request = json!({ "seq": sequence, "no_erase": true });
        match self.server.api::<IgnoredAny>(&call, &request).await {
            Ok(_) => Ok(Changed::Yes),
            // The message has left the stream in between.
            Err(CallError::Refused(_)) => Ok(Changed::No),
            Err(error) => Err(error),
        }
    }
}
