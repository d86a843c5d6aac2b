//! The numbers that v2 servers are to bring back, and who waits for them.
//!
//! A server may dial from another identity than its own, so that only the
//! number tells whose probe a dial belongs to.

use std::collections::BTreeMap;
use std::mem::discriminant;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerage_identity::Multiaddr;
use tokio::sync::oneshot;

/// The probes that are under way. Cheap to clone; all clones are one. Holds as
/// many entries as [`ask`](super::v2::ask) has callers.
#[derive(Debug, Clone, Default)]
pub struct DialBacks(Arc<Mutex<BTreeMap<u64, oneshot::Sender<Multiaddr>>>>);

impl DialBacks {
    /// With no probe under way.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits for a number. Two probes with one number: the first loses it.
    pub(super) fn expect(&self, nonce: u64) -> Expected {
        let (sender, came) = oneshot::channel();
        self.lock().insert(nonce, sender);
        Expected { nonce, came, all: self.clone() }
    }

    /// The number came, over a connection to `local`; false if nobody waits for it.
    pub(super) fn deliver(&self, nonce: u64, local: &Multiaddr) -> bool {
        let waiting = self.lock().remove(&nonce);
        waiting.is_some_and(|sender| sender.send(local.clone()).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, oneshot::Sender<Multiaddr>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }
}

/// A number that is waited for until this is dropped.
#[derive(Debug)]
pub(super) struct Expected {
    nonce: u64,
    pub(super) came: oneshot::Receiver<Multiaddr>,
    all: DialBacks,
}

impl Drop for Expected {
    fn drop(&mut self) {
        self.all.lock().remove(&self.nonce);
    }
}

/// True if a connection to our address `local` can be what comes of dialling
/// `dialled`: the same protocols, whatever a router made of the numbers.
pub(super) fn is_consistent(local: &Multiaddr, dialled: &Multiaddr) -> bool {
    let (local, dialled) = (local.without_peer(), dialled.without_peer());
    local.iter().map(|part| discriminant(&part)).eq(dialled.iter().map(|part| discriminant(&part)))
}
