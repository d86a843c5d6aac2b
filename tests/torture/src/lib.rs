//! What can happen to a store, done to it on purpose, beside a model of what it
//! promised. A seed replays.
//!
//! - [`disk`]: files in memory that fail, tear, fill up, and after a power cut have
//!   kept any part of what was not synced, in any order.
//! - [`index`]: an index cache that fails, panics and loses what it was told last.
//! - [`model`]: what must be there, what may be, what must not.
//! - [`operations`]: what is done, taken down in a [`record`].
//! - [`history`]: a seed's operations and misfortunes on these doubles.
//! - [`kills`]: a real store in a process that is killed, over and over.
//! - [`program`]: the whole program, the same.

pub mod disk;
pub mod history;
pub mod index;
pub mod kills;
pub mod model;
pub mod operations;
pub mod program;
pub mod record;
