//! One authenticated, multiplexed connection.
//!
//! [`upgrade`] makes it; a [`Driver`], one task, owns the byte stream: it
//! reads, opens Noise frames, feeds the yamux machine, and writes what the
//! machine has to say in large batches. [`Stream`]s and the [`Control`] share
//! the machine with it under a mutex that is held for short, never across an
//! await, and never while encrypting.

mod control;
mod driver;
mod end;
mod shared;
mod stream;
#[cfg(test)]
pub(crate) mod tests;
mod upgrade;

pub use control::{Control, Incoming, OpenError};
pub use driver::Driver;
pub use end::ConnectionEnd;
pub use stream::{Stream, StreamReset};
pub use upgrade::{Connection, Role, UpgradeError, upgrade};
