//! A time as the access log and the inspector show it.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::{Duration, UNIX_EPOCH};

use hookgate_core::UnixTime;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Displays a time such as `2026-11-21T18:00:00.123Z`. A time before 1970 shows as 1970, and a
/// time out of range as `-`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp(pub(crate) UnixTime);

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = Duration::from_millis(u64::try_from(self.0.millis()).unwrap_or(0));
        match UNIX_EPOCH.checked_add(since) {
            Some(time) => humantime::format_rfc3339_millis(time).fmt(f),
            None => f.write_char('-'),
        }
    }
}

impl Default for Timestamp {
    fn default() -> Self {
        Self(UnixTime::from_secs(0))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let time = hookgate_diagnose::parse_time(&text);
        let expected = || D::Error::custom("expected a time in RFC 3339");
        time.map(Self).ok_or_else(expected)
    }
}
