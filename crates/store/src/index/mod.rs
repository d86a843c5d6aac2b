//! The index cache as the store uses it: small ordered tables, behind a trait, so
//! that one which forgets, lies, fails or hangs may stand in for sled.
//!
//! Whatever it holds can be made again, so nothing is asked of it but that
//! [`flush`](Index::flush) tries to keep what was put; see `cache.rs` for what
//! is made of its failures.

mod sled;

use std::fmt::Debug;
use std::io;
use std::path::Path;
use std::sync::Arc;

use self::sled::Sled;

/// A key and its value.
pub type Item = (Vec<u8>, Vec<u8>);

/// Opens indexes.
pub trait IndexSource: Debug + Send + Sync {
    /// Opens the index in a folder, which is created if it is not there. Called
    /// in the thread that will use it; it may panic.
    ///
    /// # Errors
    /// Whatever keeps it from being used.
    fn open(&self, dir: &Path) -> io::Result<Box<dyn Index>>;

    /// Moves an index that is of no use to another folder, in the place of what is there.
    ///
    /// # Errors
    /// The disk's.
    fn move_aside(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Bytes that the index in a folder takes.
    fn bytes(&self, dir: &Path) -> u64;
}

/// Tables of keys in order, each with a small value. One thread uses it; any
/// call may fail, panic or take for ever.
pub trait Index {
    /// The value of a key.
    ///
    /// # Errors
    /// Its own; the same of the others.
    fn get(&self, table: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>>;

    /// Gives a key a value.
    #[expect(clippy::missing_errors_doc, reason = "see `get`")]
    fn put(&self, table: &[u8], key: &[u8], value: &[u8]) -> io::Result<()>;

    /// Forgets a key.
    #[expect(clippy::missing_errors_doc, reason = "see `get`")]
    fn remove(&self, table: &[u8], key: &[u8]) -> io::Result<()>;

    /// Forgets all keys of a table.
    #[expect(clippy::missing_errors_doc, reason = "see `get`")]
    fn clear(&self, table: &[u8]) -> io::Result<()>;

    /// Up to `limit` items whose keys begin with `prefix`, in order.
    #[expect(clippy::missing_errors_doc, reason = "see `get`")]
    fn scan(&self, table: &[u8], prefix: &[u8], limit: usize) -> io::Result<Vec<Item>>;

    /// Hands everything to the system.
    #[expect(clippy::missing_errors_doc, reason = "see `get`")]
    fn flush(&self) -> io::Result<()>;
}

/// The index that repositories have, to be shared.
pub(crate) fn usual() -> Arc<dyn IndexSource> {
    Arc::new(Sled)
}
