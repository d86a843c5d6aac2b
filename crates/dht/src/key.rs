//! The keyspace: SHA-256 of what stands on the wire, and XOR as distance.
//! Spec: ipfs/specs `routing/kad-dht.md`, "Kademlia keyspace".
//!
//! Multihashes, peer ids and the keys of values live in one space, each hashed
//! as it is sent: a peer id as its multihash, never as text.

use std::fmt;

use peerage_base::Rng;
use peerage_identity::PeerId;
use sha2::{Digest as _, Sha256};

/// Bits of a key.
pub const KEY_BITS: usize = 256;

/// A point of the keyspace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of what stands on the wire.
    ///
    /// ```
    /// use peerage_dht::Key;
    /// let near = Key::of(b"one");
    /// assert_eq!(near.common_prefix(&near), 256);
    /// assert_eq!(near.distance(&Key::of(b"two")), Key::of(b"two").distance(&near));
    /// ```
    #[must_use]
    pub fn of(wire: &[u8]) -> Self {
        Self(Sha256::digest(wire).into())
    }

    /// The key of a peer.
    #[must_use]
    pub fn of_peer(peer: &PeerId) -> Self {
        Self::of(peer.as_bytes())
    }

    /// How far `other` is. Symmetric, and no two points are equally far.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        let mut xor = self.0;
        for (byte, other) in xor.iter_mut().zip(other.0) {
            *byte ^= other;
        }
        Distance(xor)
    }

    /// How many leading bits agree: the index of `other`'s bucket in a table
    /// around this key; [`KEY_BITS`] if both are the same.
    #[must_use]
    pub fn common_prefix(&self, other: &Self) -> usize {
        KEY_BITS - self.distance(other).bits()
    }

    /// The point with these 32 bytes; what was hashed to them is not known.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The next point in the order of bytes, if this is not the last.
    pub(crate) fn successor(&self) -> Option<Self> {
        let mut bytes = self.0;
        for byte in bytes.iter_mut().rev() {
            *byte = byte.wrapping_add(1);
            if *byte != 0 {
                return Some(Self(bytes));
            }
        }
        None
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The first four bytes, as hexadecimal.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Key({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// The XOR of two keys, ordered as a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; 32]);

impl Distance {
    /// Bits of this number: 0 for a key's distance to itself, 256 for the far
    /// half of the space. A peer among n is about `256 - log2 n` bits away
    /// from what is nearest to it.
    #[must_use]
    pub fn bits(&self) -> usize {
        let zero = self.0.iter().take_while(|&&byte| byte == 0).count();
        let partial = self.0.get(zero).map_or(0, |byte| byte.leading_zeros() as usize);
        KEY_BITS - zero * 8 - partial
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distance({} bits)", self.bits())
    }
}

/// Something to look up whose key shares exactly `prefix` leading bits with
/// `around`: 34 bytes in the form of a peer id, since some servers want one.
///
/// Keys are hashes, so that this draws until one fits, about `2^(prefix+1)`
/// times: for `prefix` up to some 15 (go-libp2p-kbucket keeps a table of such
/// preimages, up to 15). `None` if 64 times as many draws do not find any.
pub(crate) fn random_target(around: &Key, prefix: usize, rng: &mut Rng) -> Option<[u8; 34]> {
    let mut target = [0; 34];
    target[..2].copy_from_slice(&[0x12, 0x20]);
    rng.fill(&mut target[2..26]);
    for _ in 0..128u64 << prefix.min(20) {
        rng.fill(&mut target[26..]);
        if around.common_prefix(&Key::of(&target)) == prefix {
            return Some(target);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_the_specification() {
        let text = include_str!("../../../tests/vectors/libp2p/kad-keys.json");
        let file: serde_json::Value = serde_json::from_str(text).unwrap();
        let rows = file["vectors"].as_array().unwrap();
        assert_eq!(rows.len(), 4);
        for row in rows {
            let field = |name: &str| hex::decode(row[name].as_str().unwrap()).unwrap();
            assert_eq!(Key::of(&field("wire_key_hex")).as_bytes(), field("kad_id_hex").as_slice());
            if row["kind"] == "peer" {
                let peer: PeerId = row["base58btc"].as_str().unwrap().parse().unwrap();
                assert_eq!(peer.as_bytes(), field("wire_key_hex"));
                assert_eq!(Key::of_peer(&peer), Key::of(&field("wire_key_hex")));
            }
        }
    }

    #[test]
    fn bits_and_prefixes() {
        let mut bytes = [0; 32];
        assert_eq!(Distance(bytes).bits(), 0);
        bytes[31] = 1;
        assert_eq!(Distance(bytes).bits(), 1);
        bytes[1] = 0x40;
        assert_eq!(Distance(bytes).bits(), 247);
        let (zero, key) = (Key([0; 32]), Key(bytes));
        assert_eq!(zero.common_prefix(&key), 9);
        assert_eq!(key.common_prefix(&key), KEY_BITS);
    }

    #[test]
    fn a_random_target_lies_in_its_bucket() {
        let mut rng = Rng::new(3);
        let around = Key::of(b"local");
        for prefix in 0..=10 {
            let target = random_target(&around, prefix, &mut rng).unwrap();
            assert_eq!(around.common_prefix(&Key::of(&target)), prefix);
            assert!(PeerId::from_bytes(&target).is_ok());
        }
    }
}
