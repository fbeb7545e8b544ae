//! Reads rows of the table `entries`.

use std::time::Duration;

use hookgate_core::ReplayKey;
use rusqlite::Row;
use rusqlite::types::{Type, ValueRef};
use smallvec::SmallVec;

use super::clock::{Moment, millis_since_epoch, system_time};
use super::content::is_damaged_value;
use super::format::{entry_state, failure_kind, failure_number};
use crate::entry::{EntryId, EntryInfo, EntryState, Failure, FailureKind};

/// The columns that [`EntryRow::read`] expects, in this order.
pub(super) const COLUMNS: &str = "id, state, due, attempts, since, since_at, stored_at, \
     failure_kind, failure_status, failure_at, body_len, keys, nonce, tenant, event_id, key_id, \
     request_id, source, size, earlier, (SELECT name FROM sources WHERE sources.id = entries.source)";

/// A row of the table `entries`.
#[derive(Debug)]
pub(super) struct EntryRow {
    pub(super) info: EntryInfo,
    /// The number of the source.
    pub(super) source: i64,
    /// The space that the entry uses.
    pub(super) size: i64,
    pub(super) nonce: Option<i64>,
    /// Whether columns have values that they cannot have. The fields of these columns are empty.
    pub(super) is_damaged: bool,
}

impl EntryRow {
    pub(super) fn read(row: &Row<'_>, moment: Moment) -> rusqlite::Result<Self> {
        let (now, due) = (moment.now, row.get::<_, i64>(2)?);
        let mut state = entry_state(row.get(1)?).ok_or_else(damaged_row)?;
        let mut last_failure = read_failure(row)?;
        // The writer has not ended this lease yet.
        if state == EntryState::InFlight && due <= now {
            state = EntryState::Waiting;
            last_failure = Some(lost(moment, due));
        }
        let due_in = (state == EntryState::Waiting).then(|| {
            let millis = u64::try_from(due.saturating_sub(now)).unwrap_or(0);
            Duration::from_millis(millis)
        });
        let info = EntryInfo {
            id: EntryId(row.get::<_, i64>(0)?.cast_unsigned()),
            state,
            keys: read_keys(row.get_ref(11)?.as_blob()?),
            source: row.get(20)?,
            tenant: row.get(13)?,
            event_id: row.get(14)?,
            key_id: row.get(15)?,
            request_id: row.get(16)?,
            stored_at: system_time(row.get(6)?),
            age: moment.age(row.get(4)?, row.get(5)?),
            attempts: row.get(3)?,
            earlier_attempts: row.get(19)?,
            due_in,
            last_failure,
            // A greater or negative number is damage: an entry has at most 512 MiB.
            body_len: row.get::<_, u32>(10)?.into(),
        };
        Ok(Self {
            info,
            source: row.get(17)?,
            size: row.get::<_, u32>(18)?.into(),
            nonce: row.get(12)?,
            is_damaged: false,
        })
    }

    /// Reads a row that may be damaged. A damaged entry is shown as a dead letter, so that the
    /// operator can find and delete it.
    pub(super) fn read_any(row: &Row<'_>, moment: Moment) -> rusqlite::Result<Self> {
        match Self::read(row, moment) {
            Err(error) if is_damaged_value(&error) => Self::read_damaged(row, moment),
            read => read,
        }
    }

    fn read_damaged(row: &Row<'_>, moment: Moment) -> rusqlite::Result<Self> {
        let integer = |column| row.get::<_, i64>(column).unwrap_or(0);
        let text = |column| match row.get_ref(column) {
            Ok(ValueRef::Text(text)) => Some(String::from_utf8_lossy(text).into()),
            _ => None,
        };
        let count = |column| u32::try_from(integer(column)).unwrap_or(0);
        let keys = row.get_ref(11).ok().and_then(|keys| keys.as_blob().ok());
        let stored_at = system_time(integer(6));
        let info = EntryInfo {
            id: EntryId(row.get::<_, i64>(0)?.cast_unsigned()),
            state: EntryState::Dead,
            keys: keys.map(read_keys).unwrap_or_default(),
            source: text(20).unwrap_or_default(),
            tenant: text(13),
            event_id: text(14),
            key_id: text(15).unwrap_or_default(),
            request_id: text(16).unwrap_or_default(),
            stored_at,
            age: moment.age(integer(4), integer(5)),
            attempts: count(3),
            earlier_attempts: count(19),
            due_in: None,
            last_failure: Some(Failure {
                kind: FailureKind::Damaged,
                status: None,
                at: system_time(moment.system_now),
            }),
            body_len: count(10).into(),
        };
        Ok(Self {
            info,
            source: integer(17),
            size: count(18).into(),
            nonce: row.get(12).unwrap_or(None),
            is_damaged: true,
        })
    }

