//! Storing a delivery, and the space for it.

use std::error::Error;
use std::fmt;
use std::path::Path;

use hookgate_core::ReplayKey;
use rusqlite::{Connection, params};

use super::clock::millis;
use super::content::Content;
use super::damaged_rows::DamagedRow;
use super::format::state;
use super::row::{failure_columns, held_keys, keys_blob};
use super::table::Table;
use crate::entry::{EntryId, EntryLease, NewEntry};
use crate::error::{EnqueueError, QueueError};
use crate::store::{Changed, Enqueued};

/// The space that an entry takes beside its texts, its envelope and its body: rows, indexes and
/// unused parts of pages. Measured with bodies of 1 KiB.
const OVERHEAD: usize = 512;

/// The longest envelope and body. SQLite stores rows of up to 1 GB.
const MAX_CONTENT: usize = 512 << 20;

/// Why there is no space for a delivery.
#[derive(Debug)]
pub(super) enum NoSpace {
    Full,
    SourceFull,
    TooLarge,
    Disk(NoDiskSpace),
}

/// Error of a delivery that would use the reserve of the disk.
#[derive(Debug)]
pub(super) struct NoDiskSpace {
    file: Box<Path>,
    reserve: u64,
}

impl fmt::Display for NoDiskSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: the disk has too little space; the queue keeps {} bytes free to send and delete \
             what it has stored. Free space on the disk",
            self.file.display(),
            self.reserve
        )
    }
}

impl Error for NoDiskSpace {}

impl From<NoSpace> for EnqueueError {
    fn from(no_space: NoSpace) -> Self {
        match no_space {
            NoSpace::Full => Self::Full,
            NoSpace::SourceFull => Self::SourceFull,
            NoSpace::TooLarge => Self::TooLarge,
            NoSpace::Disk(error) => Self::DiskFull(QueueError::new(error)),
        }
    }
}

/// The columns of a new entry that the queue chooses.
struct NewRow {
    source: i64,
    state: i64,
    due: i64,
    token: i64,
    attempts: u32,
    size: i64,
    nonce: Option<i64>,
}

