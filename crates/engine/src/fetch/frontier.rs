//! The part of a DAG that a fetch knows and has not finished: items in depth-first
//! order, each a block that belongs somewhere.
//!
//! An inner node that arrives is replaced, in place, by its children. Items are
//! started from the front, so a file is fetched from its beginning and a folder
//! entry by entry, and only as much of the DAG is unfolded as the window needs.
//! An inner node that comes while the frontier is full is kept as a block and
//! unfolded later, so that a DAG of few blocks and many paths costs no memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use peerage_content::{Cid, Multihash, hamt};

use super::{DirKey, FileKey};

/// Levels at which an item weighs as much as two, three, .. in the frontier: each
/// level takes 4 bytes of its [`Order`], which is there twice. 128: then that is
/// 1 KiB, about twice the rest of an item.
const LEVELS_PER_WEIGHT: usize = 128;

/// Names an item of one fetch. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemId(pub u64);

/// Where in the DAG an item lies: the child numbers on the way from the root.
/// Compares in depth-first order.
type Order = Box<[u32]>;

/// What a block is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// An entry of a folder, or the root: what it is shows when it arrives.
    Entry {
        /// The folder; `None` for the root.
        parent: Option<DirKey>,
        /// The name in the folder; empty for the root.
        name: String,
    },
    /// Bytes of a file.
    Range {
        /// The file.
        file: FileKey,
        /// Where the bytes begin.
        offset: u64,
        /// How many the parent says there are.
        size: u64,
    },
    /// A further shard of a folder.
    Shard {
        /// The folder.
        dir: DirKey,
        /// Where in it.
        at: hamt::Place,
    },
}

impl Place {
    /// The folder that is needed as long as the item is.
    pub(crate) fn dir(&self) -> Option<DirKey> {
        match self {
            Self::Entry { parent, .. } => *parent,
            Self::Shard { dir, .. } => Some(*dir),
            Self::Range { .. } => None,
        }
    }
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not started.
    Waiting,
    /// Its block has come while there was no room to unfold it.
    Postponed,
    /// The shell looks whether the block is here already.
    Checking,
    /// Asked of the sources, or another item with the same CID was.
    Wanted,
    /// Being written; so many writes are outstanding.
    Writing(u32),
}

/// One block that belongs somewhere.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) cid: Cid,
    pub(crate) place: Place,
    pub(crate) state: State,
    /// Bytes of its block that are in memory.
    pub(crate) unwritten: u64,
    /// What the block is taken to weigh, in bytes.
    pub(crate) estimate: u64,
    /// Content bytes that its parent claims for it; 0 for a piece of a file,
    /// which the file counts.
    pub(crate) claimed: u64,
    /// The file that the entry turned out to be, and whose piece it is.
    pub(crate) file: Option<FileKey>,
    /// True if the block may unfold into more items.
    pub(crate) may_unfold: bool,
    /// It unfolds even if the frontier is full: nothing else can go on.
    pub(crate) must_unfold: bool,
    /// What is being written is only the block; its place comes later.
    pub(crate) postpone: bool,
    order: Order,
}

impl Item {
    /// Started and not put off.
    const fn is_live(&self) -> bool {
        !matches!(self.state, State::Waiting | State::Postponed)
    }

    /// Levels below the root.
    pub(crate) fn depth(&self) -> u32 {
        u32::try_from(self.order.len()).unwrap_or(u32::MAX)
    }
}

/// An item before it is put into the frontier.
#[derive(Debug, Clone)]
pub(crate) struct NewItem {
    pub(crate) cid: Cid,
    pub(crate) place: Place,
    pub(crate) estimate: u64,
    /// True if the block may unfold into more items.
    pub(crate) may_unfold: bool,
    pub(crate) claimed: u64,
}

/// All items that are known and not done.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    items: BTreeMap<ItemId, Item>,
    /// Those not started, in depth-first order.
    waiting: BTreeMap<Order, ItemId>,
    /// Those among them that do not unfold.
    waiting_leaves: BTreeMap<Order, ItemId>,
    /// Those put off until there is room, in depth-first order.
    postponed: BTreeMap<Order, ItemId>,
    /// How many items need a block, by its hash.
    hashes: BTreeMap<Multihash, usize>,
    /// Items that may unfold, started or not.
    unfolding: usize,
    /// Of those, started.
    live_unfolding: usize,
    /// Levels of all items together.
    levels: usize,
    next: u64,
}

impl Frontier {
    /// Adds the root.
    pub(crate) fn add_root(&mut self, new: NewItem) -> ItemId {
        self.add(Box::new([]), new)
    }

    /// Adds the children of `parent`, in order.
    pub(crate) fn add_children(&mut self, parent: ItemId, children: impl IntoIterator<Item = NewItem>) {
        let Some(order) = self.items.get(&parent).map(|item| item.order.clone()) else { return };
        for (number, new) in (0u32..).zip(children) {
            let mut path = Vec::with_capacity(order.len() + 1);
            path.extend_from_slice(&order);
            path.push(number);
            self.add(path.into(), new);
        }
    }

