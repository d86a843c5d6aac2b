//! Peer records: the addresses of a peer, signed by itself.
//! Spec: libp2p/specs RFC 0003; domain and type as go-libp2p has them, since
//! that is what is deployed. Both forms are read, the deployed one is written.

use peerage_wire::{Message as _, envelope as wire, scan};

use crate::limits::{ENVELOPE_MAX_BYTES, RECORD_MAX_ADDRS};
use crate::{Envelope, EnvelopeError, Keypair, Multiaddr, PayloadKind, PeerId};

/// Why bytes are no peer record to believe. Always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeerRecordError {
    /// The envelope around it.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The payload is not the protobuf message.
    #[error("not a peer record")]
    Protobuf,
    /// The record speaks for another peer than the one that signed it.
    #[error("a peer record of another peer than its signer")]
    Signer,
}

/// The addresses of a peer at some time, as it says itself.
///
/// ```
/// use peerage_identity::{Keypair, PeerRecord};
/// let keypair = Keypair::from_seed([1; 32]);
/// let addrs = ["/ip4/192.0.2.7/tcp/4001".parse()?];
/// let bytes = PeerRecord::seal(&keypair, 12, &addrs);
/// let record = PeerRecord::open(&bytes)?;
/// assert_eq!((record.peer_id, record.seq), (keypair.peer_id(), 12));
/// assert_eq!(record.addrs, addrs);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerRecord {
    /// Whose addresses, and who signed.
    pub peer_id: PeerId,
    /// Of two records of one peer the higher is the newer. Go counts unix
    /// nanoseconds, rust-libp2p seconds.
    pub seq: u64,
    /// Without `/p2p` of the peer itself.
    pub addrs: Vec<Multiaddr>,
}

impl PeerRecord {
    /// Signs a record of the peer that `keypair` is and encodes its envelope.
    ///
    /// At most [`RECORD_MAX_ADDRS`] addresses go in, the first ones, and no
    /// more than an envelope may hold; a `/p2p` of this peer at their end is
    /// left out, as other implementations do.
    #[must_use]
    pub fn seal(keypair: &Keypair, seq: u64, addrs: &[Multiaddr]) -> Vec<u8> {
        let peer_id = keypair.peer_id();
        let mut room = ENVELOPE_MAX_BYTES - OVERHEAD_BYTES;
        let addresses = addrs
            .iter()
            .map(|addr| if addr.peer_id() == Some(peer_id) { addr.without_peer() } else { addr.clone() })
            .filter(|addr| !addr.is_empty())
            .take(RECORD_MAX_ADDRS)
            .map_while(|addr| {
                room = room.checked_sub(addr.as_bytes().len() + ADDR_OVERHEAD_BYTES)?;
                Some(wire::AddressInfo { multiaddr: addr.to_bytes().into() })
            })
            .collect();
        let record = wire::PeerRecord { peer_id: peer_id.to_bytes().into(), seq, addresses };
        Envelope::seal(keypair, PayloadKind::PEER_RECORD, &record.encode_to_vec())
    }

    /// Reads a record of either form and checks that its peer signed it.
    ///
    /// Addresses with components that we do not know are left out, and so are
    /// those beyond the first [`RECORD_MAX_ADDRS`].
    ///
    /// # Errors
    /// See [`PeerRecordError`].
    pub fn open(bytes: &[u8]) -> Result<Self, PeerRecordError> {
        let envelope = Envelope::open(bytes, &[PayloadKind::PEER_RECORD, PayloadKind::PEER_RECORD_RFC])?;
        // A decoded address takes 32 bytes of memory where two were sent.
        scan::fields(envelope.payload(), &[], MAX_FIELDS).ok_or(PeerRecordError::Protobuf)?;
        let message =
            wire::PeerRecord::decode(envelope.payload().as_ref()).map_err(|_| PeerRecordError::Protobuf)?;
        let peer_id = envelope.key().peer_id();
        if peer_id.as_bytes() != message.peer_id {
            return Err(PeerRecordError::Signer);
        }
        let addrs = message
            .addresses
            .iter()
            .filter_map(|info| Multiaddr::from_bytes(&info.multiaddr).ok())
            .take(RECORD_MAX_ADDRS)
            .collect();
        Ok(Self { peer_id, seq: message.seq, addrs })
    }
}

/// Bytes of an envelope and record beside the addresses, rounded up: key, id,
/// signature, tags and lengths.
const OVERHEAD_BYTES: usize = 256;

/// Bytes around an address in a record: two tags and two lengths of at most two bytes.
const ADDR_OVERHEAD_BYTES: usize = 6;

/// Fields of a record that are looked at before it is refused: room for more
/// addresses than are kept, since some may be of kinds that we do not know.
const MAX_FIELDS: usize = 8 * RECORD_MAX_ADDRS;
