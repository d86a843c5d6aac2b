//! What the tests of several modules share.

use peerage_identity::{Multiaddr, PeerId};

use crate::message::PeerInfo;

pub(crate) fn peer(n: u64) -> PeerId {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend([0; 24]);
    bytes.extend(n.to_be_bytes());
    PeerId::from_bytes(&bytes).unwrap()
}

/// A public address; those of `n` and `n + 1` are of different groups.
pub(crate) fn addr(n: u64) -> Multiaddr {
    format!("/ip4/{}.{}.{}.9/tcp/4001", 60 + n / 256 % 8, n % 256, n / 2048 % 256).parse().unwrap()
}

pub(crate) fn info(n: u64) -> PeerInfo {
    PeerInfo { peer: peer(n), addrs: vec![addr(n)] }
}
