//! Puts a block where an item needs it: bytes into a file, children of an
//! inner node into the frontier, a folder or symlink onto the disk.

use std::ops::Range;

use peerage_content::node::{FileChild, ShardEntry};
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, Node, hamt};

use super::frontier::{Item, ItemId, NewItem, Place, State};
use super::tree::{self, DirKey, FileKey};
use super::{Arrived, Fetch, Step};
use crate::error::JobError;
use crate::output::Output;

/// What each thing that the shell remembers costs beside its text, in bytes.
const NOTE_COST: u64 = 64;

impl Fetch {
    /// Puts a block that came as `came` where one item needs it. `held`: it is
    /// here already; `again`: another item has just placed it.
    pub(super) fn place(
        &mut self,
        id: ItemId,
        came: &Cid,
        arrived: &Arrived,
        held: bool,
        again: bool,
    ) -> Result<(), Box<JobError>> {
        let Some(item) = self.frontier.get_mut(id) else { return Ok(()) };
        item.state = State::Writing(0);
        let item = item.clone();
        if item.depth() > self.config.dag_depth {
            let path = self.tree.path_of(&item.place);
            return Err(Box::new(JobError::TooDeep { path, limit: self.config.dag_depth }));
        }
        let Some(node) = arrived.node_as(&item.cid, came) else { return Ok(()) };
        let node = node.map_err(|error| self.malformed(&item, &error.to_string()))?;
        if children_of(&node) > 0 && self.frontier.weight() >= self.config.frontier_items && !item.must_unfold
        {
            if let Some(item) = self.frontier.get_mut(id) {
                item.postpone = true;
            }
            if !held && !again {
                self.keep(id, arrived, again);
            }
            return Ok(());
        }
        self.place_node(id, &item, &node, arrived, held || again, again)?;
        if self.frontier.weight() > self.config.frontier_max {
            return Err(self.malformed(&item, "it has more parts than can be kept track of"));
        }
        Ok(())
    }

    fn malformed(&self, item: &Item, why: &str) -> Box<JobError> {
        let path = self.tree.path_of(&item.place);
        Box::new(JobError::Malformed { cid: item.cid, path, why: why.to_owned() })
    }

    fn place_node(
        &mut self,
        id: ItemId,
        item: &Item,
        node: &Node,
        arrived: &Arrived,
        held: bool,
        again: bool,
    ) -> Result<(), Box<JobError>> {
        match (&item.place, node) {
            (Place::Range { file, offset, size }, Node::Leaf { data, .. }) => {
                if data.len() as u64 != *size {
                    return Err(self.malformed(item, "its parent claims another size"));
                }
                self.belongs(id, *file);
                self.write(id, *file, *offset, data.clone(), arrived, held);
            }
            (Place::Range { file, offset, size }, Node::File { data, size: real, children, .. }) => {
                if real != size {
                    return Err(self.malformed(item, "its parent claims another size"));
                }
                self.belongs(id, *file);
                self.unfold_file(id, item, (*file, *offset), data.clone(), children, arrived, held)?;
                self.keep(id, arrived, again);
            }
            (Place::Entry { parent, name }, _) => {
                self.progress.total = self.progress.total.saturating_sub(item.claimed);
                let kept = self.place_entry(id, item, (*parent, name), node, arrived, held)?;
                if kept {
                    self.keep(id, arrived, again);
                }
            }
            (Place::Shard { dir, at }, Node::Shard { entries, fanout, .. }) => {
                self.progress.total = self.progress.total.saturating_sub(item.claimed);
                self.unfold_shard(id, item, (*dir, *at), (*fanout, entries))?;
                self.keep(id, arrived, again);
            }
            _ => return Err(self.malformed(item, "something else was expected in this place")),
        }
        Ok(())
    }

    /// Places an entry of a folder, or the root; true if its block is to be
    /// kept as such, since it is no mere bytes of a file.
    fn place_entry(
        &mut self,
        id: ItemId,
        item: &Item,
        (parent, name): (Option<DirKey>, &str),
        node: &Node,
        arrived: &Arrived,
        held: bool,
    ) -> Result<bool, Box<JobError>> {
        let metadata = node.metadata();
        match node {
            Node::Leaf { data, .. } => {
                let file = self.open(id, parent, name, data.len() as u64, metadata);
                self.write(id, file, 0, data.clone(), arrived, held);
                return Ok(false);
            }
            Node::Opaque { .. } => {
                let file = self.open(id, parent, name, u64::from(arrived.len), metadata);
                self.write(id, file, 0, 0..arrived.len as usize, arrived, held);
                return Ok(false);
            }
            Node::File { data, size, children, .. } => {
                let file = self.open(id, parent, name, *size, metadata);
                self.unfold_file(id, item, (file, 0), data.clone(), children, arrived, held)?;
            }
            Node::Directory { entries, .. } => {
                let dir = self.make_dir(item, parent, name, metadata)?;
                let children =
                    tree::folder_children(dir, entries, &self.tree, self.config.inner_node_estimate)?;
                self.unfold(id, item, children)?;
                self.tree.forget_done(dir);
            }
            Node::Shard { entries, fanout, .. } => {
                let dir = self.make_dir(item, parent, name, metadata)?;
                self.unfold_shard(id, item, (dir, hamt::Place::ROOT), (*fanout, entries))?;
                self.tree.forget_done(dir);
            }
            Node::Symlink { target, .. } => {
                let path = self.tree.path(parent, name);
                self.note(item, &path, target.len())?;
                let (job, target) = (self.job, target.clone());
                self.shell(Output::MakeSymlink { job, path, target, metadata });
            }
        }
        Ok(true)
    }

