//! What is done to a store: drawn at random, taken down in a record.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use peerage_base::Rng;
use peerage_content::Cid;
use peerage_store::{Durability, Reference, Root, RootKind, Store, TreeId, WriteError};

use crate::model::{Level, block, is_right, multihash, pin, root_name};
use crate::record::{Doomed, Facts, Record};

/// Numbers of blocks; pieces of files have higher ones.
pub const BLOCKS: u32 = 400;
/// Files that pieces are of, and the pieces of each.
const FILES: u32 = 6;
const PIECES: u32 = 12;
const PIECE_BYTES: u32 = 200;
/// Blocks that may be pinned.
const PINNED: u32 = 40;
/// Roots beyond which some are removed before others are added. 30: with more of them
/// they would need every block, and nothing would ever be collected.
const ROOTS: usize = 30;

/// Writes the files of a user's that pieces are of; they never change.
///
/// # Errors
/// The disk's.
pub fn write_user_files(dir: &Path) -> Result<()> {
    for file in 0..FILES {
        let bytes: Vec<u8> = (0..PIECES).flat_map(|piece| bytes_of(number(file, piece))).collect();
        fs::write(dir.join(file.to_string()), bytes)?;
    }
    Ok(())
}

fn number(file: u32, piece: u32) -> u32 {
    BLOCKS + file * PIECES + piece
}

/// The bytes of a block, or of a piece of a file.
#[must_use]
pub fn bytes_of(n: u32) -> Vec<u8> {
    if n < BLOCKS {
        block(n)
    } else {
        n.to_be_bytes().iter().copied().cycle().take(PIECE_BYTES as usize).collect()
    }
}

/// Does operations on stores, one after another.
#[derive(Debug)]
pub struct Operator {
    /// What all of them are drawn from.
    pub rng: Rng,
    user_files: PathBuf,
    trees: Vec<TreeId>,
    /// Names of pins that were given.
    names: u32,
}

impl Operator {
    /// With the files of [`write_user_files`] in `user_files`.
    #[must_use]
    pub fn new(rng: Rng, user_files: &Path) -> Self {
        Self { rng, user_files: user_files.to_path_buf(), trees: Vec::new(), names: 0 }
    }

