//! Leases entries, and settles them.

use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use async_nats::{Message, Subject};
use bytes::Bytes;
use hookgate_core::internal::ErrorChain;
use tokio::time::Instant;

use super::clock::ServerTime;
use super::enqueue::is_taken;
use super::error::CallError;
use super::leases::OpenLease;
use super::message::{FailureFacts, StoredEntry};
use super::pull::ConsumerSettings;
use super::server::Wanted;
use super::state::{KeyMark, Progress};
use super::store::NatsQueue;
use crate::entry::{Entry, EntryLease, EntryState, Failure, FailureKind, LeasedEntry};
use crate::store::{Changed, LeaseRequest};

/// How long a message that cannot be read waits until the next worker reports it.
const UNREADABLE_WAIT: Duration = Duration::from_secs(600);

/// How long a message waits if its entry could not be leased because of an error.
const GIVE_BACK_WAIT: Duration = Duration::from_secs(1);

/// An entry that the server delivers this much too early is leased all the same.
const EARLY: Duration = Duration::from_millis(100);

/// One delivery of a message by its consumer.
struct Delivery {
    message: Message,
    /// How often the message was delivered, this time included.
    count: u64,
    /// The number of this delivery.
    token: u64,
    entry: StoredEntry,
}

impl NatsQueue {
    pub(super) async fn lease_entries(
        &self,
        request: LeaseRequest<'_>,
    ) -> Result<Vec<LeasedEntry>, CallError> {
        if request.max == 0 {
            return Ok(Vec::new());
        }
        let settings = ConsumerSettings {
            lease: request.lease,
            order: request.order,
        };
        if self.consumers.lock().get(request.source) != Some(&Some(settings)) {
            self.server.set_consumer(request.source, settings).await?;
            let mut consumers = self.consumers.lock();
            consumers.insert(request.source.into(), Some(settings));
        }
        // The lease of a message starts when the server sends it, which is later.
        let end = Instant::now() + request.lease;
        let messages = match self.server.fetch(&request).await {
            Ok(messages) => messages,
            Err(error) => {
                // The consumer may be gone, so the next call creates it again.
                self.consumers.lock().remove(request.source);
                return Err(error);
            }
        };
        let mut leased = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter();
        while let Some(message) = messages.next() {
            let ack = message.reply.clone();
            match self.admit(message, end).await {
                Ok(entry) => leased.extend(entry),
                Err(error) => {
                    let rest = messages.map(|message| message.reply);
                    self.give_back(std::iter::once(ack).chain(rest)).await;
                    if leased.is_empty() {
                        return Err(error);
                    }
                    // The next call meets the error again.
                    break;
                }
            }
        }
        Ok(leased)
    }

    /// Prolongs a lease that has not ended. The server adds the time that the consumer of the source has.
    pub(super) async fn renew_lease(
        &self,
        lease: &EntryLease,
        duration: Duration,
    ) -> Result<Changed, CallError> {
        let asked = Instant::now();
        let Some(open) = self.leases.current(lease) else {
            return Ok(Changed::No);
        };
        // A reload may have made the leases of the consumer shorter.
        let settings = self.consumers.lock().get(&open.entry.facts.source).copied();
        if settings.flatten().is_some_and(|now| now.lease < duration) {
            return Ok(Changed::No);
        }
        self.server.settle(&open.ack, in_progress()).await?;
        Ok(self.leases.prolong(lease, asked + duration))
    }

    /// Lets the server deliver messages again that this call could not lease.
    async fn give_back(&self, acks: impl Iterator<Item = Option<Subject>>) {
        for ack in acks.flatten() {
            // If this fails too, the server delivers the message when the lease has ended.
            if self.server.settle(&ack, nak(GIVE_BACK_WAIT)).await.is_err() {
                return;
            }
        }
    }

    /// Leases the entry of a message. Returns `None` if it is not due, or no entry.
    async fn admit(
        &self,
        message: Message,
        end: Instant,
    ) -> Result<Option<LeasedEntry>, CallError> {
        let Some(delivery) = self.read_delivery(message).await? else {
            return Ok(None);
        };
        let server = &self.server;
        let entry = &delivery.entry;
        let progress = match delivery.count > 1 || entry.has_first_wait() {
            true => server.progress(entry.id, entry.stored_at).await?,
            false => None,
        };
        if delivery.count > 1 && self.finish_burial(&delivery).await? {
            return Ok(None);
        }
        let attempts = attempts_before(&delivery, progress.as_ref());
        let now = server.clock.now();
        let due = match &progress {
            Some(progress) => ServerTime(progress.due),
            None => entry.first_due(),
        };
        if due.since(now) > EARLY {
            self.defer(&delivery, progress, due.since(now), attempts)
                .await?;
            return Ok(None);
        }
        let info = entry.info(now);
        let recorded = progress.as_ref().map_or(info.attempts, |p| p.attempts);
        let last_failure = match &progress {
            _ if attempts > recorded => Some(Failure {
                kind: FailureKind::Lost,
                status: None,
                at: now.system_time(),
            }),
            Some(progress) => progress.failure.as_ref().map(Failure::from),
            None => info.last_failure,
        };
        Ok(Some(self.open_lease(
            delivery,
            attempts.saturating_add(1),
            last_failure,
            progress.is_some(),
            end,
        )))
    }

