//! Which blocks of a DAG a walk has met, in memory that does not depend on how
//! many there are: like the set of a root, of 8-byte keys, spilled to disk.

use peerage_content::{Cid, Multihash};
use peerage_store::{RootSetBuilder, Store, WriteError};

/// Blocks that were met. A block is meant with its codec: bytes that came as
/// raw may come again as a node with children.
#[derive(Debug)]
pub(crate) struct Seen(RootSetBuilder);

impl Seen {
    pub(crate) fn new(store: &Store) -> Self {
        Self(store.root_set_builder())
    }

    /// Whether it was met. Two in 2^64 are taken for one. May read the disk.
    pub(crate) fn contains(&self, cid: &Cid) -> bool {
        self.0.contains(&key(cid))
    }

    /// Whether it is met for the first time. May read the disk.
    ///
    /// # Errors
    /// The disk's.
    pub(crate) fn is_new(&self, cid: &Cid) -> Result<bool, WriteError> {
        let key = key(cid);
        if self.0.contains(&key) {
            return Ok(false);
        }
        self.0.insert(&key)?;
        Ok(true)
    }
}

/// The multihash, with the codec in its function's place.
fn key(cid: &Cid) -> Multihash {
    let code = cid.codec().rotate_left(32) ^ cid.hash().code();
    Multihash::wrap(code, cid.hash().digest()).expect("a digest fits where it came from")
}