    /// Returns the keys that the queue holds for the entry. See [`held_keys`].
    pub(super) fn held_keys(&self) -> SmallVec<[ReplayKey; 1]> {
        held_keys(&self.info.keys, self.nonce)
    }
}

/// Returns the facts of an entry whose row cannot be read.
pub(super) fn unreadable(id: i64, source: Box<str>, moment: Moment) -> EntryInfo {
    let now = system_time(moment.system_now);
    EntryInfo {
        id: EntryId(id.cast_unsigned()),
        state: EntryState::Dead,
        keys: SmallVec::new(),
        source,
        tenant: None,
        event_id: None,
        key_id: Box::default(),
        request_id: Box::default(),
        stored_at: now,
        age: Duration::ZERO,
        attempts: 0,
        earlier_attempts: 0,
        due_in: None,
        last_failure: Some(Failure {
            kind: FailureKind::Damaged,
            status: None,
            at: now,
        }),
        body_len: 0,
    }
}

/// Returns the keys that the queue holds for an entry while it is not delivered.
///
/// The queue makes a key of the token if the delivery has no keys. A repeated call therefore
/// stores such a delivery only once.
pub(super) fn held_keys(keys: &[ReplayKey], nonce: Option<i64>) -> SmallVec<[ReplayKey; 1]> {
    let mut held: SmallVec<[ReplayKey; 1]> = SmallVec::new();
    for key in keys {
        // Two events of one delivery can be equal.
        if !held.contains(key) {
            held.push(*key);
        }
    }
    held.extend(nonce.map(|nonce| {
        let mut key = *b"hookgate\0\0\0\0\0\0\0\0";
        key[8..].copy_from_slice(&nonce.to_be_bytes());
        ReplayKey::from_bytes(key)
    }));
    held
}

/// Returns the failure of an entry whose lease ended at `end` without a settlement.
pub(super) fn lost(moment: Moment, end: i64) -> Failure {
    Failure {
        kind: FailureKind::Lost,
        status: None,
        at: system_time(
            moment
                .system_now
                .saturating_sub(moment.now.saturating_sub(end)),
        ),
    }
}

/// Returns the value of the column `keys`.
pub(super) fn keys_blob(keys: &[ReplayKey]) -> SmallVec<[u8; 16]> {
    keys.iter().flat_map(|key| *key.as_bytes()).collect()
}

pub(super) fn read_keys(blob: &[u8]) -> SmallVec<[ReplayKey; 1]> {
    let (keys, _) = blob.as_chunks();
    keys.iter().map(|key| ReplayKey::from_bytes(*key)).collect()
}

fn read_failure(row: &Row<'_>) -> rusqlite::Result<Option<Failure>> {
    let Some(kind) = row.get::<_, Option<i64>>(7)? else {
        return Ok(None);
    };
    Ok(Some(Failure {
        kind: failure_kind(kind).ok_or_else(damaged_row)?,
        status: row.get(8)?,
        at: system_time(row.get(9)?),
    }))
}

fn damaged_row() -> rusqlite::Error {
    let message = "a row of the table entries has an unknown value";
    rusqlite::Error::FromSqlConversionFailure(0, Type::Integer, message.into())
}

/// Returns the columns of a failure.
pub(super) fn failure_columns(failure: Option<Failure>) -> (Option<i64>, Option<u16>, Option<i64>) {
    (
        failure.map(|failure| failure_number(failure.kind)),
        failure.and_then(|failure| failure.status),
        failure.map(|failure| millis_since_epoch(failure.at)),
    )
}
