//! What we tell the DHTs that we have: again and again, spread over a day, by
//! the sweep of each DHT.

use std::time::Duration;

use bytes::Bytes;
use peerage_base::Now;
use peerage_content::Cid;
use peerage_dht::sweep::{Cursor, Output as Swept, Stats, SweepError};
use peerage_dht::{Key, Network};

use super::Engine;
use crate::output::Output;

/// How the announcing in one DHT stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcements {
    /// Which DHT.
    pub network: Network,
    /// There is somebody to tell, and an address of ours.
    pub online: bool,
    /// Its figures.
    pub stats: Stats,
    /// How long until the next turn, if that is known.
    pub due_in: Option<Duration>,
    /// Where it is, for [`Engine::resume_announcing`].
    pub cursor: Cursor,
}

/// Why a block is not announced: the DHT whose sweep has no room, or does not
/// take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}: {error}", .network.protocol())]
pub struct AnnounceError {
    /// Which.
    pub network: Network,
    /// Why.
    pub error: SweepError,
}

impl Engine {
    /// Tells the DHTs that we have a block: as soon as they have a peer, and
    /// from then on every so often. Those in `known` an earlier run has told it,
    /// so that its turn is waited for. To be undone as often as it is done.
    ///
    /// # Errors
    /// If one of them has as many already as may be: then none is told.
    pub fn announce(&mut self, cid: &Cid, known: &[Network], now: Now) -> Result<(), AnnounceError> {
        let multihash = cid.hash().to_bytes();
        let refused = |network| move |error| AnnounceError { network, error };
        for side in &self.routing.sides {
            side.sweep.check(&multihash).map_err(refused(side.network))?;
        }
        for side in &mut self.routing.sides {
            let new = match known.contains(&side.network) {
                true => side.sweep.insert(&multihash, now),
                false => side.sweep.announce(&multihash, now),
            };
            // Checked above.
            new.map_err(refused(side.network))?;
        }
        *self.announced.entry(multihash.into()).or_default() += 1;
        self.route(now);
        Ok(())
    }

    /// Undoes one [`announce`](Self::announce). What servers were told they
    /// forget in a day or two.
    pub fn unannounce(&mut self, cid: &Cid) {
        let multihash = cid.hash().to_bytes();
        let Some(count) = self.announced.get_mut(&multihash[..]) else { return };
        *count -= 1;
        if *count == 0 {
            self.announced.remove(&multihash[..]);
            for side in &mut self.routing.sides {
                side.sweep.remove(&multihash);
            }
        }
    }

    /// How many blocks the owner has to announce beside those that are held here:
    /// it is asked for the next of them by [`Output::ListKeys`], again and again.
    /// What it listed before is forgotten. None: it lists nothing.
    pub fn set_listed(&mut self, listed: Option<usize>, now: Now) {
        for side in &mut self.routing.sides {
            side.sweep.set_listed(listed, now);
        }
        self.route(now);
    }

    /// The answer to [`Output::ListKeys`]: multihashes; fewer than were asked for
    /// mean that there are no more.
    pub fn handle_keys(&mut self, network: Network, from: Key, multihashes: &[Bytes], now: Now) {
        if let Some(side) = self.routing.side(network) {
            side.sweep.handle_keys(from, multihashes, now);
        }
        self.route(now);
    }

    /// What the owner lists has grown by a block: those DHTs that are not in
    /// `known` are told of it as soon as may be.
    ///
    /// # Errors
    /// As long as too many wait: to be tried again.
    pub fn announce_listed(&mut self, cid: &Cid, known: &[Network], now: Now) -> Result<(), SweepError> {
        let multihash = cid.hash().to_bytes();
        let mut taken = Ok(());
        for side in self.routing.sides.iter_mut().filter(|side| !known.contains(&side.network)) {
            match side.sweep.announce_listed(&multihash, now) {
                // Its turn comes, once there is somebody.
                Err(SweepError::Full) if !side.online => {}
                told => taken = taken.and(told),
            }
        }
        self.route(now);
        taken
    }

    /// The DHTs whose servers have been told of a block that is announced, by
    /// now or by an earlier run.
    #[must_use]
    pub fn told_of(&self, cid: &Cid) -> Vec<Network> {
        let multihash = cid.hash().to_bytes();
        let told = self.routing.sides.iter().filter(|side| side.sweep.is_told(&multihash));
        told.map(|side| side.network).collect()
    }

    /// Goes on where an earlier run was; before anything is announced.
    pub fn resume_announcing(&mut self, network: Network, cursor: Cursor, now: Now) {
        if let Some(side) = self.routing.side(network) {
            side.sweep.resume(cursor, now);
        }
        self.route(now);
    }

    /// How the announcing stands; empty if we are in no DHT.
    #[must_use]
    pub fn announcements(&self, now: Now) -> Vec<Announcements> {
        let sides = self.routing.sides.iter();
        let each = sides.map(|side| {
            let stats = side.sweep.stats(now);
            Announcements {
                network: side.network,
                online: side.is_online(),
                stats,
                due_in: stats.next_due.map(|due| due.since(now.instant)),
                cursor: side.sweep.cursor(),
            }
        });
        each.collect()
    }

    /// Does what the sweeps want done; true if there was anything.
    pub(super) fn route_sweeps(&mut self, now: Now) -> bool {
        let mut moved = false;
        for side in &mut self.routing.sides {
            let online = side.is_online();
            if online != side.online {
                side.online = online;
                side.sweep.set_online(online, now);
            }
            while let Some(output) = side.sweep.poll_output() {
                moved = true;
                match output {
                    Swept::FindClosest { id, key } => side.find_closest(id, key, now),
                    Swept::Announce { id, peer, multihashes } => {
                        match side.dht.announce(peer, multihashes, now) {
                            Ok(announcement) => drop(side.deliveries.insert(announcement, id)),
                            Err(_) => side.sweep.handle_announced(id, 0, now),
                        }
                    }
                    Swept::ListKeys { from, max } => {
                        self.outputs.push_back(Output::ListKeys { network: side.network, from, max });
                    }
                }
            }
        }
        moved
    }
}

/// Multihashes that are announced, and how often that was asked for.
pub(super) type Announced = std::collections::BTreeMap<Bytes, u32>;
