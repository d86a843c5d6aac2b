//! The messages of libp2p and IPFS as `prost` types, unsigned varints and
//! length-delimited framing.
//!
//! This crate knows only bytes: what a field means is for the codec of each
//! protocol to say. The types under [`bitswap`], [`identify`] and the others
//! are generated from `/proto` by `cargo xtask codegen`.

pub mod frame;
pub mod scan;
pub mod varint;

pub use prost::{DecodeError, Message};

/// Implements a module from its generated file.
macro_rules! generated {
    ($($(#[$doc:meta])* $name:ident => $file:literal;)*) => {$(
        $(#[$doc])*
        #[expect(missing_docs, reason = "the .proto file in /proto is the documentation")]
        pub mod $name {
            include!(concat!("generated/", $file));
        }
    )*};
}

generated! {
    /// AutoNAT v1.
    autonat => "autonat.rs";
    /// AutoNAT v2.
    autonat_v2 => "autonat_v2.rs";
    /// Bitswap 1.0 to 1.2.
    bitswap => "bitswap.rs";
    /// Signed envelopes and peer records.
    envelope => "envelope.rs";
    /// Identify and identify push.
    identify => "identify.rs";
    /// IPNS records.
    ipns => "ipns.rs";
    /// The Kademlia DHT.
    kad => "kad.rs";
    /// Public and private keys.
    keys => "keys.rs";
    /// The payload of the Noise handshake.
    noise => "noise.rs";
    /// `/peerage/swarm/1.0.0`.
    swarm => "swarm.rs";
}
