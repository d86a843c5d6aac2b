//! Provider records: who said that it has which block. Spec: ipfs/specs
//! `routing/kad-dht.md`, "Provider records".
//!
//! A record lives for 48 h of unix time, its addresses for 24 h. Bounded per
//! key, per sender, per IP group of senders, as identities cost nothing, and in
//! all; what is furthest from us goes first, since we are asked least for it.
//! A full key gives up a record of the group that has most of it, so that one
//! group cannot push out the others. All of it may be lost at a restart.
//! Republishing is the provider's business, not ours.

use std::collections::BTreeMap;

use peerage_base::{Rng, UnixTime};
use peerage_identity::{Multiaddr, PeerId};

use crate::addrs::Addrs;
use crate::key::{Distance, Key};
use crate::limits::Config;
use crate::message::PeerInfo;
use crate::reach::Group;

#[derive(Debug)]
struct Sender {
    records: usize,
    addrs: Addrs,
    /// When the addresses were told.
    told: UnixTime,
    /// By which it came first; none where groups do not matter.
    group: Option<Group>,
}

/// Who has the block of a key, and when that was told.
#[derive(Debug, Clone, Copy)]
struct Record {
    provider: PeerId,
    told: UnixTime,
}

/// The most provider records that are kept for others, by what bounds them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fullest {
    /// Of one key.
    pub key: usize,
    /// Of one key and one IP group.
    pub key_group: usize,
    /// Of one sender.
    pub sender: usize,
    /// Of one IP group.
    pub group: usize,
}

/// Where a provider is in a list, which is in the order of ids, or would be.
fn place(held: &[Record], provider: &PeerId) -> Result<usize, usize> {
    held.binary_search_by(|record| record.provider.cmp(provider))
}

/// The records that others asked us to keep, nearest key first.
#[derive(Debug)]
pub(crate) struct Providers {
    local: Key,
    validity: u64,
    addrs_validity: u64,
    per_key: usize,
    per_key_group: usize,
    per_sender: usize,
    per_group: usize,
    max: usize,
    /// Most keys have one provider, for which a list is small.
    keys: BTreeMap<Distance, Vec<Record>>,
    senders: BTreeMap<PeerId, Sender>,
    /// Records of the senders of each.
    groups: BTreeMap<Group, usize>,
    len: usize,
}

impl Providers {
    pub(crate) fn new(local: Key, config: &Config) -> Self {
        Self {
            local,
            validity: config.provider_validity,
            addrs_validity: config.provider_addrs_validity,
            per_key: config.providers_per_key,
            per_key_group: config.providers_per_key_group,
            per_sender: config.providers_per_sender,
            per_group: config.providers_per_group,
            max: config.providers_max,
            keys: BTreeMap::new(),
            senders: BTreeMap::new(),
            groups: BTreeMap::new(),
            len: 0,
        }
    }

    /// Keeps that `provider`, who says so from within `group`, has the block of
    /// `key`. False if there is no room for it.
    pub(crate) fn add(
        &mut self,
        key: &Key,
        provider: &PeerInfo,
        group: Option<Group>,
        now: UnixTime,
    ) -> bool {
        let distance = self.local.distance(key);
        let known = self.has(&distance, &provider.peer);
        // Whoever comes by another network meanwhile is counted where he was.
        let group = self.senders.get(&provider.peer).map_or(group, |sender| sender.group);
        if !known {
            if self.senders.get(&provider.peer).is_some_and(|sender| sender.records >= self.per_sender) {
                return false;
            }
            let instead = self.in_the_way(&distance, group);
            let own = instead.is_some_and(|peer| group.is_some() && self.group_of(&peer) == group);
            let records = group.and_then(|group| self.groups.get(&group)).copied().unwrap_or(0);
            if group.is_some() && records >= self.per_group && !own {
                return false;
            }
            instead.into_iter().for_each(|peer| self.remove(&distance, &peer));
        }
        let held = self.keys.entry(distance).or_default();
        match place(held, &provider.peer) {
            Ok(index) => held[index].told = now,
            Err(index) => {
                if held.is_empty() {
                    held.reserve_exact(1);
                }
                held.insert(index, Record { provider: provider.peer, told: now });
            }
        }
        let sender = self.senders.entry(provider.peer).or_insert_with(|| Sender {
            records: 0,
            addrs: Addrs::default(),
            told: now,
            group,
        });
        if !provider.addrs.is_empty() {
            sender.addrs.update(&provider.addrs);
            sender.told = now;
        }
        if !known {
            sender.records += 1;
            self.len += 1;
            if let Some(group) = group {
                *self.groups.entry(group).or_default() += 1;
            }
        }
        while self.len > self.max {
            let Some((&furthest, _)) = self.keys.last_key_value() else { break };
            // Not the key as a whole: one key's flood would take others with it.
            self.drop_oldest(&furthest);
        }
        self.has(&distance, &provider.peer)
    }

