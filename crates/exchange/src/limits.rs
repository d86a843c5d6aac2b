//! Limits of this crate: name, unit, default and reason, in one place.
//!
//! Constants are what the protocol or deployed peers fix; [`Config`] holds
//! what an owner may want to change. Limits on streams, connections and
//! unread bytes belong to the shell.

use std::time::Duration;

/// Largest message, in bytes (boxo `network.MessageSizeMax`).
pub const MESSAGE_MAX: usize = 4 * 1024 * 1024;

/// Most protobuf fields of one message and its wantlist together.
///
/// Boxo's largest wantlist message, 2 MiB, has some 45,000 entries, but it and
/// Helia stop at about 1,024 wants; decoded, this many take about 4 MiB.
pub const MESSAGE_FIELDS_MAX: usize = 32_768;

/// Longest CID in an entry or presence, in bytes (boxo drops longer ones).
pub const CID_MAX: usize = 168;

/// Most entries or presences that one encoded message carries: about 200 KB,
/// far below the 2 MiB at which boxo splits.
pub const ENTRIES_PER_MESSAGE: usize = 4096;

/// Most presences that wait to be put into one message; beyond, no more is
/// refused. Four times the wants that boxo and Helia ever send, and 400 KiB.
pub const REFUSALS_MAX: usize = 4096;

/// Largest block whose length is believed when it is only announced, in bytes.
pub const BLOCK_LEN_MAX: u64 = 4 * 1024 * 1024;

/// A block of at most this many bytes is sent at once to who only asked
/// whether it is there (boxo, Helia: 1,024).
pub const HAVE_UPGRADE_MAX: u32 = 1024;

/// Bad blocks within [`BAD_BLOCK_SPAN`] that end in a ban.
pub const BAD_BLOCKS_MAX: usize = 3;

/// The time in which [`BAD_BLOCKS_MAX`] bad blocks are one too many.
pub const BAD_BLOCK_SPAN: Duration = Duration::from_secs(60);

/// What an owner of the machine may change.
#[derive(Debug, Clone)]
pub struct Config {
    /// Most wants live at one peer. Boxo and Helia keep 1,024 and silently
    /// drop the rest; the difference is for cancels that are still on the way.
    pub live_wants: usize,
    /// First window of a source, in bytes. A judgement: a second of a 16 Mbit/s line.
    pub window_initial: u64,
    /// Smallest window, in bytes, once the rate is known; a source always has
    /// room for [`Config::window_blocks`] blocks beside.
    pub window_min: u64,
    /// Largest window, in bytes: half of what a peer may have in flight in all.
    pub window_max: u64,
    /// Blocks that a window holds whatever their size, so that a source always
    /// has the next one to send while the last is on its way.
    pub window_blocks: u64,
    /// Length assumed of a block of which none is known, in bytes.
    pub len_unknown: u64,
    /// Rate assumed of a source that has sent nothing yet, in bytes a second.
    pub rate_unknown: u64,
    /// Round trip assumed of a source before the first answer.
    pub rtt_unknown: Duration,
    /// Added to four times the estimate of when a want should be answered.
    pub patience: Duration,
    /// No want is given up earlier than this.
    pub patience_min: Duration,
    /// First pause before a source that said "don't have" is asked again, if
    /// nobody else has the block; doubles up to [`Config::retry_max`].
    pub retry_first: Duration,
    /// Longest such pause.
    pub retry_max: Duration,
    /// Wants that are asked about ahead (want-have) of a source that has only
    /// a part.
    pub look_ahead: usize,
    /// Wants that a source has not and keeps, so that it says when it has: below what
    /// we keep of a peer (`held_absent`), and with the rest below `live_wants`.
    pub promised: usize,
    /// Answers "don't have" in a row, without a block between, after which a
    /// source is reported as useless (boxo drops it after 16).
    pub useless_after: u32,
    /// Most wants that one session holds: far more than the engine feeds.
    pub session_wants: usize,
    /// Most sessions.
    pub sessions: usize,
    /// Most sources of one session.
    pub session_sources: usize,
    /// Blocks that once were asked for and are remembered, so that a late copy
    /// is a duplicate and not a stranger. 8 bytes of hash each, about 2 MiB.
    pub remembered: usize,
    /// Past peers whose bad blocks are remembered.
    pub histories: usize,
    /// Wants of one peer that are held (boxo, Helia: 1,024).
    pub held_wants: usize,
    /// Of those, wants for blocks that are not here, kept in case they arrive.
    pub held_absent: usize,
    /// Lookups in flight for one peer.
    pub lookups: usize,
    /// Bytes that are read and sent ahead of one peer; two blocks always are.
    pub send_credit: u64,
    /// Blocks that are read and sent ahead of one peer, however small.
    pub send_blocks: usize,
    /// Bytes that are read and sent ahead of all peers together. A peer that has
    /// nothing on the way is sent one block beyond that, so that those who
    /// read slowly hold up nobody else.
    pub send_credit_total: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            live_wants: 960,
            window_initial: 2 << 20,
            window_min: 1 << 20,
            window_max: 16 << 20,
            window_blocks: 4,
            len_unknown: 64 << 10,
            rate_unknown: 256 << 10,
            rtt_unknown: Duration::from_millis(500),
            patience: Duration::from_secs(5),
            patience_min: Duration::from_secs(2),
            retry_first: Duration::from_secs(3),
            retry_max: Duration::from_secs(60),
            look_ahead: 256,
            promised: 448,
            useless_after: 16,
            session_wants: 32_768,
            sessions: 1024,
            session_sources: 256,
            remembered: 65_536,
            histories: 4096,
            held_wants: 1024,
            held_absent: 512,
            lookups: 128,
            send_credit: 2 << 20,
            send_blocks: 512,
            send_credit_total: 16 << 20,
        }
    }
}
