//! Everything the engine wants done, in order, and the words for it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, DecodeError, Node};
use peerage_dht::{Key, Network, Request};
use peerage_exchange::Outgoing;
use peerage_identity::{Multiaddr, PeerId};

use crate::engine::JobProgress;
use crate::error::JobError;
use crate::fetch::{FileKey, ItemId};
use crate::reachability::{Probe, Reach};
use crate::routing::{FindEvent, Target};
use crate::swarm::Share;

/// Names a job: a fetch or a query. The shell chooses it, and never one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// Names a payload that the shell keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

/// Names an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub u64);

/// Names a look-up that the user asked for. The shell chooses it, and never one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FindId(pub u64);

/// Names a question to the routers of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouterQuestion(pub u64);

/// Names a swarm request that a peer waits on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The bytes of a file that a block is expected to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// The file.
    pub file: FileKey,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// How many bytes.
    pub len: u64,
}

/// What the engine wants of its shell.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send wants, cancels and presences on the peer's stream for those.
    SendMessage {
        /// To whom.
        peer: PeerId,
        /// What.
        message: Outgoing,
    },
    /// Say whether a block is held and served: `handle_lookup`.
    Lookup {
        /// Who asks.
        peer: PeerId,
        /// For what.
        cid: Cid,
    },
    /// Read a block and write it to the peer's stream for blocks: `handle_served`.
    ServeBlock {
        /// To whom.
        peer: PeerId,
        /// Which; in the form that was asked for.
        cid: Cid,
        /// Its length in bytes.
        len: u32,
    },
    /// Say whether a block that nobody asked for is held: `handle_held`.
    CheckHeld {
        /// Who sent it.
        peer: PeerId,
        /// What it is.
        cid: Cid,
    },
    /// Look for a block here: in the store, or in what the destination already
    /// holds in that place. `handle_local`.
    TakeLocal {
        /// For which job.
        job: JobId,
        /// For which item of it; the shell hands it back.
        item: ItemId,
        /// The block.
        cid: Cid,
        /// Where it belongs, if that is known before it has come.
        at: Option<At>,
        /// The path below the root of the entry that it is, if it is one: it
        /// may be a whole file. Empty for the root itself.
        entry: Option<Vec<String>>,
    },
    /// Make a folder: `handle_made`. The empty path is the destination itself.
    MakeDir {
        /// For which fetch.
        job: JobId,
        /// Components below the destination.
        path: Vec<String>,
        /// Mode and time, if kept.
        metadata: Metadata,
    },
    /// Make a file of that size. The empty path is the destination itself.
    OpenFile {
        /// For which fetch.
        job: JobId,
        /// Its name from now on.
        file: FileKey,
        /// Components below the destination.
        path: Vec<String>,
        /// In bytes.
        size: u64,
        /// Mode and time, if kept.
        metadata: Metadata,
    },
    /// Everything of a file is written: `handle_made`.
    FinishFile {
        /// For which fetch.
        job: JobId,
        /// The file.
        file: FileKey,
    },
    /// Make a symbolic link, after all else.
    MakeSymlink {
        /// For which fetch.
        job: JobId,
        /// Components below the destination.
        path: Vec<String>,
        /// Where it points, unchecked.
        target: Bytes,
        /// Mode and time, if kept.
        metadata: Metadata,
    },
    /// Write a part of a payload into a file: `handle_written`.
    Write {
        /// For which fetch.
        job: JobId,
        /// For which item.
        item: ItemId,
        /// Where to.
        file: FileKey,
        /// Where in the file, in bytes.
        offset: u64,
        /// The payload.
        token: Token,
        /// Which bytes of it.
        data: Range<usize>,
        /// The block that the payload is.
        cid: Cid,
        /// True if the block came from here, or another place holds it already.
        held: bool,
    },
    /// Keep a payload as a block: `handle_written`.
    StoreBlock {
        /// For which fetch.
        job: JobId,
        /// For which item.
        item: ItemId,
        /// The block.
        cid: Cid,
        /// The payload.
        token: Token,
    },
    /// The engine will not name this payload again.
    Release {
        /// The payload.
        token: Token,
    },
    /// A block that a query asked for.
    QueryBlock {
        /// Which query.
        job: JobId,
        /// The block.
        cid: Cid,
        /// Its payload, valid until the next output.
        token: Token,
        /// What it means.
        node: Arc<Result<Node, DecodeError>>,
    },
    /// Everything is written: sync, rename, report. The job is over.
    FetchFinished {
        /// Which fetch.
        job: JobId,
        /// What it came to.
        progress: JobProgress,
    },
    /// The job is over without success.
    JobFailed {
        /// Which.
        job: JobId,
        /// Why.
        error: JobError,
    },
    /// Connect: `handle_connected` or `handle_dial_failed`.
    Dial {
        /// This attempt.
        dial: DialId,
        /// Who must answer; `None` if the address does not say.
        peer: Option<PeerId>,
        /// Where to try, the best first: each begins a little after the one
        /// before it. Empty: nowhere, which is a failure to be reported, too.
        addrs: Vec<Multiaddr>,
        /// Those that the user gave. Other names that resolve to private or
        /// loopback addresses lead nowhere.
        trusted: Vec<Multiaddr>,
    },
    /// Nobody waits for that connection any more: give the attempt up. Nothing
    /// is to be said about it.
    CancelDial {
        /// The attempt.
        dial: DialId,
    },
    /// Send a connected peer a request on a stream of that DHT:
    /// `handle_dht_response`, `handle_dht_sent` or `handle_dht_failed`.
    DhtRequest {
        /// Which DHT.
        network: Network,
        /// For the answer.
        id: peerage_dht::RequestId,
        /// Whom.
        peer: PeerId,
        /// What.
        request: Request,
    },
    /// Nobody waits for that answer any more.
    DhtCancel {
        /// Which DHT.
        network: Network,
        /// Of [`Output::DhtRequest`].
        id: peerage_dht::RequestId,
    },
    /// The DHTs in which we answer others from now on: their protocols are
    /// offered and told by identify, the others not.
    ServeDht {
        /// `/ipfs/kad/1.0.0`.
        wan: bool,
        /// `/ipfs/lan/kad/1.0.0`.
        lan: bool,
    },
    /// List the first `max` multihashes of those that the owner has to announce,
    /// at or behind `from` in the order of their Kademlia keys: `handle_keys`.
    /// Only after `set_listed`.
    ListKeys {
        /// The DHT that goes on there.
        network: Network,
        /// From here on.
        from: Key,
        /// At most so many.
        max: usize,
    },
    /// Ask the routers of the configuration: `handle_router_answer`, any
    /// number of times, then `handle_router_done`.
    AskRouters {
        /// For the answers.
        ask: RouterQuestion,
        /// What.
        target: Target,
    },
    /// Nobody waits for those answers any more.
    CancelRouters {
        /// Of [`Output::AskRouters`].
        ask: RouterQuestion,
    },
    /// News of a look-up that the user asked for.
    Find {
        /// Which.
        find: FindId,
        /// What.
        event: FindEvent,
    },
    /// Ask a connected peer to dial us: `handle_probe`.
    Probe(Probe),
    /// It is known anew whether others can dial us; what we say of our
    /// addresses follows.
    ReachChanged {
        /// Whether, and where.
        reach: Reach,
    },
    /// Close all connections with a peer.
    Disconnect {
        /// Which.
        peer: PeerId,
        /// Why, for the log.
        reason: DisconnectReason,
    },
    /// Ask a peer about a root over `/peerage/swarm/1.0.0`: `handle_swarm_answer`.
    AskSwarm {
        /// Whom.
        peer: PeerId,
        /// About what.
        root: Cid,
        /// How much of it we have.
        share: Share,
    },
    /// Answer a swarm request.
    AnswerSwarm {
        /// Which.
        request: RequestId,
        /// Signed envelopes of others.
        records: Vec<Bytes>,
        /// How much we have; `None` says nothing.
        share: Option<Share>,
    },
    /// A peer said how much it has of a root that we serve.
    PeerProgressed {
        /// The root.
        root: Cid,
        /// Who.
        peer: PeerId,
        /// How much.
        share: Share,
    },
}

/// Why the engine closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DisconnectReason {
    /// The peer sent wrong blocks again and again.
    WrongBlocks,
    /// There are more connections than we want, and this one is of the least use.
    Surplus,
}
