//! What a query has asked for before it is needed, and what of that has come:
//! bounded, however deep the DAG is.
//!
//! A walk asks for the blocks after the one it looks at, which are its siblings, then
//! goes down into it and asks there again. So at each level there is something
//! that waits until all below is done, and a stranger may make as many levels as
//! a DAG may have. Therefore each look ahead gets at most half of the room that
//! is left: a deep DAG is read with less and less ahead, and at last block by
//! block, but no DAG is too deep. The block that is needed now is asked for always.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use peerage_content::Cid;

/// Blocks that are asked for ahead of the one that is read, and have not come.
/// 16: as many mebibytes are on their way at most in a DAG of the usual leaves.
pub(crate) const AHEAD: usize = 16;

/// Blocks that a query has asked for or holds. 128: seven levels look as far ahead
/// as they like, which is as deep as most folders are.
const BLOCKS_MAX: usize = 128;

/// Bytes that a query holds, those that are on their way guessed. 32 MiB: as much
/// as all connections may have unread, and two levels of the largest usual leaves.
const BYTES_MAX: usize = 32 << 20;

/// What a block on its way counts, in bytes. 1 MiB: the usual leaves are no
/// larger. If all are of 4 MiB, which is the most, that is 48 MiB beyond the limit.
const EXPECTED: usize = 1 << 20;

/// Blocks that were asked for, and those that came before they were needed.
#[derive(Debug)]
pub(crate) struct Ahead {
    early: BTreeMap<Cid, Bytes>,
    /// Of all blocks in `early`.
    bytes: usize,
    asked: BTreeSet<Cid>,
    /// Blocks that may still be asked for in this look ahead.
    left: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { early: BTreeMap::new(), bytes: 0, asked: BTreeSet::new(), left: AHEAD }
    }
}

impl Ahead {
    /// Whether to ask for a block that will be needed: not if it was asked for
    /// already, or if there is no room.
    pub(crate) fn may_ask(&mut self, cid: Cid) -> bool {
        if self.left == 0 || self.early.contains_key(&cid) || !self.asked.insert(cid) {
            return false;
        }
        self.left -= 1;
        true
    }

    /// Whether to ask for a block that is needed now: not if it was asked for already.
    pub(crate) fn must_ask(&mut self, cid: Cid) -> bool {
        !self.early.contains_key(&cid) && self.asked.insert(cid)
    }

    /// A block has come. One that nobody waits for is let go.
    pub(crate) fn came(&mut self, cid: Cid, data: Bytes) {
        if self.asked.remove(&cid) {
            self.bytes += data.len();
            self.early.insert(cid, data);
        }
    }

    /// The block that is needed now, if it has come. The next look ahead begins.
    pub(crate) fn take(&mut self, cid: &Cid) -> Option<Bytes> {
        let data = self.early.remove(cid)?;
        self.bytes -= data.len();
        self.left = self.room();
        Some(data)
    }

    /// The block will not be needed after all.
    pub(crate) fn skip(&mut self, cid: &Cid) {
        self.asked.remove(cid);
        if self.take(cid).is_none() {
            self.left = self.room();
        }
    }

    /// How many blocks the next look ahead may ask for.
    fn room(&self) -> usize {
        let coming = self.asked.len();
        let blocks = BLOCKS_MAX.saturating_sub(coming + self.early.len());
        let bytes = BYTES_MAX.saturating_sub(coming * EXPECTED + self.bytes) / EXPECTED;
        blocks.min(bytes).div_ceil(2).min(AHEAD.saturating_sub(coming))
    }

