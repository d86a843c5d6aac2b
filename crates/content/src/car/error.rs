//! What can be wrong with a CAR, and at which byte. Its maker is at fault, or,
//! when it is cut, whoever sent or stored it; never the reader.

use crate::limits::{BLOCK_MAX, CAR_HEADER_MAX, CAR_ROOTS_MAX};

/// Why bytes are no CAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset}: {fault}")]
pub struct CarError {
    /// Where what is wrong begins, in bytes from the start of the file: of a
    /// cut section the first byte of its length, not where the file ends.
    pub offset: u64,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a CAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The file is shorter than it says.
    #[error("the file ends inside {0}")]
    Cut(Part),
    /// A length that is no number.
    #[error("no valid length: {0}")]
    Length(VarintError),
    /// A header of more than [`CAR_HEADER_MAX`] bytes: no CAR, or more roots than anyone has.
    #[error("a header of {0} bytes, where at most {CAR_HEADER_MAX} are read")]
    HeaderTooLarge(u64),
    /// A header that is not what it should be.
    #[error("not a CAR header: {0}")]
    Header(HeaderFault),
    /// Neither version 1 nor 2.
    #[error("CAR version {0} is unknown")]
    Version(u64),
    /// Version 2 has one fixed beginning of 11 bytes, and this is another.
    #[error("not the beginning of a CARv2, though it says version 2")]
    Pragma,
    /// The data of a version 2 would begin inside its header, or beyond any
    /// file. 0 is what go-car leaves in a file that was never finished.
    #[error("a data offset of {0} cannot be")]
    DataOffset(u64),
    /// The data of a version 2 is empty or ends beyond any file.
    #[error("a data size of {0} cannot be")]
    DataSize(u64),
    /// The index of a version 2, which [`super::Options::index`] asks for, would
    /// begin before its data ends, or beyond any file.
    #[error("an index offset of {0} cannot be, as the data is there or before")]
    IndexOffset(u64),
    /// The data of a version 2 is a CAR of another version than 1.
    #[error("the data inside of a CARv2 has version {0}, not 1")]
    InnerVersion(u64),
    /// A header or section that goes on behind the data of a version 2.
    #[error("{0} goes on after the end of the data")]
    BeyondData(Part),
    /// A section without bytes, though [`super::Options::zero_ends`] is off.
    #[error("a section of no bytes; null padding is read only if asked for")]
    EmptySection,
    /// A section whose block has more than [`BLOCK_MAX`] bytes. The number is
    /// the section's: the CID and the block. (go-car reads sections of 8 MiB.)
    #[error("a section of {0} bytes, where blocks of at most {BLOCK_MAX} are read")]
    SectionTooLarge(u64),
    /// A section that ends inside its CID.
    #[error("a section that is shorter than its CID")]
    SectionTooShort,
    /// A section that does not begin with a CID.
    #[error("a section without a valid CID: wrong version, length, number or hash")]
    Cid,
    /// Something after the end: only zeros may follow a section of no bytes, or
    /// the data of a version 2 without an index.
    #[error("bytes follow the end")]
    Trailing,
}

/// A part of a CAR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The header of a version 1, or the first 11 bytes of a version 2.
    Header,
    /// The 40 bytes with the offsets of a version 2.
    HeaderV2,
    /// What stands before the data or the index of a version 2.
    Padding,
    /// The data of a version 2, between two sections.
    Data,
    /// Length, CID and block.
    Section,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "the header",
            Self::HeaderV2 => "the CARv2 header",
            Self::Padding => "the padding",
            Self::Data => "the data, between two sections",
            Self::Section => "a section",
        })
    }
}

/// Why bytes are no number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// It goes on after ten bytes.
    #[error("a number of more than 10 bytes")]
    TooLong,
    /// It does not fit in 64 bits.
    #[error("a number of more than 64 bits")]
    Overflow,
    /// It ends in a zero byte, which multiformats/unsigned-varint forbids.
    #[error("a number with a superfluous zero")]
    NotMinimal,
}

/// What is wrong with the DAG-CBOR of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// It has no bytes, or ends inside a value.
    #[error("it ends too early")]
    Cut,
    /// It goes on after its map.
    #[error("bytes follow its end")]
    Trailing,
    /// Not a map.
    #[error("not a map")]
    NotAMap,
    /// A key that is not `roots` or `version`, or one of them twice.
    #[error("an unknown or repeated key")]
    Key,
    /// No version, or one that is no number.
    #[error("no version")]
    NoVersion,
    /// Roots that are no list of links.
    #[error("the roots are no list of CIDs")]
    Roots,
    /// A root whose CID cannot be.
    #[error("a root that is no CID: wrong version, length, number or hash")]
    Cid,
    /// More roots than [`CAR_ROOTS_MAX`].
    #[error("more than {CAR_ROOTS_MAX} roots")]
    TooManyRoots,
}
