//! A fetch: one DAG, turned into wants, file ranges and blocks to keep.
//!
//! Walks the DAG depth first as its blocks arrive. Every item first asks the
//! shell whether the block is here already (an earlier run, another root, the
//! destination itself); only then it is wanted of the sources. A CID is wanted
//! once, however many places need it. What is written where is said in
//! [`Output`]s; the payload stays with the shell under its token.

mod frontier;
mod tree;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use peerage_base::Budget;
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, Multihash, Node};

pub use frontier::ItemId;
pub use tree::{DirKey, FileKey};

use crate::error::JobError;
use crate::limits::Config;
use crate::output::{At, JobId, Output, Token};
use frontier::{Frontier, Item, NewItem, Place, State};
use tree::Tree;

/// What a fetch wants of the engine.
#[derive(Debug)]
pub(crate) enum Step {
    /// Something for the shell.
    Shell(Output),
    /// Ask the sources for a block of about so many bytes.
    Want(Cid, u64),
    /// Everything is in place.
    Done,
    /// It cannot go on.
    Failed(JobError),
}

/// A block as the shell hands it in: verified, decoded, its payload under a token.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// Where the shell keeps the bytes.
    pub token: Token,
    /// How many, head and tail included.
    pub len: u32,
    /// What they mean, or why they mean nothing.
    pub node: Result<Node, peerage_content::DecodeError>,
}

/// How far a fetch is. Sizes are of content, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Written, or found to be in place.
    pub bytes: u64,
    /// Of the whole DAG as far as it is known; exact once every folder has come.
    pub total: u64,
    /// Bytes of blocks held, inner nodes included.
    pub held: u64,
    /// Files that are complete.
    pub files: u64,
}

/// The machine of one fetch.
#[derive(Debug)]
pub(crate) struct Fetch {
    job: JobId,
    frontier: Frontier,
    tree: Tree,
    /// Items that wait for the same block, by its hash.
    wanted: BTreeMap<Multihash, Vec<ItemId>>,
    steps: VecDeque<Step>,
    progress: Progress,
    over: bool,
    frontier_items: usize,
    live_items: usize,
    dag_depth: u32,
    inner_node_estimate: u64,
}

