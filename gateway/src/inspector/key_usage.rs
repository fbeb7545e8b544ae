//! When each key of a source last verified a delivery.

use std::collections::BTreeMap;

use hookgate_core::UnixTime;

use super::compact::CompactRecord;

/// Maximum number of keys. Only keys that verified a delivery count, so senders without a secret
/// cannot add one.
const MAX_KEYS: usize = 10_000;

/// The use of all keys, by the name of the source and the id of the key.
#[derive(Debug, Default)]
pub(super) struct KeyUsage {
    sources: BTreeMap<String, BTreeMap<String, KeyUse>>,
    /// The number of keys.
    len: usize,
}

/// The use of one key since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyUse {
    pub(crate) last_used: Option<UnixTime>,
    pub(crate) deliveries: u64,
}

impl KeyUsage {
    /// Counts the key of a delivery that a sender has sent.
    pub(super) fn count(&mut self, record: &CompactRecord) {
        let (Some(source), Some(key)) = (record.source(), record.senders_key_id()) else {
            return;
        };
        let time = record.facts.time.0;
        let known = self.sources.get_mut(source);
        match known.and_then(|keys| keys.get_mut(key)) {
            Some(used) => used.count(time),
            None if self.len < MAX_KEYS => {
                let keys = self.sources.entry(source.to_owned()).or_default();
                keys.entry(key.to_owned()).or_default().count(time);
                self.len += 1;
            }
            None => {}
        }
    }

    /// Returns the used keys of `source`.
    pub(super) fn of_source(&self, source: &str) -> BTreeMap<String, KeyUse> {
        self.sources.get(source).cloned().unwrap_or_default()
    }
}

impl KeyUse {
    fn count(&mut self, time: UnixTime) {
        self.deliveries += 1;
        self.last_used = self.last_used.max(Some(time));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspector::compact::{Facts, RouteNames, Texts};
    use crate::inspector::record::ReplayKeys;
    use crate::telemetry::access_log::Timestamp;

    fn record(source: &str, secs: i64, texts: &Texts<'_>) -> CompactRecord {
        let facts = Facts {
            time: Timestamp(UnixTime::from_secs(secs)),
            ..Facts::default()
        };
        let names = RouteNames {
            source: source.to_owned(),
            ..RouteNames::default()
        };
        CompactRecord::new(facts, Some(names.into()), texts, ReplayKeys::new())
    }

    #[test]
    fn each_key_has_its_count_and_its_last_use() {
        let mut usage = KeyUsage::default();
        let key = |key_id| Texts {
            key_id,
            ..Texts::default()
        };
        for (source, key_id, secs) in [
            ("a", Some("1"), 20),
            ("a", Some("1"), 10),
            ("a", Some("2"), 5),
            ("ab", Some("1"), 30),
            ("a", None, 40),
        ] {
            usage.count(&record(source, secs, &key(key_id)));
        }
        let resent = Texts {
            resent_from: Some("original"),
            ..key(Some("1"))
        };
        usage.count(&record("a", 50, &resent));
        let used = |deliveries, secs| KeyUse {
            last_used: Some(UnixTime::from_secs(secs)),
            deliveries,
        };
        let expected = [("1".to_owned(), used(2, 20)), ("2".to_owned(), used(1, 5))];
        assert_eq!(usage.of_source("a"), BTreeMap::from(expected));
        assert!(usage.of_source("b").is_empty());
    }
}
