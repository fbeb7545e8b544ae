//! Fuzz target: the records of a queue in a file that is damaged.

use std::time::SystemTime;

use hookgate_queue::{EntryId, EntryInfo, EntryState, FailureKind, NewEntry};
use hookgate_queue::{StoredRecords, StoredRow};
use rusqlite::types::ValueRef;

use super::queue_entry::entry;

/// The values of a row in the order of the queue's query for rows.
const ROW: [ValueRef<'static>; 21] = [
    ValueRef::Integer(7),                 // id
    ValueRef::Integer(0),                 // state
    ValueRef::Integer(3_000),             // due
    ValueRef::Integer(2),                 // attempts
    ValueRef::Integer(500),               // since
    ValueRef::Integer(1_784_187_600_000), // since_at
    ValueRef::Integer(1_784_187_600_000), // stored_at
    ValueRef::Integer(3),                 // failure_kind
    ValueRef::Integer(503),               // failure_status
    ValueRef::Integer(1_784_187_601_000), // failure_at
    ValueRef::Integer(11),                // body_len
    ValueRef::Blob(&[7; 16]),             // keys
    ValueRef::Null,                       // nonce
    ValueRef::Text(b"tenant"),            // tenant
    ValueRef::Text(b"evt_1"),             // event_id
    ValueRef::Text(b"key-1"),             // key_id
    ValueRef::Text(b"req-1"),             // request_id
    ValueRef::Integer(1),                 // source
    ValueRef::Integer(512),               // size
    ValueRef::Integer(0),                 // earlier
    ValueRef::Text(b"github"),            // the name of the source
];

/// The queue's clock, the system clock, and the queue's time at the start of this boot.
const CLOCKS: [i64; 3] = [2_000, 1_784_187_602_000, 100];

/// Reads a damaged row if the first byte of `data` is even, and a damaged content if it is odd.
pub fn queue_record(data: &[u8]) {
    // The file is one of this thread.
    thread_local! {
        static FILE: StoredRecords = StoredRecords::new().unwrap();
    }
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    FILE.with(|file| match choice & 1 {
        0 => check_row(file, data),
        _ => check_content(file, data),
    });
}

/// Takes `data` as changes of columns and clocks. A row that is read says what its columns say. A
/// row with a value of another type or range is a dead letter, whose failure names the damage.
fn check_row(file: &StoredRecords, data: &[u8]) {
    let (mut columns, mut clocks) = (ROW, CLOCKS);
    let mut changes = Changes(data);
    while let Some((place, value)) = changes.next() {
        match (place % 24, value) {
            (0, ValueRef::Integer(_)) | (1..21, _) => columns[place % 24] = value,
            (clock @ 21.., ValueRef::Integer(time)) => clocks[clock - 21] = time,
            // SQLite stores no number of a row that is not an integer.
            _ => {}
        }
    }
    let row = file.read_row(&columns, clocks).unwrap();
    let info = &row.info;
    assert_eq!(integer(columns[0]), Some(info.id.0.cast_signed()));
    assert_eq!(info.due_in.is_some(), info.state == EntryState::Waiting);
    // The sums of the queue do not overflow.
    assert!((0..=i64::from(u32::MAX)).contains(&row.size));
    assert!(info.body_len <= u64::from(u32::MAX));
    match row.is_damaged {
        true => {
            assert_eq!(info.state, EntryState::Dead);
            let kind = info.last_failure.map(|failure| failure.kind);
            assert_eq!(kind, Some(FailureKind::Damaged));
        }
        false => check_intact_row(&row, &columns, clocks[0]),
    }
}

