//! The trickle layout (boxo `importer/trickle`), for reading from the front:
//! a node has leaves first, then four nodes of depth 1, which have leaves
//! only, four of depth 2, which have those below them, and so on. Only the
//! root goes on without end. Even the root of a single leaf is a node; an
//! empty file is a node without children.

use super::{Child, Root, node};
use crate::block::Block;
use crate::profile::Profile;
use crate::unixfs::Metadata;

/// Nodes of each depth in a node (boxo `depthRepeat`).
const REPEAT: usize = 4;

/// Nodes that are not full, each in the one before, the root first.
#[derive(Debug, Default)]
pub(crate) struct Trickle {
    open: Vec<Open>,
    /// The leaf of an empty file, which is its root.
    empty: Option<Child>,
}

#[derive(Debug, Default)]
struct Open {
    /// Depth of the node; none of the root, which has no end.
    depth: Option<usize>,
    /// Leaves, then nodes.
    children: Vec<Child>,
    /// Nodes in it that were begun.
    nodes: usize,
}

impl Open {
    /// The depth of the next node in this one; none if it is full.
    fn next_depth(&self) -> Option<usize> {
        let next = self.nodes / REPEAT + 1;
        self.depth.is_none_or(|depth| next < depth).then_some(next)
    }
}

impl Trickle {
    pub(super) fn push(&mut self, profile: &Profile, leaf: Child, blocks: &mut Vec<Block>) {
        if leaf.size == 0 {
            self.empty = Some(leaf);
            return;
        }
        loop {
            let Some(last) = self.open.last_mut() else {
                self.open.push(Open::default());
                continue;
            };
            // Leaves come before nodes, so as long as they are few there are no nodes.
            if last.children.len() < profile.max_links {
                last.children.push(leaf);
                return;
            }
            match last.next_depth() {
                Some(depth) => {
                    last.nodes += 1;
                    self.open.push(Open { depth: Some(depth), ..Open::default() });
                }
                None => self.close(profile, blocks),
            }
        }
    }

    /// Finishes the innermost node, which is not the root.
    fn close(&mut self, profile: &Profile, blocks: &mut Vec<Block>) {
        if let Some(full) = self.open.pop()
            && let Some(parent) = self.open.last_mut()
        {
            parent.children.push(node(profile, &full.children, Metadata::default(), blocks));
        }
    }

    pub(super) fn finish(
        mut self,
        profile: &Profile,
        metadata: Metadata,
        blocks: &mut Vec<Block>,
    ) -> Option<Root> {
        while self.open.len() > 1 {
            self.close(profile, blocks);
        }
        match self.open.pop() {
            Some(root) => {
                Some(Root { child: node(profile, &root.children, metadata, blocks), is_leaf: false })
            }
            None => self.empty.map(|child| Root { child, is_leaf: true }),
        }
    }
}
