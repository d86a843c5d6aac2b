//! Who a peer is and where it is: libp2p keys, [`PeerId`], [`Multiaddr`],
//! signed envelopes and peer records, and the file that holds our own key.
//!
//! Specs: libp2p/specs `peer-ids`, RFC 0001 (peer ids as CIDs), 0002 (signed
//! envelopes), 0003 (peer records); multiformats/multiaddr.
//!
//! Left out on purpose: we only ever sign with Ed25519. Keys of the other
//! three types verify what other peers signed.
//!
//! Nothing here reads a clock. [`Keypair::generate`] is the one function that
//! takes randomness, from the operating system; [`keyfile`] is the one module
//! that touches the disk.
//!
//! ```
//! use peerage_identity::{Keypair, Multiaddr, PeerId};
//!
//! let keypair = Keypair::from_seed([7; 32]);
//! let peer: PeerId = keypair.peer_id();
//! let signature = keypair.sign(b"hello");
//! assert!(keypair.public().verify(b"hello", &signature));
//!
//! let addr: Multiaddr = "/ip4/192.0.2.7/tcp/4001".parse()?;
//! let full = addr.with_peer(peer);
//! assert_eq!(full.peer_id(), Some(peer));
//! assert_eq!(full.to_string(), format!("/ip4/192.0.2.7/tcp/4001/p2p/{peer}"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod envelope;
pub mod keyfile;
mod keypair;
pub mod limits;
mod multiaddr;
mod peer_id;
mod peer_record;
mod public_key;
mod spki;

pub use envelope::{Envelope, EnvelopeError, PayloadKind};
pub use keypair::{EntropyError, Keypair, PrivateKeyError};
pub use multiaddr::{IpProtocol, Multiaddr, MultiaddrError, Protocol, Protocols, Scope};
pub use peer_id::{PeerId, PeerIdError};
pub use peer_record::{PeerRecord, PeerRecordError};
pub use public_key::{KeyType, PublicKey, PublicKeyError};
