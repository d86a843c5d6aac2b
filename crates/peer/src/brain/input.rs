//! What reaches the brain: everything that happened, and what the API asks for.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use peerage_content::Cid;
use peerage_dht::sweep::Cursor;
use peerage_dht::{Answer, Failure, Network, Request, Response};
use peerage_engine::{
    AnnounceError, Announcements, Connected, DhtStatus, DialFailure, DialId, DialRequest, FindEvent, FindId,
    ItemId, JobId, JobProgress, ProbeAnswer, ProbeId, Reach, Record, RouterQuestion, RouterReport, Sources,
    Target, Verdict,
};
use peerage_exchange::{Incoming, Order, PeerStats, Served, Version};
use peerage_identity::{Multiaddr, PeerId, Scope};
use peerage_transport::Control;
use tokio::sync::{mpsc, oneshot};

use super::listers::Listed;
use super::{JobEvents, PeerInfo, Totals, Watcher};
use crate::config::Rates;
use crate::files::export::{Export, ExportError};
use crate::listing::KeysWanted;
use crate::net::bitswap_in::Block;
use crate::net::told::Told;
use crate::net::{autonat, swarm};
use crate::pool::Room;
use crate::served::SentAll;

/// What the user has the DHTs do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    /// Look for something.
    Find(Target),
    /// Tell that we have a block.
    Provide(Cid),
}

/// Whether others can dial us, and what is known of each address of ours.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reachability {
    /// Whether they can, and where.
    pub reach: Reach,
    /// Every address that is tested, without `/p2p`: those that we listen at,
    /// that a port mapper holds open, and that peers see. Empty if none is
    /// worth a test, as without any public address.
    pub addrs: Vec<(Multiaddr, Verdict)>,
}

