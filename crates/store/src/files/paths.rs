//! From the key of a path to the ids of files that may have it: the youngest
//! pairs in memory, the others in sorted runs, of which a few of one size
//! become one. It forgets nothing; whoever finds an id looks whether it lives
//! and has the path.

use std::collections::BTreeSet;
use std::io;

use crate::runs::{Pair, Run, RunWriter, merge};
use crate::scratch::ScratchRoom;

#[derive(Debug)]
pub(super) struct PathIndex {
    recent: BTreeSet<Pair>,
    /// The oldest and largest first.
    runs: Vec<(u32, Run)>,
    limit: usize,
    fan: usize,
}

impl PathIndex {
    /// Empty; `limit` pairs in memory, `fan` runs of one size.
    pub(super) fn new(limit: usize, fan: usize) -> Self {
        Self { recent: BTreeSet::new(), runs: Vec::new(), limit, fan: fan.max(2) }
    }

    /// Sees to it that an [`insert`](Self::insert) has room in memory.
    pub(super) fn prepare(&mut self, room: &ScratchRoom) -> io::Result<()> {
        if self.recent.len() < self.limit {
            return Ok(());
        }
        let mut writer = RunWriter::new(room, self.recent.len() as u64);
        self.recent.iter().try_for_each(|pair| writer.push(*pair))?;
        self.runs.push((0, writer.finish()?));
        self.recent.clear();
        while let Some((size, from)) = self.full() {
            let (_, parts): (Vec<u32>, Vec<Run>) = self.runs.split_off(from).into_iter().unzip();
            match merge(room, &parts) {
                Ok(run) => self.runs.push((size + 1, run)),
                Err(error) => {
                    self.runs.extend(parts.into_iter().map(|run| (size, run)));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The size of the last runs and where they begin, if there are many of it.
    fn full(&self) -> Option<(u32, usize)> {
        let size = self.runs.last()?.0;
        let from = self.runs.partition_point(|run| run.0 > size);
        (self.runs.len() - from >= self.fan).then_some((size, from))
    }

    /// Adds a pair.
    pub(super) fn insert(&mut self, pair: Pair) {
        self.recent.insert(pair);
    }

    /// Ids of the key, the highest first.
    pub(super) fn find(&self, key: u64) -> io::Result<Vec<u64>> {
        let mut found: Vec<u64> = self.recent.range((key, 0)..=(key, u64::MAX)).map(|pair| pair.1).collect();
        self.runs.iter().try_for_each(|(_, run)| run.find(key, &mut found))?;
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.dedup();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk;

    #[test]
    fn finds_all_ids_of_a_key_in_memory_and_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let room = ScratchRoom::new(&disk::system(), &dir.path().join("scratch"));
        let mut index = PathIndex::new(5, 3);
        let key = |id: u64| id * 7919 % 40;
        for id in 0..1000 {
            index.prepare(&room).unwrap();
            index.insert((key(id), id));
            // Said twice: by a record that replaces another.
            index.insert((key(id / 2), id / 2));
        }
        for wanted in 0..41 {
            let expected: Vec<u64> = (0..1000).rev().filter(|id| key(*id) == wanted).collect();
            assert_eq!(index.find(wanted).unwrap(), expected);
        }
        assert!(index.runs.is_sorted_by(|a, b| a.0 >= b.0) && index.runs.len() <= 12, "{index:?}");
    }

    #[test]
    fn without_room_nothing_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let room = ScratchRoom::new(&disk::system(), &dir.path().join("nowhere/scratch"));
        room.keep_to_disk();
        let mut index = PathIndex::new(2, 2);
        index.insert((1, 1));
        index.insert((1, 2));
        assert!(index.prepare(&room).is_err());
        assert_eq!(index.find(1).unwrap(), [2, 1]);
        std::fs::create_dir(dir.path().join("nowhere")).unwrap();
        index.prepare(&room).unwrap();
        index.insert((1, 3));
        assert_eq!(index.find(1).unwrap(), [3, 2, 1]);
    }
}
