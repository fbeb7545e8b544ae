//! [`Usage`]: the number of entries of each source, and the space that they use.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::format::state;

/// The rows of the table `sources`.
#[derive(Debug, Default)]
pub(super) struct Usage {
    by_id: HashMap<i64, SourceUsage>,
    ids: HashMap<Box<str>, i64>,
    /// The space that all entries use.
    pub(super) bytes: i64,
}

#[derive(Debug)]
pub(super) struct SourceUsage {
    pub(super) name: Box<str>,
    /// The number of entries in each state, by the number of the state.
    pub(super) entries: [i64; 4],
    pub(super) bytes: i64,
    is_changed: bool,
}

impl Usage {
    pub(super) fn load(database: &Connection) -> rusqlite::Result<Self> {
        let mut usage = Self::default();
        let mut rows = database.prepare_cached(
            "SELECT id, name, waiting, in_flight, dead, delivered, bytes FROM sources",
        )?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let source = SourceUsage {
                name: row.get(1)?,
                entries: [row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?],
                bytes: row.get(6)?,
                is_changed: false,
            };
            usage.bytes += source.bytes;
            usage.ids.insert(source.name.clone(), row.get(0)?);
            usage.by_id.insert(row.get(0)?, source);
        }
        Ok(usage)
    }

    /// Returns the number of the source `name`, if it ever had an entry.
    pub(super) fn id(&self, name: &str) -> Option<i64> {
        self.ids.get(name).copied()
    }

    /// Returns the number of the source `name`, and adds the source if it is new.
    pub(super) fn id_or_insert(
        &mut self,
        database: &Connection,
        name: &str,
    ) -> rusqlite::Result<i64> {
        if let Some(id) = self.id(name) {
            return Ok(id);
        }
        let id = database
            .prepare_cached("INSERT INTO sources (name) VALUES (?1) RETURNING id")?
            .query_row([name], |row| row.get(0))?;
        let source = SourceUsage {
            name: name.into(),
            entries: [0; 4],
            bytes: 0,
            is_changed: false,
        };
        self.ids.insert(source.name.clone(), id);
        self.by_id.insert(id, source);
        Ok(id)
    }

    pub(super) fn get(&self, source: i64) -> Option<&SourceUsage> {
        self.by_id.get(&source)
    }

    /// Returns the sources with their numbers.
    pub(super) fn sources(&self) -> impl Iterator<Item = (i64, &SourceUsage)> {
        self.by_id.iter().map(|(id, source)| (*id, source))
    }

    /// Returns the numbers of the sources with entries in `state`.
    pub(super) fn sources_with(&self, state: i64) -> impl Iterator<Item = i64> {
        let sources = self.sources().map(|(id, _)| id);
        sources.filter(move |id| self.entries(*id, state) > 0)
    }

    /// Returns the number of entries of the source in `state`.
    pub(super) fn entries(&self, source: i64, state: i64) -> i64 {
        self.get(source)
            .map_or(0, |usage| usage.entries[index(state)])
    }

    /// Counts an entry of `source` that was added.
    pub(super) fn added(&mut self, source: i64, state: i64, size: i64) {
        self.change(source, size, |entries| entries[index(state)] += 1);
    }

    /// Counts an entry of `source` that was removed.
    pub(super) fn removed(&mut self, source: i64, state: i64, size: i64) {
        self.change(source, -size, |entries| entries[index(state)] -= 1);
    }

    /// Counts an entry of `source` whose state has changed.
    pub(super) fn moved(&mut self, source: i64, from: i64, to: i64) {
        self.change(source, 0, |entries| {
            entries[index(from)] -= 1;
            entries[index(to)] += 1;
        });
    }

    /// Counts all entries again, because the numbers of a damaged entry are not known.
    pub(super) fn recount(&mut self, database: &Connection) -> rusqlite::Result<()> {
        self.bytes = 0;
        for source in self.by_id.values_mut() {
            source.entries = [0; 4];
            source.bytes = 0;
            source.is_changed = true;
        }
        let mut counts = database.prepare_cached(
            "SELECT source, state, count(*), sum(iif(size BETWEEN 0 AND 4294967295, size, 0))
             FROM entries GROUP BY source, state",
        )?;
        let mut counts = counts.query([])?;
        while let Some(row) = counts.next()? {
            let (count, size) = (row.get::<_, i64>(2)?, row.get(3)?);
            let state = index(row.get(1)?);
            self.change(row.get(0)?, size, |entries| entries[state] += count);
        }
        Ok(())
    }

    fn change(&mut self, source: i64, bytes: i64, change: impl FnOnce(&mut [i64; 4])) {
        if let Some(usage) = self.by_id.get_mut(&source) {
            change(&mut usage.entries);
            usage.bytes += bytes;
            usage.is_changed = true;
            self.bytes += bytes;
        }
    }

    /// Writes the changes to the table.
    pub(super) fn save(&mut self, database: &Connection) -> rusqlite::Result<()> {
        let mut update = database.prepare_cached(
            "UPDATE sources SET waiting = ?2, in_flight = ?3, dead = ?4, delivered = ?5, bytes = ?6
             WHERE id = ?1",
        )?;
        for (id, usage) in &mut self.by_id {
            if std::mem::take(&mut usage.is_changed) {
                let [waiting, in_flight, dead, delivered] = usage.entries;
                update.execute(params![
                    id,
                    waiting,
                    in_flight,
                    dead,
                    delivered,
                    usage.bytes
                ])?;
            }
        }
        Ok(())
    }
}

/// Returns the place of a state in [`SourceUsage::entries`].
fn index(state: i64) -> usize {
    usize::try_from(state.clamp(state::WAITING, state::DELIVERED)).unwrap_or(0)
}
