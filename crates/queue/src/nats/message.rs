//! [`StoredEntry`]: an entry as a message of a stream.
//!
//! The payload is the body, the facts as JSON, and the envelope, in this order. The header
//! `Hookgate-Body` has the length of the body and `Hookgate-Facts` that of the facts, so a reader
//! of a mirror finds the exact bytes of the delivery at the start of the payload. NATS limits the
//! headers of a message to 64 KiB, so they contain nothing of unlimited length.

use std::error::Error;
use std::fmt;
use std::time::{Duration, SystemTime};

use async_nats::HeaderMap;
use bytes::{Bytes, BytesMut};
use hookgate_core::ReplayKey;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::clock::ServerTime;
use super::names::{EntryName, key_name, read_key};
use crate::entry::{EntryId, EntryInfo, EntryState, Failure, FailureKind, NewEntry};

const BODY: &str = "Hookgate-Body";
const FACTS: &str = "Hookgate-Facts";
const DEAD: &str = "Hookgate-Dead";

/// An entry that was read from a stream.
#[derive(Clone, Debug)]
pub(super) struct StoredEntry {
    pub(super) id: EntryId,
    pub(super) name: EntryName,
    pub(super) facts: Facts,
    pub(super) keys: SmallVec<[ReplayKey; 1]>,
    pub(super) stored_at: ServerTime,
    pub(super) body: Bytes,
    pub(super) envelope: Bytes,
    pub(super) dead: Option<DeadFacts>,
}

/// The facts that do not change while the entry waits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Facts {
    keys: Vec<String>,
    pub(super) source: Box<str>,
    tenant: Option<Box<str>>,
    event_id: Option<Box<str>>,
    key_id: Box<str>,
    request_id: Box<str>,
    /// The number of attempts before the entry was stored.
    pub(super) attempts: u32,
    /// The number of attempts before the operator's last retry.
    #[serde(default)]
    earlier_attempts: u32,
    failure: Option<FailureFacts>,
    first_due_ms: u64,
}

/// The facts of a dead letter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct DeadFacts {
    pub(super) id: u64,
    pub(super) attempts: u32,
    pub(super) failure: FailureFacts,
    pub(super) stored_at: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct FailureFacts {
    kind: String,
    status: Option<u16>,
    /// Milliseconds since the Unix epoch.
    at: u64,
}

