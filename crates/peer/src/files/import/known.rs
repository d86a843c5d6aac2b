//! Files that did not change since they were hashed: their DAGs are taken from
//! the store, and not a byte of theirs is read.
//!
//! A file is known if it has the stat with which the store recorded the root
//! of its DAG, and a walk over the inner nodes below that root finds that this
//! import would make the same DAG of it, and that every leaf still has a
//! location. The walk builds the file anew from the leaves' hashes, so that
//! nothing else has to say under which profile, mode and time the root was
//! made. Anything else means that the file is hashed.
//!
//! A file that is changed within a grain of its time stamps looks as before, so
//! no root is recorded of one that was younger than that when it was hashed
//! (`time_grain` of the store). What `get` has just written always is, so its
//! first share hashes it.
//!
//! Times can lie all the same. Then a link names what the file was, and who follows it
//! gets nothing in its place: the store hashes what it reads before it serves it.

use std::sync::atomic::{AtomicBool, Ordering};

use peerage_content::profile::Layout;
use peerage_content::{Block, Cid, FileBuilder, Leaf, Metadata, Profile, Visit, Walk};
use peerage_store::{FileId, Reference, RootSetBuilder, Store};

use super::folder::FileAt;
use super::hash::Shared;

/// The DAG of a file that did not change.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) cid: Cid,
    /// Bytes of the file.
    pub(super) size: u64,
    /// Bytes of all blocks, repetitions counted again.
    pub(super) tsize: u64,
    depth: usize,
}

/// A block of a known file.
pub(super) enum Part {
    Node(Block),
    Leaf(Cid),
}

impl Known {
    /// All of its blocks, each node before what is below it; `None` for a node
    /// that was lost.
    pub(super) fn parts<'a>(&self, store: &'a Store, relied: &'a RootSetBuilder) -> Parts<'a> {
        Parts { store, relied, walk: Walk::new(self.cid), depth: self.depth }
    }
}

/// The blocks of a file whose leaves all lie at one depth.
pub(super) struct Parts<'a> {
    store: &'a Store,
    relied: &'a RootSetBuilder,
    walk: Walk,
    depth: usize,
}

impl Iterator for Parts<'_> {
    type Item = Option<Part>;

    fn next(&mut self) -> Option<Option<Part>> {
        let visit = self.walk.next()?;
        Some(self.part(&visit))
    }
}

impl Parts<'_> {
    fn part(&mut self, visit: &Visit) -> Option<Part> {
        let cid = visit.cid;
        // Before it is looked for, so that no collection takes it in between.
        self.relied.insert(cid.hash()).ok()?;
        if visit.depth == self.depth {
            return Some(Part::Leaf(cid));
        }
        let data = self.store.read(cid.hash()).ok()??;
        // A node without children would lead to no leaf, which bound the walk.
        self.walk.enter(visit, &data).ok().filter(|children| *children > 0)?;
        Some(Part::Node(Block { cid, data }))
    }
}

impl Shared {
    /// What is known of a file as it was when its folder was listed. Looks up
    /// each leaf, so it may take as long as hashing a few of them; none once
    /// `stop` is set.
    pub(super) fn known(&self, at: &FileAt, stop: &AtomicBool) -> Option<Known> {
        let (store, relied, profile) = (self.references.as_ref()?, self.relied.as_ref()?, &self.profile);
        // Of these a walk tells where each leaf lies; in other files content does.
        let chunk = profile.chunker.fixed_len().filter(|_| profile.layout == Layout::Balanced)?;
        if profile.inline_max > 0 {
            return None;
        }
        let file = at.id?;
        let seen = store.seen(file)?;
        let cid = seen.root.filter(|_| seen.stat == at.facts.stat)?;
        let (size, depth) = (seen.stat.size, depth(profile, chunk, seen.stat.size));
        let metadata = at.facts.metadata(self.preserve);
        let in_leaf = if depth == 0 { metadata } else { Metadata::default() };
        let mut builder = FileBuilder::with_metadata(profile, metadata);
        let mut left = size;
        for part in (Parts { store, relied, walk: Walk::new(cid), depth }) {
            let Part::Leaf(cid) = part? else { continue };
            if stop.load(Ordering::Relaxed) || (left == 0 && size > 0) {
                return None;
            }
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(chunk);
            let leaf = Leaf::with_hash(profile, *cid.hash(), len, in_leaf);
            if leaf.cid != cid || cid.hash().code() != profile.hash.code() || !is_held(store, file, &leaf) {
                return None;
            }
            builder.push(&leaf);
            left -= len as u64;
        }
        let built = builder.finish().ok().filter(|built| built.cid == cid && left == 0)?;
        Some(Known { cid, size, tsize: built.tsize, depth })
    }
}

fn is_held(store: &Store, file: FileId, leaf: &Leaf) -> bool {
    // An empty block needs no place: everyone knows its bytes.
    if leaf.block_len() == 0 {
        return true;
    }
    let Ok(len) = u32::try_from(leaf.payload_len) else { return false };
    let reference = Reference { file, offset: 0, len, head: leaf.head.to_vec(), tail: leaf.tail.to_vec() };
    store.is_referred(leaf.cid.hash(), &reference).unwrap_or(false)
}

/// Nodes above each leaf of a file of `size` bytes.
fn depth(profile: &Profile, chunk: usize, size: u64) -> usize {
    let mut width = size.div_ceil(chunk as u64);
    let mut depth = 0;
    while width > 1 {
        width = width.div_ceil(profile.max_links as u64);
        depth += 1;
    }
    depth
}