    fn group_of(&self, peer: &PeerId) -> Option<Group> {
        self.senders.get(peer).and_then(|sender| sender.group)
    }

    /// Who leaves a key that one more of `group` comes to: if the group has all
    /// that it may have, its own oldest; if the key is full, the oldest of
    /// whichever has most.
    fn in_the_way(&self, distance: &Distance, group: Option<Group>) -> Option<PeerId> {
        let held =
            self.keys.get(distance).filter(|held| held.len() >= self.per_key.min(self.per_key_group))?;
        let mut counts: BTreeMap<Group, usize> = BTreeMap::new();
        for group in held.iter().filter_map(|record| self.group_of(&record.provider)) {
            *counts.entry(group).or_default() += 1;
        }
        // Whoever has no group is alone in his.
        let count = |group: Option<Group>| group.map_or(1, |group| counts.get(&group).copied().unwrap_or(0));
        let own = group.map_or(0, |_| count(group));
        if own < self.per_key_group && held.len() < self.per_key {
            return None;
        }
        let most = counts.values().copied().max().unwrap_or(1).min(self.per_key_group);
        let leaves = |other| if own >= most { other == group } else { count(other) >= most };
        let leaving = held.iter().filter(|record| leaves(self.group_of(&record.provider)));
        leaving.min_by_key(|record| record.told).map(|record| record.provider)
    }

    fn has(&self, distance: &Distance, provider: &PeerId) -> bool {
        self.keys.get(distance).is_some_and(|held| place(held, provider).is_ok())
    }

    /// Who has the block of `key`: at most `max`, drawn by chance if there are
    /// more, with the addresses that are still good.
    pub(crate) fn get(&self, key: &Key, max: usize, now: UnixTime, rng: &mut Rng) -> Vec<PeerInfo> {
        let Some(held) = self.keys.get(&self.local.distance(key)) else { return Vec::new() };
        let fresh = held.iter().filter(|record| !over(record.told, now, self.validity));
        let mut fresh: Vec<PeerId> = fresh.map(|record| record.provider).collect();
        if fresh.len() > max {
            for index in 0..max {
                let rest = (fresh.len() - index) as u64;
                let other = index + usize::try_from(rng.below(rest)).unwrap_or(0);
                fresh.swap(index, other);
            }
            fresh.truncate(max);
        }
        fresh.into_iter().map(|peer| PeerInfo { peer, addrs: self.addrs(&peer, now).to_vec() }).collect()
    }

    /// True if `provider` is one of those whom [`get`](Self::get) draws from.
    pub(crate) fn holds(&self, key: &Key, provider: &PeerId, now: UnixTime) -> bool {
        let Some(held) = self.keys.get(&self.local.distance(key)) else { return false };
        place(held, provider).is_ok_and(|index| !over(held[index].told, now, self.validity))
    }

