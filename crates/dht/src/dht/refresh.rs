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

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use peerage_base::Now;

use super::Dht;
use crate::key::{Key, random_target};
use crate::limits::{Config, REFRESH_PREFIX_DRAWN, REFRESH_PREFIX_MAX};
use crate::lookup::Goal;
use crate::message::PeerInfo;
use crate::output::Timer;

#[derive(Debug)]
pub(super) struct Refresh {
    /// Bootstrap peers, as the owner gave them.
    seeds: Vec<PeerInfo>,
    /// Peers that failed and left the table, latest last.
    former: VecDeque<PeerInfo>,
    /// Prefixes still to be looked up; `None` while our own key is.
    queue: Option<VecDeque<usize>>,
    running: bool,
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
            retry: config.bootstrap_retry_min,
            targets: BTreeMap::new(),
        }
    }

    /// Whom to begin with while the table has few.
    pub(super) fn last_resort(&self) -> impl Iterator<Item = &PeerInfo> {
        self.seeds.iter().chain(&self.former)
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
        for info in peers {
            let info = PeerInfo::new(info.peer, info.addrs);
            let known = self.refresh.seeds.iter().any(|seed| seed.peer == info.peer);
            let room = self.refresh.seeds.len() < self.config.bootstrap_max;
            if !known && room && info.peer != self.local.peer {
                self.refresh.seeds.push(info);
            }
        }
        self.refresh.retry = self.config.bootstrap_retry_min;
        self.begin_refresh(now);
    }

    /// True while the first peer is being looked for: a look-up that began now
    /// would find nobody to ask, and one that begins a little later may.
    #[must_use]
    pub fn is_bootstrapping(&self) -> bool {
        let checks = self.requests.values().any(|pending| pending.purpose == super::Purpose::Check);
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
        let silent = now.instant.as_nanos().saturating_sub(nanos(self.config.check_after));
        if silent > 0 {
            for info in self.table.unheard(peerage_base::Instant::from_nanos(silent)) {
                self.check(info, now);
            }
        }
        self.refresh.running = true;
        self.refresh.queue = None;
        self.out.timers.cancel(&Timer::Refresh);
        let key = Bytes::copy_from_slice(self.local.peer.as_bytes());
        self.begin(key, Goal::Refresh, now);
    }

    /// One of the table's look-ups is over: the next, or a pause.
    pub(super) fn refresh_finished(&mut self, now: Now) {
        let interval = self.config.refresh_interval;
        if self.table.len() > 0 && self.refresh.queue.is_none() {
            let silent = now.instant.as_nanos().saturating_sub(nanos(interval));
            let before = peerage_base::Instant::from_nanos(silent);
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
