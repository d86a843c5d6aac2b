//! Who is connected, and what they speak.

use std::collections::BTreeMap;

use peerage_base::Instant;
use peerage_exchange::Version;
use peerage_identity::{Multiaddr, PeerId};

use crate::output::DialId;
use crate::swarm;

/// A connection, as the shell reports it.
#[derive(Debug, Clone)]
pub struct Connected {
    /// Who it is; the handshake has proved it.
    pub peer: PeerId,
    /// The address of the other side.
    pub addr: Multiaddr,
    /// The attempt of the engine's that led here, if one did.
    pub dial: Option<DialId>,
    /// True if the user asked for this connection.
    pub by_user: bool,
}

/// What a peer speaks of what the engine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Protocols {
    /// The newest Bitswap, if any.
    pub bitswap: Option<Version>,
    /// `/peerage/swarm/1.0.0`.
    pub swarm: bool,
}

impl Protocols {
    /// Reads the list that identify brings.
    ///
    /// ```
    /// use peerage_engine::Protocols;
    /// let known = Protocols::of(["/ipfs/bitswap/1.2.0", "/ipfs/bitswap/1.1.0", "/other"]);
    /// assert!(known.bitswap.is_some() && !known.swarm);
    /// ```
    pub fn of<'a>(ids: impl IntoIterator<Item = &'a str>) -> Self {
        ids.into_iter().fold(Self::default(), |known, id| Self {
            bitswap: known.bitswap.max(Version::of_protocol(id)),
            swarm: known.swarm || id == swarm::PROTOCOL,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) by_user: bool,
    /// `None` until identify has told.
    pub(crate) protocols: Option<Protocols>,
    /// Since when it is connected.
    pub(crate) since: Instant,
}

/// The connected peers.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    connected: BTreeMap<PeerId, Peer>,
}

impl Peers {
    /// Adds a connection; true if it is the first of that peer.
    pub(crate) fn connect(&mut self, connected: &Connected, now: Instant) -> bool {
        let known = self.connected.get_mut(&connected.peer);
        let first = known.is_none();
        match known {
            Some(peer) => {
                peer.by_user |= connected.by_user;
            }
            None => {
                let peer = Peer { by_user: connected.by_user, protocols: None, since: now };
                self.connected.insert(connected.peer, peer);
            }
        }
        first
    }

    pub(crate) fn remove(&mut self, peer: &PeerId) -> Option<Peer> {
        self.connected.remove(peer)
    }

    pub(crate) fn get(&self, peer: &PeerId) -> Option<&Peer> {
        self.connected.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: &PeerId) -> Option<&mut Peer> {
        self.connected.get_mut(peer)
    }

    pub(crate) fn ids(&self) -> Vec<PeerId> {
        self.connected.keys().copied().collect()
    }

    /// Peers that the user connected to, with what they speak.
    pub(crate) fn by_user(&self) -> impl Iterator<Item = PeerId> {
        self.connected.iter().filter(|(_, peer)| peer.by_user).map(|(id, _)| *id)
    }
}