    /// True as often as this, of a hundred times.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.rng.below(u64::from(bound))).unwrap_or(0)
    }

    /// One operation; false if it failed as the disk's failures let it.
    ///
    /// # Errors
    /// What the store does against its word.
    pub fn operate(&mut self, store: &Store, record: &mut impl Record) -> Result<bool> {
        let result = match self.below(40) {
            0..12 => self.put(store, record),
            12..15 => self.share(store, record),
            15 => self.remove_tree(store, record),
            16..19 => commit(store.commit(Durability::Buffered), Level::Flushed, store, record),
            19..23 => commit(store.commit(Durability::Durable), Level::Synced, store, record),
            23..27 => self.pin(store, record),
            27 | 28 => self.add_roots(store, record),
            29 => self.remove_roots(store, record),
            30..32 => store.maintain().map(drop),
            32 | 33 => self.collect(store, record),
            _ => return self.look(store, record),
        };
        Ok(result.is_ok())
    }

    fn put(&mut self, store: &Store, record: &mut impl Record) -> Result<(), WriteError> {
        let from = self.below(BLOCKS);
        let count = 1 + self.below(12);
        for n in from..(from + count).min(BLOCKS) {
            let bytes = block(n);
            store.put_block(&multihash(&bytes), &bytes)?;
            record.put(n);
        }
        Ok(())
    }

    fn share(&mut self, store: &Store, record: &mut impl Record) -> Result<(), WriteError> {
        let tree = store.add_tree(&self.user_files)?;
        self.trees.push(tree);
        let of = self.below(FILES);
        let file = store.add_file(tree, Path::new(&of.to_string()), None)?;
        for piece in 0..PIECES {
            let n = number(of, piece);
            let offset = u64::from(piece * PIECE_BYTES);
            let reference = Reference {
                file,
                offset,
                len: PIECE_BYTES,
                head: Default::default(),
                tail: Default::default(),
            };
            store.put_reference(&multihash(&bytes_of(n)), &reference)?;
            record.put_piece(tree, n);
        }
        Ok(())
    }

    fn remove_tree(&mut self, store: &Store, record: &mut impl Record) -> Result<(), WriteError> {
        if self.trees.is_empty() {
            return Ok(());
        }
        let at = usize::try_from(self.rng.below(self.trees.len() as u64)).unwrap_or(0);
        let tree = self.trees.swap_remove(at);
        record.remove_tree(tree);
        store.remove_tree(tree)
    }

    fn pin(&mut self, store: &Store, record: &mut impl Record) -> Result<(), WriteError> {
        let n = self.below(PINNED);
        self.names += 1;
        let result = if self.chance(30) {
            record.try_pin(n, None);
            let pin = pin(n, 0);
            store.remove_pin(&pin.cid, pin.kind).map(drop)
        } else {
            // No other life of the store gives this name.
            let pin = pin(n, self.names * 1000 + self.below(1000));
            record.try_pin(n, Some(&pin.name));
            store.add_pin(&pin)
        };
        facts(result, store, record)
    }

    /// One root, or several at once.
    fn add_roots(&mut self, store: &Store, record: &mut impl Record) -> Result<(), WriteError> {
        let mut taken: BTreeSet<String> = store.roots().into_iter().map(|entry| entry.root.name).collect();
        if taken.len() >= ROOTS {
            return self.remove_roots(store, record);
        }
        let mut roots = Vec::new();
        for _ in 0..=self.below(4) {
            let all = number(FILES, 0);
            let from = self.below(all);
            let to = (from + 1 + self.below(100)).min(all);
            let name = root_name(from, to);
            if !taken.insert(name.clone()) {
                continue;
            }
            let set = store.root_set_builder();
            for n in from..to {
                set.insert(&multihash(&bytes_of(n)))?;
            }
            let root = Root {
                cid: Cid::new_v1(0x55, multihash(&bytes_of(from))),
                kind: RootKind::Kept,
                path: None,
                name: name.clone(),
                announce: false,
                keep: true,
                size: 0,
                tree: None,
                added: 0,
            };
            record.try_root(&name, true);
            roots.push((root, set));
        }
        let roots: Vec<_> = roots.iter().map(|(root, set)| (root, set)).collect();
        if roots.is_empty() {
            return Ok(());
        }
        facts(store.add_roots(&roots).map(drop), store, record)
    }

    /// One root, or several at once.
    fn remove_roots(&mut self, store: &Store, record: &mut impl Record) -> Result<(), WriteError> {
        let roots = store.roots();
        let mut gone = Vec::new();
        for _ in 0..=self.below(4) {
            let Some(entry) = self.rng.pick(&roots) else { return Ok(()) };
            record.try_root(&entry.root.name, false);
            gone.push(entry.id);
        }
        facts(store.remove_roots(&gone).map(drop), store, record)
    }

    /// A whole collection, or one that is given up; others put meanwhile.
    fn collect(&mut self, store: &Store, record: &mut impl Record) -> Result<(), WriteError> {
        let Some(mut collection) = store.collect()? else { return Ok(()) };
        record.give_up(&Doomed::of(store));
        loop {
            match self.below(20) {
                0..6 => self.put(store, record)?,
                6 => self.add_roots(store, record)?,
                7 => return Ok(()),
                _ => {}
            }
            if collection.step()?.is_none() {
                return Ok(());
            }
        }
    }

    fn look(&mut self, store: &Store, record: &impl Record) -> Result<bool> {
        let n = self.below(number(FILES, 0));
        match is_right(store, n, &bytes_of(n)) {
            Ok(there) => {
                ensure!(there || !record.has(n), "block {n} is gone while the store lives");
                Ok(true)
            }
            // The disk's error is the store's; wrong bytes never are.
            Err(error) if error.root_cause().downcast_ref::<std::io::Error>().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn commit(
    result: Result<(), WriteError>,
    level: Level,
    store: &Store,
    record: &mut impl Record,
) -> Result<(), WriteError> {
    result.inspect(|()| record.promised(level, &Facts::of(store)))
}

fn facts(result: Result<(), WriteError>, store: &Store, record: &mut impl Record) -> Result<(), WriteError> {
    result.inspect(|()| record.facts_promised(Level::Flushed, &Facts::of(store)))
}