impl Fetch {
    pub(crate) fn new(job: JobId, root: Cid, config: &Config) -> Self {
        let mut frontier = Frontier::default();
        let place = Place::Entry { parent: None, name: String::new() };
        frontier.add_root(NewItem { cid: root, place, estimate: config.inner_node_estimate, may_unfold: true, claimed: 0 });
        Self {
            job,
            frontier,
            tree: Tree::default(),
            wanted: BTreeMap::new(),
            steps: VecDeque::new(),
            progress: Progress::default(),
            over: false,
            frontier_items: config.frontier_items,
            live_items: config.live_items,
            dag_depth: config.dag_depth,
            inner_node_estimate: config.inner_node_estimate,
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    pub(crate) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Starts items while credit lasts.
    pub(crate) fn pump(&mut self, credit: &mut Budget) {
        while !self.over && self.frontier.live() < self.live_items {
            let full = self.frontier.len() >= self.frontier_items;
            let Some(id) = self.frontier.next_waiting(full) else { break };
            let Some(item) = self.frontier.get_mut(id) else { break };
            // One item always goes ahead, or a block above the credit would never come.
            if !credit.take(item.estimate) {
                if credit.used() > 0 {
                    break;
                }
                credit.force(item.estimate);
            }
            item.credit = item.estimate;
            let cid = item.cid;
            if let Some(waiting) = self.wanted.get_mut(cid.hash()) {
                waiting.push(id);
                credit.give(std::mem::take(&mut item.credit));
                self.frontier.start(id, State::Wanted);
                continue;
            }
            self.wanted.insert(*cid.hash(), vec![id]);
            let at = match item.place {
                Place::Range { file, offset, size } => Some(At { file, offset, len: size }),
                Place::Entry { .. } | Place::Shard { .. } => None,
            };
            self.frontier.start(id, State::Checking);
            self.steps.push_back(Step::Shell(Output::TakeLocal { job: self.job, item: id, cid, at }));
        }
    }

    /// The shell's answer to [`Output::TakeLocal`].
    pub(crate) fn handle_local(&mut self, id: ItemId, found: Option<&Arrived>, credit: &mut Budget) {
        let Some(item) = self.frontier.get_mut(id).filter(|item| item.state == State::Checking) else { return };
        item.state = State::Wanted;
        let (cid, estimate) = (item.cid, item.estimate);
        match found {
            Some(arrived) => self.take(cid, arrived, true, credit),
            None => self.steps.push_back(Step::Want(cid, estimate)),
        }
    }

    /// A block that was wanted has come from a source.
    pub(crate) fn handle_block(&mut self, cid: Cid, arrived: &Arrived, credit: &mut Budget) {
        self.take(cid, arrived, false, credit);
    }

    fn take(&mut self, cid: Cid, arrived: &Arrived, held: bool, credit: &mut Budget) {
        let waiting = self.wanted.remove(cid.hash()).unwrap_or_default();
        if let Some(&first) = waiting.first().filter(|_| !self.over) {
            self.progress.held = self.progress.held.saturating_add(u64::from(arrived.len));
            if let Some(item) = self.frontier.get_mut(first) {
                credit.give(std::mem::replace(&mut item.credit, u64::from(arrived.len)));
                credit.force(u64::from(arrived.len));
            }
            for (nth, id) in waiting.into_iter().enumerate() {
                // Only the first keeps the block; the others place it again.
                let outcome = self.place(id, arrived, held || nth > 0);
                if let Err(error) = outcome {
                    self.fail(error);
                    break;
                }
                self.settle(id, credit);
            }
        }
        self.finish_if_done();
    }

    /// Puts a block where one item needs it.
    fn place(&mut self, id: ItemId, arrived: &Arrived, held: bool) -> Result<(), JobError> {
        let Some(item) = self.frontier.get_mut(id) else { return Ok(()) };
        item.state = State::Writing(0);
        let item = item.clone();
        let malformed = |why: &str| JobError::Malformed {
            cid: item.cid,
            path: self.tree.path_of(&item.place),
            why: why.to_owned(),
        };
        if item.depth() > self.dag_depth {
            return Err(malformed("it lies deeper than any file or folder needs to"));
        }
        let node = arrived.node.as_ref().map_err(|error| malformed(&error.to_string()))?;
        match (&item.place, node) {
            (Place::Range { file, offset, size }, Node::Leaf { data, .. }) => {
                if data.len() as u64 != *size {
                    return Err(malformed("its parent claims another size"));
                }
                self.write(id, *file, *offset, data.clone(), arrived, held);
            }
            (Place::Range { file, offset, size }, Node::File { data, size: real, children, .. }) => {
                if real != size {
                    return Err(malformed("its parent claims another size"));
                }
                let (file, offset, data) = (*file, *offset, data.clone());
                self.unfold_file(id, file, offset, data, children, arrived, held);
            }
            (Place::Entry { parent, name }, _) => {
                let place = (*parent, name.clone());
                self.place_entry(id, &item, place, node, arrived, held)?;
            }
            (Place::Shard { dir }, Node::Shard { entries, .. }) => {
                self.progress.total = self.progress.total.saturating_sub(item.claimed);
                let children = tree::shard_children(*dir, entries, &self.tree, self.inner_node_estimate)?;
                self.unfold(id, children);
                self.keep(id, arrived, held);
            }
            _ => return Err(malformed("something else was expected in this place")),
        }
        Ok(())
    }

    fn place_entry(
        &mut self,
        id: ItemId,
        item: &Item,
        (parent, name): (Option<DirKey>, String),
        node: &Node,
        arrived: &Arrived,
        held: bool,
    ) -> Result<(), JobError> {
        self.progress.total = self.progress.total.saturating_sub(item.claimed);
        let metadata = node.metadata();
        match node {
            Node::Leaf { data, .. } => {
                let file = self.open(parent, &name, data.len() as u64, metadata);
                self.write(id, file, 0, data.clone(), arrived, held);
            }
            Node::Opaque { .. } => {
                let file = self.open(parent, &name, u64::from(arrived.len), metadata);
                self.write(id, file, 0, 0..arrived.len as usize, arrived, held);
            }
            Node::File { data, size, children, .. } => {
                let file = self.open(parent, &name, *size, metadata);
                self.unfold_file(id, file, 0, data.clone(), children, arrived, held);
            }
            Node::Directory { entries, .. } => {
                let dir = self.make_dir(parent, &name, metadata);
                let children = tree::folder_children(dir, entries, &self.tree, self.inner_node_estimate)?;
                self.unfold(id, children);
                self.keep(id, arrived, held);
            }
            Node::Shard { entries, .. } => {
                let dir = self.make_dir(parent, &name, metadata);
                let children = tree::shard_children(dir, entries, &self.tree, self.inner_node_estimate)?;
                self.unfold(id, children);
                self.keep(id, arrived, held);
            }
            Node::Symlink { target, .. } => {
                let path = self.tree.path(parent, &name);
                let (job, target) = (self.job, target.clone());
                self.shell(Output::MakeSymlink { job, path, target, metadata });
                self.keep(id, arrived, held);
            }
        }
        Ok(())
    }

    /// The children of an inner node take its place; its own bytes are written.
    #[expect(clippy::too_many_arguments, reason = "one call each from the two places a file node can stand in")]
    fn unfold_file(
        &mut self,
        id: ItemId,
        file: FileKey,
        offset: u64,
        data: Range<usize>,
        children: &[peerage_content::node::FileChild],
        arrived: &Arrived,
        held: bool,
    ) {
        let inline = data.len() as u64;
        let mut at = offset.saturating_add(inline);
        let mut new = Vec::with_capacity(children.len());
        for child in children {
            let place = Place::Range { file, offset: at, size: child.size };
            at = at.saturating_add(child.size);
            new.push(tree::file_child(child, place, self.inner_node_estimate));
        }
        self.tree.add_pieces(file, new.len());
        self.unfold(id, new);
        if inline > 0 {
            self.write(id, file, offset, data, arrived, held);
        }
        self.keep(id, arrived, held);
    }

    fn unfold(&mut self, id: ItemId, children: Vec<NewItem>) {
        for child in &children {
            self.progress.total = self.progress.total.saturating_add(child.claimed);
        }
        self.frontier.add_children(id, children);
    }

    fn open(&mut self, parent: Option<DirKey>, name: &str, size: u64, metadata: Metadata) -> FileKey {
        let path = self.tree.path(parent, name);
        let file = self.tree.open_file(parent, name);
        self.progress.total = self.progress.total.saturating_add(size);
        self.shell(Output::OpenFile { job: self.job, file, path, size, metadata });
        file
    }

    fn make_dir(&mut self, parent: Option<DirKey>, name: &str, metadata: Metadata) -> DirKey {
        let path = self.tree.path(parent, name);
        self.shell(Output::MakeDir { job: self.job, path, metadata });
        self.tree.add_dir(parent, name)
    }

    fn write(&mut self, id: ItemId, file: FileKey, offset: u64, data: Range<usize>, arrived: &Arrived, held: bool) {
        self.count_write(id);
        let Some(cid) = self.frontier.get(id).map(|item| item.cid) else { return };
        let (job, token) = (self.job, arrived.token);
        self.shell(Output::Write { job, item: id, file, offset, token, data, cid, held });
    }

    fn keep(&mut self, id: ItemId, arrived: &Arrived, held: bool) {
        let Some(cid) = self.frontier.get(id).map(|item| item.cid) else { return };
        if held {
            return;
        }
        self.count_write(id);
        self.shell(Output::StoreBlock { job: self.job, item: id, cid, token: arrived.token });
    }

    fn count_write(&mut self, id: ItemId) {
        if let Some(Item { state: State::Writing(count), .. }) = self.frontier.get_mut(id) {
            *count += 1;
        }
    }

    /// A write of the item has succeeded; `bytes` of content are in place.
    pub(crate) fn handle_written(&mut self, id: ItemId, bytes: u64, credit: &mut Budget) {
        if let Some(Item { state: State::Writing(count), .. }) = self.frontier.get_mut(id) {
            *count = count.saturating_sub(1);
            self.progress.bytes = self.progress.bytes.saturating_add(bytes);
        }
        self.settle(id, credit);
        self.finish_if_done();
    }

    /// Lets go of an item that has nothing more to write.
    fn settle(&mut self, id: ItemId, credit: &mut Budget) {
        if self.frontier.get(id).is_none_or(|item| item.state != State::Writing(0)) {
            return;
        }
        let Some(item) = self.frontier.remove(id) else { return };
        credit.give(item.credit);
        let file = match item.place {
            Place::Range { file, .. } => Some(file),
            Place::Entry { .. } => self.tree.file_of_entry(&item.place),
            Place::Shard { .. } => None,
        };
        if let Some(file) = file.filter(|&file| self.tree.piece_done(file)) {
            self.progress.files += 1;
            self.shell(Output::FinishFile { job: self.job, file });
        }
    }

    fn finish_if_done(&mut self) {
        if self.frontier.len() == 0 && !self.over {
            self.over = true;
            self.progress.total = self.progress.bytes;
            self.steps.push_back(Step::Done);
        }
    }

    /// Ends the fetch for good; what it holds of the credit goes back.
    pub(crate) fn fail(&mut self, error: JobError) {
        if !std::mem::replace(&mut self.over, true) {
            self.steps.push_back(Step::Failed(error));
        }
    }

    /// Gives back whatever credit is still held.
    pub(crate) fn release_credit(&mut self, credit: &mut Budget) {
        credit.give(self.frontier.drain_credit());
    }

    fn shell(&mut self, output: Output) {
        self.steps.push_back(Step::Shell(output));
    }
}
