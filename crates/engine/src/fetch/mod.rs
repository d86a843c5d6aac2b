//! A fetch: one DAG, turned into wants, file ranges and blocks to keep.
//!
//! Walks the DAG depth first as its blocks arrive. Every item first asks the
//! shell whether the block is here already (an earlier run, another root, the
//! destination itself); only then it is wanted of the sources. A CID is wanted
//! once, however many places need it. What is written where is said in
//! [`Output`]s; the payload stays with the shell under its token.

mod frontier;
mod place;
mod tree;

use std::collections::{BTreeMap, VecDeque};

use peerage_content::limits::BLOCK_MADE_MAX;
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, DecodeError, Multihash, Node, codec};

pub use frontier::ItemId;
pub use tree::{DirKey, FileKey};

use crate::error::JobError;
use crate::limits::Config;
use crate::output::{At, JobId, Output, Token};
use frontier::{Frontier, Item, NewItem, Place, State};
use tree::Tree;

/// A block that weighs this much more than its parent claimed, in bytes, makes
/// all claims of the DAG doubtful. A judgement: no encoding adds so much.
const OVERRUN: u64 = 64 << 10;

/// Blocks that have to weigh what is claimed before claims of less than
/// [`OVERRUN`] are believed. A judgement.
const CONFIRMED: u32 = 64;

/// What a fetch wants of the engine.
#[derive(Debug)]
pub(crate) enum Step {
    /// Something for the shell.
    Shell(Output),
    /// Ask the sources for a block of about so many bytes, when there is credit for that.
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
    pub node: Result<Node, DecodeError>,
}

impl Arrived {
    /// What the block, which came as `came`, means to whoever wants `wanted`,
    /// which has the same hash. `None` if that takes another look at its bytes.
    pub(crate) fn node_as(&self, wanted: &Cid, came: &Cid) -> Option<Result<Node, DecodeError>> {
        if wanted.codec() == came.codec() {
            return Some(self.node.clone());
        }
        match wanted.codec() {
            codec::RAW => Some(Ok(Node::Leaf { data: 0..self.len as usize, metadata: Metadata::default() })),
            codec::DAG_PB => None,
            codec => Some(Ok(Node::Opaque { codec })),
        }
    }
}

/// How far a fetch is. Sizes are of content, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Written, or found to be in place.
    pub bytes: u64,
    /// Of the whole DAG as far as it is known; exact once every folder has come.
    pub total: u64,
    /// Bytes of blocks held, inner nodes included. A block that several places
    /// needed one after the other is counted for each.
    pub held: u64,
    /// Files that are complete.
    pub files: u64,
}

/// Items that need the same block.
#[derive(Debug, Default)]
struct Pending {
    /// Those that wait for it.
    items: Vec<ItemId>,
    /// It has come, and this item writes it. Who came later looks for it here
    /// when that is done.
    keeper: Option<ItemId>,
}

/// What a fetch has come to in all, which a DAG of few blocks can make endless.
#[derive(Debug, Default)]
struct Placed {
    items: u64,
    entries: u64,
    /// Bytes that the shell remembers until the end.
    noted: u64,
}

/// The machine of one fetch.
#[derive(Debug)]
pub(crate) struct Fetch {
    job: JobId,
    frontier: Frontier,
    tree: Tree,
    /// Blocks that are being looked for, asked for or written, by hash.
    pending: BTreeMap<Multihash, Pending>,
    steps: VecDeque<Step>,
    progress: Progress,
    /// Bytes of blocks that are here and not written.
    unwritten: u64,
    over: bool,
    /// A block weighed more than its parent said.
    doubtful: bool,
    /// Blocks that did not.
    confirmed: u32,
    /// Blocks that are being looked for here.
    looking: usize,
    /// Folders to be made and files to be finished, of which the shell has not
    /// said that they are.
    unmade: usize,
    placed: Placed,
    config: Config,
}

