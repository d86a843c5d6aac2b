//! Reachability in virtual time.

mod asking;
mod property;
mod serving;
mod world;
