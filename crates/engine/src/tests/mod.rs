//! The engine as its shell sees it: several of them, joined in virtual time.

mod dag;
mod export;
mod fetching;
mod limits;
mod property;
mod searching;
mod shell;
mod swarming;
mod world;
