//! Reading a range of a file, block by block: says which block it needs, is
//! given it, says which bytes of it are wanted. Holds one list of children
//! per level, no blocks, and of all lists no more than [`WALK_PENDING_MAX`]
//! children. What strangers' blocks cost is bounded by the bytes that they give:
//! nodes that lead to next to nothing are an error in the end.

use std::ops::Range;

use crate::Cid;
use crate::limits::{FILE_DEPTH_MAX, READ_OVERHEAD_MAX, READ_OVERHEAD_PER_BYTE, WALK_PENDING_MAX};
use crate::node::{self, DecodeError, FileChild, Node};

/// A cursor over the bytes of a file.
///
/// Give it each block that [`Self::need`] names, verified (an identity CID
/// holds its block: [`crate::hash::inline`]); write out each [`Piece`] that
/// comes back; stop when `need` is none. [`Self::ahead`] lists what will be
/// needed soon, so that it can be fetched meanwhile.
///
/// ```
/// use peerage_content::{FileReader, Leaf, Profile};
/// let leaf = Leaf::new(&Profile::default(), b"hello world");
/// let mut reader = FileReader::new(leaf.cid, 6..u64::MAX);
/// assert_eq!(reader.need(), Some(leaf.cid));
/// let piece = reader.supply(b"hello world").unwrap().unwrap();
/// assert_eq!(&b"hello world"[piece.range], b"world");
/// assert_eq!((piece.offset, reader.need()), (6, None));
/// ```
#[derive(Debug, Clone)]
pub struct FileReader {
    range: Range<u64>,
    size: Option<u64>,
    /// Children that are still to read, the next one last; one list per level.
    stack: Vec<Vec<Pending>>,
    /// Bytes of blocks that were read and that no byte handed out accounts for.
    overhead: u64,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    cid: Cid,
    offset: u64,
    /// None at the root: nobody claims anything.
    size: Option<u64>,
}

/// Bytes of the file in the block that was supplied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The block.
    pub cid: Cid,
    /// Where in the block they are.
    pub range: Range<usize>,
    /// Where in the file they belong.
    pub offset: u64,
}

/// Why a file cannot be read on. The maker of its blocks is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// A block is not what it should be.
    #[error("block {cid}: {error}")]
    Decode {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        error: Box<DecodeError>,
    },
    /// A folder, symlink or block of another codec where a file should be.
    #[error("{0} is not a file")]
    NotAFile(Cid),
    /// A part of the file is longer or shorter than its parent says.
    #[error("block {cid} holds {is} bytes of the file, its parent says {claimed}")]
    Size {
        /// The part.
        cid: Cid,
        /// Bytes under it.
        is: u64,
        /// Bytes under it as the parent says.
        claimed: u64,
    },
    /// More levels than a file can need.
    #[error("the file is nested too deeply")]
    TooDeep,
    /// More children wait to be read than are remembered.
    #[error("block {0} has more children than can be kept track of")]
    TooWide(Cid),
    /// Blocks without end that hold next to nothing of the file.
    #[error("the file's blocks up to {0} are absurdly large for the bytes of the file that they lead to")]
    TooSparse(Cid),
    /// A block was supplied that nothing needed: the caller is at fault.
    #[error("a block that was not needed")]
    NotNeeded,
}

impl FileReader {
    /// Reads `range` of the file with this root; cut to the file's size.
    #[must_use]
    pub fn new(root: Cid, range: Range<u64>) -> Self {
        let stack = vec![vec![Pending { cid: root, offset: 0, size: None }]];
        Self { range, size: None, stack, overhead: 0 }
    }

    /// Size of the file, once its root has been supplied.
    #[must_use]
    pub const fn size(&self) -> Option<u64> {
        self.size
    }

    /// The block that must be supplied next; none at the end.
    #[must_use]
    pub fn need(&self) -> Option<Cid> {
        self.stack.last().and_then(|level| level.last()).map(|pending| pending.cid)
    }

