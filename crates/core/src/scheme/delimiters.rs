//! The bytes that separate a value from its neighbour in the message.

use super::field::{self, TimeUnit};

/// Bytes that a value must not contain, because they can stand next to it in the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delimiters {
    bytes: Vec<u8>,
    /// The exception for a value that the timestamp follows.
    timestamp: Option<TimestampBoundary>,
}

/// The boundary of a value in a message `VALUE.TIMESTAMP.BODY`, with any separator.
///
/// The value may contain the separator, unless one of its segments reads as the time of a
/// delivery.
///
/// # Security
///
/// A signature fits two divisions of one message only if a timestamp with separators on both
/// sides stands at two places of the message. A sender could move the boundary in two ways:
///
/// * To the right, into the body. The longer value then contains the timestamp of the genuine
///   delivery, which is the time of a delivery, and the value is refused.
/// * To the left, into the value. A segment of the accepted value would then be the timestamp.
///   No segment reads as a time that a window can contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimestampBoundary {
    pub(crate) separator: u8,
    pub(crate) unit: TimeUnit,
}

impl Delimiters {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self {
            bytes,
            timestamp: None,
        }
    }

    /// Returns the delimiter of a value that the timestamp follows.
    pub(crate) fn before_timestamp(boundary: TimestampBoundary) -> Self {
        Self {
            bytes: vec![boundary.separator],
            timestamp: Some(boundary),
        }
    }

    /// Adds the delimiters of another place where the value stands.
    pub(crate) fn add(&mut self, other: &Self) {
        if self.bytes.is_empty() {
            self.timestamp = other.timestamp;
        } else if self.timestamp != other.timestamp {
            self.timestamp = None;
        }
        for byte in &other.bytes {
            if !self.bytes.contains(byte) {
                self.bytes.push(*byte);
            }
        }
    }

    /// The bytes that the value must not contain.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether `value` shows its own end in the message.
    #[inline]
    pub(crate) fn allow(&self, value: &[u8]) -> bool {
        !contains_any(value, &self.bytes) || self.allow_before_timestamp(value)
    }

    /// Whether `id` is a [valid id](field::is_valid_id) that shows its own end in the message.
    #[inline]
    pub(crate) fn allow_id(&self, id: &[u8]) -> bool {
        // One pass is enough for nearly every id: see the case `verify` of
        // benches/instructions.py.
        let is_plain = match self.bytes[..] {
            [delimiter] => field::is_valid_id_without(id, delimiter),
            _ => false,
        };
        is_plain || self.allow_other_id(id)
    }

    #[cold]
    fn allow_other_id(&self, id: &[u8]) -> bool {
        field::is_valid_id(id) && self.allow(id)
    }

    #[cold]
    fn allow_before_timestamp(&self, value: &[u8]) -> bool {
        self.timestamp.is_some_and(|boundary| {
            let mut bytes = self.bytes.iter();
            bytes.all(|byte| *byte == boundary.separator || !value.contains(byte))
                && !boundary.contains_time(value)
        })
    }
}

impl TimestampBoundary {
    /// The first time that a delivery can have: 9 September 2001. Windows are at most ten years
    /// long, so no window reaches back to it.
    const FIRST_DELIVERY: i64 = 1_000_000_000;

    /// Whether a segment of `value` behind a separator reads as the time of a delivery.
    fn contains_time(self, value: &[u8]) -> bool {
        let segments = value.split(|byte| *byte == self.separator).skip(1);
        segments
            .filter_map(|segment| self.unit.parse(segment))
            .any(|time| time.secs() >= Self::FIRST_DELIVERY)
    }
}

/// Whether `text` contains one of `bytes`. The search is fast if there are few `bytes`.
#[inline]
fn contains_any(text: &[u8], bytes: &[u8]) -> bool {
    bytes
        .iter()
        .any(|byte| memchr::memchr(*byte, text).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_before_a_timestamp_may_contain_the_separator() {
        let delimiters = Delimiters::before_timestamp(TimestampBoundary {
            separator: b'.',
            unit: TimeUnit::Seconds,
        });
        for (value, allowed) in [
            ("evt_1", true),
            ("evt.1", true),
            ("a.b.c", true),
            ("1784187600.evt", true),
            ("evt.0", true),
            ("evt.999999999", true),
            ("evt.1000000000", false),
            ("evt.1784187600", false),
            ("evt.1784187600.", false),
            ("evt.99999999999", false),
            // Twelve digits are no timestamp in seconds.
            ("evt.178418760012", true),
            ("evt.01784187600", true),
        ] {
            assert_eq!(delimiters.allow(value.as_bytes()), allowed, "{value}");
        }
    }

    #[test]
    fn an_id_is_visible_ascii_and_shows_its_own_end() {
        let before_timestamp = Delimiters::before_timestamp(TimestampBoundary {
            separator: b'.',
            unit: TimeUnit::Seconds,
        });
        let long = "a".repeat(field::MAX_ID_LEN);
        let too_long = format!("{long}a");
        let of = |bytes: &[u8]| Delimiters::new(bytes.to_vec());
        for (delimiters, id, allowed) in [
            (of(b""), "evt_1", true),
            (of(b""), "evt.1", true),
            (of(b""), "evt 1", false),
            (of(b"."), "evt_1", true),
            (of(b"."), "evt.1", false),
            (of(b"."), "evt 1", false),
            (of(b"."), "\u{e9}vt_1", false),
            (of(b"."), "", false),
            (of(b"."), &long, true),
            (of(b"."), &too_long, false),
            (of(b".:"), "evt_1", true),
            (of(b".:"), "evt:1", false),
            (of(b".:"), "evt\u{7f}1", false),
            (before_timestamp.clone(), "evt_1", true),
            (before_timestamp.clone(), "evt.1", true),
            (before_timestamp.clone(), "evt.\n1", false),
            (before_timestamp, "evt.1784187600", false),
        ] {
            assert_eq!(delimiters.allow_id(id.as_bytes()), allowed, "{id:?}");
        }
    }

    #[test]
    fn other_delimiters_of_the_value_stay_forbidden() {
        let mut delimiters = Delimiters::new(vec![b':']);
        assert!(!delimiters.allow(b"a:b"));
        delimiters = Delimiters::before_timestamp(TimestampBoundary {
            separator: b'.',
            unit: TimeUnit::Seconds,
        });
        delimiters.add(&Delimiters::new(vec![b':']));
        for value in ["a.b", "a:b", "a.b:c"] {
            assert!(!delimiters.allow(value.as_bytes()), "{value}");
        }
    }
}
