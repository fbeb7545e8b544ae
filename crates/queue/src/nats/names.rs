//! [`Names`]: the names of the streams, of their subjects and of their consumers.

use std::fmt::Write as _;

use hookgate_core::ReplayKey;

use crate::entry::{EntryId, NewEntry};

/// The names of the three streams of a queue.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The stream of the entries that wait or are in flight.
    pub(super) work: String,
    /// The stream of the dead letters.
    pub(super) dead: String,
    /// The stream of the facts about entries that change.
    pub(super) state: String,
}

/// The part of a subject that identifies an entry: its first replay key, or a random number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EntryName(pub(super) String);

impl Names {
    pub(super) fn new(stream: &str) -> Self {
        Self {
            work: stream.to_owned(),
            dead: format!("{stream}-dead"),
            state: format!("{stream}-state"),
        }
    }

    /// The subject of an entry that waits. The server stores one message with a subject.
    pub(super) fn entry(&self, source: &str, name: &EntryName) -> String {
        format!("{}.{}.{}", self.work, token(source), name.0)
    }

    pub(super) fn entries_of(&self, source: &str) -> String {
        format!("{}.{}.*", self.work, token(source))
    }

    pub(super) fn entries_with_key(&self, key: ReplayKey) -> String {
        format!("{}.*.{}", self.work, key_name(key))
    }

    pub(super) fn dead(&self, source: &str, name: &EntryName, id: EntryId) -> String {
        format!("{}.{}.{}.{id}", self.dead, token(source), name.0)
    }

    pub(super) fn dead_with_id(&self, id: EntryId) -> String {
        format!("{}.*.*.{id}", self.dead)
    }

    pub(super) fn dead_of(&self, source: Option<&str>) -> String {
        match source {
            Some(source) => format!("{}.{}.*.*", self.dead, token(source)),
            None => format!("{}.>", self.dead),
        }
    }

    /// The subject of the [`Progress`](super::state::Progress) of an entry.
    pub(super) fn progress(&self, id: EntryId) -> String {
        format!("{}.entry.{id}", self.state)
    }

    /// The subject of the [`KeyMark`](super::state::KeyMark) of a replay key.
    pub(super) fn key_mark(&self, key: ReplayKey) -> String {
        format!("{}.key.{}", self.state, key_name(key))
    }

    pub(super) fn clock(&self) -> String {
        format!("{}.clock", self.state)
    }

    /// Reads source and number from the subject of a dead letter.
    pub(super) fn read_dead(&self, subject: &str) -> Option<(String, EntryId)> {
        let mut tokens = subject.strip_prefix(&self.dead)?.split('.').skip(1);
        let source = decode(tokens.next()?)?;
        Some((source, tokens.nth(1)?.parse().ok()?))
    }

    /// Reads the source from the subject or the filter of its entries.
    pub(super) fn read_source(&self, subject: &str) -> Option<String> {
        let rest = subject.strip_prefix(&self.work)?.strip_prefix('.')?;
        decode(rest.split('.').next()?)
    }
}

impl EntryName {
    pub(super) fn of(entry: &NewEntry) -> Self {
        match entry.keys.first() {
            Some(key) => Self(key_name(*key)),
            None => Self(format!("r{:016x}", entry.token)),
        }
    }

    /// Reads the name from the subject of an entry.
    pub(super) fn read(subject: &str) -> Option<Self> {
        subject.split('.').nth(2).map(|name| Self(name.to_owned()))
    }
}

/// The name of the consumer of a source. It contains a number of the stream, so that an
/// acknowledgement never reaches another stream with the same name.
pub(super) fn consumer(source: &str, stream_number: u32) -> String {
    format!("{}-{stream_number:08x}", token(source))
}

pub(super) fn key_name(key: ReplayKey) -> String {
    format!("{:032x}", u128::from_be_bytes(*key.as_bytes()))
}

pub(super) fn read_key(name: &str) -> Option<ReplayKey> {
    let number = u128::from_str_radix(name, 16).ok()?;
    Some(ReplayKey::from_bytes(number.to_be_bytes()))
}

/// Returns the name of a source as one token of a subject.
fn token(source: &str) -> String {
    let mut token = String::with_capacity(source.len());
    for byte in source.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' => token.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => {
                let _ = write!(token, "={byte:02X}");
            }
        }
    }
    token
}

fn decode(token: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(token.len());
    let mut rest = token.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'=' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        let digits = std::str::from_utf8(&digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_a_token_of_its_own() {
        for (source, expected) in [
            ("git-hub_1", "git-hub_1"),
            ("a.b", "a=2Eb"),
            ("a=2Eb", "a=3D2Eb"),
            ("*>", "=2A=3E"),
            ("ü", "=C3=BC"),
        ] {
            assert_eq!(token(source), expected);
            assert_eq!(decode(expected).as_deref(), Some(source));
        }
        for foreign in ["=", "=4", "=zz", "=FF"] {
            assert_eq!(decode(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_subject_of_a_dead_letter_names_source_and_number() {
        let names = Names::new("q");
        let subject = names.dead("a.b", &EntryName("00".to_owned()), EntryId(7));
        assert_eq!(subject, "q-dead.a=2Eb.00.7");
        assert_eq!(
            names.read_dead(&subject),
            Some(("a.b".to_owned(), EntryId(7)))
        );
        assert_eq!(names.read_dead("q-dead.x"), None);
        assert_eq!(names.read_source("q.a=2Eb.*").as_deref(), Some("a.b"));
    }
}
