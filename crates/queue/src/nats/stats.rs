//! Counts entries.

use std::collections::BTreeMap;

use async_nats::jetstream::consumer;
use async_nats::jetstream::stream::State;
use futures_util::TryStreamExt as _;

use super::clock::ServerTime;
use super::error::CallError;
use super::server::Wanted;
use super::store::NatsQueue;
use crate::store::{QueueStats, SourceStats};

/// The number of dead letters of each source.
pub(super) type DeadCounts = BTreeMap<String, u64>;

impl NatsQueue {
    pub(super) async fn count(&self) -> Result<QueueStats, CallError> {
        let server = &self.server;
        let work = server.stream_info(&server.names.work).await?;
        let dead = server.stream_info(&server.names.dead).await?;
        let mut sources: BTreeMap<String, SourceStats> = BTreeMap::new();
        for consumer in self.consumers_of_stream().await? {
            let filter = &consumer.config.filter_subject;
            let Some(source) = server.names.read_source(filter) else {
                continue;
            };
            let mut stats = SourceStats::default();
            let stored = self.undelivered(&consumer).await? + consumer.num_ack_pending as u64;
            stats.in_flight = self.leases.in_flight(&source).min(stored);
            stats.waiting = stored - stats.in_flight;
            // The server does not tell the size of a part of a stream.
            stats.bytes = work.state.bytes / work.state.messages.max(1) * stored;
            if stored > 0 {
                let wanted = Wanted::Next {
                    subject: filter,
                    // Earlier messages are settled, although a killed server may have them again.
                    from: consumer.ack_floor.stream_sequence + 1,
                };
                let oldest = server.read(&server.work, wanted).await?;
                stats.oldest = oldest.map(|message| {
                    let time = ServerTime::from_nanos(message.time.unix_timestamp_nanos());
                    server.clock.now().since(time)
                });
            }
            sources.insert(source, stats);
        }
        let average_dead = dead.state.bytes / dead.state.messages.max(1);
        for (source, count) in self.count_dead(dead.state.clone()).await? {
            let stats = sources.entry(source).or_default();
            stats.dead = count;
            stats.bytes += average_dead * count;
        }
        sources.retain(|_, stats| stats.waiting + stats.in_flight + stats.dead > 0);
        Ok(QueueStats {
            sources: sources
                .into_iter()
                .map(|(name, s)| (name.into(), s))
                .collect(),
            // The limit is that of the work stream. A stream without a limit has -1.
            bytes: work.state.bytes,
            max_bytes: u64::try_from(work.config.max_bytes).unwrap_or(u64::MAX),
        })
    }

    /// Returns the number of messages that a consumer has not delivered. A server of NATS 2.9 that was
    /// killed may count some that do not exist.
    async fn undelivered(&self, consumer: &consumer::Info) -> Result<u64, CallError> {
        let server = &self.server;
        let is_exact = !server.client.server_info().version.starts_with("2.9.");
        if consumer.num_pending == 0 || is_exact {
            return Ok(consumer.num_pending);
        }
        let wanted = Wanted::Next {
            subject: &consumer.config.filter_subject,
            from: consumer.delivered.stream_sequence + 1,
        };
        let next = server.read(&server.work, wanted).await?;
        Ok(next.map_or(0, |_message| consumer.num_pending))
    }

    async fn consumers_of_stream(&self) -> Result<Vec<consumer::Info>, CallError> {
        self.server.check_connected()?;
        let consumers = self.server.work.consumers().try_collect().await;
        consumers.map_err(CallError::malformed)
    }

    /// Counts dead letters by their subjects. The counts are kept until the stream changes.
    async fn count_dead(&self, state: State) -> Result<DeadCounts, CallError> {
        if state.messages == 0 {
            return Ok(DeadCounts::new());
        }
        let is_same = |kept: &State| {
            (kept.last_sequence, kept.messages) == (state.last_sequence, state.messages)
        };
        if let Some((kept, counts)) = &*self.dead_counts.lock()
            && is_same(kept)
        {
            return Ok(counts.clone());
        }
        let server = &self.server;
        let filter = server.names.dead_of(None);
        let subjects = server.dead.info_with_subjects(filter).await;
        let mut subjects = subjects.map_err(CallError::malformed)?;
        let mut counts = DeadCounts::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(CallError::malformed)? {
            if let Some((source, _)) = server.names.read_dead(&subject) {
                *counts.entry(source).or_default() += 1;
            }
        }
        *self.dead_counts.lock() = Some((state, counts.clone()));
        Ok(counts)
    }
}
