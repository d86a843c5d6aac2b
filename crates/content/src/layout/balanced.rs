//! The balanced layout, with all leaves at one depth (ipfs/specs unixfs.md;
//! boxo `importer/balanced`). The root of a single leaf is the leaf.

use super::{Child, Root, node};
use crate::block::Block;
use crate::profile::Profile;
use crate::unixfs::Metadata;

/// Finished children that wait for their parent: leaves first.
#[derive(Debug, Default)]
pub(crate) struct Balanced(Vec<Vec<Child>>);

impl Balanced {
    pub(super) fn push(&mut self, profile: &Profile, leaf: Child, blocks: &mut Vec<Block>) {
        self.add(profile, 0, leaf, blocks);
    }

    /// A full node is closed only when one more child comes: it might be the
    /// root, which holds the mode and time.
    fn add(&mut self, profile: &Profile, level: usize, child: Child, blocks: &mut Vec<Block>) {
        if level == self.0.len() {
            self.0.push(Vec::new());
        }
        if self.0[level].len() >= profile.max_links {
            let full = self.close(profile, level, Metadata::default(), blocks);
            self.add(profile, level + 1, full, blocks);
        }
        self.0[level].push(child);
    }

    /// Makes a node of the children that wait at `level`.
    fn close(
        &mut self,
        profile: &Profile,
        level: usize,
        metadata: Metadata,
        blocks: &mut Vec<Block>,
    ) -> Child {
        let children = &mut self.0[level];
        let child = node(profile, children, metadata, blocks);
        children.clear();
        child
    }

    pub(super) fn finish(
        mut self,
        profile: &Profile,
        metadata: Metadata,
        blocks: &mut Vec<Block>,
    ) -> Option<Root> {
        let mut level = 0;
        loop {
            let is_top = level + 1 >= self.0.len();
            if is_top && let [child] = self.0.get(level)?[..] {
                return Some(Root { child, is_leaf: level == 0 });
            }
            let metadata = if is_top { metadata } else { Metadata::default() };
            let child = self.close(profile, level, metadata, blocks);
            self.add(profile, level + 1, child, blocks);
            level += 1;
        }
    }
}
