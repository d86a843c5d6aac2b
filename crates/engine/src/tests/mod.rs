//! The engine as its shell sees it: several of them, joined in virtual time.

mod connecting;
mod dag;
mod export;
mod fetching;
mod limits;
mod property;
mod routing;
mod scoring;
mod searching;
mod sharding;
mod shell;
mod swarming;
pub(crate) mod world;