    fn add(&mut self, order: Order, new: NewItem) -> ItemId {
        let id = ItemId(self.next);
        self.next += 1;
        self.waiting.insert(order.clone(), id);
        self.levels += order.len();
        let NewItem { cid, place, estimate, claimed, may_unfold } = new;
        if may_unfold {
            self.unfolding += 1;
        } else {
            self.waiting_leaves.insert(order.clone(), id);
        }
        let item = Item {
            cid,
            place,
            state: State::Waiting,
            unwritten: 0,
            estimate,
            claimed,
            file: None,
            may_unfold,
            must_unfold: false,
            postpone: false,
            order,
        };
        *self.hashes.entry(*cid.hash()).or_default() += 1;
        self.items.insert(id, item);
        id
    }

    /// The next item to start, if any may be. While there is room, the first in
    /// order. When the frontier is `full`, first what does not unfold, then
    /// what has not been looked at; what was postponed only when nothing else
    /// is under way, one at a time.
    pub(crate) fn next_waiting(&self, full: bool) -> Option<ItemId> {
        let first = self.waiting.first_key_value();
        let postponed = self.postponed.first_key_value();
        if !full {
            return first.into_iter().chain(postponed).min().map(|(_, id)| *id);
        }
        let idle = || postponed.filter(|_| self.live() == 0);
        self.waiting_leaves.first_key_value().or(first).or_else(idle).map(|(_, id)| *id)
    }

    /// The next item to start that does not unfold.
    pub(crate) fn next_leaf(&self) -> Option<ItemId> {
        self.waiting_leaves.first_key_value().map(|(_, id)| *id)
    }

    /// Items started and not done that may unfold.
    pub(crate) const fn live_unfolding(&self) -> usize {
        self.live_unfolding
    }

    /// Marks an item as started; `full` as it was said to [`next_waiting`](Self::next_waiting).
    pub(crate) fn start(&mut self, id: ItemId, state: State, full: bool) {
        if let Some(item) = self.items.get_mut(&id) {
            self.waiting.remove(&item.order);
            self.waiting_leaves.remove(&item.order);
            item.must_unfold = self.postponed.remove(&item.order).is_some() && full;
            self.live_unfolding += usize::from(item.may_unfold && !item.is_live());
            item.state = state;
        }
    }

    /// Puts a started item off until there is room for its children.
    pub(crate) fn postpone(&mut self, id: ItemId) {
        if let Some(item) = self.items.get_mut(&id) {
            self.live_unfolding -= usize::from(item.may_unfold && item.is_live());
            item.state = State::Postponed;
            item.postpone = false;
            self.postponed.insert(item.order.clone(), id);
        }
    }

    /// An item by its id.
    pub(crate) fn get(&self, id: ItemId) -> Option<&Item> {
        self.items.get(&id)
    }

    /// An item by its id.
    pub(crate) fn get_mut(&mut self, id: ItemId) -> Option<&mut Item> {
        self.items.get_mut(&id)
    }

    /// Takes out an item that is done.
    pub(crate) fn remove(&mut self, id: ItemId) -> Option<Item> {
        let item = self.items.remove(&id)?;
        self.waiting.remove(&item.order);
        self.waiting_leaves.remove(&item.order);
        self.postponed.remove(&item.order);
        self.unfolding -= usize::from(item.may_unfold);
        self.live_unfolding -= usize::from(item.may_unfold && item.is_live());
        self.levels -= item.order.len();
        if let Entry::Occupied(mut count) = self.hashes.entry(*item.cid.hash()) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        Some(item)
    }

    /// True if an item needs the block with this hash.
    pub(crate) fn needs(&self, hash: &Multihash) -> bool {
        self.hashes.contains_key(hash)
    }

    /// Items known and not done.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// What the items take in memory, as a number of items that do not lie deep.
    pub(crate) fn weight(&self) -> usize {
        self.items.len().max(self.levels / LEVELS_PER_WEIGHT)
    }

    /// Items started and not done.
    pub(crate) fn live(&self) -> usize {
        self.items.len() - self.waiting.len() - self.postponed.len()
    }

    /// True if everything that will ever be wanted is started.
    pub(crate) fn is_ending(&self) -> bool {
        self.waiting.is_empty() && self.unfolding == 0
    }
}

#[cfg(test)]
mod tests {
    use peerage_content::{Leaf, Profile};

    use super::*;

    fn item() -> NewItem {
        let cid = Leaf::new(&Profile::default(), b"x").cid;
        let place = Place::Entry { parent: None, name: String::new() };
        NewItem { cid, place, estimate: 1, may_unfold: true, claimed: 0 }
    }

    #[test]
    fn what_lies_deep_weighs_more() {
        let mut frontier = Frontier::default();
        let mut at = frontier.add_root(item());
        for depth in 1..=4 * LEVELS_PER_WEIGHT {
            frontier.add_children(at, [item()]);
            frontier.remove(at);
            at = ItemId(depth as u64);
        }
        assert_eq!((frontier.len(), frontier.weight()), (1, 4));
        frontier.add_children(at, std::iter::repeat_with(item).take(1000));
        frontier.remove(at);
        assert_eq!((frontier.len(), frontier.weight()), (1000, 4007));
        (0..1000).for_each(|number| drop(frontier.remove(ItemId(at.0 + 1 + number))));
        assert_eq!(frontier.weight(), 0);
    }
}
