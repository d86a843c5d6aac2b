//! The index of a CARv2: for each block its digest and where its section is.
//! Formats 0x0400 (sorted by digest) and 0x0401 (the same for each hash function).
//!
//! The specification leaves out that each list of buckets begins with its
//! length, and says that a bucket tells how many entries it has, where it
//! tells how many bytes; what is read here is what go-car writes and reads.
//!
//! An index is a claim that nobody needs: whoever uses one checks each entry
//! against the file, which is what this is for. Left out on purpose: the order
//! of buckets, which was random in early go-car, and the unnumbered format of
//! drafts, which the specification's own example has.

use super::error::VarintError;
use super::parse;
use crate::Cid;
use crate::limits::IDENTITY_MAX;

/// Multicodec of the index that is sorted by digest.
pub const INDEX_SORTED: u64 = 0x0400;
/// Multicodec of the index that is sorted by hash function and digest.
pub const MULTIHASH_INDEX_SORTED: u64 = 0x0401;

/// Bytes of an offset behind each digest.
const OFFSET_LEN: usize = 8;
/// Largest width of an entry, in bytes: no CID has a longer digest.
const WIDTH_MAX: usize = IDENTITY_MAX + OFFSET_LEN;

/// A decoder of indexes, into which bytes are pushed. Holds one entry.
///
/// ```
/// use peerage_content::car::Index;
/// let bytes = b"\x80\x08\x01\0\0\0\x0a\0\0\0\x0a\0\0\0\0\0\0\0\xab\xcd\x3b\0\0\0\0\0\0\0";
/// let (mut index, mut rest) = (Index::new(499), &bytes[..]);
/// while let Some(entry) = index.next(&mut rest)? {
///     assert_eq!((entry.code, entry.digest, entry.offset), (None, &[0xab, 0xcd][..], 59));
/// }
/// index.finish()?;
/// # Ok::<(), peerage_content::car::IndexError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Index {
    state: State,
    /// Where the next byte is.
    position: u64,
    /// The part that is being read: its first `have` bytes.
    part: [u8; WIDTH_MAX],
    have: usize,
    /// Lists of buckets to come, one for each hash function.
    lists: u32,
    code: Option<u64>,
    /// Buckets of this list to come.
    buckets: u32,
    /// Bytes of an entry of this bucket.
    width: usize,
    /// Bytes of this bucket to come.
    left: u64,
    /// The digest before in this bucket, or zeros; as long as the width says.
    last: [u8; IDENTITY_MAX],
}

/// What is being read.
#[derive(Debug, Clone, Copy)]
enum State {
    Format,
    /// How many lists of buckets.
    Lists,
    Code,
    /// How many buckets.
    Buckets,
    /// Width and length of a bucket.
    Bucket,
    Entry,
    End,
    Failed(IndexError),
}

/// A block, as the index says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IndexEntry<'a> {
    /// Multihash code of the digest; none in format 0x0400, which has none.
    pub code: Option<u64>,
    /// The digest.
    pub digest: &'a [u8],
    /// Where the section begins, in bytes from [`super::Header::data_offset`].
    pub offset: u64,
}

impl IndexEntry<'_> {
    /// Whether a block with this CID may be the one.
    #[must_use]
    pub fn matches(&self, cid: &Cid) -> bool {
        self.code.is_none_or(|code| code == cid.hash().code()) && self.digest == cid.hash().digest()
    }
}

/// Why bytes are no index. Its maker is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {fault}")]
pub struct IndexError {
    /// Where what is wrong begins, in bytes, counted as in [`Index::new`].
    pub offset: u64,
    /// What is wrong there.
    pub fault: IndexFault,
}

/// What is wrong with an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexFault {
    /// It ends too early.
    #[error("the index is cut short")]
    Cut,
    /// Its format has no valid number.
    #[error("no index format: {0}")]
    Number(VarintError),
    /// A format that nobody uses, or of a draft.
    #[error("index format 0x{0:x} is unknown")]
    Format(u64),
    /// More buckets than a signed number of 32 bits holds, go-car's limit.
    #[error("an index of {0} buckets")]
    Count(u32),
    /// Entries without room for an offset, or with a digest longer than any.
    #[error("index entries of {0} bytes")]
    Width(u32),
    /// A bucket that is not a whole number of entries, or larger than any file.
    #[error("an index bucket of {len} bytes, with {width} for each entry")]
    Length {
        /// Bytes of the bucket.
        len: u64,
        /// Bytes of each entry.
        width: u32,
    },
    /// A digest that is smaller than the one before: a search would miss it.
    #[error("an index that is not sorted")]
    Order,
    /// Bytes after its last bucket.
    #[error("bytes follow the index")]
    Trailing,
}

impl Index {
    /// A decoder of an index whose first byte is at `offset` of its file, from
    /// which errors count: [`super::V2::index_offset`].
    #[must_use]
    pub const fn new(offset: u64) -> Self {
        Self {
            state: State::Format,
            position: offset,
            part: [0; WIDTH_MAX],
            have: 0,
            lists: 0,
            code: None,
            buckets: 0,
            width: 0,
            left: 0,
            last: [0; IDENTITY_MAX],
        }
    }

