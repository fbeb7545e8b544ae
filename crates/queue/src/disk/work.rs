//! The calls of workers: they lease entries and settle their leases.

use std::time::Duration;

use hookgate_core::internal::ErrorChain;
use rusqlite::{OptionalExtension, params};

use super::clock::{millis, system_time};
use super::content::{Content, DamagedEntry, Read, is_damaged_value, missing_row};
use super::damaged_rows::DamagedRow;
use super::enqueue::random_token;
use super::format::{state, state_number};
use super::row::{EntryRow, failure_columns};
use super::table::Table;
use crate::entry::{Entry, EntryLease, EntryState, Failure, FailureKind, LeasedEntry};
use crate::store::{Changed, Order};

/// One call leases bodies of about this many bytes, so that the leases of large deliveries do not
/// delay the storing of others.
const MAX_LEASED_BYTES: u64 = 32 << 20;

/// How a lease ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum Settlement {
    Complete,
    RetryLater(Duration, Failure),
    PutBack(Duration),
    Bury(Failure),
}

impl Table<'_> {
    pub(super) fn lease(
        &mut self,
        source: &str,
        order: Order,
        max: usize,
        lease: Duration,
    ) -> rusqlite::Result<Vec<LeasedEntry>> {
        let Some(source) = self.state.usage.id(source) else {
            return Ok(Vec::new());
        };
        let end = self.moment.now.saturating_add(millis(lease));
        let (mut leased, mut bytes) = (Vec::new(), 0);
        while leased.len() < max && bytes < MAX_LEASED_BYTES {
            let Some(id) = self.next_due(source, order)? else {
                break;
            };
            if let Some(entry) = self.lease_entry(id, source, end)? {
                bytes += entry.entry.info.body_len;
                leased.push(entry);
            }
        }
        Ok(leased)
    }

    /// Returns the next entry of the source to lease.
    fn next_due(&self, source: i64, order: Order) -> rusqlite::Result<Option<i64>> {
        let damaged = &self.state.damaged;
        if !damaged.is_empty() {
            let in_flight = self.state.usage.entries(source, state::IN_FLIGHT);
            let in_flight = in_flight - damaged.count(source, state::IN_FLIGHT);
            if order == Order::Source && in_flight > 0 {
                return Ok(None);
            }
            let next = damaged.first_waiting(self.database, source, order)?;
            return Ok(next
                .filter(|next| next.due <= self.moment.now)
                .map(|next| next.id));
        }
        let query = match order {
            Order::Any => {
                "SELECT id FROM entries
                 WHERE source = ?1 AND state = 0 AND due <= ?2 ORDER BY due, id LIMIT 1"
            }
            Order::Source if self.state.usage.entries(source, state::IN_FLIGHT) > 0 => {
                return Ok(None);
            }
            Order::Source => {
                "SELECT id FROM (
                   SELECT id, due FROM entries WHERE source = ?1 AND state < 2 ORDER BY id LIMIT 1
                 ) WHERE due <= ?2"
            }
        };
        let mut next = self.database.prepare_cached(query)?;
        next.query_row([source, self.moment.now], |row| row.get(0))
            .optional()
    }

    /// Leases an entry until `end`. A damaged entry becomes a dead letter instead.
    fn lease_entry(
        &mut self,
        id: i64,
        source: i64,
        end: i64,
    ) -> rusqlite::Result<Option<LeasedEntry>> {
        let mut row = match self.entry(id) {
            Ok(Some(row)) => row,
            Ok(None) => return Err(missing_row()),
            Err(error) if is_damaged_value(&error) => {
                self.bury_damaged(id, source)?;
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let content = match Content::read(self.reader, &row.info)? {
            // The entry is part of this transaction, so the reader does not see it yet.
            Read::Missing => Content::read(self.database, &row.info)?,
            read => read,
        };
        let Read::Intact(content) = content else {
            self.bury_damaged(id, source)?;
            return Ok(None);
        };
        let token = random_token(self.database)?;
        let leased = self
            .database
            .prepare_cached(
                "UPDATE entries SET state = 1, due = ?2, lease = ?3, attempts = attempts + 1
                 WHERE id = ?1",
            )?
            .execute([id, end, token]);
        let damaged = DamagedRow {
            source,
            state: state::WAITING,
        };
        self.state.damaged.note(id, damaged, leased)?;
        let usage = &mut self.state.usage;
        usage.moved(source, state::WAITING, state::IN_FLIGHT);
        row.info.state = EntryState::InFlight;
        row.info.due_in = None;
        row.info.attempts = row.info.attempts.saturating_add(1);
        Ok(Some(LeasedEntry {
            lease: EntryLease {
                id: row.info.id,
                token: token.cast_unsigned(),
            },
            entry: Entry {
                info: row.info,
                envelope: content.envelope,
                body: content.body,
            },
        }))
    }

    pub(super) fn renew(
        &mut self,
        lease: &EntryLease,
        duration: Duration,
    ) -> rusqlite::Result<Changed> {
        let end = self.moment.now.saturating_add(millis(duration));
        let renewed = self
            .database
            .prepare_cached(
                "UPDATE entries SET due = max(due, ?3) WHERE id = ?1 AND lease = ?2 AND state = 1",
            )?
            .execute([lease.id.0.cast_signed(), lease.token.cast_signed(), end])?;
        Ok(match renewed {
            0 => Changed::No,
            _ => Changed::Yes,
        })
    }

    /// Makes a damaged entry a dead letter, so that the entries behind it continue.
    fn bury_damaged(&mut self, id: i64, source: i64) -> rusqlite::Result<()> {
        let error = DamagedEntry::new(crate::EntryId(id.cast_unsigned()), self.path);
        tracing::error!(error = %ErrorChain(&error), "a delivery in the queue is damaged");
        let failure = Failure {
            kind: FailureKind::Damaged,
            status: None,
            at: system_time(self.moment.system_now),
        };
        self.update(id, state::DEAD, self.moment.now, 0, Some(failure))?;
        let usage = &mut self.state.usage;
        usage.moved(source, state::WAITING, state::DEAD);
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        lease: &EntryLease,
        settlement: Settlement,
    ) -> rusqlite::Result<Changed> {
        let id = lease.id.0.cast_signed();
        let mut holds = self
            .database
            .prepare_cached("SELECT 1 FROM entries WHERE id = ?1 AND lease = ?2 AND lease != 0")?;
        if !holds.exists([id, lease.token.cast_signed()])? {
            return Ok(Changed::No);
        }
        let Some(row) = self.entry(id)? else {
            return Ok(Changed::No);
        };
        let damaged = DamagedRow {
            source: row.source,
            state: state_number(row.info.state),
        };
        let settled = self.settle_row(row, settlement);
        // Otherwise, the content alone may be damaged, and the next attempt keeps it.
        if self.keeps_contents {
            return self.state.damaged.note(id, damaged, settled);
        }
        settled
    }

    /// Changes the row of an entry whose lease ends.
    fn settle_row(&mut self, row: EntryRow, settlement: Settlement) -> rusqlite::Result<Changed> {
        let id = row.info.id.0.cast_signed();
        let after = |wait| self.moment.now.saturating_add(millis(wait));
        let to = match settlement {
            Settlement::Complete if self.limits.keep_delivered.is_zero() => {
                self.remove(&row)?;
                None
            }
            Settlement::Complete => {
                self.remove_keys(id, &row.held_keys())?;
                self.update(id, state::DELIVERED, self.moment.now, 0, None)?;
                Some(state::DELIVERED)
            }
            Settlement::RetryLater(wait, failure) => {
                self.update(id, state::WAITING, after(wait), 0, Some(failure))?;
                Some(state::WAITING)
            }
            Settlement::PutBack(wait) => {
                self.update(id, state::WAITING, after(wait), 1, None)?;
                Some(state::WAITING)
            }
            Settlement::Bury(failure) => {
                self.update(id, state::DEAD, self.moment.now, 0, Some(failure))?;
                Some(state::DEAD)
            }
        };
        if let Some(to) = to {
            // The entry waits if its lease has ended.
            let from = state_number(row.info.state);
            self.state.usage.moved(row.source, from, to);
        }
        // With `Order::Source`, the next entry may be due now.
        self.has_made_due = true;
        Ok(Changed::Yes)
    }

    /// Changes the state of an entry and ends its lease. `failure` replaces the last one if it is
    /// set, and `uncounted` attempts are not counted.
    fn update(
        &self,
        id: i64,
        state: i64,
        due: i64,
        uncounted: u32,
        failure: Option<Failure>,
    ) -> rusqlite::Result<()> {
        let (kind, status, at) = failure_columns(failure);
        self.database
            .prepare_cached(
                "UPDATE entries SET state = ?2, due = ?3, lease = 0, attempts = attempts - ?4,
                   failure_status = iif(?5 IS NULL, failure_status, ?6),
                   failure_kind = coalesce(?5, failure_kind),
                   failure_at = coalesce(?7, failure_at)
                 WHERE id = ?1",
            )?
            .execute(params![id, state, due, uncounted, kind, status, at])?;
        Ok(())
    }
}