fn check_intact_row(row: &StoredRow, columns: &[ValueRef<'_>; 21], now: i64) {
    let info = &row.info;
    let texts = [
        (13, info.tenant.as_deref()),
        (14, info.event_id.as_deref()),
        (15, Some(&*info.key_id)),
        (16, Some(&*info.request_id)),
        (20, Some(&*info.source)),
    ];
    for (column, text) in texts {
        assert_eq!(
            columns[column].as_bytes_or_null().unwrap(),
            text.map(str::as_bytes)
        );
    }
    assert_eq!(integer(columns[3]), Some(info.attempts.into()));
    assert_eq!(integer(columns[10]), Some(info.body_len.cast_signed()));
    assert_eq!(integer(columns[18]), Some(row.size));
    let keys: Vec<u8> = info.keys.iter().flat_map(|key| *key.as_bytes()).collect();
    assert!(columns[11].as_blob().unwrap().starts_with(&keys));
    let due = integer(columns[2]).unwrap();
    let wait = i128::from(due) - i128::from(now);
    match (integer(columns[1]).unwrap(), info.state) {
        // A lease that has ended.
        (1, EntryState::Waiting) => {
            let kind = info.last_failure.map(|failure| failure.kind);
            assert_eq!((kind, wait <= 0), (Some(FailureKind::Lost), true));
        }
        (0, EntryState::Waiting) => {
            let shown = info.due_in.unwrap().as_millis();
            assert_eq!(shown, wait.clamp(0, i64::MAX.into()).cast_unsigned());
        }
        (1, EntryState::InFlight) => assert!(wait > 0),
        (2, EntryState::Dead) | (3, EntryState::Delivered) => {}
        other => panic!("{other:?}"),
    }
}

fn integer(value: ValueRef<'_>) -> Option<i64> {
    value.as_i64().ok()
}

/// Takes `data` as a delivery and a change of up to 32 neighbouring bits. The delivery is read as it
/// was stored, and its CRC-32 finds every such change.
fn check_content(file: &StoredRecords, data: &[u8]) {
    let mut fields = data.splitn(9, |byte| *byte == 0);
    let entry = entry(&mut fields);
    let change = fields.next().unwrap_or_default();
    let info = EntryInfo::new(EntryId(7), &entry, SystemTime::UNIX_EPOCH);
    let stored = [&entry.envelope[..], &entry.body];
    file.store(&info, &entry, stored).unwrap();
    let read = file.content(&info).unwrap();
    assert_eq!(read, Some((entry.envelope.clone(), entry.body.clone())));

    let mut other = info.clone();
    other.id = EntryId(8);
    assert_eq!(file.content(&other).unwrap(), None);
    if info.tenant.is_none() {
        let mut other = info.clone();
        other.tenant = Some(Box::default());
        assert_eq!(file.content(&other).unwrap(), None);
    }

    if let Some([envelope, body]) = changed(&entry, change) {
        file.store(&info, &entry, [&envelope, &body]).unwrap();
        assert_eq!(file.content(&info).unwrap(), None);
    }
}

/// Returns the envelope and the body with a change: its place, and the bits to flip.
fn changed(entry: &NewEntry, change: &[u8]) -> Option<[Vec<u8>; 2]> {
    let [high, low, mask @ ..] = change else {
        return None;
    };
    let mut parts = [entry.envelope.to_vec(), entry.body.to_vec()];
    let part = &mut parts[usize::from(low & 1)];
    let start = usize::from(u16::from_be_bytes([*high, *low])) % part.len().max(1);
    for (byte, bits) in part[start..].iter_mut().zip(mask.iter().take(4)) {
        *byte ^= bits;
    }
    let is_changed = parts[0] != entry.envelope || parts[1] != entry.body;
    is_changed.then_some(parts)
}

/// Changes of a row: each has a byte for its place, one for the type, and a value.
struct Changes<'d>(&'d [u8]);

impl<'d> Changes<'d> {
    fn next(&mut self) -> Option<(usize, ValueRef<'d>)> {
        let [place, kind] = self.take(2)? else {
            return None;
        };
        let value = match kind % 6 {
            0 => ValueRef::Null,
            1 => ValueRef::Integer(i64::from_be_bytes(self.take(8)?.try_into().ok()?)),
            // SQLite stores NULL in place of a number that is none.
            2 => match f64::from_be_bytes(self.take(8)?.try_into().ok()?) {
                real if real.is_nan() => ValueRef::Null,
                real => ValueRef::Real(real),
            },
            3 => ValueRef::Integer(self.take(1)?[0].cast_signed().into()),
            4 => ValueRef::Text(self.sized()?),
            _ => ValueRef::Blob(self.sized()?),
        };
        Some((usize::from(*place), value))
    }

    /// Takes a byte for the length, and bytes of this length.
    fn sized(&mut self) -> Option<&'d [u8]> {
        let len = self.take(1)?[0];
        self.take(usize::from(len))
    }

    fn take(&mut self, len: usize) -> Option<&'d [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}
