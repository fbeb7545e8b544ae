//! [`KeyIndex`]: finds the row of a key, in memory.

use std::collections::HashMap;

use hookgate_core::ReplayKey;

/// Maps each key to the id of its row.
///
/// The table is sorted by arrival, so that the rows of one batch share a page. Sorted by key,
/// which is a hash, each row would dirty a page of its own. This index replaces the
/// database's index on the key.
///
/// Other processes write to the file too. Row ids grow and are never reused, so a row with an
/// id above [`last_id`](Self::last_id) was added by another process. An entry of a row that
/// another process has removed stays until [`prune`](Self::prune) finds it.
#[derive(Debug)]
pub struct KeyIndex {
    /// Several maps, because a large map takes long to grow.
    parts: Vec<HashMap<ReplayKey, i64>>,
    /// The greatest id in the index.
    pub last_id: i64,
    len: usize,
    /// The changes since the last [`confirm`](Self::confirm), each with the previous id.
    undo_log: Vec<(ReplayKey, Option<i64>)>,
    confirmed_last_id: i64,
}

impl KeyIndex {
    const PARTS: usize = 1024;

    /// Creates an index without entries.
    pub fn new() -> Self {
        Self {
            parts: vec![HashMap::new(); Self::PARTS],
            last_id: 0,
            len: 0,
            undo_log: Vec::new(),
            confirmed_last_id: 0,
        }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the index has no entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the id of the row of `key`.
    pub fn get(&self, key: ReplayKey) -> Option<i64> {
        self.parts[part_of(key)].get(&key).copied()
    }

    /// Adds the entry of a row, or replaces the entry of its key.
    pub fn insert(&mut self, key: ReplayKey, id: i64) {
        self.last_id = self.last_id.max(id);
        let previous = self.set(key, Some(id));
        self.undo_log.push((key, previous));
    }

    /// Removes the entry of `key`.
    pub fn remove(&mut self, key: ReplayKey) {
        let previous = self.set(key, None);
        self.undo_log.push((key, previous));
    }

    /// Makes the changes since the last call permanent, because their transaction committed.
    pub fn confirm(&mut self) {
        self.undo_log.clear();
        self.confirmed_last_id = self.last_id;
    }

    /// Reverts the changes since the last [`confirm`](Self::confirm), because their
    /// transaction failed.
    pub fn roll_back(&mut self) {
        for (key, previous) in std::mem::take(&mut self.undo_log).into_iter().rev() {
            self.set(key, previous);
        }
        self.last_id = self.confirmed_last_id;
    }

    /// Removes the entries without a row from one part of the index. `turn` selects the part.
    ///
    /// # Errors
    ///
    /// Returns the error of `row_exists`.
    pub fn prune<E>(
        &mut self,
        turn: usize,
        mut row_exists: impl FnMut(i64) -> Result<bool, E>,
    ) -> Result<(), E> {
        let part = &self.parts[turn % Self::PARTS];
        let mut missing = Vec::new();
        for (key, id) in part {
            if !row_exists(*id)? {
                missing.push(*key);
            }
        }
        for key in missing {
            self.set(key, None);
        }
        Ok(())
    }

    /// Sets or removes an entry, and returns the previous id.
    fn set(&mut self, key: ReplayKey, id: Option<i64>) -> Option<i64> {
        let part = &mut self.parts[part_of(key)];
        let previous = match id {
            Some(id) => part.insert(key, id),
            None => part.remove(&key),
        };
        self.len += usize::from(id.is_some());
        self.len -= usize::from(previous.is_some());
        previous
    }
}

impl Default for KeyIndex {
    fn default() -> Self {
        Self::new()
    }
}

fn part_of(key: ReplayKey) -> usize {
    // The key is a hash, so any of its bytes are evenly distributed.
    let [.., a, b] = *key.as_bytes();
    usize::from(u16::from_be_bytes([a, b])) % KeyIndex::PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128) -> ReplayKey {
        ReplayKey::from_bytes(number.to_be_bytes())
    }

    #[test]
    fn roll_back_reverts_unconfirmed_changes() {
        let mut index = KeyIndex::new();
        index.insert(key(1), 1);
        index.insert(key(2), 2);
        index.confirm();
        index.remove(key(1));
        index.insert(key(1), 3);
        index.insert(key(3), 4);
        index.remove(key(2));
        index.roll_back();
        let found = [1, 2, 3].map(|number| index.get(key(number)));
        assert_eq!(found, [Some(1), Some(2), None]);
        assert_eq!((index.len(), index.last_id), (2, 2));
        // The control: confirmed changes stay.
        index.insert(key(3), 3);
        index.confirm();
        index.roll_back();
        assert_eq!((index.get(key(3)), index.last_id), (Some(3), 3));
    }

    #[test]
    fn entries_without_a_row_are_pruned() {
        let mut index = KeyIndex::new();
        for number in 0..10_000_u16 {
            index.insert(key(u128::from(number)), i64::from(number));
        }
        index.confirm();
        for turn in 0..KeyIndex::PARTS {
            let pruned = index.prune(turn, |id| Ok::<_, ()>(id % 2 == 0));
            assert_eq!(pruned, Ok(()));
        }
        assert_eq!(index.len(), 5_000);
        assert_eq!((index.get(key(4)), index.get(key(5))), (Some(4), None));
    }
}
