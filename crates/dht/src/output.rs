//! What the machine asks of its owner, and the small types of its inputs.

use std::time::Duration;

use bytes::Bytes;
use peerage_identity::{Multiaddr, PeerId};

use crate::message::{PeerInfo, Request, Response};
use crate::reach::Group as IpGroup;

/// A look-up. Given by the machine, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// A request to a peer. Given by the machine, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One server being told of many blocks. Given by the machine, never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnounceId(pub u64);

/// Whether we answer others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// We ask and do not answer: nobody could reach us. The owner does not
    /// offer the protocol.
    #[default]
    Client,
    /// We answer, keep records, and are in others' tables.
    Server,
}

/// Something to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Reach the peer, by these addresses if it is not connected, send it the
    /// request on a stream of the DHT's protocol, and say how that ended:
    /// [`crate::Dht::handle_response`], [`crate::Dht::handle_sent`] if it
    /// [has no answer](Request::is_answered), or
    /// [`crate::Dht::handle_request_failed`]. The machine has its own
    /// deadline; what comes later is ignored.
    SendRequest {
        /// For the answer.
        id: RequestId,
        /// Whom.
        peer: PeerId,
        /// Where, without `/p2p`; only such as count in this DHT.
        addrs: Vec<Multiaddr>,
        /// What.
        request: Request,
    },
    /// Nobody waits for that answer any more: a dial or stream that is only
    /// for it may be given up.
    CancelRequest {
        /// Of [`Output::SendRequest`].
        id: RequestId,
        /// The peer has not answered in time, though it was tried.
        silent: bool,
    },
    /// Of the peers that this one named in a look-up which came to its end none
    /// was there.
    Invented {
        /// Who named them.
        peer: PeerId,
    },
    /// A look-up got an answer, or failed to.
    Progress {
        /// Which.
        lookup: LookupId,
        /// How far it is.
        progress: Progress,
    },
    /// Who has the block: peers that this look-up had not named yet, and of
    /// those that it had, addresses that it had not. Of very many some are
    /// forgotten, and may be named again.
    ProvidersFound {
        /// Which look-up.
        lookup: LookupId,
        /// With what is new: their addresses may be missing
        /// ([`crate::Dht::find_peer`]) or wrong.
        providers: Vec<PeerInfo>,
        /// Those that one more server has named. All servers that keep a record name
        /// who made it; whom one has invented, hardly another names.
        again: Vec<PeerId>,
    },
    /// Addresses of the peer that was looked for; more may follow. They may be
    /// wrong: who can be reached there and proves its identity is right.
    PeerFound {
        /// Which look-up.
        lookup: LookupId,
        /// The peer and addresses that were not told before.
        info: PeerInfo,
    },
    /// A valid value, better than those told before.
    ValueFound {
        /// Which look-up.
        lookup: LookupId,
        /// The value.
        value: Bytes,
    },
    /// A look-up is over.
    LookupFinished {
        /// Which.
        lookup: LookupId,
        /// How it ended and what came of it.
        report: Report,
    },
    /// A server was told of blocks, as far as that went.
    Announced {
        /// Of [`crate::Dht::announce`].
        id: AnnounceId,
        /// So many, from the first on; the others were not.
        told: usize,
    },
    /// A server came into the table. Worth a tag at the connection manager,
    /// and to be remembered across restarts.
    PeerAdded {
        /// Who.
        peer: PeerId,
    },
    /// A server left the table.
    PeerRemoved {
        /// Who.
        peer: PeerId,
    },
}

/// How far a look-up is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Peers asked; one that was asked again, elsewhere, counts twice.
    pub asked: u32,
    /// Of those, peers that answered.
    pub answered: u32,
    /// Of those, peers that did not, or not as they should.
    pub failed: u32,
    /// Bits of the distance between the key and the closest peer that
    /// answered: 256 to begin with.
    pub closest_bits: usize,
    /// Providers found.
    pub providers: usize,
}

/// How a look-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The closest peers have all answered, but for some that took far longer
    /// than others, and what was to be stored there
    /// was sent to all of them.
    Complete,
    /// The same, but none of those that were asked last has answered
    /// ([`crate::limits::SILENT_LAST`]), as if our own network were gone: there
    /// may be closer ones.
    Unanswered,
    /// Enough valid values came.
    Quorum,
    /// It took too long ([`crate::Config::lookup_timeout`]).
    OutOfTime,
    /// There was nobody to ask, or nobody answered.
    NoPeers,
}

/// What came of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How it ended.
    pub end: End,
    /// Its figures.
    pub progress: Progress,
    /// The closest peers that answered, nearest first: k, and beside them those
    /// that do not count for being too many of one IP group
    /// ([`crate::Config::closest_group_max`]).
    pub closest: Vec<PeerInfo>,
    /// Of each of these, the group of the address by which it answered; none on
    /// the LAN.
    pub groups: Vec<Option<IpGroup>>,
    /// Hops to the closest of them; 1 if it was in the table. 0 if nobody answered.
    pub hops: u32,
    /// Peers at which the record was stored: who confirmed a value, or were
    /// sent a provider record, which nobody confirms.
    pub stored: u32,
    /// How long it took.
    pub took: Duration,
}

/// Why a request came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The peer could not be reached, or ended the stream.
    Unreachable,
    /// It was reached and does not speak the protocol: it is no server.
    Unsupported,
    /// It answered what cannot be read.
    Malformed,
    /// Nobody tried: it could not be reached a short while ago, or our own dials
    /// had to wait for each other. It says nothing new of the peer.
    NotTried,
}

/// What to answer on a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Write this, and read on.
    Respond(Response),
    /// Nothing; read on.
    Nothing,
    /// Reset the stream: the request was wrong, or is refused.
    Reset,
    /// Hand the same request in again after so long, and read no more of that
    /// stream until then. Never said by a [`crate::Dht`], but by owners that
    /// have peers ask at a pace.
    Later(Duration),
}

/// Why a look-up was not begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LookupError {
    /// As many as may be are running ([`crate::Config::lookups_max`],
    /// [`crate::Config::announcements_max`]).
    #[error("too many look-ups are running")]
    Busy,
    /// A key of no byte, or over [`crate::limits::KEY_MAX`].
    #[error("a key of {0} bytes")]
    Key(usize),
    /// There is no address under which others could reach us.
    #[error("no address of ours to announce")]
    NoAddrs,
    /// We know of a better value under this key.
    #[error("a better value is known")]
    Older,
    /// The value is not valid, or there may be none under this key.
    #[error("{0}")]
    Value(#[from] crate::values::ValueError),
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A request is unanswered.
    Request(RequestId),
    /// It takes longer than others did.
    Late(RequestId),
    /// A look-up has taken as long as it may.
    Lookup(LookupId),
    /// The table is to be refreshed, or the bootstrap tried again.
    Refresh,
    /// Expired records are to be removed.
    Sweep,
}
