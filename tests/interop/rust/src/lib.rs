//! Both sides of the tests against rust-libp2p, in one process: a swarm of
//! theirs, and a peer of ours on `peerage-transport` alone.

pub mod muxer;
pub mod ours;
pub mod theirs;

use std::time::Duration;

use anyhow::{Context as _, Result};

/// How long any one step may take on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// `future`, or an error that names `what` after [`LIMIT`].
///
/// # Errors
/// If the time runs out.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(LIMIT, future).await.with_context(|| format!("{what}: nothing within {LIMIT:?}"))
}
