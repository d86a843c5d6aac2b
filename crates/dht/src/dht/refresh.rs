//! Keeping the table alive: bootstrap, refresh of buckets, checks. Spec:
//! ipfs/specs `routing/kad-dht.md`, "Routing table refresh"; go's
//! `rtrefresh`.
//!
//! A refresh looks up our own key, then a random key in each bucket that no
//! look-up went through for an interval, one after the other, and asks peers
//! that were silent for long whether they are still there.
//!
//! While we know few, look-ups also begin with the bootstrap peers and with
//! those who left the table last: after an outage of our own network, in which
//! all of them failed, we are back at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Now};
use peerage_identity::PeerId;

use super::{Dht, Purpose};
use crate::key::{Key, random_target};
use crate::limits::{Config, REFRESH_PREFIX_DRAWN, REFRESH_PREFIX_MAX};
use crate::lookup::Goal;
use crate::message::PeerInfo;
use crate::output::Timer;

/// A peer to begin with.
#[derive(Debug)]
struct Seed {
    info: PeerInfo,
    told: Instant,
    /// It is of the configuration or an earlier run, and not one that was only
    /// seen somewhere.
    lasting: bool,
}

#[derive(Debug)]
pub(super) struct Refresh {
    /// Peers to begin with, as the owner told them.
    seeds: Vec<Seed>,
    /// Peers that failed and left the table, latest last.
    former: VecDeque<PeerInfo>,
    /// Prefixes still to be looked up; `None` while our own key is.
    queue: Option<VecDeque<usize>>,
    running: bool,
    /// Peers of the table that are to be asked whether they are still there.
    unheard: VecDeque<PeerId>,
    /// The next pause after finding nobody.
    retry: Duration,
    /// Targets in deep buckets, by prefix: finding one takes thousands of
    /// hashes, and the few peers of such a bucket are all near to any.
    targets: BTreeMap<usize, [u8; 34]>,
}

impl Refresh {
    pub(super) const fn new(config: &Config) -> Self {
        Self {
            seeds: Vec::new(),
            former: VecDeque::new(),
            queue: None,
            running: false,
            unheard: VecDeque::new(),
            retry: config.bootstrap_retry_min,
            targets: BTreeMap::new(),
        }
    }

    /// Whom to begin with while the table has few.
    pub(super) fn last_resort(&self) -> impl Iterator<Item = &PeerInfo> {
        self.seeds.iter().map(|seed| &seed.info).chain(&self.former)
    }

    /// One more to begin with. If there are `max`, that told longest ago makes
    /// room, but none that lasts for one that does not.
    fn plant(&mut self, info: PeerInfo, lasting: bool, now: Instant, max: usize) {
        if let Some(known) = self.seeds.iter_mut().find(|seed| seed.info.peer == info.peer) {
            if lasting || !known.lasting {
                known.info = info;
            }
            known.lasting |= lasting;
            known.told = now;
            return;
        }
        if self.seeds.len() >= max {
            let spare = self.seeds.iter().enumerate().filter(|(_, seed)| lasting || !seed.lasting);
            let oldest = spare.min_by_key(|(_, seed)| (seed.lasting, seed.told)).map(|(index, _)| index);
            let Some(oldest) = oldest else { return };
            self.seeds.remove(oldest);
        }
        self.seeds.push(Seed { info, told: now, lasting });
    }

    /// Forgets those that were only seen, and that long ago.
    fn forget_old(&mut self, now: Instant, age: Duration) {
        self.seeds.retain(|seed| seed.lasting || now.since(seed.told) < age);
    }

    /// A peer left the table because it failed.
    pub(super) fn remember(&mut self, info: PeerInfo, max: usize) {
        self.former.retain(|other| other.peer != info.peer);
        self.former.push_back(info);
        if self.former.len() > max {
            self.former.pop_front();
        }
    }
}

impl Dht {
    /// Peers to begin with: those of the configuration and of an earlier run.
    /// They are asked while the table has few peers, whatever their addresses.
    /// The table is filled at once, and again after pauses if nobody answers.
    pub fn bootstrap(&mut self, peers: impl IntoIterator<Item = PeerInfo>, now: Now) {
        self.plant(peers, true, now);
    }

    /// Peers that were seen near: like those of [`Dht::bootstrap`], but they are
    /// forgotten after [`Config::seed_age`] and make room for later ones.
    pub fn suggest(&mut self, peers: impl IntoIterator<Item = PeerInfo>, now: Now) {
        self.plant(peers, false, now);
    }