    /// Takes bytes from the front of `bytes` up to the next entry; none when
    /// they are used up.
    ///
    /// # Errors
    /// See [`IndexFault`]; the same error when asked again.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<IndexEntry<'_>>, IndexError> {
        loop {
            match self.step(bytes) {
                Ok(Step::Next) => {}
                Ok(Step::Wait) => return Ok(None),
                Ok(Step::Entry) => break,
                Err(error) => {
                    self.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
        let (digest, offset) = self.part[..self.width].split_at(self.width - OFFSET_LEN);
        Ok(Some(IndexEntry { code: self.code, digest, offset: number(offset) }))
    }

    /// Says that the index has ended.
    ///
    /// # Errors
    /// It is not whole, or something was wrong before.
    pub const fn finish(&self) -> Result<(), IndexError> {
        match self.state {
            State::End => Ok(()),
            State::Failed(error) => Err(error),
            _ => Err(IndexError { offset: self.position, fault: IndexFault::Cut }),
        }
    }

    fn step(&mut self, bytes: &mut &[u8]) -> Result<Step, IndexError> {
        // A part's offset, for errors: it has been read when it is judged.
        let start = self.position - self.have as u64;
        let error = |at, fault| Err(IndexError { offset: start.saturating_add(at), fault });
        let len = match self.state {
            State::Format => self.have + 1,
            State::Lists | State::Buckets => 4,
            State::Code => 8,
            State::Bucket => 12,
            State::Entry => self.width,
            State::End if bytes.is_empty() => return Ok(Step::Wait),
            State::End => return error(0, IndexFault::Trailing),
            State::Failed(error) => return Err(error),
        };
        if !self.gather(bytes, len) {
            return Ok(Step::Wait);
        }
        match self.state {
            State::Format => {
                let format = match parse::varint(&self.part[..len]) {
                    Ok(Some((format, _))) => format,
                    Ok(None) => return Ok(Step::Next),
                    Err(fault) => return error(0, IndexFault::Number(fault)),
                };
                self.state = match format {
                    INDEX_SORTED => State::Buckets,
                    MULTIHASH_INDEX_SORTED => State::Lists,
                    other => return error(0, IndexFault::Format(other)),
                };
            }
            State::Lists | State::Buckets => {
                let count = u32::try_from(number(&self.part[..4])).unwrap_or(u32::MAX);
                if i32::try_from(count).is_err() {
                    return error(0, IndexFault::Count(count));
                }
                if matches!(self.state, State::Lists) {
                    self.lists = count;
                } else {
                    self.buckets = count;
                }
                self.after_bucket();
            }
            State::Code => {
                self.code = Some(number(&self.part[..8]));
                self.state = State::Buckets;
            }
            State::Bucket => {
                let claimed = u32::try_from(number(&self.part[..4])).unwrap_or(u32::MAX);
                let len = number(&self.part[4..12]);
                let width = usize::try_from(claimed).ok();
                self.width = match width.filter(|width| (OFFSET_LEN..=WIDTH_MAX).contains(width)) {
                    Some(width) => width,
                    None => return error(0, IndexFault::Width(claimed)),
                };
                if !len.is_multiple_of(u64::from(claimed)) || i64::try_from(len).is_err() {
                    return error(4, IndexFault::Length { len, width: claimed });
                }
                self.buckets -= 1;
                self.left = len;
                self.last = [0; IDENTITY_MAX];
                self.after_entry();
            }
            State::Entry => {
                let digest = &self.part[..self.width - OFFSET_LEN];
                let last = &mut self.last[..digest.len()];
                if *digest < *last {
                    return error(0, IndexFault::Order);
                }
                last.copy_from_slice(digest);
                self.left -= self.width as u64;
                self.after_entry();
                self.have = 0;
                return Ok(Step::Entry);
            }
            State::End | State::Failed(_) => {}
        }
        self.have = 0;
        Ok(Step::Next)
    }

    fn after_entry(&mut self) {
        self.state = State::Entry;
        if self.left == 0 {
            self.after_bucket();
        }
    }

    fn after_bucket(&mut self) {
        self.state = if self.buckets > 0 {
            State::Bucket
        } else if self.lists > 0 {
            self.lists -= 1;
            State::Code
        } else {
            State::End
        };
    }

    /// Fills the part up to `len` bytes, if there are as many.
    fn gather(&mut self, bytes: &mut &[u8], len: usize) -> bool {
        let (taken, rest) = bytes.split_at(bytes.len().min(len - self.have));
        self.part[self.have..self.have + taken.len()].copy_from_slice(taken);
        *bytes = rest;
        self.have += taken.len();
        self.position = self.position.saturating_add(taken.len() as u64);
        self.have == len
    }
}

enum Step {
    /// An entry is in `part`.
    Entry,
    Next,
    Wait,
}

/// A number of up to 8 bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}
