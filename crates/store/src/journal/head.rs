//! The beginning of a journal: magic, format, the repository's key, which
//! rewrite it is, CRC32C.

use crate::codec::Reader;
use crate::key::RepoKey;

const MAGIC: &[u8; 8] = b"PRGJRNL\n";
/// 2: a file's record may end in the root of its DAG. 3: there are two journals
/// alike, which count how often they were rewritten. What older formats hold
/// means the same; it is rewritten when opened, so that a program that knows
/// only these says so instead of cutting what it cannot read.
pub(super) const FORMAT: u32 = 3;
/// Bytes of a head.
pub(super) const HEAD_BYTES: usize = 40;
/// Bytes of the head of formats 1 and 2.
pub(super) const OLD_HEAD_BYTES: usize = 32;

/// What a head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) format: u32,
    pub(super) key: RepoKey,
    /// How often the journal was rewritten; 0 in older formats.
    pub(super) generation: u64,
}

impl Head {
    /// The head that is written now.
    pub(super) fn new(key: RepoKey, generation: u64) -> Self {
        Self { format: FORMAT, key, generation }
    }

    /// Its bytes; those of the present format.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT.to_le_bytes());
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.generation.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// The head that `bytes` begin with, if it is whole.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let magic = reader.take(8)?;
        let (format, key) = (reader.u32()?, RepoKey(reader.array()?));
        let generation = if format < FORMAT { 0 } else { reader.u64()? };
        let summed = &bytes[..bytes.len() - reader.0.len()];
        (magic == MAGIC && reader.u32()? == crc32c::crc32c(summed)).then_some(Self {
            format,
            key,
            generation,
        })
    }

    /// Where the records begin after it.
    pub(super) fn len(self) -> usize {
        if self.format < FORMAT { OLD_HEAD_BYTES } else { HEAD_BYTES }
    }
}