    /// A peer of [`Dht::suggest`] is gone.
    pub fn forget(&mut self, peer: &PeerId) {
        self.refresh.seeds.retain(|seed| seed.lasting || seed.info.peer != *peer);
    }

    fn plant(&mut self, peers: impl IntoIterator<Item = PeerInfo>, lasting: bool, now: Now) {
        for info in peers {
            let info = PeerInfo::new(info.peer, info.addrs);
            if info.peer != self.local.peer {
                self.refresh.plant(info, lasting, now.instant, self.config.bootstrap_max);
            }
        }
        self.refresh.retry = self.config.bootstrap_retry_min;
        self.begin_refresh(now);
    }

    /// True while the first peer is being looked for: a look-up that began now
    /// would find nobody to ask, and one that begins a little later may.
    #[must_use]
    pub fn is_bootstrapping(&self) -> bool {
        let checks = self.requests.values().any(|pending| pending.purpose == Purpose::Check);
        self.table.len() == 0 && (self.refresh.running || checks)
    }

    /// There are few peers, and one more to ask.
    pub(super) fn refresh_soon(&mut self, now: Now) {
        if !self.refresh.running {
            self.out.timers.set_earlier(Timer::Refresh, now.instant + self.config.bootstrap_retry_min);
        }
    }

    pub(super) fn begin_refresh(&mut self, now: Now) {
        if self.refresh.running {
            return;
        }
        self.refresh.forget_old(now.instant, self.config.seed_age);
        self.refresh.unheard = self.unheard(now);
        self.check_more(now);
        self.refresh.running = true;
        self.refresh.queue = None;
        self.out.timers.cancel(&Timer::Refresh);
        let key = Bytes::copy_from_slice(self.local.peer.as_bytes());
        self.begin(key, Goal::Refresh, now);
    }

    /// Peers of the table that have answered nothing for long.
    fn unheard<T: FromIterator<PeerId>>(&self, now: Now) -> T {
        let before = now.instant.as_nanos().checked_sub(nanos(self.config.check_after));
        before.into_iter().flat_map(|before| self.table.unheard(Instant::from_nanos(before))).collect()
    }

    /// Asks on, as many at once as may be, whoever has not answered a look-up
    /// meanwhile.
    pub(super) fn check_more(&mut self, now: Now) {
        if self.refresh.unheard.is_empty() {
            return;
        }
        let checks = self.requests.values().filter(|pending| pending.purpose == Purpose::Check).count();
        let unheard: BTreeSet<PeerId> = self.unheard(now);
        for _ in checks..self.config.checks_at_once {
            let next = std::iter::from_fn(|| self.refresh.unheard.pop_front());
            let Some(peer) = next.into_iter().find(|peer| unheard.contains(peer)) else { break };
            if let Some(info) = self.table.info(&peer) {
                self.check(info, now);
            }
        }
        if self.refresh.unheard.is_empty() {
            self.refresh.unheard = VecDeque::new();
        }
    }

    /// One of the table's look-ups is over: the next, or a pause.
    pub(super) fn refresh_finished(&mut self, now: Now) {
        let interval = self.config.refresh_interval;
        if self.table.len() > 0 && self.refresh.queue.is_none() {
            let silent = now.instant.as_nanos().saturating_sub(nanos(interval));
            let before = Instant::from_nanos(silent);
            self.refresh.queue = Some(self.table.stale_prefixes(before, REFRESH_PREFIX_MAX).into());
        }
        let local = Key::of_peer(&self.local.peer);
        while let Some(prefix) = self.refresh.queue.as_mut().and_then(VecDeque::pop_front) {
            let kept = self.refresh.targets.get(&prefix).copied();
            if let Some(target) = kept.or_else(|| random_target(&local, prefix, &mut self.rng)) {
                if prefix > REFRESH_PREFIX_DRAWN {
                    self.refresh.targets.insert(prefix, target);
                }
                self.begin(Bytes::copy_from_slice(&target), Goal::Refresh, now);
                return;
            }
        }
        // Soon again while there are few; and not all peers at the same time.
        let pause = if self.table.len() < self.config.refresh_min_peers {
            let pause = self.refresh.retry;
            self.refresh.retry = (pause * 2).min(self.config.bootstrap_retry_max);
            pause
        } else {
            self.refresh.retry = self.config.bootstrap_retry_min;
            interval
        };
        let jitter = Duration::from_nanos(self.rng.below(nanos(pause) / 10));
        self.end_refresh(pause + jitter, now);
    }

    fn end_refresh(&mut self, pause: Duration, now: Now) {
        self.refresh.running = false;
        self.refresh.queue = None;
        self.out.timers.set(Timer::Refresh, now.instant + pause);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
