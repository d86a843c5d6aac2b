//! What the sweep asks of its owner, and its small types.

use std::time::Duration;

use bytes::Bytes;
use peerage_base::Instant;

use crate::key::Key;
use crate::message::PeerInfo;

/// Something that the owner was asked to do. Never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// Something to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Look for the servers closest to this key ([`crate::Dht::find_closest`])
    /// and say which ([`crate::sweep::Sweep::handle_closest`]).
    FindClosest {
        /// For the answer.
        id: TaskId,
        /// As it stands on the wire.
        key: Bytes,
    },
    /// Tell this server that we have the blocks of these multihashes
    /// ([`crate::Dht::announce`]), and say how far that came
    /// ([`crate::sweep::Sweep::handle_announced`]).
    Announce {
        /// For the answer.
        id: TaskId,
        /// Whom.
        peer: PeerInfo,
        /// Of what.
        multihashes: Vec<Bytes>,
    },
    /// Only if the owner has keys ([`crate::sweep::Sweep::set_listed`]): list the first `max` of them at or
    /// behind `from`, in the order of their Kademlia keys
    /// ([`crate::sweep::Sweep::handle_keys`]).
    ListKeys {
        /// From here on.
        from: Key,
        /// At most so many.
        max: usize,
    },
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The next region's turn comes.
    Turn,
    /// What failed is tried again.
    Retry,
    /// Nobody could be found a while ago.
    Stall,
    /// Time may have passed that the monotonic clock does not count.
    Clock,
}

/// Why a key was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SweepError {
    /// A multihash of no byte, or over [`crate::limits::KEY_MAX`].
    #[error("a multihash of {0} bytes")]
    Multihash(usize),
    /// [`crate::SweepConfig::keys_max`], or for a key of the owner's
    /// [`crate::SweepConfig::waiting_max`].
    #[error("no room for more keys to announce")]
    Full,
}

/// How the sweep stands. What is counted is counted since the machine was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Keys held, and those that the owner says it lists.
    pub keys: usize,
    /// Keys announced in their turn since this cycle began.
    pub announced: u64,
    /// New keys that are not announced yet, and those that nobody could be told
    /// of, with those that are put off.
    pub waiting: usize,
    /// Keys of the owner's that nobody could be told of, and that are not tried
    /// again before their turn as too many are
    /// ([`crate::SweepConfig::waiting_max`]): in this cycle and the last one,
    /// so that their turn has come when they are counted no more.
    pub put_off: usize,
    /// Keys that fewer than half of their servers could be told of, and that are
    /// tried again: they can be found, as long as these servers stay.
    pub thin: usize,
    /// Keys whose turn has come and that are not announced yet; `None` if
    /// some are the owner's. See [`Stats::lag`] then.
    pub overdue: Option<usize>,
    /// How late the next key is.
    pub lag: Duration,
    /// Runs of neighbouring keys that were announced together.
    pub regions: u64,
    /// Look-ups made.
    pub lookups: u64,
    /// Look-ups that found nobody.
    pub lookups_failed: u64,
    /// Provider records sent.
    pub records: u64,
    /// Provider records that could not be sent.
    pub records_failed: u64,
    /// Keys that too few servers could be told of; they are tried again.
    pub keys_failed: u64,
    /// When the next region's turn comes, if that is known.
    pub next_due: Option<Instant>,
}
