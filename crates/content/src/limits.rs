//! Limits of this crate: name, unit, default and reason, in one place.
//!
//! They bound what a block that a stranger made can cost. Limits on messages,
//! peers and disks belong to the crates that own those.

/// Largest block that is decoded, in bytes.
///
/// Boxo makes and accepts blocks of up to 2 MiB; the double of it is the
/// largest Bitswap message of deployed peers, so nothing larger arrives.
pub const BLOCK_MAX: usize = 4 * 1024 * 1024;

/// Largest block that is made, in bytes: what every deployed peer accepts
/// (boxo `BlockSizeLimit`, the 2 MiB of the Bitswap specification).
pub const BLOCK_MADE_MAX: usize = 2 * 1024 * 1024;

/// Longest chunk of a file, in bytes: [`BLOCK_MADE_MAX`] less what a dag-pb
/// leaf needs around it (boxo `ChunkSizeLimit`).
pub const CHUNK_MAX: usize = BLOCK_MADE_MAX - 256;

/// Most links in one block of any codec.
///
/// A judgement: a 2 MiB node of links with SHA-256 CIDs holds at most 52,000;
/// more is made of tiny identity CIDs, to cost memory.
pub const LINKS_MAX: usize = 65_536;

/// Most links of an inner node of a file that is made; in the trickle layout,
/// most leaves. With the longest digests that makes blocks of 1.6 MB.
pub const FILE_LINKS_MAX: usize = 16_384;

/// Deepest nesting of lists and maps in one dag-cbor or dag-json block, in
/// levels: what go-ipld-prime, and so Kubo, reads and writes by default.
pub const IPLD_DEPTH_MAX: usize = 1024;

/// Most values in one block that are read into memory; keys, and the ends of
/// lists and maps, count too.
///
/// A judgement: a value takes 32 bytes, a short string or key as much again,
/// and a list or map up to twice its size while it grows, so that the worst
/// block becomes ten times [`BLOCK_MAX`]. Searches for links and along paths
/// keep no values and have no such limit. Kubo stops at a list of 1.7 million.
pub const IPLD_VALUES_MAX: usize = 524_288;

/// Longest paths to the links of one block, in bytes for all of them: 65,536
/// links with 256 bytes each.
///
/// A judgement: one long key above many links makes gigabytes of paths.
pub const IPLD_PATHS_MAX: usize = 16 * 1024 * 1024;

/// Deepest DAG, in nodes from the root, that is walked or read.
///
/// A judgement: a balanced file of 2^64 bytes with 174 links a node has
/// depth 8, a sharded folder at most 8 for each folder of the path, and paths
/// are at most 4,096 bytes on the systems that make them.
pub const DEPTH_MAX: usize = 512;

/// Deepest file DAG, in nodes: 2^64 bytes with two links a node and 1-byte
/// leaves need 65.
pub const FILE_DEPTH_MAX: usize = 65;

/// Most CIDs that a walk remembers to visit, or a reader of a file to read:
/// 2^18 of them take about 42 MB in a walk, and 48 MB in a reader.
pub const WALK_PENDING_MAX: usize = 262_144;

/// Most bytes of blocks that a reader of a file goes through beyond what the
/// bytes that it hands out account for ([`READ_OVERHEAD_PER_BYTE`]).
///
/// The way to either end of a range is all that a file needs: four nodes of
/// [`BLOCK_MADE_MAX`] lead to 2^60 bytes, so twice that is 16 MiB, and this is
/// the double of it. In links that lead nowhere it is 3 million, or a second.
pub const READ_OVERHEAD_MAX: u64 = 32 * 1024 * 1024;

/// Bytes of blocks that each byte of a file accounts for: in a file that is cut
/// into single bytes, under nodes of two links with 64-byte digests, it is 190.
pub const READ_OVERHEAD_PER_BYTE: u64 = 256;

/// Longest name of a folder entry, in bytes: `NAME_MAX` of Linux and macOS.
pub const NAME_MAX: usize = 255;

/// Longest target of a symlink, in bytes: `PATH_MAX` of Linux.
pub const SYMLINK_MAX: usize = 4096;

/// Largest fanout of a sharded folder (specs: unixfs.md; boxo accepts the same).
pub const FANOUT_MAX: u64 = 1024;

/// Shortest digest that counts as verification, in bytes (boxo `verifcid`).
pub const DIGEST_MIN: usize = 20;

/// Longest digest of a hash function, in bytes: SHA2-512, BLAKE2b-512, and
/// what anyone takes of BLAKE3.
pub const DIGEST_MAX: usize = 64;

/// Longest data in an identity CID, in bytes (IPIP-0512), and so the room of a
/// [`crate::Cid`].
pub const IDENTITY_MAX: usize = 128;

/// Largest number in a CID or its prefix: nine bytes as a varint
/// (multiformats/unsigned-varint; go-varint refuses more).
pub const VARINT_MAX: u64 = (1 << 63) - 1;

/// Longest CID on the wire, in bytes (boxo's Bitswap server).
pub const CID_WIRE_MAX: usize = 168;

/// Longest text that is tried as a CID, in bytes: a 168-byte CID in base 2
/// would need more, but nobody prints those.
pub const CID_TEXT_MAX: usize = 512;

/// Longest header of a CAR, in bytes.
///
/// It is nothing but roots, 41 bytes each with SHA-256. The specification
/// recommends one root, Filecoin has exactly one; 1 MiB has room for 25,000.
/// go-car reads up to 32 MiB, which a stranger's first bytes would cost us.
pub const CAR_HEADER_MAX: usize = 1024 * 1024;

/// Most roots in a CAR: the same judgement, since tiny identity CIDs take 8
/// bytes in a header and 150 in memory.
pub const CAR_ROOTS_MAX: usize = 16_384;

/// Longest section of a CAR, in bytes: the largest block after the longest
/// CID. go-car reads up to 8 MiB, though nobody could fetch such a block.
pub const CAR_SECTION_MAX: usize = BLOCK_MAX + CID_WIRE_MAX;

/// Bytes of a CAR that are read ahead: many small sections at once, and few
/// enough of a large block that copying them costs nothing.
pub const CAR_BUFFER: usize = 64 * 1024;
