//! Where in the file each event is, kept in memory.

use std::collections::HashMap;

use hookgate_core::ReplayKey;

/// The file has events in the order in which they came, so that those of a moment lie
/// together and are written together: sorted by key, which is a hash, each would dirty a
/// page of its own. What finds them is this.
///
/// Other processes write to the file, too. Numbers grow and none is given twice, so that
/// what they added is whatever has a greater number than [`last`](Self::last). What they
/// removed is found out when it is looked for.
#[derive(Debug)]
pub(super) struct Index {
    /// In parts: one that grows takes long.
    parts: Vec<HashMap<ReplayKey, i64>>,
    pub(super) last: i64,
    len: usize,
    /// What was there before the batch that is being written.
    undo: Vec<(ReplayKey, Option<i64>)>,
    last_before: i64,
}

impl Index {
    const PARTS: usize = 1024;

    pub(super) fn new() -> Self {
        Self {
            parts: vec![HashMap::new(); Self::PARTS],
            last: 0,
            len: 0,
            undo: Vec::new(),
            last_before: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, key: ReplayKey) -> Option<i64> {
        self.parts[part(key)].get(&key).copied()
    }

    pub(super) fn put(&mut self, key: ReplayKey, number: i64) {
        self.last = self.last.max(number);
        let before = self.set(key, Some(number));
        self.undo.push((key, before));
    }

    pub(super) fn remove(&mut self, key: ReplayKey) {
        let before = self.set(key, None);
        self.undo.push((key, before));
    }

    /// What was put and removed so far is in the file.
    pub(super) fn keep(&mut self) {
        self.undo.clear();
        self.last_before = self.last;
    }

    /// What was put and removed since [`keep`](Self::keep) is not in the file.
    pub(super) fn undo(&mut self) {
        for (key, before) in std::mem::take(&mut self.undo).into_iter().rev() {
            self.set(key, before);
        }
        self.last = self.last_before;
    }

    /// Removes what `is_there` does not find from one of the parts.
    pub(super) fn prune<E>(
        &mut self,
        turn: usize,
        mut is_there: impl FnMut(i64) -> Result<bool, E>,
    ) -> Result<(), E> {
        let part = &self.parts[turn % Self::PARTS];
        let mut gone = Vec::new();
        for (key, number) in part {
            if !is_there(*number)? {
                gone.push(*key);
            }
        }
        for key in gone {
            self.set(key, None);
        }
        Ok(())
    }

    fn set(&mut self, key: ReplayKey, number: Option<i64>) -> Option<i64> {
        let part = &mut self.parts[part(key)];
        let before = match number {
            Some(number) => part.insert(key, number),
            None => part.remove(&key),
        };
        self.len += usize::from(number.is_some());
        self.len -= usize::from(before.is_some());
        before
    }
}

fn part(key: ReplayKey) -> usize {
    // The key is a hash already: any bytes of it spread evenly.
    let [.., a, b] = *key.as_bytes();
    usize::from(u16::from_be_bytes([a, b])) % Index::PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128) -> ReplayKey {
        ReplayKey::from_bytes(number.to_be_bytes())
    }

    #[test]
    fn what_was_not_written_is_undone() {
        let mut index = Index::new();
        index.put(key(1), 1);
        index.put(key(2), 2);
        index.keep();
        index.remove(key(1));
        index.put(key(1), 3);
        index.put(key(3), 4);
        index.remove(key(2));
        index.undo();
        let found = [1, 2, 3].map(|number| index.get(key(number)));
        assert_eq!(found, [Some(1), Some(2), None]);
        assert_eq!((index.len(), index.last), (2, 2));
        // The control: what was, stays.
        index.put(key(3), 3);
        index.keep();
        index.undo();
        assert_eq!((index.get(key(3)), index.last), (Some(3), 3));
    }

    #[test]
    fn what_others_removed_is_pruned() {
        let mut index = Index::new();
        for number in 0..10_000_u16 {
            index.put(key(u128::from(number)), i64::from(number));
        }
        index.keep();
        for turn in 0..Index::PARTS {
            let pruned = index.prune(turn, |number| Ok::<_, ()>(number % 2 == 0));
            assert_eq!(pruned, Ok(()));
        }
        assert_eq!(index.len(), 5_000);
        assert_eq!((index.get(key(4)), index.get(key(5))), (Some(4), None));
    }
}
