//! Stores a delivery.

use async_nats::jetstream::{self, ErrorCode};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use hookgate_core::ReplayKey;

use super::error::CallError;
use super::message::{self, StoredEntry};
use super::names::EntryName;
use super::pull::ConsumerSettings;
use super::server::{PublishError, Wanted};
use super::state::KeyMark;
use super::store::NatsQueue;
use crate::entry::{EntryId, NewEntry};
use crate::error::{EnqueueError, QueueError};
use crate::schedule::RetrySchedule;
use crate::store::{Enqueued, Order};

/// The number of keys of a batch that are handled at a time.
pub(super) const KEYS_AT_A_TIME: usize = 32;

/// The lease of a consumer that no worker has used yet.
const FIRST_LEASE: std::time::Duration = RetrySchedule::DEFAULT.first;

impl NatsQueue {
    pub(super) async fn store(&self, entry: &NewEntry) -> Result<Enqueued, EnqueueError> {
        let server = &self.server;
        let size = entry.body.len() + entry.envelope.len();
        if size > server.client.max_payload() {
            return Err(EnqueueError::TooLarge);
        }
        let name = EntryName::of(entry);
        if let Some(id) = self.stored_with_keys(&entry.keys).await? {
            return Ok(Enqueued::AlreadyStored(id));
        }
        // A source that no worker knows has a consumer too, so that its entries are counted.
        self.ensure_consumer(&entry.source).await?;
        if let [_, others @ ..] = &entry.keys[..] {
            let mark = KeyMark {
                source: entry.source.to_string(),
                name: name.0.clone(),
                dead: None,
            };
            self.mark_keys(others, &mark).await?;
        }
        let subject = server.names.entry(&entry.source, &name);
        let (mut headers, payload) = message::encode(entry);
        headers.insert(
            async_nats::header::NATS_MESSAGE_ID,
            format!("{}-{:016x}", name.0, entry.token),
        );
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        match server.publish(subject.clone(), headers, payload).await {
            Ok(ack) if ack.duplicate => Ok(Enqueued::AlreadyStored(EntryId(ack.sequence))),
            Ok(ack) => Ok(Enqueued::Stored(EntryId(ack.sequence))),
            Err(error) => match is_taken(&error) {
                true => self.stored_before(&subject).await,
                false => Err(classify(error)),
            },
        }
    }

    /// Returns the entry that holds the subject.
    async fn stored_before(&self, subject: &str) -> Result<Enqueued, EnqueueError> {
        let server = &self.server;
        let wanted = Wanted::Last { subject };
        match server.read(&server.work, wanted).await? {
            Some(message) => Ok(Enqueued::AlreadyStored(EntryId(message.sequence))),
            // The entry has ended in between, or the replica that was asked does not have it yet.
            None => Err(EnqueueError::Unknown(QueueError::new(
                "the event's earlier delivery was not found in the queue at this moment",
            ))),
        }
    }

    /// Returns the entry that holds one of the keys, unless the subject of a new entry shows it.
    async fn stored_with_keys(&self, keys: &[ReplayKey]) -> Result<Option<EntryId>, CallError> {
        let found = stream::iter(keys.iter().copied())
            .map(|key| self.marked(key))
            .buffer_unordered(KEYS_AT_A_TIME)
            .try_filter_map(|found| std::future::ready(Ok(found)));
        let mut found = std::pin::pin!(found);
        let marked = found.try_next().await?.map(|entry: StoredEntry| entry.id);
        if marked.is_some() || keys.len() < 2 {
            return Ok(marked);
        }
        // The keys of a batch may be the first keys of other entries.
        for key in &keys[1..] {
            let subject = self.server.names.entries_with_key(*key);
            let wanted = Wanted::Last { subject: &subject };
            if let Some(message) = self.server.read(&self.server.work, wanted).await? {
                return Ok(Some(EntryId(message.sequence)));
            }
        }
        Ok(None)
    }