impl Fetch {
    pub(crate) fn new(job: JobId, root: Cid, config: &Config) -> Self {
        let mut frontier = Frontier::default();
        let place = Place::Entry { parent: None, name: String::new() };
        frontier.add_root(NewItem {
            cid: root,
            place,
            estimate: config.inner_node_estimate,
            may_unfold: true,
            claimed: 0,
        });
        Self {
            job,
            frontier,
            tree: Tree::default(),
            pending: BTreeMap::new(),
            steps: VecDeque::new(),
            progress: Progress::default(),
            unwritten: 0,
            over: false,
            doubtful: false,
            confirmed: 0,
            looking: 0,
            unmade: 0,
            placed: Placed::default(),
            config: config.clone(),
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// True if what it wants now is all that it will ever want.
    pub(crate) fn is_ending(&self) -> bool {
        self.frontier.is_ending()
    }

    /// True if it wants the block, or will.
    pub(crate) fn knows(&self, hash: &Multihash) -> bool {
        self.frontier.needs(hash)
    }

    pub(crate) fn poll_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    /// Starts items. Those whose blocks are not here are wanted, which costs little
    /// before the exchange asks for them, and it has the choice among all; those
    /// that are here are read while no more than `allowance` bytes are unwritten.
    pub(crate) fn pump(&mut self, allowance: u64) {
        while !self.over
            && self.frontier.live() < self.config.live_items
            && self.looking < self.config.local_items
            && (self.unwritten < allowance || self.unwritten == 0)
        {
            let full = self.frontier.weight() >= self.config.frontier_items;
            let Some(id) = self.next_startable(full) else { break };
            let Some(item) = self.frontier.get_mut(id) else { break };
            let cid = item.cid;
            if let Some(pending) = self.pending.get_mut(cid.hash()) {
                pending.items.push(id);
                self.frontier.start(id, State::Wanted, full);
                continue;
            }
            self.frontier.start(id, State::Checking, full);
            self.pending.insert(*cid.hash(), Pending { items: vec![id], keeper: None });
            self.look_here(id);
        }
    }

    /// The next item, if it may be started. What may turn out to be one more file of
    /// several blocks waits while there are many, and leaves go before it.
    fn next_startable(&self, full: bool) -> Option<ItemId> {
        let next = self.frontier.next_waiting(full)?;
        let opens = self
            .frontier
            .get(next)
            .is_some_and(|item| item.may_unfold && matches!(item.place, Place::Entry { .. }));
        let open = self.tree.open_files() + self.frontier.live_unfolding();
        if opens && open >= self.config.open_files && self.frontier.live() > 0 {
            return self.frontier.next_leaf();
        }
        Some(next)
    }

    /// What a block is taken to weigh at least, in bytes, whatever is claimed.
    pub(crate) fn floor(&self) -> u64 {
        match self.confirmed {
            _ if self.doubtful => BLOCK_MADE_MAX as u64,
            ..CONFIRMED => OVERRUN,
            // No less would let more items be live.
            _ => self.config.fetch_credit / self.config.live_items.max(1) as u64,
        }
    }

    /// Asks the shell for the block of an item.
    fn look_here(&mut self, id: ItemId) {
        let Some(item) = self.frontier.get_mut(id) else { return };
        item.state = State::Checking;
        self.looking += 1;
        let (at, entry) = match &item.place {
            Place::Range { file, offset, size } => {
                (Some(At { file: *file, offset: *offset, len: *size }), None)
            }
            Place::Entry { parent, name } => (None, Some(self.tree.path(*parent, name))),
            Place::Shard { .. } => (None, None),
        };
        let cid = item.cid;
        self.steps.push_back(Step::Shell(Output::TakeLocal { job: self.job, item: id, cid, at, entry }));
    }

    /// The shell's answer to [`Output::TakeLocal`].
    pub(crate) fn handle_local(&mut self, id: ItemId, found: Option<&Arrived>) {
        let Some(item) = self.frontier.get_mut(id).filter(|item| item.state == State::Checking) else {
            return;
        };
        item.state = State::Wanted;
        self.looking -= 1;
        let (cid, estimate) = (item.cid, item.estimate);
        match found {
            Some(arrived) => drop(self.take(cid, arrived, true)),
            None => self.steps.push_back(Step::Want(cid, estimate)),
        }
    }

    /// A block that was wanted has come from a source. False if nobody here can
    /// use it: its hash is right, but it came as something else than was asked for.
    pub(crate) fn handle_block(&mut self, cid: Cid, arrived: &Arrived) -> bool {
        self.take(cid, arrived, false)
    }

    fn take(&mut self, cid: Cid, arrived: &Arrived, held: bool) -> bool {
        let Some(pending) = self.pending.get_mut(cid.hash()).filter(|pending| pending.keeper.is_none())
        else {
            return true;
        };
        if self.over {
            return true;
        }
        let items = std::mem::take(&mut pending.items);
        let is_other = |id: &ItemId| {
            self.frontier
                .get(*id)
                .is_some_and(|item| item.cid.codec() == codec::DAG_PB && cid.codec() != codec::DAG_PB)
        };
        let (others, items): (Vec<_>, Vec<_>) = items.into_iter().partition(is_other);
        let used = !items.is_empty();
        if used {
            self.progress.held = self.progress.held.saturating_add(u64::from(arrived.len));
        }
        let estimated = items.first().and_then(|id| self.frontier.get(*id)).map_or(0, |item| item.estimate);
        let estimated = estimated.max(self.floor());
        self.doubtful |= used && u64::from(arrived.len) > estimated.saturating_add(OVERRUN);
        self.confirmed = self.confirmed.saturating_add(u32::from(used));
        let mut keeper = None;
        for (nth, id) in items.into_iter().enumerate() {
            // The block is in memory once, until it is written the first time.
            self.hold(id, if nth == 0 { u64::from(arrived.len) } else { 0 });
            if let Err(error) = self.place(id, &cid, arrived, held, nth > 0) {
                self.fail(*error);
                return true;
            }
            if self.frontier.get(id).is_some_and(|item| matches!(item.state, State::Writing(1..))) {
                keeper = keeper.or(Some(id));
            }
            self.settle(id);
        }
        if let Some(pending) = self.pending.get_mut(cid.hash()) {
            pending.items = others;
            pending.keeper = keeper;
        }
        if keeper.is_none() {
            self.resume(cid.hash());
        }
        self.finish_if_done();
        used
    }

    /// The block is written, or nobody here could use it: whoever still waits
    /// for it looks for it here.
    fn resume(&mut self, hash: &Multihash) {
        let Some(pending) = self.pending.get_mut(hash) else { return };
        pending.keeper = None;
        let Some(&first) = pending.items.first() else {
            self.pending.remove(hash);
            return;
        };
        self.look_here(first);
    }

    /// A write of the item has succeeded; `bytes` of content are in place.
    pub(crate) fn handle_written(&mut self, id: ItemId, bytes: u64) {
        if let Some(Item { state: State::Writing(count), .. }) = self.frontier.get_mut(id) {
            *count = count.saturating_sub(1);
            self.progress.bytes = self.progress.bytes.saturating_add(bytes);
        }
        self.settle(id);
        self.finish_if_done();
    }

    /// Lets go of an item that has nothing more to write.
    fn settle(&mut self, id: ItemId) {
        let Some(item) = self.frontier.get(id).filter(|item| item.state == State::Writing(0)) else { return };
        let hash = *item.cid.hash();
        let postpone = item.postpone;
        self.hold(id, 0);
        if postpone {
            self.frontier.postpone(id);
        } else if let Some(item) = self.frontier.remove(id) {
            if let Some(dir) = item.place.dir() {
                self.tree.release(dir);
            }
            if let Some(file) = item.file.filter(|&file| self.tree.piece_done(file)) {
                self.progress.files += 1;
                self.unmade += 1;
                self.steps.push_back(Step::Shell(Output::FinishFile { job: self.job, file }));
            }
        }
        if self.pending.get(&hash).is_some_and(|pending| pending.keeper == Some(id)) && !self.over {
            self.resume(&hash);
        }
    }

    /// So many bytes of the item's block are in memory.
    fn hold(&mut self, id: ItemId, bytes: u64) {
        let Some(item) = self.frontier.get_mut(id) else { return };
        let before = std::mem::replace(&mut item.unwritten, bytes);
        self.unwritten = self.unwritten - before + bytes;
    }

    /// Bytes of blocks that are here and not written.
    pub(crate) const fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// A folder is made, or a file finished.
    pub(crate) fn handle_made(&mut self) {
        self.unmade = self.unmade.saturating_sub(1);
        self.finish_if_done();
    }

    fn finish_if_done(&mut self) {
        if self.frontier.len() == 0 && self.unmade == 0 && !self.over {
            self.over = true;
            self.progress.total = self.progress.bytes;
            self.steps.push_back(Step::Done);
        }
    }

    /// Ends the fetch for good.
    pub(crate) fn fail(&mut self, error: JobError) {
        if !std::mem::replace(&mut self.over, true) {
            self.steps.push_back(Step::Failed(error));
        }
    }

    /// Files that have begun and are not done.
    #[cfg(test)]
    pub(crate) fn open_files(&self) -> usize {
        self.tree.open_files()
    }

    /// Known items, live items, and folders and files that are remembered.
    #[cfg(test)]
    pub(crate) fn weight(&self) -> (usize, usize, usize) {
        (self.frontier.len(), self.frontier.live(), self.tree.len())
    }
}