    fn addrs(&self, peer: &PeerId, now: UnixTime) -> &[Multiaddr] {
        match self.senders.get(peer) {
            Some(sender) if !over(sender.told, now, self.addrs_validity) => &sender.addrs,
            _ => &[],
        }
    }

    fn drop_oldest(&mut self, distance: &Distance) {
        let Some(held) = self.keys.get(distance) else { return };
        if let Some(oldest) = held.iter().min_by_key(|record| record.told).map(|record| record.provider) {
            self.remove(distance, &oldest);
        }
    }

    fn remove(&mut self, distance: &Distance, peer: &PeerId) {
        if let Some(held) = self.keys.get_mut(distance) {
            if let Ok(index) = place(held, peer) {
                held.remove(index);
                self.len -= 1;
                if let Some(sender) = self.senders.get_mut(peer) {
                    sender.records -= 1;
                    if let Some(group) = sender.group
                        && let Some(count) = self.groups.get_mut(&group)
                    {
                        *count -= 1;
                        if *count == 0 {
                            self.groups.remove(&group);
                        }
                    }
                    if sender.records == 0 {
                        self.senders.remove(peer);
                    }
                }
            }
            if held.is_empty() {
                self.keys.remove(distance);
            }
        }
    }

    /// Forgets what has expired.
    pub(crate) fn sweep(&mut self, now: UnixTime) {
        let mut old = Vec::new();
        for (&distance, held) in &self.keys {
            let expired = held.iter().filter(|record| over(record.told, now, self.validity));
            old.extend(expired.map(|record| (distance, record.provider)));
        }
        for (distance, peer) in old {
            self.remove(&distance, &peer);
        }
        for sender in self.senders.values_mut() {
            if over(sender.told, now, self.addrs_validity) {
                sender.addrs = Addrs::default();
            }
        }
    }

    pub(crate) fn fullest(&self) -> Fullest {
        let mut of_group: BTreeMap<(&Distance, Group), usize> = BTreeMap::new();
        for (key, held) in &self.keys {
            for group in held.iter().filter_map(|record| self.group_of(&record.provider)) {
                *of_group.entry((key, group)).or_default() += 1;
            }
        }
        Fullest {
            key: self.keys.values().map(Vec::len).max().unwrap_or(0),
            key_group: of_group.into_values().max().unwrap_or(0),
            sender: self.senders.values().map(|sender| sender.records).max().unwrap_or(0),
            group: self.groups.values().copied().max().unwrap_or(0),
        }
    }

    /// Records held.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }
}

/// True if `validity` seconds have passed. A clock that was set back makes a
/// record young, never old.
const fn over(told: UnixTime, now: UnixTime, validity: u64) -> bool {
    now.0.saturating_sub(told.0) >= validity
}

#[cfg(test)]
mod tests {
    use peerage_base::Rng;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{info, peer};

    const HOUR: u64 = 3600;

    fn key(n: u64) -> Key {
        Key::of(&n.to_be_bytes())
    }

    fn group(n: u64) -> Option<Group> {
        Some(Group::V4([60, u8::try_from(n).unwrap()]))
    }

    fn providers(config: &Config) -> Providers {
        Providers::new(Key::of(b"local"), config)
    }

    fn who(providers: &Providers, n: u64, now: u64) -> Vec<PeerInfo> {
        providers.get(&key(n), 100, UnixTime(now), &mut Rng::new(1))
    }

