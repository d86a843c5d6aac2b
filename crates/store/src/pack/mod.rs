//! Packs: append-only files of self-describing records.
//!
//! A pack is a 40-byte head (magic, format, id, the repository's key, CRC32C),
//! then records, then, once it is sealed, its own index:
//!
//! ```text
//! head | records .. | padding to 4 KiB | index pages .. | fences | filter | replaced ids | footer
//! ```
//!
//! Records are the truth; all that follows them can be rebuilt by reading them.
//! `<id>.active` is a pack without an index, `<id>.pack` is sealed, `<id>.tmp`
//! is a rewrite that did not finish. The rename to `.pack` commits a rewrite,
//! since the new footer names the packs that it replaces.

pub(crate) mod active;
pub(crate) mod dropped;
pub(crate) mod file;
pub(crate) mod filter;
pub(crate) mod index;
pub(crate) mod open;
pub(crate) mod record;
pub(crate) mod rewrite;
pub(crate) mod scan;
pub(crate) mod set;
#[cfg(test)]
mod tests;

use crate::codec::Reader;
use crate::key::RepoKey;

/// The format of everything below `packs/`.
pub(crate) const FORMAT: u32 = 1;
/// Bytes of a pack's head.
pub(crate) const HEAD_BYTES: u64 = HEAD_LEN as u64;
/// The same, as a length in memory.
pub(crate) const HEAD_LEN: usize = 40;
const HEAD_MAGIC: &[u8; 8] = b"PRGPACK\n";

/// The head of pack `id`.
pub(crate) fn encode_head(id: u32, key: RepoKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(40);
    out.extend_from_slice(HEAD_MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&key.0);
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out
}

/// Format, id and key of a pack, if its head is whole.
pub(crate) fn decode_head(bytes: &[u8]) -> Option<(u32, u32, RepoKey)> {
    let mut reader = Reader(bytes);
    let summed = bytes.get(..32)?;
    if reader.take(8)? != HEAD_MAGIC {
        return None;
    }
    let (format, id, key) = (reader.u32()?, reader.u32()?, RepoKey(reader.array()?));
    (reader.u32()? == crc32c::crc32c(summed)).then_some((format, id, key))
}
