//! AutoNAT's bytes and exchanges.

mod bytes;
mod exchange;
mod noise;