    fn check(providers: &Providers) {
        let all: Vec<&PeerId> = providers.keys.values().flatten().map(|record| &record.provider).collect();
        assert!(providers.keys.values().all(|held| held.is_sorted_by(|a, b| a.provider < b.provider)));
        assert_eq!(all.len(), providers.len);
        let mut counts: BTreeMap<PeerId, usize> = BTreeMap::new();
        for peer in all {
            *counts.entry(*peer).or_default() += 1;
        }
        let held: BTreeMap<PeerId, usize> =
            providers.senders.iter().map(|(peer, sender)| (*peer, sender.records)).collect();
        assert_eq!(counts, held);
        assert!(providers.len <= providers.max);
        let mut groups: BTreeMap<Group, usize> = BTreeMap::new();
        for sender in providers.senders.values() {
            sender.group.into_iter().for_each(|group| *groups.entry(group).or_default() += sender.records);
        }
        assert_eq!(providers.groups, groups);
        assert!(groups.values().all(|&count| count <= providers.per_group));
        let of = |held: &[Record], n: u64| {
            held.iter().filter(|record| providers.group_of(&record.provider) == group(n)).count()
        };
        let key_group =
            providers.keys.values().flat_map(|held| (0..8).map(|n| of(held, n))).max().unwrap_or(0);
        assert!(key_group <= providers.per_key_group);
        assert!(held.values().all(|&count| count <= providers.per_sender));
        let per_key = providers.keys.values().map(Vec::len).max().unwrap_or(0);
        let sender = held.values().copied().max().unwrap_or(0);
        let group = groups.values().copied().max().unwrap_or(0);
        assert_eq!(providers.fullest(), Fullest { key: per_key, key_group, sender, group });
        assert!(providers.keys.values().all(|held| !held.is_empty() && held.len() <= providers.per_key));
    }

    #[test]
    fn addresses_last_a_day_and_records_two() {
        let mut providers = providers(&Config::default());
        assert!(providers.add(&key(1), &info(1), None, UnixTime(0)));
        assert_eq!(who(&providers, 1, 24 * HOUR - 1), [info(1)]);
        let holds = |now: u64| providers.holds(&key(1), &peer(1), UnixTime(now * HOUR));
        assert!(holds(47) && !holds(48) && !providers.holds(&key(1), &peer(2), UnixTime(0)));
        let bare = PeerInfo { peer: peer(1), addrs: Vec::new() };
        assert_eq!(who(&providers, 1, 24 * HOUR), [bare]);
        assert_eq!(who(&providers, 1, 48 * HOUR), []);
        // Told again, it is as new, and a clock that is set back harms nobody.
        assert!(providers.add(&key(1), &info(1), None, UnixTime(47 * HOUR)));
        assert_eq!(who(&providers, 1, 48 * HOUR), [info(1)]);
        assert_eq!(who(&providers, 1, 0), [info(1)]);
        providers.sweep(UnixTime(95 * HOUR - 1));
        assert_eq!(providers.len(), 1);
        providers.sweep(UnixTime(95 * HOUR));
        assert_eq!(providers.len(), 0);
        check(&providers);
    }

    #[test]
    fn a_flood_takes_no_more_than_its_share() {
        let config =
            Config { providers_max: 50, providers_per_key: 5, providers_per_sender: 10, ..Config::default() };
        let mut providers = providers(&config);
        let added = (0..100).filter(|&n| providers.add(&key(n), &info(1), None, UnixTime(n))).count();
        assert_eq!(added, 10, "one sender");
        for n in 0..100 {
            assert!(
                providers.add(&key(1), &info(100 + n), None, UnixTime(n)) || n == 0,
                "many senders of one key"
            );
        }
        assert_eq!(who(&providers, 1, 99).len(), 5);
        check(&providers);
    }

    #[test]
    fn many_identities_of_one_network_take_no_more_than_its_share() {
        let config = Config {
            providers_max: 80,
            providers_per_group: 20,
            providers_per_key: 16,
            providers_per_key_group: 2,
            ..Config::default()
        };
        let mut providers = providers(&config);
        // Each of three providers in five networks; of the third there is no room.
        for n in 0..15 {
            assert!(providers.add(&key(1), &info(n), group(n % 5), UnixTime(n)));
        }
        assert_eq!(who(&providers, 1, 15).len(), 10);
        let honest: Vec<PeerInfo> = (5..15).map(info).collect();
        let there = |providers: &Providers| {
            honest.iter().all(|info| providers.holds(&key(1), &info.peer, UnixTime(99)))
        };
        for n in 100..1_000 {
            providers.add(&key(1), &info(n), group(9), UnixTime(99));
            providers.add(&key(n), &info(n), group(9), UnixTime(99));
        }
        assert!(there(&providers), "none of them was pushed out");
        assert_eq!((who(&providers, 1, 99).len(), providers.len()), (12, 30));
        // Others still find room, in the key and in the store.
        assert!(providers.add(&key(1), &info(2_000), group(10), UnixTime(99)));
        assert!(providers.add(&key(2_000), &info(2_000), group(10), UnixTime(99)));
        check(&providers);
    }

