//! The form that a record has in memory. It takes two allocations, where [`DeliveryRecord`] takes
//! a dozen, and a new record reuses the memory of an evicted record. With a record for each
//! delivery, allocations would be most of the inspector's cost (`make bench-inspector`).

use std::borrow::Cow;
use std::sync::Arc;

use hookgate_core::internal::{event_id_headers, event_type_headers};
use hookgate_gate::{Reason, Source};
use http::HeaderName;

use super::capture::CaptureMark;
use super::record::{DeliveryRecord, ReplayKeys};
use crate::client_address::ClientAddress;
use crate::config::TransportAddress;
use crate::telemetry::access_log::Timestamp;
use crate::telemetry::outcome::RequestOutcome;

/// The number of texts of a record.
const TEXTS: usize = 14;
/// The numbers of three texts, in the order of [`Texts`].
const KEY_ID: usize = 7;
const RESENT_FROM: usize = 12;
const QUEUED_FROM: usize = 13;
/// Marks a text that a record does not have.
const ABSENT: u16 = u16::MAX;
/// The largest memory for texts that another record reuses, in bytes.
const MAX_REUSED_TEXT: usize = 1024;

/// The record of one request.
#[derive(Debug, Default)]
pub(crate) struct CompactRecord {
    /// The number of the record. A later record has a larger number.
    pub(crate) seq: u64,
    pub(crate) facts: Facts,
    pub(crate) replay_keys: ReplayKeys,
    /// Whether the request is captured, and how completely.
    capture: CaptureMark,
    names: Option<Arc<RouteNames>>,
    /// All texts, one after the other.
    text: String,
    /// The length of each text, in the order of [`Texts`].
    lengths: [u16; TEXTS],
}

/// The facts of a record that are not texts. [`DeliveryRecord`] describes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) time: Timestamp,
    pub(crate) outcome: RequestOutcome,
    pub(crate) reason: Option<Reason>,
    pub(crate) status: Option<u16>,
    /// Whether the delivery was no replay: it was forwarded as a new one, or an operator sent it
    /// again. In observe mode, replays are forwarded too, and do not count.
    pub(crate) is_claimed: bool,
    /// Whether the request was sent to the upstream.
    pub(crate) was_sent: bool,
    pub(crate) server: Option<TransportAddress>,
    pub(crate) attempt: Option<u32>,
    pub(crate) client: Option<ClientAddress>,
    pub(crate) content_length: Option<u64>,
    pub(crate) body_bytes: Option<usize>,
    pub(crate) age_s: Option<i64>,
    pub(crate) verify_us: Option<u64>,
    pub(crate) claim_us: Option<u64>,
    pub(crate) upstream_us: Option<u64>,
    pub(crate) total_us: u64,
}

/// The names of a route, which all of its records share.
#[derive(Debug, Default)]
pub(crate) struct RouteNames {
    pub(crate) source: String,
    pub(crate) provider: Option<String>,
    pub(crate) upstream: String,
    pub(crate) headers: FactHeaders,
}

/// The headers from which the records of a route have their ids and event types.
#[derive(Debug, Default)]
pub(crate) struct FactHeaders {
    pub(crate) delivery_id: Option<HeaderName>,
    /// A record without a delivery id has the event id that the sender claims in its place.
    pub(crate) event_id: Vec<HeaderName>,
    pub(crate) event_type: Vec<HeaderName>,
}

impl FactHeaders {
    /// Returns the headers of `source`.
    pub(crate) fn new(source: &Source) -> Self {
        let scheme = source.verifier().scheme();
        Self {
            delivery_id: source.delivery_id_header().cloned(),
            event_id: event_id_headers(scheme),
            event_type: event_type_headers(scheme),
        }
    }
}

