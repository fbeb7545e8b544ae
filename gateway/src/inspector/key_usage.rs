//! When each key of a source last verified a delivery.

use std::collections::BTreeMap;

use hookgate_core::UnixTime;

use super::record::DeliveryRecord;

/// Maximum number of keys. Only keys that verified a delivery count, so senders without a secret
/// cannot add one.
const MAX_KEYS: usize = 10_000;

/// The use of all keys, by source and key id.
#[derive(Debug, Default)]
pub(super) struct KeyUsage(BTreeMap<(String, String), KeyUse>);

/// The use of one key since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyUse {
    pub(crate) last_used: Option<UnixTime>,
    pub(crate) deliveries: u64,
}

impl KeyUsage {
    /// Counts the key of a delivery that a sender has sent.
    pub(super) fn count(&mut self, record: &DeliveryRecord) {
        let (Some(source), Some(key)) = (&record.source, &record.key_id) else {
            return;
        };
        let id = (source.clone(), key.clone());
        let is_resent = record.resent_from.is_some();
        if is_resent || (self.0.len() >= MAX_KEYS && !self.0.contains_key(&id)) {
            return;
        }
        let used = self.0.entry(id).or_default();
        used.deliveries += 1;
        used.last_used = used.last_used.max(Some(record.time.0));
    }

    /// Returns the used keys of `source`.
    pub(super) fn of_source(&self, source: &str) -> BTreeMap<String, KeyUse> {
        let first = (source.to_owned(), String::new());
        let keys = self.0.range(first..);
        keys.take_while(|((name, _), _)| name == source)
            .map(|((_, key), used)| (key.clone(), *used))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(source: &str, key: Option<&str>, secs: i64) -> DeliveryRecord {
        let mut record = DeliveryRecord {
            source: Some(source.to_owned()),
            key_id: key.map(str::to_owned),
            ..DeliveryRecord::default()
        };
        record.time.0 = UnixTime::from_secs(secs);
        record
    }

    #[test]
    fn each_key_has_its_count_and_its_last_use() {
        let mut usage = KeyUsage::default();
        usage.count(&record("a", Some("1"), 20));
        usage.count(&record("a", Some("1"), 10));
        usage.count(&record("a", Some("2"), 5));
        usage.count(&record("ab", Some("1"), 30));
        usage.count(&record("a", None, 40));
        usage.count(&DeliveryRecord {
            resent_from: Some("original".to_owned()),
            ..record("a", Some("1"), 50)
        });
        let used = |deliveries, secs| KeyUse {
            last_used: Some(UnixTime::from_secs(secs)),
            deliveries,
        };
        let expected = [("1".to_owned(), used(2, 20)), ("2".to_owned(), used(1, 5))];
        assert_eq!(usage.of_source("a"), BTreeMap::from(expected));
        assert!(usage.of_source("b").is_empty());
    }
}
