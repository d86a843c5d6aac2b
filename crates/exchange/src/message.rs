//! Bitswap messages in the words of this crate. The codec makes them from
//! bytes and back; nothing behind it checks again.

use bytes::Bytes;
use peerage_content::{Cid, Prefix};

/// A version of Bitswap, by what a peer can be told in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// `/ipfs/bitswap` and `/ipfs/bitswap/1.0.0`: blocks without a prefix, all
    /// of them SHA2-256.
    V1_0,
    /// `/ipfs/bitswap/1.1.0`: blocks carry the prefix of their CID.
    V1_1,
    /// `/ipfs/bitswap/1.2.0`: want-have, HAVE and DONT_HAVE.
    V1_2,
}

impl Version {
    /// The protocol id.
    #[must_use]
    pub const fn protocol(self) -> &'static str {
        match self {
            Self::V1_0 => "/ipfs/bitswap/1.0.0",
            Self::V1_1 => "/ipfs/bitswap/1.1.0",
            Self::V1_2 => "/ipfs/bitswap/1.2.0",
        }
    }

    /// The version of a protocol id.
    #[must_use]
    pub fn of_protocol(id: &str) -> Option<Self> {
        match id {
            "/ipfs/bitswap" | "/ipfs/bitswap/1.0.0" => Some(Self::V1_0),
            "/ipfs/bitswap/1.1.0" => Some(Self::V1_1),
            "/ipfs/bitswap/1.2.0" => Some(Self::V1_2),
            _ => None,
        }
    }

    /// Whether HAVE and DONT_HAVE exist.
    #[must_use]
    pub const fn has_presences(self) -> bool {
        matches!(self, Self::V1_2)
    }
}

/// What is wanted: the block, or word of whether it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WantKind {
    /// The block.
    Block,
    /// Word of whether the block is there.
    Have,
}

/// One want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantEntry {
    /// Of which block.
    pub cid: Cid,
    /// Higher is sooner.
    pub priority: i32,
    /// Block or word of it.
    pub kind: WantKind,
    /// Whether "don't have" is to be said.
    pub send_dont_have: bool,
}

/// Word of whether a block is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Presence {
    /// It is.
    Have,
    /// It is not, or is not for this peer.
    DontHave,
}

/// A message that arrived, with what no peer may send already left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Incoming {
    /// The wants replace all earlier ones.
    pub full: bool,
    /// Wants.
    pub wants: Vec<WantEntry>,
    /// Wants that ended.
    pub cancels: Vec<Cid>,
    /// Answers to our wants.
    pub presences: Vec<(Cid, Presence)>,
    /// Blocks, slices of the message. Their CID is for the shell to compute.
    pub blocks: Vec<(Prefix, Bytes)>,
    /// Bytes that the sender has queued for us. Advisory.
    pub pending_bytes: u32,
}

impl Incoming {
    /// True if there is nothing in it, as in a keep-alive.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.full
            && self.wants.is_empty()
            && self.cancels.is_empty()
            && self.presences.is_empty()
            && self.blocks.is_empty()
    }
}

/// A message to send: everything but blocks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The wants replace all earlier ones.
    pub full: bool,
    /// Wants, the most urgent first.
    pub wants: Vec<WantEntry>,
    /// Wants that ended. When there are wants too, these go in a message of
    /// their own before them, so that they make room.
    pub cancels: Vec<Cid>,
    /// Answers to the peer's wants.
    pub presences: Vec<(Cid, Presence)>,
}

impl Outgoing {
    /// True if there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty() && self.cancels.is_empty() && self.presences.is_empty()
    }
}
