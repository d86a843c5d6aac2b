//! What the network says of us, and what we say to it: whether others can dial
//! us, what a restart remembers, and that nobody hears what is not announced.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bare;
#[path = "../common/mod.rs"]
mod common;
mod dialling;
mod restart;
mod silence;