    /// How many blocks there are, asked for or here, and the bytes of those here.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (usize, usize) {
        (self.asked.len() + self.early.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use peerage_content::{DirectoryBuilder, Leaf, Profile, Walk, limits};

    use super::*;

    /// A DAG of so many levels of folders, each with one folder, which comes first,
    /// and 15 files that are leaves of `len` bytes. Such a stranger's DAG is what a walk
    /// holds the most of.
    fn deep(levels: usize, len: usize) -> (Cid, BTreeMap<Cid, Bytes>) {
        let (profile, data) = (Profile::default(), Bytes::from(vec![0; len]));
        let mut blocks = BTreeMap::new();
        let mut below: Option<Cid> = None;
        for level in 0..levels {
            let mut folder = DirectoryBuilder::new(&profile);
            if let Some(below) = below {
                folder.add("0", below, 1).unwrap();
            }
            for number in 1..16 {
                // Only who they are matters, so all may have the same bytes.
                let leaf = Leaf::new(&profile, format!("{level} {number}").as_bytes()).cid;
                folder.add(&format!("{number:02}"), leaf, 1).unwrap();
                blocks.insert(leaf, data.clone());
            }
            let mut built = folder.finish().unwrap().blocks;
            let folder = built.pop().unwrap();
            below = Some(folder.cid);
            blocks.insert(folder.cid, folder.data);
        }
        (below.unwrap(), blocks)
    }

    /// Walks it as a pin does, each block coming as soon as it is asked for. The
    /// most that was held, blocks and bytes.
    fn walk(root: Cid, blocks: &BTreeMap<Cid, Bytes>) -> (usize, usize) {
        let (mut ahead, mut walk, mut visited) = (Ahead::default(), Walk::new(root), 0);
        let mut most = (0, 0);
        while let Some(visit) = walk.next() {
            ahead.may_ask(visit.cid);
            walk.ahead(AHEAD).filter(|cid| ahead.may_ask(*cid)).for_each(drop);
            ahead.must_ask(visit.cid);
            let held = ahead.held();
            while let Some(cid) = ahead.asked.first().copied() {
                ahead.came(cid, blocks[&cid].clone());
            }
            most = (most.0.max(held.0), most.1.max(ahead.held().1));
            let data = ahead.take(&visit.cid).unwrap();
            if !visit.leaf {
                walk.enter(&visit, &data).unwrap();
            }
            visited += 1;
        }
        assert_eq!((visited, ahead.held()), (blocks.len(), (0, 0)));
        most
    }

    #[test]
    fn what_is_held_does_not_grow_with_the_levels_of_a_dag() {
        for (len, levels) in [(10, 40), (10, 400), (1 << 20, 40), (limits::BLOCK_MAX, 40)] {
            let (root, dag) = deep(levels, len);
            let (blocks, bytes) = walk(root, &dag);
            assert!(blocks <= BLOCKS_MAX + 1, "{blocks} blocks of {len} bytes, {levels} levels");
            let beyond = AHEAD * limits::BLOCK_MAX.min(len).saturating_sub(EXPECTED);
            assert!(bytes <= BYTES_MAX + beyond + limits::BLOCK_MAX, "{bytes} bytes, {len} each");
        }
    }

    #[test]
    fn a_usual_dag_is_read_well_ahead() {
        for (levels, len) in [(7, 10 << 10), (3, 256 << 10), (1, 1 << 20)] {
            let (root, dag) = deep(levels, len);
            let (blocks, _) = walk(root, &dag);
            assert!(blocks >= levels * 14, "{blocks} blocks of {len} bytes, {levels} levels");
        }
    }

    #[test]
    fn what_is_not_needed_after_all_takes_no_room() {
        let cid = |text: &str| Leaf::new(&Profile::default(), text.as_bytes()).cid;
        let mut ahead = Ahead::default();
        for number in 0..1000 {
            let (here, coming) = (cid(&format!("here {number}")), cid(&format!("coming {number}")));
            assert!(ahead.may_ask(here) && ahead.may_ask(coming));
            ahead.came(here, Bytes::from_static(b"here"));
            ahead.skip(&here);
            ahead.skip(&coming);
            ahead.came(coming, Bytes::from_static(b"too late"));
        }
        assert_eq!(ahead.held(), (0, 0));
    }
}
