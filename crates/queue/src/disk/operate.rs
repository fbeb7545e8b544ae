//! The operator's acts: retry and delete entries, and find the entry of an event.

use std::time::Duration;

use hookgate_core::ReplayKey;
use rusqlite::params;

use super::clock::millis;
use super::format::state;
use super::table::Table;
use crate::entry::{EntryId, EntryInfo, EntryState};
use crate::store::Changed;

impl Table<'_> {
    pub(super) fn find_key(&self, key: ReplayKey) -> rusqlite::Result<Option<EntryInfo>> {
        match self.holder(key)? {
            Some(id) => Ok(self.entry(id)?.map(|row| row.info)),
            None => Ok(None),
        }
    }

    pub(super) fn retry_now(&mut self, id: EntryId) -> rusqlite::Result<Changed> {
        let id = id.0.cast_signed();
        let Some(row) = self.entry(id)? else {
            return Ok(Changed::No);
        };
        match row.info.state {
            EntryState::InFlight => return Ok(Changed::No),
            EntryState::Waiting => {
                self.database
                    .prepare_cached("UPDATE entries SET due = ?2, lease = 0 WHERE id = ?1")?
                    .execute([id, self.moment.now])?;
            }
            EntryState::Dead => self.revive(id, row.source, state::DEAD)?,
            EntryState::Delivered => {
                // The event may wait again, in another entry.
                let keys = row.held_keys();
                for key in &keys {
                    if self.holder(*key)?.is_some() {
                        return Ok(Changed::No);
                    }
                }
                self.add_keys(id, &keys, row.nonce.is_some())?;
                self.revive(id, row.source, state::DELIVERED)?;
            }
        }
        self.has_made_due = true;
        Ok(Changed::Yes)
    }

    /// Makes an entry due whose attempts have ended. Its age starts again.
    fn revive(&mut self, id: i64, source: i64, from: i64) -> rusqlite::Result<()> {
        self.database
            .prepare_cached(
                "UPDATE entries SET state = 0, due = ?2, lease = 0, since = ?2, since_at = ?3,
                   earlier = attempts, revived = 1
                 WHERE id = ?1",
            )?
            .execute(params![id, self.moment.now, self.moment.system_now])?;
        self.state.usage.moved(source, from, state::WAITING);
        Ok(())
    }

    pub(super) fn delete(&mut self, id: EntryId) -> rusqlite::Result<Changed> {
        match self.any_entry(id.0.cast_signed())? {
            Some(row) if row.info.state != EntryState::InFlight => {
                self.remove(&row)?;
                self.has_made_due = true;
                Ok(Changed::Yes)
            }
            _ => Ok(Changed::No),
        }
    }

    /// Deletes up to `max` dead letters that have been dead for `age`. Returns their number.
    pub(super) fn delete_dead(&mut self, age: Duration, max: u32) -> rusqlite::Result<u64> {
        let until = self.moment.now.saturating_sub(millis(age));
        let sources: Vec<i64> = self.state.usage.sources_with(state::DEAD).collect();
        for source in sources {
            let deleted = self.delete_ended(state::DEAD, source, until, max)?;
            if deleted > 0 {
                return Ok(deleted);
            }
        }
        Ok(0)
    }
}
