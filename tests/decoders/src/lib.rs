//! Every decoder of bytes and text that come from outside the process, in one
//! table: for the fuzzer (`cargo xtask fuzz`), and for the tests beside it, which
//! replay the corpus and make inputs of their own.
//!
//! A [`Decoder`] takes arbitrary bytes, says whether they meant something, and
//! panics if something does not hold that has to: what was decoded is the same
//! after it was encoded and decoded again, how a stream is cut does not matter,
//! limits are kept. Left out on purpose: what is read by others' code alone (HTTP
//! by hyper, TLS by rustls, answers of name servers by hickory), and `/perf/1.0.0`,
//! eight bytes that are a number.
//!
//! # To add a decoder
//!
//! Write its function and its row in the file of its crate here. What only the
//! crate itself can call it makes reachable in a `fuzzing.rs` of its own, behind the
//! feature `fuzzing`. Then `cargo run -p peerage-decoders --bin seeds` writes the
//! row's seeds to `fuzz/corpus/NAME`, and `cargo xtask fuzz NAME` runs it.

mod car;
mod content;
mod dag;
mod dht;
mod exchange;
mod identity;
mod input;
mod io;
mod ipld;
mod node;
mod peer;
mod portmap;
mod store;
mod transport;
mod wire;
mod yamux;

use std::path::PathBuf;

/// A decoder of what comes from outside.
#[derive(Debug, Clone, Copy)]
pub struct Decoder {
    /// Also the name of its folder below `fuzz/corpus`.
    pub name: &'static str,
    /// True if the bytes meant something. Panics if something does not hold.
    pub run: fn(&[u8]) -> bool,
    /// What the fuzzer begins with, some of which means something.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them, by crate from the bottom up.
const TABLE: &[&[Decoder]] = &[
    wire::DECODERS,
    identity::DECODERS,
    content::DECODERS,
    dag::DECODERS,
    ipld::DECODERS,
    car::DECODERS,
    transport::DECODERS,
    yamux::DECODERS,
    portmap::DECODERS,
    store::DECODERS,
    dht::DECODERS,
    exchange::DECODERS,
    peer::DECODERS,
    node::DECODERS,
];

/// All decoders.
pub fn decoders() -> impl Iterator<Item = &'static Decoder> {
    TABLE.iter().copied().flatten()
}

/// The decoder of that name.
#[must_use]
pub fn decoder(name: &str) -> Option<&'static Decoder> {
    decoders().find(|decoder| decoder.name == name)
}

/// The folder with the inputs that are kept of a decoder.
#[must_use]
pub fn corpus(decoder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(decoder)
}

/// Seeds that are text.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Seeds that are written down in hexadecimal, spaces aside.
fn hexes(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| hex::decode(text.replace(' ', "")).expect("seeds are hexadecimal")).collect()
}

/// The decoder's text, if the bytes are text.
fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}
