//! What a store promised: for each fact, what survives a kill and what a power cut.
//!
//! - What was committed as `Buffered` survives a kill, as `Durable` a power cut.
//! - A pin or root is as it was after some of the calls since it was promised last:
//!   one that failed may have been done.
//! - Nothing else than what was put is ever read.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail, ensure};
use peerage_content::{Cid, hash};
use peerage_store::{Multihash, Pin, PinKind, RootEntry, Store, TreeId};

use crate::operations::bytes_of;
use crate::record::{Doomed, Facts, Record, range_of};

/// What ended a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was killed, or closed the store.
    Kill,
    /// The machine lost its power.
    PowerCut,
}

/// What something survives at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    Written,
    /// A kill.
    Flushed,
    /// A power cut.
    Synced,
}

impl Level {
    fn survives(self, end: End) -> bool {
        self >= if end == End::Kill { Self::Flushed } else { Self::Synced }
    }
}

/// Values that may be found after a crash, the last one being true now.
#[derive(Debug, Clone)]
pub(crate) struct Possible<T> {
    after_kill: BTreeSet<T>,
    after_cut: BTreeSet<T>,
}

impl<T: Ord + Clone> Possible<T> {
    pub(crate) fn one(value: T) -> Self {
        let after_kill = BTreeSet::from([value]);
        Self { after_cut: after_kill.clone(), after_kill }
    }

    /// What may be found after a kill.
    pub(crate) fn after_kill(&self) -> impl Iterator<Item = &T> {
        self.after_kill.iter()
    }

    pub(crate) fn tried(&mut self, value: T) {
        self.after_kill.insert(value.clone());
        self.after_cut.insert(value);
    }

    pub(crate) fn promised(&mut self, value: T, level: Level) {
        if level >= Level::Synced {
            self.after_cut = BTreeSet::from([value.clone()]);
        }
        if level >= Level::Flushed {
            self.after_kill = BTreeSet::from([value]);
        }
    }

    pub(crate) fn found(&mut self, value: T, end: End) -> bool {
        let expected = if end == End::Kill { &self.after_kill } else { &self.after_cut };
        if !expected.contains(&value) {
            return false;
        }
        // What is there after a kill may not survive a power cut yet.
        let level = if end == End::Kill { Level::Flushed } else { Level::Synced };
        self.after_cut.insert(value.clone());
        self.promised(value, level);
        true
    }
}

/// The model.
#[derive(Debug, Default)]
pub struct Model {
    /// Blocks with their payload in the store.
    blocks: BTreeMap<u32, Level>,
    /// Blocks that are pieces of files, and by which trees.
    pieces: BTreeMap<(TreeId, u32), Level>,
    /// Names of pins, or that there is none.
    pins: BTreeMap<u32, Possible<Option<String>>>,
    /// Whether there is a root, by its name.
    roots: BTreeMap<String, Possible<bool>>,
}

/// Bytes of block `n`: every number has its own, of very different lengths.
#[must_use]
pub fn block(n: u32) -> Vec<u8> {
    let len = match n % 16 {
        0 => 4 + n as usize % 5000,
        1..4 => 4 + n as usize % 700,
        _ => 4 + n as usize % 90,
    };
    n.to_le_bytes().iter().copied().cycle().take(len).collect()
}

/// The multihash of these bytes.
#[must_use]
pub fn multihash(bytes: &[u8]) -> Multihash {
    hash::digest(0x12, bytes).unwrap_or_default()
}

/// The CID of block `n`.
#[must_use]
pub fn cid(n: u32) -> Cid {
    Cid::new_v1(0x55, multihash(&block(n)))
}

/// The name that tells which blocks a root has.
#[must_use]
pub fn root_name(from: u32, to: u32) -> String {
    format!("{from}..{to}")
}

impl Record for Model {
    fn put(&mut self, n: u32) {
        self.blocks.entry(n).or_insert(Level::Written);
    }

    fn put_piece(&mut self, tree: TreeId, n: u32) {
        self.pieces.entry((tree, n)).or_insert(Level::Written);
    }

    fn remove_tree(&mut self, tree: TreeId) {
        self.pieces.retain(|(of, _), _| *of != tree);
    }

    fn give_up(&mut self, doomed: &Doomed) {
        self.blocks.retain(|n, _| !doomed.has(*n));
        self.pieces.retain(|(_, n), _| !doomed.has(*n));
    }

    fn try_pin(&mut self, n: u32, name: Option<&str>) {
        self.pins.entry(n).or_insert_with(|| Possible::one(None)).tried(name.map(str::to_owned));
    }

