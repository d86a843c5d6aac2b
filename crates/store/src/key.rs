//! The repository's key, and the 8-byte keys it gives to multihashes.
//!
//! Pack indexes and root sets name a block by SipHash-2-4 of its multihash
//! under a random key drawn once per repository. Digests can be chosen by
//! strangers, these cannot: no one can pile blocks onto one page or filter line.
//! Two blocks may share a key, so whoever reads compares the multihash too.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::Multihash;

/// Sixteen random bytes, in the head of the journal and of every pack.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RepoKey(pub(crate) [u8; 16]);

impl std::fmt::Debug for RepoKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RepoKey(..)")
    }
}

impl RepoKey {
    /// A fresh key from the system's randomness.
    pub(crate) fn random() -> std::io::Result<Self> {
        let mut key = [0; 16];
        getrandom::fill(&mut key).map_err(std::io::Error::other)?;
        Ok(Self(key))
    }

    /// The key of a multihash: of its code and digest.
    pub(crate) fn of(&self, mh: &Multihash) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&mh.code().to_le_bytes());
        hasher.write(mh.digest());
        hasher.finish()
    }

    /// The key of a reference known to be right: block, place and state of the file.
    pub(crate) fn of_checked(&self, mh: &Multihash, parts: &[u64]) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&self.of(mh).to_le_bytes());
        for part in parts {
            hasher.write(&part.to_le_bytes());
        }
        hasher.finish()
    }
}