    #[test]
    fn a_full_key_gives_up_what_one_network_has_most_of() {
        let config = Config { providers_per_key: 8, providers_per_key_group: 4, ..Config::default() };
        let mut providers = providers(&config);
        for n in 0..4 {
            providers.add(&key(1), &info(n), group(n), UnixTime(n));
        }
        for n in 4..8 {
            providers.add(&key(1), &info(n), group(7), UnixTime(n));
        }
        let held = |providers: &Providers| {
            (0..40).filter(|&n| providers.holds(&key(1), &peer(n), UnixTime(9))).collect::<Vec<u64>>()
        };
        for n in 10..13 {
            providers.add(&key(1), &info(n), group(8), UnixTime(9));
        }
        assert_eq!(held(&providers), [0, 1, 2, 3, 6, 7, 11, 12], "as many of each, and then their own");
        // Where groups do not matter, whoever came first goes first.
        for n in 20..24 {
            providers.add(&key(2), &info(n), None, UnixTime(n));
        }
        for n in 24..30 {
            providers.add(&key(2), &info(n), None, UnixTime(n));
        }
        let left: Vec<u64> = (20..30).filter(|&n| providers.holds(&key(2), &peer(n), UnixTime(30))).collect();
        assert_eq!(left, [22, 23, 24, 25, 26, 27, 28, 29]);
        check(&providers);
    }

    #[test]
    fn the_furthest_keys_go_first() {
        let config = Config { providers_max: 20, ..Config::default() };
        let mut providers = providers(&config);
        let mut keys: Vec<u64> = (0..200).collect();
        for &n in &keys {
            providers.add(&key(n), &info(n), None, UnixTime(n));
        }
        keys.sort_by_key(|&n| providers.local.distance(&key(n)));
        for (rank, &n) in keys.iter().enumerate() {
            assert_eq!(who(&providers, n, 200).len(), usize::from(rank < 20));
        }
        check(&providers);
    }

    #[test]
    fn of_many_some_are_drawn() {
        let mut providers = providers(&Config::default());
        for n in 0..200 {
            providers.add(&key(1), &info(n), None, UnixTime(0));
        }
        let mut rng = Rng::new(5);
        let draw = |rng: &mut Rng| providers.get(&key(1), 64, UnixTime(0), rng);
        let (one, other) = (draw(&mut rng), draw(&mut rng));
        assert_eq!((one.len(), other.len()), (64, 64));
        assert_ne!(one, other);
        let distinct: std::collections::BTreeSet<PeerId> = one.iter().map(|info| info.peer).collect();
        assert_eq!(distinct.len(), 64);
    }

    proptest! {
        #[test]
        fn counts_stay_true(steps in proptest::collection::vec((0u64..20, 0u64..20, 0u64..4 * HOUR), 0..200)) {
            let config = Config {
                providers_max: 30,
                providers_per_key: 4,
                providers_per_key_group: 2,
                providers_per_sender: 6,
                providers_per_group: 9,
                ..Config::default()
            };
            let mut providers = providers(&config);
            let mut now = 0;
            for (n, sender, pause) in steps {
                now += pause;
                providers.add(&key(n), &info(sender), group(sender / 4), UnixTime(now));
                if pause % 7 == 0 {
                    providers.sweep(UnixTime(now));
                }
                check(&providers);
            }
        }
    }
}
