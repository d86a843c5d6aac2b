//! A verified block as what it means: a leaf, a file, a folder, a shard, a
//! symlink (ipfs/specs unixfs.md). This is where strangers' blocks are
//! checked; what comes out needs no second look, save names, which
//! [`crate::name::check`] judges when something is written to disk.
//!
//! Left out on purpose: blocks of dag-cbor and dag-json are no files or
//! folders, so to a reader of those they are opaque bytes, as blocks of unknown
//! codecs are. Their links are found by [`links`], what they hold by
//! [`crate::ipld`].

use std::ops::Range;

use bytes::Bytes;

use crate::dagpb::{self, DagPbError, PbNode};
use crate::hamt;
use crate::ipld::{self, IpldError};
use crate::limits::{BLOCK_MAX, SYMLINK_MAX};
use crate::name::{self, NameError};
use crate::unixfs::{Data, Kind, Metadata, UnixFsError};
use crate::{Cid, codec};

/// What a block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// Bytes of a file without links: a raw block, or a dag-pb leaf.
    Leaf {
        /// Where in the block the file's bytes are.
        data: Range<usize>,
        /// Mode and time, if kept; never of a raw block.
        metadata: Metadata,
    },
    /// Inner node of a file. Its own bytes, nearly always none, come first,
    /// then those of the children, one after the other.
    File {
        /// Where in the block the first bytes of this part of the file are.
        data: Range<usize>,
        /// Bytes of the file under this node: `data` and all children.
        size: u64,
        /// The pieces, in order.
        children: Vec<FileChild>,
        /// Mode and time, if kept.
        metadata: Metadata,
    },
    /// A whole folder.
    Directory {
        /// Entries, in the order of the block.
        entries: Vec<Entry>,
        /// Mode and time, if kept.
        metadata: Metadata,
    },
    /// One node of a folder that is spread over many.
    Shard {
        /// Buckets that are taken, in their order.
        entries: Vec<ShardEntry>,
        /// Buckets of each node: a power of two up to 1,024.
        fanout: u32,
        /// Mode and time, if kept; only at the folder's root.
        metadata: Metadata,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as its maker wrote it: not checked, maybe not UTF-8.
        target: Bytes,
        /// Mode and time, if kept.
        metadata: Metadata,
    },
    /// A block of another codec, dag-cbor and dag-json among them: bytes.
    Opaque {
        /// The codec.
        codec: u64,
    },
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileChild {
    /// The block.
    pub cid: Cid,
    /// Bytes of the file under it. Its parent claims so; whoever reads the
    /// child compares.
    pub size: u64,
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name: not empty, without `/` and NUL, otherwise as its maker wrote it.
    pub name: String,
    /// What it is.
    pub cid: Cid,
    /// Bytes of the DAG under it, as its maker claims.
    pub tsize: u64,
}

/// A taken bucket of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardEntry {
    /// Number of the bucket, below the fanout.
    pub bucket: u32,
    /// What is in it.
    pub value: Bucket,
}

/// What a bucket of a shard holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// Another shard node, with the CID and the bytes under it.
    Sub(Cid, u64),
    /// An entry of the folder.
    Value(Entry),
}

/// Why a block means nothing. Its maker is at fault, not who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than any block has.
    #[error("a block of {0} bytes is too large")]
    TooLarge(usize),
    /// Not dag-pb.
    #[error(transparent)]
    DagPb(#[from] DagPbError),
    /// dag-pb, but not UnixFS.
    #[error(transparent)]
    UnixFs(#[from] UnixFsError),
    /// Not dag-cbor, or not dag-json. Only [`links`] says so.
    #[error(transparent)]
    Ipld(#[from] IpldError),
    /// dag-pb without data, which is no UnixFS node.
    #[error("UnixFS: a node without data")]
    NoData,
    /// A kind that nobody uses.
    #[error("UnixFS: metadata nodes are not supported")]
    MetadataNode,
    /// Sizes of a file that contradict its data or links.
    #[error("UnixFS: sizes that contradict the links or data")]
    Sizes,
    /// An entry of a folder with a name that no path can lead to: empty, not
    /// UTF-8, with a `/` or NUL.
    #[error("UnixFS: an entry named \"{name}\": {error}")]
    Name {
        /// The name, escaped, its first 80 bytes.
        name: String,
        /// What is wrong with it.
        error: NameError,
    },
    /// A shard with a fanout, hash function or bucket that cannot be.
    #[error("UnixFS: an impossible shard")]
    Shard,
    /// A symlink with links, or with a target that is empty or too long.
    #[error("UnixFS: an impossible symlink")]
    Symlink,
}

impl Node {
    /// Mode and time, if kept.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        match self {
            Self::Leaf { metadata, .. }
            | Self::File { metadata, .. }
            | Self::Directory { metadata, .. }
            | Self::Shard { metadata, .. }
            | Self::Symlink { metadata, .. } => *metadata,
            Self::Opaque { .. } => Metadata::default(),
        }
    }

    /// Bytes of the file under this node; none for what is not a file.
    #[must_use]
    pub fn file_size(&self) -> Option<u64> {
        match self {
            Self::Leaf { data, .. } => Some(data.len() as u64),
            Self::File { size, .. } => Some(*size),
            _ => None,
        }
    }
}