/// The texts of one record. [`DeliveryRecord`] describes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts<'t> {
    pub(crate) request_id: &'t str,
    pub(crate) tenant: Option<&'t str>,
    pub(crate) method: Option<&'t str>,
    pub(crate) path: Option<&'t str>,
    pub(crate) event_id: Option<&'t str>,
    pub(crate) event_type: Option<&'t str>,
    pub(crate) delivery_id: Option<Cow<'t, str>>,
    pub(crate) key_id: Option<&'t str>,
    pub(crate) user_agent: Option<Cow<'t, str>>,
    pub(crate) content_type: Option<Cow<'t, str>>,
    pub(crate) signed_headers: Option<&'t str>,
    pub(crate) resent_by: Option<&'t str>,
    pub(crate) resent_from: Option<&'t str>,
    pub(crate) queued_from: Option<&'t str>,
}

impl Texts<'_> {
    /// Returns the texts that a search looks through.
    pub(super) fn searchable(
        &self,
        client: Option<ClientAddress>,
    ) -> impl Iterator<Item = Cow<'_, str>> {
        let texts = [
            Some(self.request_id),
            self.event_id,
            self.delivery_id.as_deref(),
            self.event_type,
            self.path,
            self.user_agent.as_deref(),
            self.key_id,
        ];
        let texts = texts.into_iter().flatten().map(Cow::from);
        texts.chain(client.map(|client| client.to_string().into()))
    }

    fn all(&self) -> [Option<&str>; TEXTS] {
        [
            Some(self.request_id),
            self.tenant,
            self.method,
            self.path,
            self.event_id,
            self.event_type,
            self.delivery_id.as_deref(),
            self.key_id,
            self.user_agent.as_deref(),
            self.content_type.as_deref(),
            self.signed_headers,
            self.resent_by,
            self.resent_from,
            self.queued_from,
        ]
    }
}

impl CompactRecord {
    /// Creates a record without a number. See [`fill`](Self::fill).
    #[cfg(test)]
    pub(crate) fn new(
        facts: Facts,
        names: Option<Arc<RouteNames>>,
        texts: &Texts<'_>,
        replay_keys: ReplayKeys,
    ) -> Self {
        let mut record = Self::default();
        record.fill(facts, names.as_ref(), texts, replay_keys);
        record
    }

    /// Describes another request, without a number. The record keeps its memory.
    ///
    /// A text of 64 KiB or more is left out; the pipeline cuts all texts at a few hundred bytes.
    pub(crate) fn fill(
        &mut self,
        facts: Facts,
        names: Option<&Arc<RouteNames>>,
        texts: &Texts<'_>,
        replay_keys: ReplayKeys,
    ) {
        self.seq = 0;
        self.facts = facts;
        // Most records belong to the source of the record before, and a counter that all threads
        // share is expensive.
        if self.names.as_ref().map(Arc::as_ptr) != names.map(Arc::as_ptr) {
            self.names = names.cloned();
        }
        self.replay_keys = replay_keys;
        self.capture = CaptureMark::default();
        self.set_texts(texts);
    }

    fn set_texts(&mut self, texts: &Texts<'_>) {
        let texts = texts.all();
        self.text.clear();
        let len = texts.iter().flatten().map(|text| text.len()).sum();
        self.text.reserve_exact(len);
        for (length, text) in self.lengths.iter_mut().zip(texts) {
            *length = ABSENT;
            if let Some(text) = text
                && let Ok(fitting) = u16::try_from(text.len())
                && fitting != ABSENT
            {
                self.text.push_str(text);
                *length = fitting;
            }
        }
    }

    /// Returns whether another request can reuse the memory of the record. A flood of long texts
    /// must not leave its memory behind.
    pub(super) fn is_reusable(&self) -> bool {
        self.text.capacity() <= MAX_REUSED_TEXT
    }