/// Something that happened, or that someone wants.
pub(crate) enum Input {
    // Connections.
    Connected {
        connected: Connected,
        number: u64,
        control: Control,
    },
    Identified {
        peer: PeerId,
        told: Option<Told>,
        /// Dropped when that has been taken in: the peer may say more.
        handled: Option<oneshot::Sender<()>>,
    },
    Disconnected {
        peer: PeerId,
        number: u64,
    },
    DialFailed {
        dial: DialId,
        failure: DialFailure,
        why: String,
    },
    WriterFailed {
        peer: PeerId,
        number: u64,
    },
    // Bitswap.
    /// A peer opened a stream of this version, which may be before identify
    /// has told that it speaks it.
    Spoke {
        peer: PeerId,
        version: Version,
    },
    Message {
        peer: PeerId,
        incoming: Incoming,
        room: Room,
    },
    Block {
        peer: PeerId,
        block: Block,
        room: Room,
    },
    BadBlock {
        peer: PeerId,
    },
    Arriving {
        peer: PeerId,
    },
    // Workers.
    Local {
        job: JobId,
        item: ItemId,
        cid: Cid,
        found: Option<Block>,
    },
    Written {
        job: JobId,
        item: ItemId,
        cid: Cid,
        bytes: u64,
        len: u32,
    },
    Made {
        job: JobId,
    },
    Broken {
        job: JobId,
        error: ExportError,
    },
    LookedUp {
        peer: PeerId,
        cid: Cid,
        len: Option<u32>,
    },
    Served {
        peer: PeerId,
        cid: Cid,
        served: Served,
    },
    Held {
        peer: PeerId,
        cid: Cid,
        held: bool,
    },
    // Who was sent everything.
    SentAll(SentAll),
    Received(SentAll),
    // The swarm protocol.
    SwarmRequested {
        peer: PeerId,
        scope: Scope,
        request: swarm::Request,
        reply: oneshot::Sender<swarm::Answer>,
    },
    SwarmAnswered {
        peer: PeerId,
        root: Cid,
        records: Vec<Record>,
    },
    // The DHTs, and finding peers.
    DhtRequested {
        network: Network,
        peer: PeerId,
        request: Request,
        reply: oneshot::Sender<Answer>,
    },
    DhtAnswered {
        network: Network,
        id: peerage_dht::RequestId,
        response: Response,
    },
    DhtSent {
        network: Network,
        id: peerage_dht::RequestId,
    },
    DhtFailed {
        network: Network,
        id: peerage_dht::RequestId,
        failure: Failure,
    },
    Discovered {
        peer: PeerId,
        addrs: Vec<Multiaddr>,
    },
    Undiscovered {
        peer: PeerId,
    },
    Routed {
        ask: RouterQuestion,
        peers: Vec<peerage_dht::PeerInfo>,
    },
    RoutersDone {
        ask: RouterQuestion,
        report: RouterReport,
    },
    // Whether others can dial us, and dialling for them.
    Probed {
        probe: ProbeId,
        answer: ProbeAnswer,
    },
    DialRequested {
        request: DialRequest,
        reply: oneshot::Sender<autonat::Decided>,
    },
    /// A peer that asked to be dialled has its answer, or wants none.
    DialledFor {
        peer: PeerId,
    },
    /// What the port mapper holds open.
    Mapped {
        addrs: Vec<Multiaddr>,
    },
    Reachability {
        reply: oneshot::Sender<Reachability>,
    },
    // What the API asks for.
    Listen {
        addrs: Vec<Multiaddr>,
    },
    Bootstrap {
        addrs: Vec<Multiaddr>,
        by_user: bool,
    },
    Find {
        find: FindId,
        goal: Goal,
        events: mpsc::UnboundedSender<FindEvent>,
    },
    CancelFind {
        find: FindId,
    },
    Announce {
        cid: Cid,
        known: Vec<Network>,
        reply: oneshot::Sender<Result<(), AnnounceError>>,
    },
    Unannounce {
        cid: Cid,
    },
    Told {
        cid: Cid,
        reply: oneshot::Sender<Vec<Network>>,
    },
    ResumeAnnouncing {
        network: Network,
        cursor: Cursor,
    },
    /// Who has more to announce than is held, from now on; or no more.
    ListAnnouncements {
        lister: u64,
        /// How many, and where questions go.
        listed: Option<Listed>,
    },
    KeysListed {
        lister: u64,
        wanted: KeysWanted,
        multihashes: Vec<Bytes>,
    },
    AnnounceListed {
        cids: Vec<Cid>,
        known: Vec<Network>,
        /// How many of them there was room for.
        reply: oneshot::Sender<usize>,
    },
    Announcements {
        reply: oneshot::Sender<Vec<Announcements>>,
    },
    DhtStatus {
        reply: oneshot::Sender<Vec<DhtStatus>>,
    },
    Servers {
        reply: oneshot::Sender<BTreeMap<Network, Vec<peerage_dht::PeerInfo>>>,
    },
    Fetch {
        job: JobId,
        root: Cid,
        sources: Sources,
        export: Arc<Export>,
        swarm: bool,
        order: Order,
        events: JobEvents,
    },
    OpenQuery {
        job: JobId,
        root: Cid,
        sources: Sources,
        events: JobEvents,
    },
    Query {
        job: JobId,
        cid: Cid,
    },
    Cancel {
        job: JobId,
    },
    Progress {
        job: JobId,
        reply: oneshot::Sender<Option<JobProgress>>,
    },
    Serve {
        root: Cid,
        total: u64,
        watcher: Option<Watcher>,
    },
    Unserve {
        root: Cid,
    },
    Peers {
        reply: oneshot::Sender<Vec<PeerInfo>>,
    },
    Stats {
        peer: PeerId,
        reply: oneshot::Sender<PeerStats>,
    },
    Control {
        peer: PeerId,
        reply: oneshot::Sender<Option<Control>>,
    },
    /// The rates are these from now on.
    Rates(Rates),
    Totals {
        reply: oneshot::Sender<Totals>,
    },
    Stop {
        reply: oneshot::Sender<()>,
    },
}