/// Reads a block that has been verified against `cid`.
///
/// ```
/// use bytes::Bytes;
/// use peerage_content::{Node, Profile, node, symlink, unixfs::Metadata};
/// let block = symlink(&Profile::UNIXFS_V1_2025, b"../there", Metadata::default()).unwrap();
/// let Node::Symlink { target, .. } = node::decode(&block.cid, &block.data).unwrap() else { panic!() };
/// assert_eq!(target, Bytes::from("../there"));
/// ```
///
/// # Errors
/// See [`DecodeError`].
pub fn decode(cid: &Cid, block: &[u8]) -> Result<Node, DecodeError> {
    if block.len() > BLOCK_MAX {
        return Err(DecodeError::TooLarge(block.len()));
    }
    match cid.codec() {
        codec::RAW => Ok(Node::Leaf { data: 0..block.len(), metadata: Metadata::default() }),
        codec::DAG_PB => {
            let (pb, at) = dagpb::decode_at(block)?;
            let (data, data_at) = Data::decode_at(pb.data.ok_or(DecodeError::NoData)?, at)?;
            decode_unixfs(&pb, &data, data_at)
        }
        codec => Ok(Node::Opaque { codec }),
    }
}

/// The links of a block of any codec, in its order, for walks over whole DAGs:
/// of dag-pb that is not UnixFS, too, and of dag-cbor and dag-json. Raw blocks
/// and those of unknown codecs have none.
///
/// # Errors
/// The block is too large, or not what its codec says.
pub fn links(cid: &Cid, block: &[u8]) -> Result<Vec<Cid>, DecodeError> {
    if block.len() > BLOCK_MAX {
        return Err(DecodeError::TooLarge(block.len()));
    }
    match cid.codec() {
        codec::DAG_PB => Ok(dagpb::decode(block)?.links.iter().map(|link| link.cid).collect()),
        codec @ (codec::DAG_CBOR | codec::DAG_JSON) => Ok(ipld::links(codec, block)?),
        _ => Ok(Vec::new()),
    }
}

/// Whether blocks of this codec can have links that [`links`] finds.
#[must_use]
pub(crate) fn has_links(codec: u64) -> bool {
    matches!(codec, codec::DAG_PB | codec::DAG_CBOR | codec::DAG_JSON)
}

fn decode_unixfs(pb: &PbNode<'_>, data: &Data<'_>, at: usize) -> Result<Node, DecodeError> {
    let metadata = data.metadata;
    match data.kind {
        Kind::Raw | Kind::File => decode_file(pb, data, at),
        Kind::Directory => {
            let entries = pb.links.iter().map(|link| entry(link, link.name.unwrap_or_default()));
            Ok(Node::Directory { entries: entries.collect::<Result<_, _>>()?, metadata })
        }
        Kind::HamtShard => decode_shard(pb, data),
        Kind::Symlink => {
            let target = data.data.unwrap_or_default();
            if !pb.links.is_empty() || target.is_empty() || target.len() > SYMLINK_MAX {
                return Err(DecodeError::Symlink);
            }
            Ok(Node::Symlink { target: Bytes::copy_from_slice(target), metadata })
        }
        Kind::Metadata => Err(DecodeError::MetadataNode),
    }
}

fn decode_file(pb: &PbNode<'_>, data: &Data<'_>, at: usize) -> Result<Node, DecodeError> {
    if data.blocksizes.len() != pb.links.len() {
        return Err(DecodeError::Sizes);
    }
    let metadata = data.metadata;
    let len = data.data.map_or(0, <[u8]>::len);
    let size = data.blocksizes.iter().try_fold(len as u64, |sum, &size| sum.checked_add(size));
    let size = size.ok_or(DecodeError::Sizes)?;
    if data.filesize.is_some_and(|claimed| claimed != size) {
        return Err(DecodeError::Sizes);
    }
    let data_range = at..at + len;
    if pb.links.is_empty() {
        return Ok(Node::Leaf { data: data_range, metadata });
    }
    let children = pb.links.iter().zip(&data.blocksizes);
    let children = children.map(|(link, &size)| FileChild { cid: link.cid, size }).collect();
    Ok(Node::File { data: data_range, size, children, metadata })
}

fn decode_shard(pb: &PbNode<'_>, data: &Data<'_>) -> Result<Node, DecodeError> {
    if data.hash_type != Some(hamt::MURMUR3_X64_64) {
        return Err(DecodeError::Shard);
    }
    let fanout = data.fanout.and_then(hamt::fanout).ok_or(DecodeError::Shard)?;
    // The bit field repeats what the names say, in two encodings that differ
    // in leading zeros; the names are what look-ups go by.
    let width = hamt::prefix_len(fanout);
    let mut next = 0;
    let mut entries = Vec::with_capacity(pb.links.len().min(fanout as usize));
    for link in &pb.links {
        let (prefix, name) =
            link.name.unwrap_or_default().split_at_checked(width).ok_or(DecodeError::Shard)?;
        let bucket = hamt::parse_prefix(prefix).ok_or(DecodeError::Shard)?;
        if bucket < next || bucket >= fanout {
            return Err(DecodeError::Shard);
        }
        next = bucket + 1;
        let value = if name.is_empty() {
            Bucket::Sub(link.cid, link.tsize.unwrap_or(0))
        } else {
            Bucket::Value(entry(link, name)?)
        };
        entries.push(ShardEntry { bucket, value });
    }
    Ok(Node::Shard { entries, fanout, metadata: data.metadata })
}

fn entry(link: &dagpb::Link<'_>, name: &[u8]) -> Result<Entry, DecodeError> {
    let bad = |error| DecodeError::Name { name: name::escape_bytes(&name[..name.len().min(80)]), error };
    let text = std::str::from_utf8(name).map_err(|_| bad(NameError::NotUtf8))?;
    if text.is_empty() {
        return Err(bad(NameError::Empty));
    }
    if text.contains('/') {
        return Err(bad(NameError::Separator));
    }
    if text.contains('\0') {
        return Err(bad(NameError::Control));
    }
    Ok(Entry { name: text.to_owned(), cid: link.cid, tsize: link.tsize.unwrap_or(0) })
}
