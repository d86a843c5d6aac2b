//! What peers ask each other, as domain types. The bytes are [`crate::codec`]'s.

use bytes::Bytes;
use peerage_identity::{Multiaddr, PeerId};

/// A peer and where it may be reached, without `/p2p` at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerInfo {
    /// Who.
    pub peer: PeerId,
    /// Where, in the order in which it was told.
    pub addrs: Vec<Multiaddr>,
}

impl PeerInfo {
    /// A peer with its addresses; a `/p2p` at an end is taken off, and an
    /// address that leads to somebody else left out.
    #[must_use]
    pub fn new(peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>) -> Self {
        let addrs = addrs.into_iter().filter_map(|addr| match addr.peer_id() {
            None => Some(addr),
            Some(named) if named == peer => Some(addr.without_peer()).filter(|addr| !addr.is_empty()),
            Some(_) => None,
        });
        let mut addrs: Vec<Multiaddr> = addrs.collect();
        addrs.shrink_to_fit();
        Self { peer, addrs }
    }
}

/// Takes in what somebody else says of where the same peer is. Known and new
/// addresses go in turns, at most `max`, since either may be false.
pub fn merge(addrs: &mut Vec<Multiaddr>, news: impl IntoIterator<Item = Multiaddr>, max: usize) {
    let news: Vec<Multiaddr> = news.into_iter().collect();
    // Mostly all say the same.
    if addrs.len() <= max && addrs.starts_with(&news) {
        return;
    }
    let room = (addrs.len() + news.len()).min(max);
    let mut known = std::mem::replace(addrs, Vec::with_capacity(room)).into_iter();
    let mut news = news.into_iter();
    while addrs.len() < max {
        let turn = [known.next(), news.next()];
        if turn.iter().all(Option::is_none) {
            return;
        }
        for addr in turn.into_iter().flatten() {
            if addrs.len() < max && !addrs.contains(&addr) {
                addrs.push(addr);
            }
        }
    }
}

/// A value under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// `/pk/` or `/ipns/` and a peer id's bytes, not its text.
    pub key: Bytes,
    /// The value, which its namespace's validator understands.
    pub value: Bytes,
}

/// What one peer asks another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Which servers are closest to this key: a peer id's bytes, or any others.
    FindNode {
        /// 1 to [`KEY_MAX`](crate::limits::KEY_MAX) bytes.
        key: Bytes,
    },
    /// Who has the block with this multihash.
    GetProviders {
        /// The multihash, not a CID.
        key: Bytes,
    },
    /// The sender has that block. Nothing is answered.
    AddProvider {
        /// The multihash.
        key: Bytes,
        /// The sender; others do not count.
        providers: Vec<PeerInfo>,
    },
    /// The value under this key.
    GetValue {
        /// The key, with its namespace.
        key: Bytes,
    },
    /// Keep this value. Answered by the same.
    PutValue {
        /// The value and its key.
        record: Record,
    },
    /// Are you there? Deployed peers prefer `/ipfs/ping/1.0.0`.
    Ping,
}

impl Request {
    /// False if nothing is answered: then [`crate::Dht::handle_sent`] takes
    /// the place of an answer.
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        !matches!(self, Self::AddProvider { .. })
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// To [`Request::FindNode`].
    Closest {
        /// Up to k servers, and first the peer itself whose id the key was.
        closer: Vec<PeerInfo>,
    },
    /// To [`Request::GetProviders`].
    Providers {
        /// Who has it; addresses may be missing.
        providers: Vec<PeerInfo>,
        /// Servers closer to the key.
        closer: Vec<PeerInfo>,
    },
    /// To [`Request::GetValue`].
    Value {
        /// The value, if there is one.
        record: Option<Record>,
        /// Servers closer to the key.
        closer: Vec<PeerInfo>,
    },
    /// To [`Request::PutValue`]: what was stored.
    Stored {
        /// The same as in the request.
        record: Record,
    },
    /// To [`Request::Ping`].
    Pong,
}

impl Response {
    /// The servers that it names.
    #[must_use]
    pub fn closer(&self) -> &[PeerInfo] {
        match self {
            Self::Closest { closer } | Self::Providers { closer, .. } | Self::Value { closer, .. } => closer,
            Self::Stored { .. } | Self::Pong => &[],
        }
    }

    /// True if this kind of response belongs to that kind of request.
    #[must_use]
    pub const fn answers(&self, request: &Request) -> bool {
        matches!(
            (self, request),
            (Self::Closest { .. }, Request::FindNode { .. })
                | (Self::Providers { .. }, Request::GetProviders { .. })
                | (Self::Value { .. }, Request::GetValue { .. })
                | (Self::Stored { .. }, Request::PutValue { .. })
                | (Self::Pong, Request::Ping)
        )
    }
}
