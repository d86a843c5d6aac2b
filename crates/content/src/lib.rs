//! Content: CIDs, DAG-PB, UnixFS, IPLD data, chunking, and walks over DAGs. Pure
//! and single-threaded: bytes in, blocks out, no file, thread or clock.
//!
//! - [`hash`], [`prefix`], [`cid_text`]: names of blocks, and whether a block
//!   is what its name says.
//! - [`dagpb`], [`unixfs`]: the two codecs of files, by hand, since CIDs depend
//!   on every byte and strangers choose the input.
//! - [`node`]: a verified block as what it means.
//! - [`ipld`]: blocks of any data, in dag-cbor and dag-json, by hand, too.
//! - [`Splitter`], [`Leaf`], [`FileBuilder`], [`DirectoryBuilder`], [`symlink`]: from files
//!   to blocks, under a [`Profile`]. Leaves can be made on many threads.
//! - [`FileReader`], [`Listing`], [`Walk`], [`resolve`]: from blocks to files.
//! - [`car`]: many blocks in one file.
//! - [`name`]: names from outside.
//!
//! Left out on purpose: codecs that nobody uses beside these.
//!
//! # The CID of a file
//!
//! ```
//! use peerage_content::{FileBuilder, Leaf, Profile, Splitter};
//!
//! fn cid_of(mut content: &[u8], profile: &Profile) -> String {
//!     let mut file = FileBuilder::new(profile);
//!     if content.is_empty() {
//!         file.push(&Leaf::new(profile, b""));
//!     }
//!     let mut splitter = Splitter::new(profile.chunker);
//!     while let Some(len) = splitter.next_cut(content, true) {
//!         file.push(&Leaf::new(profile, &content[..len]));
//!         content = &content[len..];
//!     }
//!     file.finish().unwrap().cid.to_string()
//! }
//!
//! assert_eq!(
//!     cid_of(b"hello world", &Profile::default()),
//!     "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"
//! );
//! assert_eq!(
//!     cid_of(b"hello world", &Profile::UNIXFS_V0_2015),
//!     "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD"
//! );
//! ```
//!
//! [`Walk`] has an example of walking a DAG.

pub mod block;
pub mod car;
pub mod chunk;
pub mod cid_text;
pub mod codec;
pub mod dagpb;
pub mod file;
pub mod folder;
pub mod hamt;
pub mod hash;
pub mod ipld;
mod layout;
pub mod leaf;
pub mod limits;
pub mod listing;
pub mod name;
pub mod node;
mod pb;
pub mod prefix;
pub mod profile;
pub mod read;
pub mod resolve;
pub mod shard;
pub mod unixfs;
pub mod walk;

pub use block::Block;
pub use chunk::{Chunker, Splitter};
pub use cid::Version;
pub use file::{BuiltFile, FileBuilder};
pub use folder::{BuiltDirectory, DirectoryBuilder, symlink};
pub use hash::{NotOnWire, UnsupportedHash, VerifyError, verify, wire_allowed};
pub use ipld::{IpldError, Value};
pub use leaf::{Frame, Leaf};
pub use listing::Listing;
pub use node::{Bucket, DecodeError, Entry, FileChild, Node, ShardEntry};
pub use pb::WireError;
pub use prefix::{Prefix, PrefixError};
pub use profile::{Layout, Profile};
pub use read::{FileReader, Piece, ReadError};
pub use unixfs::{Metadata, Mtime};
pub use walk::{Visit, Walk, WalkError};

/// A content identifier, with room for the longest identity CID.
pub type Cid = cid::CidGeneric<{ limits::IDENTITY_MAX }>;

/// A hash with its function's code, with the same room.
pub type Multihash = multihash::Multihash<{ limits::IDENTITY_MAX }>;
