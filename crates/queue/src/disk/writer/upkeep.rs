//! The work that the writer does between calls: it deletes old copies, and returns space to the
//! disk.

use std::sync::atomic::Ordering;

use hookgate_sqlite::{has_free_pages, has_many_free_pages, return_free_pages};

use super::{BatchError, Writer};
use crate::disk::clock::{Moment, millis};
use crate::disk::format::state;

/// How often the file learns the current time while no calls come. A reboot continues from the
/// recorded time.
const IDLE_RECORD_INTERVAL: i64 = 10_000;

/// How often the space of the log is returned to a disk that is short of space.
const CLEAR_INTERVAL: i64 = 1_000;

/// The number of old copies of delivered entries that one tick deletes.
const COPIES_PER_TICK: u32 = 512;

/// The space that copies give up beside the size of a delivery that has none.
const SPARE_SPACE: u64 = 256 * 1024;

/// The number of pages that one idle tick returns to the file system, and the number of free
/// pages that stay in the file.
const PAGES_PER_TICK: u32 = 512;
const MIN_FREE_PAGES: u32 = 4_096;

impl Writer {
    /// Returns whether a transaction without calls has something to do.
    fn has_work(&self, moment: Moment) -> rusqlite::Result<bool> {
        let is_used = self.state.usage.bytes > 0;
        if !self.confirmed.is_empty()
            || is_used && moment.now - self.recorded >= IDLE_RECORD_INTERVAL
        {
            return Ok(true);
        }
        self.database
            .prepare_cached("SELECT 1 FROM entries WHERE state = 1 AND due <= ?1")?
            .exists([moment.now])
    }

    /// Deletes copies of delivered entries whose time is over.
    fn delete_old_copies(&mut self, moment: Moment) -> Result<(), BatchError> {
        let until = moment.now - millis(self.config.limits.keep_delivered);
        let sources: Vec<i64> = self.state.usage.sources_with(state::DELIVERED).collect();
        for source in sources {
            let is_old = self
                .database
                .prepare_cached(
                    "SELECT 1 FROM entries
                     WHERE state = 3 AND state > 1 AND source = ?1 AND due <= ?2",
                )?
                .exists([source, until])?;
            if is_old {
                self.transact_on_full_disk(|table| {
                    table
                        .delete_copies(source, until, COPIES_PER_TICK)
                        .map(drop)
                })?;
            }
        }
        Ok(())
    }

    /// Deletes copies because a delivery of `size` bytes had no space on the disk. The next steps return
    /// their pages to the file system.
    fn delete_copies_for(&mut self, size: u64) -> Result<(), BatchError> {
        let usage = &self.state.usage;
        if size == 0 || usage.sources_with(state::DELIVERED).next().is_none() {
            return Ok(());
        }
        let space = i64::try_from(size.saturating_add(SPARE_SPACE)).unwrap_or(i64::MAX);
        let left = usage.bytes.saturating_sub(space);
        self.transact_on_full_disk(|table| {
            for _ in 0..COPIES_PER_TICK {
                if table.state.usage.bytes <= left || !table.delete_any_copy()? {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Returns pages to the file system if many are free, as after a long outage, or if the disk is
    /// short of space.
    fn shrink(&self) -> rusqlite::Result<()> {
        let is_due = match self.is_disk_short {
            true => has_free_pages(&self.database)?,
            false => has_many_free_pages(&self.database, MIN_FREE_PAGES)?,
        };
        if is_due {
            return_free_pages(&self.database, PAGES_PER_TICK)?;
            self.config.commits.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Returns the space of the log to a disk that is short of space, unless the log may need it.
    fn clear_disk(&mut self, moment: Moment) {
        if self.is_disk_short && moment.now - self.cleared >= CLEAR_INTERVAL {
            self.is_disk_short = false;
            self.cleared = moment.now;
            self.config.reserve.truncate_log(&mut self.database);
        }
    }

    /// Does the work that no call asks for.
    pub(super) fn try_tick(&mut self) -> Result<(), BatchError> {
        let moment = self.clock.moment();
        let result = self.maintain(moment);
        // Space returns also while the file cannot be written, for example because it is damaged.
        self.clear_disk(moment);
        self.config.reserve.restore();
        result
    }

    /// Does the work on the file.
    fn maintain(&mut self, moment: Moment) -> Result<(), BatchError> {
        self.is_disk_short |= !self.config.reserve.is_held();
        if self.has_work(moment)? {
            self.transact_on_full_disk(|_| Ok(()))?;
        }
        self.delete_old_copies(moment)?;
        let refused = std::mem::take(&mut self.refused);
        self.delete_copies_for(refused)?;
        if !std::mem::take(&mut self.is_busy) || self.is_disk_short {
            self.shrink()?;
        }
        self.prune_turn = self.prune_turn.wrapping_add(1);
        self.state.prune_index(&self.database, self.prune_turn)?;
        Ok(())
    }
}
