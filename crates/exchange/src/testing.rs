//! Names for tests: peers and CIDs by number.

use peerage_content::{Cid, Multihash};
use peerage_identity::PeerId;

pub(crate) fn cid(n: u64) -> Cid {
    let mut digest = [0; 32];
    digest[..8].copy_from_slice(&n.to_be_bytes());
    Cid::new_v1(0x55, Multihash::wrap(0x12, &digest).expect("32 bytes fit"))
}

pub(crate) fn peer(n: u64) -> PeerId {
    // An Ed25519 key in an identity multihash: any 32 bytes will do.
    let mut bytes = vec![0x00, 0x24, 0x08, 0x01, 0x12, 0x20];
    bytes.extend([0; 24]);
    bytes.extend(n.to_be_bytes());
    PeerId::from_bytes(&bytes).expect("well formed")
}