    /// Up to `limit` blocks that will be needed, the next first, as far as
    /// the nodes read so far tell. The same block may be listed twice.
    #[must_use]
    pub fn ahead(&self, limit: usize) -> Vec<Cid> {
        let all = self.stack.iter().rev().flat_map(|level| level.iter().rev());
        all.take(limit).map(|pending| pending.cid).collect()
    }

    /// Takes the verified block of [`Self::need`]; returns the bytes of the
    /// range that it holds itself, if any.
    ///
    /// # Errors
    /// See [`ReadError`]. The reader is of no more use then.
    pub fn supply(&mut self, block: &[u8]) -> Result<Option<Piece>, ReadError> {
        let pending = self.stack.last_mut().and_then(Vec::pop).ok_or(ReadError::NotNeeded)?;
        let cid = pending.cid;
        let node =
            node::decode(&cid, block).map_err(|error| ReadError::Decode { cid, error: Box::new(error) })?;
        let (data, size, children) = match node {
            Node::Leaf { data, .. } => (data.clone(), data.len() as u64, Vec::new()),
            Node::File { data, size, children, .. } => (data, size, children),
            _ => return Err(ReadError::NotAFile(cid)),
        };
        match pending.size {
            Some(claimed) if claimed != size => return Err(ReadError::Size { cid, is: size, claimed }),
            Some(_) => {}
            None => {
                self.size = Some(size);
                self.range.end = self.range.end.min(size);
            }
        }
        let piece = self.piece(cid, &data, pending.offset);
        self.account(cid, block.len(), piece.as_ref().map_or(0, |piece| piece.range.len()))?;
        self.descend(cid, pending.offset.saturating_add(data.len() as u64), &children)?;
        while self.stack.last().is_some_and(Vec::is_empty) {
            self.stack.pop();
        }
        Ok(piece)
    }

    /// The part of `data`, at `offset` of the file, that is in the range.
    fn piece(&self, cid: Cid, data: &Range<usize>, offset: u64) -> Option<Piece> {
        let end = offset.saturating_add(data.len() as u64);
        let from = self.range.start.max(offset);
        let to = self.range.end.min(end);
        if from >= to {
            return None;
        }
        let start = data.start + usize::try_from(from - offset).ok()?;
        let len = usize::try_from(to - from).ok()?;
        Some(Piece { cid, range: start..start + len, offset: from })
    }

    /// Notes that a block of `len` bytes gave `given` bytes of the range.
    fn account(&mut self, cid: Cid, len: usize, given: usize) -> Result<(), ReadError> {
        let (len, given) = (len as u64, given as u64);
        let accounted = given.saturating_mul(READ_OVERHEAD_PER_BYTE);
        self.overhead = self.overhead.saturating_add(len - given).saturating_sub(accounted);
        if self.overhead > READ_OVERHEAD_MAX { Err(ReadError::TooSparse(cid)) } else { Ok(()) }
    }

    /// Puts the children of `parent` that touch the range on the stack.
    fn descend(&mut self, parent: Cid, mut offset: u64, children: &[FileChild]) -> Result<(), ReadError> {
        let range = self.range.clone();
        let touching = children.iter().filter_map(|child| {
            // Sizes were summed without overflow when the parent was decoded,
            // and the root's sum bounds all offsets.
            let end = offset.saturating_add(child.size);
            let at = std::mem::replace(&mut offset, end);
            let touches = at < range.end && end > range.start && child.size > 0;
            touches.then_some(Pending { cid: child.cid, offset: at, size: Some(child.size) })
        });
        let mut level: Vec<_> = touching.collect();
        if level.is_empty() {
            return Ok(());
        }
        // Lists above that are used up stay until this one is, so the number
        // of lists is the depth.
        if self.stack.len() >= FILE_DEPTH_MAX {
            return Err(ReadError::TooDeep);
        }
        let waiting: usize = self.stack.iter().map(Vec::len).sum();
        if waiting + level.len() > WALK_PENDING_MAX {
            return Err(ReadError::TooWide(parent));
        }
        level.shrink_to_fit();
        level.reverse();
        self.stack.push(level);
        Ok(())
    }
}
