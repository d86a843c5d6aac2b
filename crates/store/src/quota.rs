//! How many bytes the repository may take, looked at whenever something is put.

use std::fmt;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

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
    collecting: Mutex<Collecting>,
    /// A collection has made a step, or has ended.
    stepped: Condvar,
}

/// A collection under way, whoever began it.
#[derive(Debug, Default)]
struct Collecting {
    /// The thread that made its last step; none, if there is no collection.
    by: Option<ThreadId>,
    steps: u64,
}

impl MakeRoom {
    /// A collection begins or makes a step, on this thread; or none is under way.
    pub(crate) fn note_collection(&self, under_way: bool) {
        let mut collecting = lock(&self.collecting);
        collecting.by = under_way.then(|| thread::current().id());
        collecting.steps += 1;
        self.stepped.notify_all();
    }

    fn is_collecting(&self) -> bool {
        lock(&self.collecting).by.is_some()
    }

    /// Waits while a collection of another thread's goes on and there is no room yet.
    /// One that this thread has begun would never go on.
    fn wait_for_collection(&self, missing: &dyn Fn() -> u64) {
        let me = thread::current().id();
        let mut collecting = lock(&self.collecting);
        while collecting.by.is_some_and(|by| by != me) {
            let seen = collecting.steps;
            // Others put or collect while this is looked at.
            drop(collecting);
            if missing() == 0 {
                return;
            }
            collecting = lock(&self.collecting);
            while collecting.steps == seen {
                collecting = self.stepped.wait(collecting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

/// Collections that a put tries for before it is refused. 2: the first one may have
/// been refused itself, since another was just begun.
const COLLECTIONS: usize = 2;

impl fmt::Debug for MakeRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MakeRoom").field(&self.make.get().is_some()).finish()
    }
}

impl Store {
    /// Has this called, by whoever puts a block, when
    /// [`Config::max_bytes`](crate::Config::max_bytes) is reached; what is put is
    /// refused if it makes no room. While a collection is under way, one that is put
    /// waits until that has made room or ended. Nothing may be put by `make_room` itself.
    /// Only the first one that is given counts.
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
        let room = &self.inner.make_room;
        for _ in 0..COLLECTIONS {
            room.wait_for_collection(&missing);
            if missing() == 0 {
                return Ok(());
            }
            let _one_at_a_time = lock(&room.making);
            if missing() > 0
                && let Some(make) = room.make.get()
            {
                make(self);
            }
            if !room.is_collecting() {
                break;
            }
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