    fn open_lease(
        &self,
        delivery: Delivery,
        attempts: u32,
        last_failure: Option<Failure>,
        has_progress: bool,
        end: Instant,
    ) -> LeasedEntry {
        let entry = delivery.entry;
        let lease = EntryLease {
            id: entry.id,
            token: delivery.token,
        };
        let mut info = entry.info(self.server.clock.now());
        info.state = EntryState::InFlight;
        info.attempts = attempts;
        info.last_failure = last_failure;
        info.due_in = None;
        let leased = Entry {
            info,
            envelope: entry.envelope.clone(),
            body: entry.body.clone(),
        };
        self.leases.insert(OpenLease {
            token: delivery.token,
            ack: delivery.message.reply.unwrap_or_else(|| "".into()),
            delivered: delivery.count,
            attempts,
            last_failure,
            has_progress,
            entry,
            end,
        });
        LeasedEntry {
            lease,
            entry: leased,
        }
    }

    /// Reads a message that the consumer has delivered. Reports a message that is no entry, and
    /// leaves it in the stream.
    async fn read_delivery(&self, message: Message) -> Result<Option<Delivery>, CallError> {
        let delivered = jetstream::Message {
            context: self.server.jetstream.clone(),
            message,
        };
        let info = delivered.info().map_err(CallError::malformed)?;
        let (sequence, count) = (info.stream_sequence, info.delivered);
        let token = info.consumer_sequence;
        let time = ServerTime::from_nanos(info.published.unix_timestamp_nanos());
        let message = &delivered.message;
        let headers = message.headers.as_ref();
        let entry = StoredEntry::read(&message.subject, sequence, time, headers, &message.payload);
        match entry {
            Ok(entry) => Ok(Some(Delivery {
                count: count.unsigned_abs(),
                token,
                entry,
                message: delivered.message,
            })),
            Err(error) => {
                let stream = &self.server.names.work;
                tracing::error!(
                    %error, stream, sequence,
                    "a message of the queue is left out; look at it with `nats stream get`, and \
                     delete it with `nats stream rmm`"
                );
                let ack = message.reply.clone().unwrap_or_else(|| "".into());
                self.server.settle(&ack, nak(UNREADABLE_WAIT)).await?;
                Ok(None)
            }
        }
    }

    /// Lets the server deliver the entry when it is due, without counting an attempt.
    async fn defer(
        &self,
        delivery: &Delivery,
        progress: Option<Progress>,
        wait: Duration,
        attempts: u32,
    ) -> Result<(), CallError> {
        let entry = &delivery.entry;
        let ack = delivery.message.reply.as_deref().unwrap_or_default();
        let progress = Progress {
            stored_at: entry.stored_at.0,
            attempts,
            delivered: delivery.count,
            due: self.server.clock.now().plus(wait).0,
            failure: progress.and_then(|progress| progress.failure),
            ack: ack.to_owned(),
        };
        let subject = self.server.names.progress(entry.id);
        let written = self.server.write_state(subject, &progress).await;
        self.server.settle(ack, nak(wait)).await?;
        self.note_due(wait);
        written
    }

    /// Removes an entry that a worker has made a dead letter before it was lost.
    async fn finish_burial(&self, delivery: &Delivery) -> Result<bool, CallError> {
        let server = &self.server;
        let entry = &delivery.entry;
        let subject = server
            .names
            .dead(&entry.facts.source, &entry.name, entry.id);
        let wanted = Wanted::Last { subject: &subject };
        let dead = server.read(&server.dead, wanted).await?;
        let dead = dead.and_then(|message| super::browse::read_message(&message));
        // After a deletion of the stream, another entry may have the same number.
        if dead.is_none_or(|dead| dead.stored_at != entry.stored_at) {
            return Ok(false);
        }
        let ack = delivery.message.reply.as_deref().unwrap_or_default();
        server.settle(ack, AckKind::Ack.into()).await?;
        server.clear_state(server.names.progress(entry.id)).await;
        Ok(true)
    }

