//! Reachability in virtual time.

mod asking;
mod serving;
mod world;
