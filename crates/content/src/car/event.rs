//! What a reader hands out, and what it can be told.

use bytes::Bytes;

use super::header::Header;
use crate::Cid;

/// What a [`super::Reader`] does that not everybody wants; by default nothing of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// A section of no bytes ends the data, and only zeros may follow: the
    /// null padding of some files, which are read to their end. Else it is an error.
    pub zero_ends: bool,
    /// A version 2 is read to its end, and its index handed out. Else reading
    /// stops behind the data, and what follows is not looked at.
    pub index: bool,
}

/// What a CAR holds, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The beginning; first and once.
    Header(Header),
    /// A block, which may be another than its CID says: see [`crate::verify`].
    Block {
        /// Its name.
        cid: Cid,
        /// Its bytes, which keep no others in memory.
        data: Bytes,
        /// Where its section begins, in bytes from the start of the file. The
        /// block follows a [`super::section_head`].
        offset: u64,
    },
    /// Some of the index of a version 2, for an [`super::Index`]. Only with
    /// [`Options::index`].
    Index {
        /// The next bytes.
        data: Bytes,
        /// Where they are, in bytes from the start of the file.
        offset: u64,
    },
    /// No more follows, and what was read is whole, as far as a CAR can tell:
    /// version 1 has no end, so one that was cut between two sections is a
    /// whole one, too. Comes again when asked again.
    End,
}
