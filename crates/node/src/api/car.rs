//! What the `car` commands are asked and say.

use serde::{Deserialize, Serialize};

use super::{Handle, PathText, Source};

/// `car export`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CarExport {
    pub(crate) source: Source,
    /// The file to write; its bytes are printed if there is none.
    pub(crate) dest: Option<PathText>,
    /// Write a block wherever the DAG has it, not once.
    pub(crate) dups: bool,
    /// Bytes not to print again: what was printed before the owner ended.
    #[serde(default)]
    pub(crate) skip: u64,
}

/// `car import`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct CarImport {
    pub(crate) files: Vec<CarFile>,
    /// Of those files that are no paths, in their order.
    #[serde(skip)]
    pub(crate) inputs: Vec<Handle>,
    /// Pin the roots.
    pub(crate) pin: bool,
    /// The pins' name.
    pub(crate) name: Option<String>,
    /// An owner ended that had begun with it.
    #[serde(default)]
    pub(crate) again: bool,
}

/// A CAR to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CarFile {
    /// A regular file, or nothing.
    Path(PathText),
    /// Something else, which the command has opened: a FIFO, a device.
    Opened(PathText),
    /// What the command has at its stdin.
    Stdin,
}

/// `car inspect` and `car verify`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CarLook {
    pub(crate) file: CarFile,
    /// If it is no path.
    pub(crate) input: Option<Handle>,
    pub(crate) verify: bool,
}

/// What a CAR holds, as `car inspect` and `car verify` say it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarSummary {
    pub(crate) path: String,
    pub(crate) version: u64,
    pub(crate) roots: Vec<String>,
    pub(crate) blocks: u64,
    /// Of the blocks.
    pub(crate) bytes: u64,
    pub(crate) file_bytes: u64,
    pub(crate) largest_block: u64,
    /// Blocks by codec and by hash function.
    pub(crate) codecs: Vec<CarKind>,
    pub(crate) hashes: Vec<CarKind>,
    /// Of version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) v2: Option<CarV2>,
    /// Of `car verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) found: Option<CarFound>,
}

/// How many blocks are of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarKind {
    /// In the words of the multicodec table, or its number.
    pub(crate) name: String,
    pub(crate) blocks: u64,
}

/// What version 2 adds, in bytes from the start of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarV2 {
    pub(crate) data_offset: u64,
    pub(crate) data_size: u64,
    pub(crate) index_offset: Option<u64>,
    pub(crate) fully_indexed: bool,
}

/// What `car verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CarFound {
    pub(crate) bad: u64,
    /// Blocks whose hash functions are not supported.
    pub(crate) unchecked: u64,
    /// Blocks that are linked to and not in the file.
    pub(crate) missing: u64,
    /// Blocks that are there again.
    pub(crate) repeated: u64,
    /// Blocks that are not what their codec says, so that their links are not known.
    pub(crate) unreadable: u64,
    pub(crate) index_entries: u64,
    /// Entries of the index that lead to no such block.
    pub(crate) index_wrong: u64,
    /// Blocks that are not in an index which says to have all.
    pub(crate) not_indexed: u64,
}