    /// Returns the texts.
    pub(crate) fn texts(&self) -> Texts<'_> {
        let mut rest = &*self.text;
        let mut lengths = self.lengths.iter();
        let mut next = || {
            let length = lengths.next().filter(|length| **length != ABSENT)?;
            let (text, after) = rest.split_at_checked(usize::from(*length))?;
            rest = after;
            Some(text)
        };
        // The fields are evaluated in the order of `Texts::all`.
        Texts {
            request_id: next().unwrap_or_default(),
            tenant: next(),
            method: next(),
            path: next(),
            event_id: next(),
            event_type: next(),
            delivery_id: next().map(Cow::from),
            key_id: next(),
            user_agent: next().map(Cow::from),
            content_type: next().map(Cow::from),
            signed_headers: next(),
            resent_by: next(),
            resent_from: next(),
            queued_from: next(),
        }
    }

    /// Returns the id of the key that verified the delivery, unless an operator or the queue sent
    /// it again.
    ///
    /// This is cheaper than [`texts`](Self::texts), because it happens for each record.
    pub(super) fn senders_key_id(&self) -> Option<&str> {
        let length = self.lengths[KEY_ID];
        let is_sent_again = [RESENT_FROM, QUEUED_FROM].map(|text| self.lengths[text] != ABSENT);
        if length == ABSENT || is_sent_again.contains(&true) {
            return None;
        }
        let before = self.lengths[..KEY_ID].iter();
        let start = before
            .filter(|length| **length != ABSENT)
            .map(|length| usize::from(*length))
            .sum();
        self.text.get(start..)?.get(..usize::from(length))
    }

    /// Returns the name of the source.
    pub(crate) fn source(&self) -> Option<&str> {
        self.names.as_ref().map(|names| &*names.source)
    }

    /// Returns the headers of the facts, or `None` if no source has the request.
    pub(super) fn fact_headers(&self) -> Option<&FactHeaders> {
        self.names.as_ref().map(|names| &names.headers)
    }

    /// Returns the record for the API and for the disk.
    pub(crate) fn expand(&self) -> DeliveryRecord {
        let (facts, texts) = (&self.facts, self.texts());
        let names = self.names.as_deref();
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let to_owned = |text: &Option<Cow<'_, str>>| owned(text.as_deref());
        DeliveryRecord {
            seq: self.seq,
            request_id: texts.request_id.to_owned(),
            time: facts.time,
            outcome: facts.outcome.label().into(),
            reason: facts.reason.map(|reason| reason.label().into()),
            status: facts.status,
            source: names.map(|names| names.source.clone()),
            tenant: owned(texts.tenant),
            provider: names.and_then(|names| names.provider.clone()),
            upstream: names
                .filter(|_| facts.was_sent)
                .map(|names| names.upstream.clone()),
            server: facts.server.as_ref().map(|server| server.to_string()),
            method: owned(texts.method),
            path: owned(texts.path),
            event_id: owned(texts.event_id),
            event_type: owned(texts.event_type),
            delivery_id: to_owned(&texts.delivery_id),
            key_id: owned(texts.key_id),
            attempt: facts.attempt,
            client: facts.client,
            user_agent: to_owned(&texts.user_agent),
            content_type: to_owned(&texts.content_type),
            content_length: facts.content_length,
            body_bytes: facts.body_bytes,
            signed_headers: owned(texts.signed_headers),
            age_s: facts.age_s,
            verify_us: facts.verify_us,
            claim_us: facts.claim_us,
            upstream_us: facts.upstream_us,
            total_us: facts.total_us,
            resent_by: owned(texts.resent_by),
            resent_from: owned(texts.resent_from),
            queued_from: owned(texts.queued_from),
            capture: self.capture.clone(),
            replay_keys: self.replay_keys.clone(),
        }
    }

    /// Adopts the texts of `record`, which were redacted, and the mark of its capture.
    pub(super) fn adopt(&mut self, record: DeliveryRecord) {
        self.set_texts(&record.texts());
        self.capture = record.capture;
    }
}

#[cfg(test)]
mod tests {
    use hookgate_core::ReplayKey;