    /// The children of an inner node take its place; its own bytes are written.
    #[expect(clippy::too_many_arguments, reason = "the parts of one node, from two callers")]
    fn unfold_file(
        &mut self,
        id: ItemId,
        item: &Item,
        (file, offset): (FileKey, u64),
        data: Range<usize>,
        children: &[FileChild],
        arrived: &Arrived,
        held: bool,
    ) -> Result<(), Box<JobError>> {
        // One empty piece is what others make of an empty file, or of one that
        // they cut between two pieces. More of them could go on for ever.
        if children.iter().filter(|child| child.size == 0).nth(1).is_some() {
            return Err(self.malformed(item, "it has more than one piece without bytes"));
        }
        let inline = data.len() as u64;
        let mut at = offset.saturating_add(inline);
        let mut new = Vec::with_capacity(children.len());
        for child in children {
            let place = Place::Range { file, offset: at, size: child.size };
            at = at.saturating_add(child.size);
            new.push(tree::file_child(child, place, self.config.inner_node_estimate));
        }
        self.tree.add_pieces(file, new.len());
        self.unfold(id, item, new)?;
        if inline > 0 {
            self.write(id, file, offset, data, arrived, held);
        }
        Ok(())
    }

    fn unfold_shard(
        &mut self,
        id: ItemId,
        item: &Item,
        at: (DirKey, hamt::Place),
        buckets: (u32, &[ShardEntry]),
    ) -> Result<(), Box<JobError>> {
        let inner = self.config.inner_node_estimate;
        let children = tree::shard_children(at, item.cid, buckets, &self.tree, inner)?;
        self.unfold(id, item, children)
    }

    fn unfold(&mut self, id: ItemId, item: &Item, children: Vec<NewItem>) -> Result<(), Box<JobError>> {
        let entries = children.iter().filter(|child| matches!(child.place, Place::Entry { .. })).count();
        self.placed.items += children.len() as u64;
        self.placed.entries += entries as u64;
        if self.placed.items > self.config.items_max {
            return Err(self.malformed(item, "with it, there are more pieces than one download may have"));
        }
        if self.placed.entries > self.config.entries_max {
            let why = "with it, there are more files and folders than one download may have";
            return Err(self.malformed(item, why));
        }
        for child in &children {
            self.progress.total = self.progress.total.saturating_add(child.claimed);
            if let Some(dir) = child.place.dir() {
                self.tree.hold(dir);
            }
        }
        self.frontier.add_children(id, children);
        Ok(())
    }

    /// The shell is to remember `path`, and so many bytes beside, until the end.
    fn note(&mut self, item: &Item, path: &[String], more: usize) -> Result<(), Box<JobError>> {
        let bytes = path.iter().map(|name| name.len() + 1).sum::<usize>() + more;
        self.placed.noted += NOTE_COST + bytes as u64;
        if self.placed.noted > self.config.noted_max {
            let why =
                "with it, there are more links, or folders with mode or time, than one download may have";
            return Err(self.malformed(item, why));
        }
        Ok(())
    }

    fn open(
        &mut self,
        id: ItemId,
        parent: Option<DirKey>,
        name: &str,
        size: u64,
        metadata: Metadata,
    ) -> FileKey {
        let path = self.tree.path(parent, name);
        let file = self.tree.open_file();
        self.belongs(id, file);
        self.progress.total = self.progress.total.saturating_add(size);
        self.shell(Output::OpenFile { job: self.job, file, path, size, metadata });
        file
    }

    fn make_dir(
        &mut self,
        item: &Item,
        parent: Option<DirKey>,
        name: &str,
        metadata: Metadata,
    ) -> Result<DirKey, Box<JobError>> {
        let path = self.tree.path(parent, name);
        if !metadata.is_empty() {
            self.note(item, &path, 0)?;
        }
        self.unmade += 1;
        self.shell(Output::MakeDir { job: self.job, path, metadata });
        Ok(self.tree.add_dir(parent, name))
    }

    /// The item is a piece of the file.
    fn belongs(&mut self, id: ItemId, file: FileKey) {
        if let Some(item) = self.frontier.get_mut(id) {
            item.file = Some(file);
        }
    }

    fn write(
        &mut self,
        id: ItemId,
        file: FileKey,
        offset: u64,
        data: Range<usize>,
        arrived: &Arrived,
        held: bool,
    ) {
        let Some(cid) = self.count_write(id) else { return };
        let (job, token) = (self.job, arrived.token);
        self.shell(Output::Write { job, item: id, file, offset, token, data, cid, held });
    }

    /// Has a block that is more than bytes of a file kept; also one that is
    /// here already, since it becomes part of what this root serves.
    fn keep(&mut self, id: ItemId, arrived: &Arrived, again: bool) {
        if again {
            return;
        }
        let Some(cid) = self.count_write(id) else { return };
        self.shell(Output::StoreBlock { job: self.job, item: id, cid, token: arrived.token });
    }

    fn count_write(&mut self, id: ItemId) -> Option<Cid> {
        let item = self.frontier.get_mut(id)?;
        if let State::Writing(count) = &mut item.state {
            *count += 1;
        }
        Some(item.cid)
    }

    fn shell(&mut self, output: Output) {
        self.steps.push_back(Step::Shell(output));
    }
}

/// Items that a node unfolds into.
fn children_of(node: &Node) -> usize {
    match node {
        Node::File { children, .. } => children.len(),
        Node::Directory { entries, .. } => entries.len(),
        Node::Shard { entries, .. } => entries.len(),
        Node::Leaf { .. } | Node::Symlink { .. } | Node::Opaque { .. } => 0,
    }
}