impl Table<'_> {
    pub(super) fn enqueue(
        &mut self,
        entry: &NewEntry,
    ) -> rusqlite::Result<Result<Enqueued, NoSpace>> {
        let nonce = entry.keys.is_empty().then(|| entry.token.cast_signed());
        let keys = held_keys(&entry.keys, nonce);
        if let Some(id) = self.oldest_holder(&keys)? {
            let stored = EntryId(id.cast_unsigned());
            return Ok(Ok(match self.may_be_withdrawn(id, &keys)? {
                true => Enqueued::Undecided(stored),
                false => Enqueued::AlreadyStored(stored),
            }));
        }
        let usage = &mut self.state.usage;
        let source = usage.id_or_insert(self.database, &entry.source)?;
        let size = size(entry);
        if let Err(no_space) = self.make_space(source, entry, size)? {
            return Ok(Err(no_space));
        }
        let usage = &self.state.usage;
        let is_first = [state::WAITING, state::IN_FLIGHT]
            .into_iter()
            .all(|state| usage.entries(source, state) == 0);
        let lease = entry.lease_if_first.filter(|_| is_first);
        let (state, due, attempts, token) = match lease {
            Some(lease) => (
                state::IN_FLIGHT,
                lease,
                entry.attempts.saturating_add(1),
                random_token(self.database)?,
            ),
            None => (state::WAITING, entry.first_due, entry.attempts, 0),
        };
        let row = NewRow {
            source,
            state,
            due: self.moment.now.saturating_add(millis(due)),
            token,
            attempts,
            size,
            nonce,
        };
        let id = self.insert(&row, entry)?;
        Content::insert(self.database, id, entry)?;
        // A delivery without keys has no claim to confirm.
        let rows = self.add_keys(id, &keys, nonce.is_some())?;
        if nonce.is_none() {
            self.state.unconfirmed.insert(id, rows);
        }
        self.state.usage.added(source, state, size);
        let id = EntryId(id.cast_unsigned());
        Ok(Ok(match lease {
            Some(_) => {
                let token = token.cast_unsigned();
                Enqueued::Leased(EntryLease { id, token })
            }
            None => {
                self.has_made_due = true;
                Enqueued::Stored(id)
            }
        }))
    }

    /// Adds the row of an entry, and returns its number.
    fn insert(&self, row: &NewRow, entry: &NewEntry) -> rusqlite::Result<i64> {
        let (kind, status, at) = failure_columns(entry.last_failure);
        self.database
            .prepare_cached(
                "INSERT INTO entries (source, state, due, lease, attempts, earlier, since, since_at,
                   stored_at, revived, failure_kind, failure_status, failure_at, size, body_len,
                   keys, nonce, tenant, event_id, key_id, request_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?7, 0, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,
                   ?16, ?17, ?18)",
            )?
            .insert(params![
                row.source,
                row.state,
                row.due,
                row.token,
                row.attempts,
                self.moment.now,
                self.moment.system_now,
                kind,
                status,
                at,
                row.size,
                i64::try_from(entry.body.len()).unwrap_or(i64::MAX),
                &keys_blob(&entry.keys)[..],
                row.nonce,
                entry.tenant,
                entry.event_id,
                entry.key_id,
                entry.request_id,
            ])
    }

    /// Returns the oldest entry that holds one of the keys.
    fn oldest_holder(&self, keys: &[ReplayKey]) -> rusqlite::Result<Option<i64>> {
        let mut oldest = None;
        for key in keys {
            let holder = self.holder(*key)?;
            oldest = [oldest, holder].into_iter().flatten().min();
        }
        Ok(oldest)
    }

    /// Returns whether the entry has a lease whose holder may withdraw it: one of its claims is not
    /// confirmed.
    fn may_be_withdrawn(&self, id: i64, keys: &[ReplayKey]) -> rusqlite::Result<bool> {
        let mut in_flight = self
            .database
            .prepare_cached("SELECT 1 FROM entries WHERE id = ?1 AND state = 1")?;
        if !in_flight.exists([id])? {
            return Ok(false);
        }
        let mut unconfirmed = self
            .database
            .prepare_cached("SELECT 1 FROM keys WHERE id = ?1 AND entry = ?2 AND confirmed = 0")?;
        for row in keys.iter().filter_map(|key| self.state.index.get(*key)) {
            if unconfirmed.exists([row, id])? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes an entry whose lease is open, unless one of its claims is confirmed.
    ///
    /// This is one transaction, so no other delivery of the event is acknowledged in between.
    pub(super) fn withdraw(&mut self, lease: &EntryLease) -> rusqlite::Result<Changed> {
        let id = lease.id.0.cast_signed();
        let mut holds = self
            .database
            .prepare_cached("SELECT 1 FROM entries WHERE id = ?1 AND lease = ?2 AND state = 1")?;
        if !holds.exists([id, lease.token.cast_signed()])? {
            return Ok(Changed::No);
        }
        let Some(row) = self.entry(id)? else {
            return Ok(Changed::No);
        };
        let mut confirmed = self
            .database
            .prepare_cached("SELECT 1 FROM keys WHERE id = ?1 AND entry = ?2 AND confirmed = 1")?;
        for key in &row.info.keys {
            if let Some(key) = self.state.index.get(*key)
                && confirmed.exists([key, id])?
            {
                return Ok(Changed::No);
            }
        }
        self.remove(&row)?;
        self.has_made_due = true;
        Ok(Changed::Yes)
    }

    /// Deletes copies of delivered entries until `entry` has space.
    fn make_space(
        &mut self,
        source: i64,
        entry: &NewEntry,
        size: i64,
    ) -> rusqlite::Result<Result<(), NoSpace>> {
        let (max, max_per_source) = (self.limits.max_bytes, self.limits.max_bytes_per_source);
        let content = entry.envelope.len().saturating_add(entry.body.len());
        if size > max.min(max_per_source) || content > MAX_CONTENT {
            return Ok(Err(NoSpace::TooLarge));
        }
        while self.state.usage.get(source).map_or(0, |usage| usage.bytes) + size > max_per_source {
            if !self.delete_oldest_copy(source)? {
                return Ok(Err(NoSpace::SourceFull));
            }
        }
        while self.state.usage.bytes + size > max {
            if !self.delete_any_copy()? {
                return Ok(Err(NoSpace::Full));
            }
        }
        self.reserve_space(u64::try_from(size).unwrap_or(u64::MAX))
    }

    /// Takes the space of a new entry on the disk. Copies of delivered entries make space in the
    /// file.
    fn reserve_space(&mut self, size: u64) -> rusqlite::Result<Result<(), NoSpace>> {
        let mut free_space = match self.free_space {
            Some(free_space) => free_space,
            None => self.reserve.free_space(self.database)?,
        };
        let mut fits = free_space.reserve(size);
        while !fits && free_space.free >= size {
            let used = self.state.usage.bytes;
            if !self.delete_any_copy()? {
                break;
            }
            let freed = used - self.state.usage.bytes;
            free_space.reusable += u64::try_from(freed).unwrap_or(0);
            fits = free_space.reserve(size);
        }
        self.free_space = Some(free_space);
        if !fits {
            self.refused = self.refused.max(size);
        }
        Ok(match fits {
            true => Ok(()),
            false => Err(NoSpace::Disk(NoDiskSpace {
                file: self.path.into(),
                reserve: self.reserve.size(),
            })),
        })
    }

    /// Deletes a copy of the source with the most copies. Returns `false` if there is none.
    pub(super) fn delete_any_copy(&mut self) -> rusqlite::Result<bool> {
        let usage = &self.state.usage;
        let sources = usage.sources();
        let copies = sources.map(|(id, _)| (usage.entries(id, state::DELIVERED), id));
        match copies.max() {
            Some((1.., source)) => self.delete_oldest_copy(source),
            _ => Ok(false),
        }
    }

    /// Deletes the oldest copy of a delivered entry. Returns `false` if the source has none.
    fn delete_oldest_copy(&mut self, source: i64) -> rusqlite::Result<bool> {
        if self.state.usage.entries(source, state::DELIVERED) == 0 {
            return Ok(false);
        }
        self.delete_copies(source, i64::MAX, 1)
            .map(|deleted| deleted > 0)
    }

    /// Deletes up to `max` copies of entries that were delivered up to the time `until`, oldest
    /// first. Returns their number.
    pub(super) fn delete_copies(
        &mut self,
        source: i64,
        until: i64,
        max: u32,
    ) -> rusqlite::Result<u64> {
        self.delete_ended(state::DELIVERED, source, until, max)
    }

    /// Deletes up to `max` entries of the state that have been in it since before `until`.
    pub(super) fn delete_ended(
        &mut self,
        state: i64,
        source: i64,
        until: i64,
        max: u32,
    ) -> rusqlite::Result<u64> {
        let mut ids = self.database.prepare_cached(
            "SELECT id FROM entries
             WHERE state = ?1 AND state > 1 AND source = ?2 AND due <= ?3 ORDER BY due LIMIT ?4",
        )?;
        let ids = ids.query_map(params![state, source, until, max], |row| row.get(0))?;
        let mut deleted = 0;
        for id in ids.collect::<rusqlite::Result<Vec<i64>>>()? {
            if self.state.damaged.contains(id) {
                continue;
            }
            let damaged = DamagedRow { source, state };
            let removed = self.any_entry(id).and_then(|row| match row {
                Some(row) => self.remove(&row).map(|()| 1),
                None => Ok(0),
            });
            deleted += self.state.damaged.note(id, damaged, removed)?;
        }
        Ok(deleted)
    }
}

/// Returns the space that an entry uses.
fn size(entry: &NewEntry) -> i64 {
    let texts = [
        entry.tenant.as_deref().unwrap_or_default(),
        entry.event_id.as_deref().unwrap_or_default(),
        &entry.key_id,
        &entry.request_id,
    ];
    let texts: usize = texts.iter().map(|text| text.len()).sum();
    let size = entry.envelope.len() + entry.body.len() + texts + 50 * entry.keys.len() + OVERHEAD;
    i64::try_from(size).unwrap_or(i64::MAX)
}

/// Returns a token that differs from those of other processes too, and from 0.
pub(super) fn random_token(database: &Connection) -> rusqlite::Result<i64> {
    database
        .prepare_cached("SELECT random() | 1")?
        .query_row([], |row| row.get(0))
}