    /// Returns the entry that the mark of `key` leads to. A mark that a crash has left leads to
    /// none.
    pub(super) async fn marked(&self, key: ReplayKey) -> Result<Option<StoredEntry>, CallError> {
        let server = &self.server;
        let mark: Option<KeyMark> = server.read_state(&server.names.key_mark(key)).await?;
        let Some(mark) = mark else {
            return Ok(None);
        };
        let name = EntryName(mark.name);
        if let Some(id) = mark.dead {
            let subject = server.names.dead(&mark.source, &name, EntryId(id));
            let wanted = Wanted::Last { subject: &subject };
            if let Some(message) = server.read(&server.dead, wanted).await? {
                return Ok(super::browse::read_message(&message));
            }
        }
        let subject = server.names.entry(&mark.source, &name);
        let wanted = Wanted::Last { subject: &subject };
        let message = server.read(&server.work, wanted).await?;
        let entry = message.and_then(|message| super::browse::read_message(&message));
        Ok(entry.filter(|entry| entry.keys.contains(&key)))
    }

    pub(super) async fn mark_keys(
        &self,
        keys: &[ReplayKey],
        mark: &KeyMark,
    ) -> Result<(), CallError> {
        let server = &self.server;
        stream::iter(keys.iter().copied())
            .map(|key| server.write_state(server.names.key_mark(key), mark))
            .buffer_unordered(KEYS_AT_A_TIME)
            .try_collect()
            .await
    }

    pub(super) async fn unmark_keys(&self, keys: &[ReplayKey]) {
        let server = &self.server;
        stream::iter(keys.iter().copied())
            .map(|key| server.clear_state(server.names.key_mark(key)))
            .buffer_unordered(KEYS_AT_A_TIME)
            .collect()
            .await
    }

    /// Creates the consumer of a source if this process has not seen it yet.
    async fn ensure_consumer(&self, source: &str) -> Result<(), CallError> {
        if self.consumers.lock().contains_key(source) {
            return Ok(());
        }
        if self.server.find_consumer(source).await?.is_none() {
            let settings = ConsumerSettings {
                lease: FIRST_LEASE,
                order: Order::Any,
            };
            self.server.set_consumer(source, settings).await?;
        }
        self.consumers.lock().entry(source.into()).or_insert(None);
        Ok(())
    }
}

/// Whether another message has the subject.
pub(super) fn is_taken(error: &PublishError) -> bool {
    let taken = [
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE,
        ErrorCode::STREAM_WRONG_LAST_SEQUENCE_CONSTANT,
    ];
    matches!(&error.error, CallError::Refused(error) if taken.contains(&error.error_code()))
}

fn classify(error: PublishError) -> EnqueueError {
    if error.may_be_stored {
        return EnqueueError::Unknown(error.error.into());
    }
    match error.error {
        CallError::TooLarge => EnqueueError::TooLarge,
        CallError::Refused(refusal) if is_full(&refusal) => EnqueueError::Full,
        CallError::Refused(refusal) if is_too_large(&refusal) => EnqueueError::TooLarge,
        error => EnqueueError::NotStored(error.into()),
    }
}

fn is_full(error: &jetstream::Error) -> bool {
    match error.error_code() {
        ErrorCode::ACCOUNT_RESOURCES_EXCEEDED
        | ErrorCode::INSUFFICIENT_RESOURCES
        | ErrorCode::STORAGE_RESOURCES_EXCEEDED => true,
        // This code is also for a disk that fails.
        ErrorCode::STREAM_STORE_FAILED => {
            let text = error.to_string();
            text.contains("maximum bytes exceeded") || text.contains("maximum messages exceeded")
        }
        _ => false,
    }
}

fn is_too_large(error: &jetstream::Error) -> bool {
    matches!(
        error.error_code(),
        ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM | ErrorCode::STREAM_HEADER_EXCEEDS_MAXIMUM
    )
}

impl From<CallError> for EnqueueError {
    /// Converts the error of a call before the delivery is sent.
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) if is_full(&refusal) => Self::Full,
            error => Self::NotStored(error.into()),
        }
    }
}