    /// Removes the entry, even if the lease has ended: the upstream has accepted the delivery.
    pub(super) async fn settle_delivered(&self, lease: &EntryLease) -> Result<Changed, CallError> {
        let Some(open) = self.leases.latest(lease) else {
            return Ok(Changed::No);
        };
        self.server.settle(&open.ack, AckKind::Ack.into()).await?;
        self.leases.remove(lease);
        self.forget_state(&open).await;
        if let [_, others @ ..] = &open.entry.keys[..] {
            self.unmark_keys(others).await;
        }
        self.note_due(Duration::ZERO);
        Ok(Changed::Yes)
    }

    /// Ends the lease. Without a `failure` the attempt does not count.
    pub(super) async fn settle_failed(
        &self,
        lease: &EntryLease,
        wait: Duration,
        failure: Option<Failure>,
    ) -> Result<Changed, CallError> {
        let Some(open) = self.leases.current(lease) else {
            return Ok(Changed::No);
        };
        let attempts = match failure {
            Some(_) => open.attempts,
            None => open.attempts.saturating_sub(1),
        };
        let failure = failure.or(open.last_failure);
        let progress = Progress {
            stored_at: open.entry.stored_at.0,
            attempts,
            delivered: open.delivered,
            due: self.server.clock.now().plus(wait).0,
            failure: failure.map(FailureFacts::from),
            ack: open.ack.to_string(),
        };
        let subject = self.server.names.progress(lease.id);
        let written = self.server.write_state(subject, &progress).await;
        // Without it, the server would deliver the entry when its lease ends.
        self.server.settle(&open.ack, nak(wait)).await?;
        if let Err(error) = written {
            tracing::warn!(
                error = %ErrorChain(&error),
                entry = %lease.id,
                "the failure of a queued delivery is not recorded; the delivery waits nevertheless"
            );
        }
        self.leases.remove(lease);
        self.note_due(wait);
        Ok(Changed::Yes)
    }

    /// Stores the dead letter first, so that a crash leaves the entry twice and never loses it.
    pub(super) async fn settle_dead(
        &self,
        lease: &EntryLease,
        failure: Failure,
    ) -> Result<Changed, CallError> {
        let Some(open) = self.leases.current(lease) else {
            return Ok(Changed::No);
        };
        let server = &self.server;
        let entry = &open.entry;
        let mark = KeyMark {
            source: entry.facts.source.to_string(),
            name: entry.name.0.clone(),
            dead: Some(entry.id.0),
        };
        self.mark_keys(&entry.keys, &mark).await?;
        let subject = server
            .names
            .dead(&entry.facts.source, &entry.name, entry.id);
        let (mut headers, payload) = entry.encode_dead(open.attempts, failure);
        let id = format!("{}-{}", entry.id, entry.stored_at.0);
        headers.insert(async_nats::header::NATS_MESSAGE_ID, id);
        headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, "0");
        match server.publish(subject, headers, payload).await {
            Ok(_) => {}
            // The entry came back because its server was killed after an earlier burial.
            Err(error) if is_taken(&error) => {}
            Err(error) => return Err(error.error),
        }
        server.settle(&open.ack, AckKind::Ack.into()).await?;
        self.leases.remove(lease);
        self.forget_state(&open).await;
        self.note_due(Duration::ZERO);
        Ok(Changed::Yes)
    }

    async fn forget_state(&self, open: &OpenLease) {
        if open.has_progress || open.delivered > 1 {
            let subject = self.server.names.progress(open.entry.id);
            self.server.clear_state(subject).await;
        }
    }
}

/// Returns the number of attempts before this delivery, which includes lost ones.
fn attempts_before(delivery: &Delivery, progress: Option<&Progress>) -> u32 {
    let (attempts, delivered) = match progress {
        Some(progress) => (progress.attempts, progress.delivered),
        None => (delivery.entry.facts.attempts, 0),
    };
    // A consumer that was created again counts from 1.
    let delivered = if delivery.count > delivered {
        delivered
    } else {
        0
    };
    let lost = delivery.count.saturating_sub(1).saturating_sub(delivered);
    attempts.saturating_add(u32::try_from(lost).unwrap_or(u32::MAX))
}

/// Returns the answer to a delivery whose lease starts anew.
fn in_progress() -> Bytes {
    AckKind::Progress.into()
}

/// Returns the answer to a delivery that the server must repeat after `wait`.
pub(super) fn nak(wait: Duration) -> Bytes {
    AckKind::Nak((!wait.is_zero()).then_some(wait)).into()
}
