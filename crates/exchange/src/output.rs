//! What the machine asks of its owner, and the small types of its inputs.

use std::time::Duration;

use peerage_content::Cid;
use peerage_content::hash::NotOnWire;
use peerage_identity::PeerId;

use crate::message::Outgoing;

/// A group of wants with its own sources: one running fetch. Chosen by the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// In which order a session's wants are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// In the order in which they were given to [`crate::Exchange::want`].
    InOrder,
    /// In that order from a place by chance on, and then from the start, while every
    /// source has everything; once a source lacks something, what the fewest have
    /// first, then at random. So those who fetch the same have something to give each
    /// other.
    #[default]
    RarestFirst,
}

/// How a session behaves.
#[derive(Debug, Clone, Copy, Default)]
pub struct SessionConfig {
    /// The order of its wants.
    pub order: Order,
}

/// What is known of what a source has before it has said anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holding {
    /// It may have everything: it is asked for blocks.
    #[default]
    Unknown,
    /// It fetches the same itself: it is asked what it has, and says what comes later.
    Part,
}

/// How much a session may have asked for and not got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of blocks, each counted once, however many are asked for it.
    pub bytes: u64,
    /// What any block is taken to weigh at least, in bytes, whatever the owner said
    /// of it: hints may come from strangers.
    pub least: u64,
}

impl Default for Room {
    fn default() -> Self {
        Self { bytes: u64::MAX, least: 0 }
    }
}

/// Something to do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write `message` to the peer's stream for wants. The machine bounds a
    /// message, not the stream: an owner whose peer does not read closes the
    /// connection when too much waits.
    SendMessage {
        /// To whom.
        peer: PeerId,
        /// What.
        message: Outgoing,
    },
    /// Find out whether this block may be served to this peer and how long it
    /// is, and answer with [`crate::Exchange::handle_lookup`].
    Lookup {
        /// Who wants it.
        peer: PeerId,
        /// What, as asked for.
        cid: Cid,
    },
    /// Read this block, write it to the peer's block stream under the prefix
    /// of this very CID, and say how that ended with
    /// [`crate::Exchange::handle_served`]. Until then it holds send credit.
    ServeBlock {
        /// To whom.
        peer: PeerId,
        /// What, as asked for.
        cid: Cid,
        /// Its length in bytes, as the lookup said.
        len: u32,
    },
    /// The session has wants and no source that may have any of them. Said
    /// once until a source, a block or word of one comes. Sources that said
    /// "don't have" are asked again now and then meanwhile.
    Stalled {
        /// Which session.
        session: SessionId,
    },
    /// The source said "don't have" many times without a block between. It
    /// stays a source; the owner may know a better use of its place.
    SourceUseless {
        /// Which session.
        session: SessionId,
        /// Which source.
        peer: PeerId,
    },
    /// Too many bad blocks: close the connection, and do not take this peer
    /// as a source of what these sessions fetch again. It is a source of none
    /// of them any more.
    Ban {
        /// Who.
        peer: PeerId,
        /// Of which sessions it was a source.
        sessions: Vec<SessionId>,
    },
}

/// Why the machine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Wants were added and [`crate::Exchange::flush`] was not called.
    Flush,
    /// A want at this peer is unanswered past its estimate.
    Unanswered(PeerId),
    /// Sources that said "don't have" may be asked again.
    Retry(SessionId, PeerId),
    /// The uplink has room for the next block.
    Uplink,
    /// Idle sources may take over what slow ones have.
    Balance(SessionId),
}

/// What a block was to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockOutcome {
    /// It was wanted: hand it to these sessions.
    Wanted {
        /// Who wanted it, in ascending order.
        sessions: Vec<SessionId>,
    },
    /// It was asked for once: a late or second copy. Drop it.
    Duplicate,
    /// It was never asked for, as far as this machine remembers. If it is held
    /// nowhere either, charge the peer: [`crate::Exchange::charge_bad_block`].
    Unknown,
}

/// How serving a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Written to the peer's stream, this many payload bytes.
    Sent(u32),
    /// It could not be read, or is not as it was: to the peer it is not there.
    Missing,
    /// The peer's stream or connection failed; it will ask again.
    Failed,
}

/// What a charge for a bad block came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its wants are asked elsewhere. So many more bad blocks and it is banned.
    Charged {
        /// Bad blocks left.
        left: usize,
    },
    /// An [`Output::Ban`] follows.
    Banned,
}

/// Why a want was not taken. The caller is at fault, or the DAG that names the CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WantError {
    /// No such session is open.
    #[error("no such session")]
    NoSession,
    /// [`crate::Config::session_wants`] is reached; give wants as blocks come.
    #[error("the session holds as many wants as it may")]
    Full,
    /// Nobody may be asked for such a CID.
    #[error(transparent)]
    NotOnWire(#[from] NotOnWire),
}

/// Why a source or session was not taken. The caller is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No such session is open.
    #[error("no such session")]
    NoSession,
    /// The peer is not connected.
    #[error("the peer is not connected")]
    NotConnected,
    /// The peer was banned from this session.
    #[error("the peer is banned from this session")]
    Banned,
    /// A limit of [`crate::Config`] is reached.
    #[error("as many as there may be")]
    Full,
}

/// Figures of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionStats {
    /// Wanted blocks that came.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Further copies of wanted blocks.
    pub duplicates: u64,
    /// Their bytes.
    pub duplicate_bytes: u64,
    /// Wants now.
    pub wants: usize,
    /// Of those, asked of someone.
    pub asked: usize,
    /// Bytes of the blocks that are asked for, each counted once.
    pub asked_bytes: u64,
    /// Sources now.
    pub sources: usize,
}

/// Figures of a connected peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PeerStats {
    /// Wanted bytes that it gave us, also over earlier connections that are remembered.
    pub received_bytes: u64,
    /// Wanted blocks.
    pub received_blocks: u64,
    /// Copies of blocks that we had already.
    pub duplicate_blocks: u64,
    /// Their bytes.
    pub duplicate_bytes: u64,
    /// Bytes that we sent it.
    pub sent_bytes: u64,
    /// Blocks that we sent it.
    pub sent_blocks: u64,
    /// Bytes a second that it sends, once known.
    pub rate: Option<u64>,
    /// Time from a want to its answer when nothing is queued, once known.
    pub rtt: Option<Duration>,
    /// Bytes of blocks asked of it and not come.
    pub outstanding_bytes: u64,
    /// Wants live at it.
    pub live_wants: usize,
    /// Its wants that we hold.
    pub held_wants: usize,
    /// Blocks that it is being sent now, or that only wait for their turn.
    pub serving: usize,
}
