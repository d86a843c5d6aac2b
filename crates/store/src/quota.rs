//! How many bytes the repository may take, looked at whenever something is put.

use std::fmt;
use std::sync::{Mutex, OnceLock};

use crate::error::WriteError;
use crate::pack::set::lock;
use crate::store::{Inner, Store};

/// Tries to make room, as by a collection.
pub type MakeRoomFn = Box<dyn Fn(&Store) + Send + Sync>;

/// Who makes room, if anyone does.
#[derive(Default)]
pub(crate) struct MakeRoom {
    make: OnceLock<MakeRoomFn>,
    /// One at a time does; the others wait, and look again.
    making: Mutex<()>,
}

impl fmt::Debug for MakeRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MakeRoom").field(&self.make.get().is_some()).finish()
    }
}

impl Store {
    /// Has this called, by whoever puts a block, when
    /// [`Config::max_bytes`](crate::Config::max_bytes) is reached; what is put is
    /// refused if it makes no room. Only the first one that is given counts.
    pub fn on_full(&self, make_room: MakeRoomFn) {
        // A second one would be a mistake of the caller's that harms nobody.
        drop(self.inner.make_room.make.set(make_room));
    }

    /// Sees to it that so many bytes more may be put.
    pub(crate) fn find_room(&self, bytes: usize) -> Result<(), WriteError> {
        let Some(limit) = self.inner.config.max_bytes else { return Ok(()) };
        let missing = || self.inner.used_bytes().saturating_add(bytes as u64).saturating_sub(limit);
        if missing() == 0 {
            return Ok(());
        }
        let MakeRoom { make, making } = &self.inner.make_room;
        let _one_at_a_time = lock(making);
        if missing() > 0
            && let Some(make) = make.get()
        {
            make(self);
        }
        match missing() {
            0 => Ok(()),
            missing => Err(WriteError::Full { missing, limit }),
        }
    }
}

impl Inner {
    /// Bytes of disk that count.
    pub(crate) fn used_bytes(&self) -> u64 {
        // There are two journals.
        self.packs.bytes() + self.roots.bytes() + 2 * lock(&self.ledger).bytes()
    }
}
