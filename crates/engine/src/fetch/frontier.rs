//! The part of a DAG that a fetch knows and has not finished: items in depth-first
//! order, each a block that belongs somewhere.
//!
//! An inner node that arrives is replaced, in place, by its children. Items are
//! started from the front, so a file is fetched from its beginning and a folder
//! entry by entry, and only as much of the DAG is unfolded as the window needs.

use std::collections::BTreeMap;

use peerage_content::Cid;

use super::{DirKey, FileKey};

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
    },
}

/// How far an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// Not started.
    Waiting,
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
    /// Fetch credit that this item holds, in bytes.
    pub(crate) credit: u64,
    /// What the block is taken to weigh, in bytes.
    pub(crate) estimate: u64,
    /// Content bytes that its parent claims for it; 0 for a piece of a file,
    /// which the file counts.
    pub(crate) claimed: u64,
    order: Order,
}

impl Item {
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
        if !new.may_unfold {
            self.waiting_leaves.insert(order.clone(), id);
        }
        let NewItem { cid, place, estimate, claimed, .. } = new;
        self.items.insert(id, Item { cid, place, state: State::Waiting, credit: 0, estimate, claimed, order });
        id
    }

    /// The next item to start: the first in order, or the first that does not
    /// unfold when the frontier is `full`.
    pub(crate) fn next_waiting(&self, full: bool) -> Option<ItemId> {
        let leaf = || self.waiting_leaves.first_key_value();
        let first = if full { leaf().or_else(|| self.waiting.first_key_value()) } else { self.waiting.first_key_value() };
        first.map(|(_, id)| *id)
    }

    /// Marks an item as started.
    pub(crate) fn start(&mut self, id: ItemId, state: State) {
        if let Some(item) = self.items.get_mut(&id) {
            self.waiting.remove(&item.order);
            self.waiting_leaves.remove(&item.order);
            item.state = state;
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
        Some(item)
    }

    /// Takes the credit of all items together.
    pub(crate) fn drain_credit(&mut self) -> u64 {
        self.items.values_mut().map(|item| std::mem::take(&mut item.credit)).sum()
    }

    /// Items known and not done.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Items started and not done.
    pub(crate) fn live(&self) -> usize {
        self.items.len() - self.waiting.len()
    }
}
