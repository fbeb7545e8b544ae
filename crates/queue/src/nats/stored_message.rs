//! Reads and writes messages without a server. Only fuzz targets need this.

use std::str::FromStr as _;

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::clock::ServerTime;
use super::message::{StoredEntry, encode};
use super::names::{EntryName, Names};
use crate::entry::{Entry, Failure, NewEntry};

/// A message of a stream.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// The subject, which names the entry.
    pub subject: String,
    /// The number of the message in its stream.
    pub sequence: u64,
    /// When the server stored the message, in nanoseconds since the Unix epoch.
    pub time: u64,
    /// The fields beside the payload.
    pub headers: Vec<(String, String)>,
    /// The payload.
    pub payload: Bytes,
}

impl StoredMessage {
    /// Returns the message that stores `entry`.
    pub fn of(entry: &NewEntry, sequence: u64, time: u64) -> Self {
        let subject = Names::new("queue").entry(&entry.source, &EntryName::of(entry));
        Self::with(subject, sequence, time, encode(entry))
    }

    /// Reads the entry as the queue does at the server's time `now`. Returns `None` if the message
    /// is no entry.
    pub fn read(&self, now: u64) -> Option<Entry> {
        let entry = self.stored_entry()?;
        Some(Entry {
            info: entry.info(ServerTime(now)),
            envelope: entry.envelope,
            body: entry.body,
        })
    }

    /// Returns the message that stores the entry of this message as a dead letter.
    pub fn buried(&self, attempts: u32, failure: Failure) -> Option<Self> {
        let entry = self.stored_entry()?;
        let names = Names::new("queue");
        let subject = names.dead(&entry.facts.source, &entry.name, entry.id);
        let encoded = entry.encode_dead(attempts, failure);
        Some(Self::with(subject, self.sequence, self.time, encoded))
    }

    /// Returns the message that stores the entry of this dead letter anew.
    pub fn revived(&self) -> Option<Self> {
        let entry = self.stored_entry()?;
        let subject = Names::new("queue").entry(&entry.facts.source, &entry.name);
        let encoded = entry.encode_again();
        Some(Self::with(subject, self.sequence, self.time, encoded))
    }

    fn with(
        subject: String,
        sequence: u64,
        time: u64,
        (headers, payload): (HeaderMap, Bytes),
    ) -> Self {
        let headers = headers.iter().flat_map(|(name, values)| {
            let values = values.iter();
            values.map(move |value| (name.to_string(), value.to_string()))
        });
        Self {
            subject,
            sequence,
            time,
            headers: headers.collect(),
            payload,
        }
    }

    fn stored_entry(&self) -> Option<StoredEntry> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name = HeaderName::from_str(name).ok()?;
            headers.append(name, HeaderValue::from_str(value).ok()?);
        }
        let time = ServerTime(self.time);
        let headers = Some(&headers);
        StoredEntry::read(&self.subject, self.sequence, time, headers, &self.payload).ok()
    }
}
