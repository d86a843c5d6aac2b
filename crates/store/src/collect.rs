//! Collection of what nothing reaches.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pack::set::lock;

/// Keys that someone put or asked for while a pack is being collected.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    watching: AtomicBool,
    keys: Mutex<HashSet<u64>>,
}

impl Touched {
    /// Notes a key, if anyone is watching.
    pub(crate) fn touch(&self, key: u64) {
        if self.watching.load(Ordering::SeqCst) {
            lock(&self.keys).insert(key);
        }
    }
}
