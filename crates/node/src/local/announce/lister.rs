//! The two tasks for roots all of whose blocks are announced: one lists them as
//! their turns come, the other tells of those that are new.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

use peerage_content::Cid;
use peerage_peer::{Network, Peer};
use peerage_store::{RootEntry, RootId};
use tokio::sync::{mpsc, watch};

use super::blocks::{self, Met, Stop, WINDOW, Window};

/// Blocks that are told of together, and as many that wait for that.
const BATCH: usize = 1024;

/// How long to wait while more new blocks wait to be announced than may be.
const FULL: Duration = Duration::from_secs(1);

/// Answers what is to be announced next, as long as it runs.
pub(super) async fn list(peer: Peer, mut roots: watch::Receiver<Vec<RootEntry>>) {
    let stop = StopOnDrop::default();
    let mut listing = peer.list_announcements();
    let mut windows: BTreeMap<Network, Window> = BTreeMap::new();
    listing.set_count(count(&roots.borrow_and_update()));
    loop {
        let wanted = tokio::select! {
            wanted = listing.wanted() => wanted,
            changed = roots.changed() => match changed {
                Ok(()) => {
                    windows.clear();
                    listing.set_count(count(&roots.borrow_and_update()));
                    continue;
                }
                Err(_) => return,
            },
        };
        let known = windows.get(&wanted.network).and_then(|window| window.answer(&wanted));
        if let Some(keys) = known {
            listing.tell(wanted, keys);
            continue;
        }
        let (store, roots, stop) = (peer.store().clone(), roots.borrow().clone(), stop.0.clone());
        let max = WINDOW.max(wanted.max);
        let read = move || Window::read(&store, &roots, wanted.from, max, &stop);
        // None: it panicked. Nothing is announced then, rather than the same again.
        let window = tokio::task::spawn_blocking(read).await.ok().flatten();
        let keys = window.as_ref().and_then(|window| window.answer(&wanted)).unwrap_or_default();
        windows.extend(window.map(|window| (wanted.network, window)));
        listing.tell(wanted, keys);
    }
}

/// Blocks of all roots; what two of them have counts twice.
fn count(roots: &[RootEntry]) -> usize {
    let blocks: u64 = roots.iter().filter_map(|root| Some(root.set.as_ref()?.len())).sum();
    usize::try_from(blocks).unwrap_or(usize::MAX)
}

/// A root to tell of.
pub(super) struct New {
    pub(super) root: RootEntry,
    /// The DHTs that know it already.
    pub(super) known: Vec<Network>,
    /// Blocks of which was told when others could not be read.
    pub(super) before: Met,
}

/// A root of which was told.
pub(super) struct Told {
    pub(super) root: RootId,
    pub(super) cid: Cid,
    /// Of which blocks, if the others could not be read.
    pub(super) partly: Option<Met>,
}

/// Tells of each root's blocks, and then that it is done.
pub(super) async fn tell(
    peer: Peer,
    mut new: mpsc::UnboundedReceiver<New>,
    told: mpsc::UnboundedSender<Told>,
) {
    while let Some(New { root, known, before }) = new.recv().await {
        let (id, cid) = (root.id, root.root.cid);
        let (batches, mut read) = mpsc::channel::<Vec<Cid>>(1);
        let store = peer.store().clone();
        let walk = tokio::task::spawn_blocking(move || walk(&store, &root, &before, &batches));
        while let Some(batch) = read.recv().await {
            let mut rest = &batch[..];
            loop {
                rest = &rest[peer.announce_listed(rest, &known).await.min(rest.len())..];
                if rest.is_empty() {
                    break;
                }
                tokio::time::sleep(FULL).await;
            }
        }
        // Without a result, which is a panic, nothing of it is known to be told.
        let partly = walk.await.unwrap_or_else(|_| Some(Met::default()));
        if told.send(Told { root: id, cid, partly }).is_err() {
            return;
        }
    }
}

/// As [`blocks::each_but`]. Blocks the thread; ends early when nobody takes what it
/// reads.
fn walk(
    store: &peerage_store::Store,
    root: &RootEntry,
    before: &Met,
    batches: &mpsc::Sender<Vec<Cid>>,
) -> Option<Met> {
    let mut batch = Vec::with_capacity(BATCH);
    let walked = blocks::each_but(before, store, root, |cid| {
        batch.push(cid);
        if batch.len() < BATCH || batches.blocking_send(std::mem::take(&mut batch)).is_ok() {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    let sent = batch.is_empty() || batches.blocking_send(batch).is_ok();
    walked.continue_value().filter(|_| sent).unwrap_or_else(|| Some(Met::default()))
}

/// Ends walks that go on in other threads.
#[derive(Default)]
struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}
