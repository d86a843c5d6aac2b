//! Every limit of this crate: name, unit, reason.

/// Bytes of a key in protobuf form. An RSA key of 8,192 bits, the largest that
/// go-libp2p takes, has 1,068; a private key is read up to this size only to
/// say that its type is not supported.
pub const KEY_MAX_BYTES: usize = 8 * 1024;

/// Bits of an RSA modulus: the bounds of go-libp2p (`rsa_common.go`), which
/// are also those that `ring` verifies with.
pub const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Bytes of the key inside a peer id of the identity kind; longer keys are
/// hashed (libp2p/specs `peer-ids`).
pub const INLINE_KEY_MAX_BYTES: usize = 42;

/// Characters of a peer id as text: 44 bytes and a CID prefix in base 2, the
/// widest multibase, and some to spare.
pub const PEER_ID_TEXT_MAX_CHARS: usize = 512;

/// Bytes of an address from outside. Real ones have under 150; a garlic64
/// component alone has 390.
pub const MULTIADDR_MAX_BYTES: usize = 1024;

/// Characters of an address as text: the largest byte form, percent-encoded.
pub const MULTIADDR_TEXT_MAX_CHARS: usize = 4 * MULTIADDR_MAX_BYTES;

/// Components of an address from outside. A relayed WebTransport address with
/// two certificate hashes has ten.
pub const MULTIADDR_MAX_COMPONENTS: usize = 20;

/// Bytes of a DNS name (RFC 1035).
pub const DNS_NAME_MAX_BYTES: usize = 253;

/// Bytes of a signed envelope. go-libp2p sends records in identify messages of
/// at most 8 KiB; twice that leaves room for RSA keys and many addresses.
pub const ENVELOPE_MAX_BYTES: usize = 16 * 1024;

/// Addresses kept from one peer record, the first ones; the rest is dropped.
/// A judgement: a peer with eight interfaces and every transport has about 60.
pub const RECORD_MAX_ADDRS: usize = 128;