    fn try_root(&mut self, name: &str, there: bool) {
        self.roots.entry(name.to_owned()).or_insert_with(|| Possible::one(false)).tried(there);
    }

    fn promised(&mut self, level: Level, facts: &Facts) {
        for held in self.blocks.values_mut().chain(self.pieces.values_mut()) {
            *held = level.max(*held);
        }
        self.facts_promised(level, facts);
    }

    fn facts_promised(&mut self, level: Level, facts: &Facts) {
        for (n, possible) in &mut self.pins {
            possible.promised(facts.pins.get(n).cloned(), level);
        }
        for (name, possible) in &mut self.roots {
            possible.promised(facts.roots.contains(name), level);
        }
    }

    fn has(&self, n: u32) -> bool {
        self.blocks.contains_key(&n) || self.pieces.keys().any(|(_, piece)| *piece == n)
    }
}

impl Model {
    /// Numbers of blocks that may be here.
    pub fn numbers(&self) -> impl Iterator<Item = u32> + '_ {
        self.blocks.keys().copied().chain(self.pieces.keys().map(|(_, n)| *n))
    }

    /// Compares all with a store that was opened after such an end. What is found is
    /// what is promised from now on.
    ///
    /// # Errors
    /// What was lost, or is not what it should be.
    pub fn check(&mut self, store: &Store, end: End) -> Result<()> {
        let found_level = if end == End::Kill { Level::Flushed } else { Level::Synced };
        let mut lost = Vec::new();
        let mut numbers: Vec<u32> = self.numbers().collect();
        numbers.dedup();
        for n in numbers {
            let there = is_right(store, n, &bytes_of(n))?;
            let of_piece = self.pieces.iter().filter(|((_, piece), _)| *piece == n).map(|(_, level)| *level);
            let held = self.blocks.get(&n).copied().into_iter().chain(of_piece).max();
            if !there && held.is_some_and(|level| level.survives(end)) {
                lost.push(n);
            }
            match self.blocks.get_mut(&n) {
                Some(level) if there => *level = found_level.max(*level),
                _ => drop(self.blocks.remove(&n)),
            }
        }
        ensure!(lost.is_empty(), "lost after {end:?}: blocks {lost:?}");
        // Who still has a piece nobody can say, unless it was promised.
        self.pieces.retain(|_, level| level.survives(end));
        self.check_facts(store, end)
    }

    fn check_facts(&mut self, store: &Store, end: End) -> Result<()> {
        let Facts { pins, roots: names } = Facts::of(store);
        for (n, possible) in &mut self.pins {
            let found = pins.get(n).cloned();
            let expected = format!("{possible:?}");
            ensure!(possible.found(found.clone(), end), "pin {n} is {found:?} after {end:?}, not {expected}");
        }
        ensure!(pins.keys().all(|n| self.pins.contains_key(n)), "a pin that nobody added");
        for (name, possible) in &mut self.roots {
            let there = names.contains(name);
            ensure!(possible.found(there, end), "root {name} is there: {there}, after {end:?}");
        }
        for entry in store.roots() {
            let name = &entry.root.name;
            ensure!(self.roots.contains_key(name), "a root that nobody added: {name}");
            check_root(name, &entry)?;
        }
        Ok(())
    }
}

/// Whether a block is here; an error if it is not what was put.
///
/// # Errors
/// Wrong bytes, or the store's.
pub fn is_right(store: &Store, n: u32, bytes: &[u8]) -> Result<bool> {
    let mh = multihash(bytes);
    let read = store.read(&mh).with_context(|| format!("reading block {n}"))?;
    let len = store.len_of(&mh)?;
    match &read {
        Some(read) if **read == *bytes => {
            ensure!(
                len == u32::try_from(bytes.len()).ok(),
                "block {n} can be read, but its length is {len:?}"
            );
            Ok(true)
        }
        Some(_) => bail!("block {n} has wrong bytes"),
        None => Ok(false),
    }
}

/// A pin on block `n`, the `count`th of its names.
#[must_use]
pub fn pin(n: u32, count: u32) -> Pin {
    Pin { cid: cid(n), kind: PinKind::Recursive, name: format!("{n}.{count}") }
}

fn check_root(name: &str, entry: &RootEntry) -> Result<()> {
    let range = range_of(name).context("a root with a strange name")?;
    let set = entry.set.as_ref().with_context(|| format!("the set of root {name} is lost"))?;
    ensure!(set.len() == range.len() as u64, "root {name} has {} blocks", set.len());
    ensure!(range.into_iter().all(|n| set.contains(&multihash(&bytes_of(n)))), "root {name} lacks blocks");
    Ok(())
}