/// A message is not an entry that this version can read.
#[derive(Debug)]
pub(super) struct UnreadableMessage(&'static str);

/// Returns the headers and the payload of the message that stores `entry`.
pub(super) fn encode(entry: &NewEntry) -> (HeaderMap, Bytes) {
    let facts = Facts {
        keys: entry.keys.iter().map(|key| key_name(*key)).collect(),
        source: entry.source.clone(),
        tenant: entry.tenant.clone(),
        event_id: entry.event_id.clone(),
        key_id: entry.key_id.clone(),
        request_id: entry.request_id.clone(),
        attempts: entry.attempts,
        earlier_attempts: 0,
        failure: entry.last_failure.map(FailureFacts::from),
        first_due_ms: u64::try_from(entry.first_due.as_millis()).unwrap_or(u64::MAX),
    };
    join(&facts, &entry.body, &entry.envelope)
}

fn join(facts: &Facts, body: &[u8], envelope: &[u8]) -> (HeaderMap, Bytes) {
    let facts = to_json(facts);
    let mut payload = BytesMut::with_capacity(body.len() + facts.len() + envelope.len());
    payload.extend_from_slice(body);
    payload.extend_from_slice(facts.as_bytes());
    payload.extend_from_slice(envelope);
    let mut headers = HeaderMap::new();
    headers.insert(BODY, body.len().to_string());
    headers.insert(FACTS, facts.len().to_string());
    (headers, payload.freeze())
}

impl StoredEntry {
    /// Reads the message with the number `sequence` of the stream of entries.
    pub(super) fn read(
        subject: &str,
        sequence: u64,
        time: ServerTime,
        headers: Option<&HeaderMap>,
        payload: &Bytes,
    ) -> Result<Self, UnreadableMessage> {
        let header = |name| headers.and_then(|h| h.get(name)).map(|v| v.as_str());
        let length = |name| header(name).and_then(|text| text.parse::<usize>().ok());
        let (Some(body), Some(facts)) = (length(BODY), length(FACTS)) else {
            return Err(UnreadableMessage("a header is missing"));
        };
        let end = body.checked_add(facts).filter(|end| *end <= payload.len());
        let end = end.ok_or(UnreadableMessage("it is shorter than its headers say"))?;
        let facts: Facts = serde_json::from_slice(&payload[body..end])
            .map_err(|_| UnreadableMessage("its facts are no valid JSON"))?;
        let keys = facts.keys.iter().map(|key| read_key(key)).collect();
        let keys = Option::ok_or(keys, UnreadableMessage("a key is invalid"))?;
        let dead = match header(DEAD).map(serde_json::from_str::<DeadFacts>) {
            None => None,
            Some(Ok(dead)) => Some(dead),
            Some(Err(_)) => return Err(UnreadableMessage("the header of the dead letter")),
        };
        Ok(Self {
            id: EntryId(dead.as_ref().map_or(sequence, |dead| dead.id)),
            name: EntryName::read(subject).ok_or(UnreadableMessage("its subject"))?,
            keys,
            stored_at: dead
                .as_ref()
                .map_or(time, |dead| ServerTime(dead.stored_at)),
            body: payload.slice(..body),
            envelope: payload.slice(end..),
            facts,
            dead,
        })
    }

    /// Returns the message of this entry as a dead letter.
    pub(super) fn encode_dead(&self, attempts: u32, failure: Failure) -> (HeaderMap, Bytes) {
        let (mut headers, payload) = join(&self.facts, &self.body, &self.envelope);
        let dead = DeadFacts {
            id: self.id.0,
            attempts,
            failure: failure.into(),
            stored_at: self.stored_at.0,
        };
        headers.insert(DEAD, to_json(&dead));
        (headers, payload)
    }

    /// Returns the message of this dead letter as an entry whose attempts do not count.
    pub(super) fn encode_again(&self) -> (HeaderMap, Bytes) {
        let attempts = self.dead.as_ref().map_or(0, |dead| dead.attempts);
        let facts = Facts {
            attempts,
            earlier_attempts: attempts,
            failure: None,
            first_due_ms: 0,
            ..self.facts.clone()
        };
        join(&facts, &self.body, &self.envelope)
    }

    pub(super) fn first_due(&self) -> ServerTime {
        let wait = Duration::from_millis(self.facts.first_due_ms);
        self.stored_at.plus(wait)
    }

    pub(super) fn has_first_wait(&self) -> bool {
        self.facts.first_due_ms > 0
    }

    /// Returns the facts in the message. The caller corrects the state.
    pub(super) fn info(&self, now: ServerTime) -> EntryInfo {
        let dead = self.dead.as_ref();
        let failure = dead.map_or(self.facts.failure.as_ref(), |dead| Some(&dead.failure));
        EntryInfo {
            id: self.id,
            state: match dead {
                Some(_) => EntryState::Dead,
                None => EntryState::Waiting,
            },
            keys: self.keys.clone(),
            source: self.facts.source.clone(),
            tenant: self.facts.tenant.clone(),
            event_id: self.facts.event_id.clone(),
            key_id: self.facts.key_id.clone(),
            request_id: self.facts.request_id.clone(),
            stored_at: self.stored_at.system_time(),
            age: now.since(self.stored_at),
            attempts: dead.map_or(self.facts.attempts, |dead| dead.attempts),
            earlier_attempts: self.facts.earlier_attempts,
            due_in: match dead {
                Some(_) => None,
                None => Some(self.first_due().since(now)),
            },
            last_failure: failure.map(Failure::from),
            body_len: self.body.len() as u64,
        }
    }
}

impl From<Failure> for FailureFacts {
    fn from(failure: Failure) -> Self {
        let at = failure.at.duration_since(SystemTime::UNIX_EPOCH);
        Self {
            kind: failure.kind.label().to_owned(),
            status: failure.status,
            at: u64::try_from(at.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl From<&FailureFacts> for Failure {
    fn from(facts: &FailureFacts) -> Self {
        let mut kinds = FailureKind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.label() == facts.kind);
        Self {
            kind: kind.unwrap_or(FailureKind::Lost),
            status: facts.status,
            at: SystemTime::UNIX_EPOCH + Duration::from_millis(facts.at),
        }
    }
}

pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers are valid JSON")
}

impl fmt::Display for UnreadableMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the message is no entry of this version of hookgate: {}",
            self.0
        )
    }
}

impl Error for UnreadableMessage {}
