//! One thing that is wrong with a CAR whose frame is right, and where it is.

use peerage_content::car::IndexError;
use peerage_content::{Cid, DecodeError, UnsupportedHash, VerifyError};

/// Things of one kind that are told one by one. 1,000: no one reads more lines,
/// the rest is counted.
pub(super) const TOLD_MAX: usize = 1000;

/// Something that is wrong with a CAR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarFault {
    /// What it is about: as the file names it, or a raw CID with its hash, where
    /// nothing says the codec. None where only the index is at fault.
    pub cid: Option<Cid>,
    /// Where it begins, in bytes from the start of the file. None of what is not there.
    pub offset: Option<u64>,
    /// What is wrong.
    pub problem: CarProblem,
}

/// What is wrong with a part of a CAR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarProblem {
    /// The block is not what its CID says.
    #[error("{0}")]
    Hash(VerifyError),
    /// Nobody here can say whether it is, nor what it links to.
    #[error("{0}")]
    Unchecked(UnsupportedHash),
    /// The block, or one inside of a CID that it or the header names, cannot be
    /// read as what its codec says, so that nobody knows what it links to.
    #[error("not what its codec says: {0}")]
    Unreadable(DecodeError),
    /// The header or another block names it, and it is not in the file.
    #[error("linked to, and not in the file")]
    Missing,
    /// An entry of the index leads there, where no such block begins.
    #[error("the index says that this block is there, and it is not")]
    IndexWrong,
    /// The index, which says that it has all blocks, does not have this one.
    #[error("not in the index, which says to have all blocks")]
    NotIndexed,
    /// The index is none from here on.
    #[error("the index is damaged: {0}")]
    Index(IndexError),
    /// The header says that an index has all blocks, and there is none.
    #[error("an index is to have all blocks, and there is none")]
    NoIndex,
}

/// What is wrong with a block that was not found to be what its CID says.
impl From<VerifyError> for CarProblem {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Unsupported(unsupported) => Self::Unchecked(unsupported),
            VerifyError::Mismatch | VerifyError::DigestLength(_) => Self::Hash(error),
        }
    }
}