    use super::*;

    #[test]
    fn texts_are_kept_apart() {
        let texts = Texts {
            request_id: "0a1b",
            path: Some("/hooks"),
            event_id: Some(""),
            delivery_id: Some("é".into()),
            resent_from: Some("last"),
            ..Texts::default()
        };
        let names = Arc::new(RouteNames {
            source: "github".to_owned(),
            ..RouteNames::default()
        });
        let record = CompactRecord::new(Facts::default(), Some(names), &texts, ReplayKeys::new());
        assert_eq!(format!("{:?}", record.texts()), format!("{texts:?}"));
        let expanded = record.expand();
        assert_eq!(expanded.source.as_deref(), Some("github"));
        assert_eq!(expanded.upstream, None);
        assert_eq!(expanded.event_id.as_deref(), Some(""));
        assert_eq!(expanded.key_id, None);
        assert_eq!(expanded.resent_from.as_deref(), Some("last"));
    }

    #[test]
    fn a_text_that_is_too_long_is_left_out() {
        let long = "x".repeat(usize::from(ABSENT));
        let texts = Texts {
            request_id: "0a1b",
            path: Some(&long),
            event_id: Some("evt"),
            ..Texts::default()
        };
        let record = CompactRecord::new(Facts::default(), None, &texts, ReplayKeys::new());
        assert_eq!(record.texts().path, None);
        assert_eq!(record.texts().event_id, Some("evt"));
    }

    #[test]
    fn a_reused_record_has_nothing_of_the_last_one() {
        let names = |source: &str| {
            Arc::new(RouteNames {
                source: source.to_owned(),
                ..RouteNames::default()
            })
        };
        let first = Texts {
            request_id: "0a1b",
            path: Some("/hooks"),
            key_id: Some("main"),
            resent_from: Some("last"),
            ..Texts::default()
        };
        let facts = Facts {
            status: Some(200),
            ..Facts::default()
        };
        let keys = ReplayKeys::from_elem(ReplayKey::from_bytes([7; 16]), 2);
        let mut record = CompactRecord::new(facts, Some(names("github")), &first, keys);
        record.seq = 7;
        let second = Texts {
            request_id: "2",
            event_id: Some("evt"),
            ..Texts::default()
        };
        record.fill(
            Facts::default(),
            Some(&names("stripe")),
            &second,
            ReplayKeys::new(),
        );
        let new = CompactRecord::new(
            Facts::default(),
            Some(names("stripe")),
            &second,
            ReplayKeys::new(),
        );
        assert_eq!(format!("{:?}", record), format!("{new:?}"));
        record.fill(Facts::default(), None, &second, ReplayKeys::new());
        assert_eq!(record.source(), None);
    }

    #[test]
    fn the_memory_of_long_texts_is_not_reused() {
        let record = |len| {
            let path = "x".repeat(len);
            let texts = Texts {
                path: Some(&path),
                ..Texts::default()
            };
            CompactRecord::new(Facts::default(), None, &texts, ReplayKeys::new())
        };
        assert!(record(MAX_REUSED_TEXT).is_reusable());
        assert!(!record(MAX_REUSED_TEXT + 1).is_reusable());
    }

    #[test]
    fn changed_texts_replace_the_old_ones() {
        let texts = Texts {
            request_id: "0a1b",
            path: Some("/hooks/secret"),
            key_id: Some("main"),
            ..Texts::default()
        };
        let mut record = CompactRecord::new(Facts::default(), None, &texts, ReplayKeys::new());
        record.seq = 7;
        let changed = DeliveryRecord {
            path: Some("/hooks/[redacted]".to_owned()),
            ..record.expand()
        };
        record.adopt(changed);
        assert_eq!(record.seq, 7);
        assert_eq!(record.texts().path, Some("/hooks/[redacted]"));
        assert_eq!(record.texts().key_id, Some("main"));
    }
}
