//! Addresses as they are dealt: many hosts share a few prefixes.
//!
//! Trautwein et al. (SIGCOMM 2022, section 5.1) find 64.9 % of all addresses in
//! ten autonomous systems and 90.6 % in a hundred, of over 2,700. An AS has many
//! /16. So: a quarter of the hosts in 64 prefixes of /16 of clouds, the rest in
//! 4,096 others, both by the law of Zipf and Mandelbrot; the largest prefix has
//! not quite a fiftieth of all hosts. All these numbers are judgements: Balduf et
//! al. ("The Cloud Strikes Back", 2023) find even most servers in clouds.
//!
//! A prefix is of one region, as most are that registries deal out, and its hosts
//! are there. Prefixes are shared out so that each region has as many hosts as
//! published (`place.rs`), among those in clouds and among the others.

use std::net::{Ipv4Addr, SocketAddr};

use peerage_base::Rng;
use peerage_identity::Multiaddr;

use crate::place::Region;

const CLOUD_PREFIXES: u64 = 64;
const OTHER_PREFIXES: u64 = 4_096;

/// Deals addresses; none twice.
#[derive(Debug)]
pub(crate) struct Dealer {
    /// Hosts dealt in each prefix.
    dealt: std::collections::BTreeMap<u16, u32>,
    cloud: Zipf,
    other: Zipf,
    /// By rank of the prefix.
    regions: Vec<Region>,
}

impl Dealer {
    pub(crate) fn new() -> Self {
        let cloud = Zipf::new(CLOUD_PREFIXES, 4);
        let other = Zipf::new(OTHER_PREFIXES, 16);
        let mut regions = Region::share_out(&cloud.weights());
        regions.extend(Region::share_out(&other.weights()));
        Self { dealt: std::collections::BTreeMap::new(), cloud, other, regions }
    }

    /// An address of somebody, in a cloud or not, and where that is.
    pub(crate) fn deal(&mut self, cloud: bool, rng: &mut Rng) -> (Multiaddr, Region) {
        let rank = if cloud { self.cloud.draw(rng) } else { CLOUD_PREFIXES + self.other.draw(rng) };
        (self.in_prefix(rank), self.region(rank))
    }

    /// Where the `rank`th prefix is. Those of which nobody is dealt an address are
    /// as far apart as the others.
    pub(crate) fn region(&self, rank: u64) -> Region {
        let known = self.regions.len() as u64;
        self.regions[usize::try_from(rank % known).unwrap_or(0)]
    }

    /// An address in the `rank`th prefix; for who owns prefixes.
    pub(crate) fn in_prefix(&mut self, rank: u64) -> Multiaddr {
        // Second octets run fastest; first octets 61 to 99 hold no special
        // network and only one that counts as a whole (73).
        let rank = u16::try_from(rank % (38 * 256)).unwrap_or(0);
        let first = 61 + rank / 256;
        let first = if first >= 73 { first + 1 } else { first };
        let count = self.dealt.entry(rank).or_default();
        *count += 1;
        let [_, _, high, low] = (*count % 65_536).to_be_bytes();
        // Beyond 65,536 hosts of one prefix, ports tell them apart.
        let port = 4001 + u16::try_from(*count / 65_536 % 50_000).unwrap_or(0);
        let first = u8::try_from(first).unwrap_or(61);
        let second = u8::try_from(rank % 256).unwrap_or(0);
        Multiaddr::from_tcp_addr(SocketAddr::from((Ipv4Addr::new(first, second, high, low), port)))
    }
}

/// Ranks by the law of Zipf and Mandelbrot with exponent 1, in integers.
#[derive(Debug)]
struct Zipf {
    /// Sums of `SCALE / (rank + offset)`.
    sums: Vec<u64>,
}

impl Zipf {
    fn new(ranks: u64, offset: u64) -> Self {
        const SCALE: u64 = 1 << 32;
        let mut sum = 0;
        let next = |rank: u64| {
            sum += SCALE / (rank + offset);
            sum
        };
        Self { sums: (1..=ranks).map(next).collect() }
    }

    /// How likely each rank is.
    fn weights(&self) -> Vec<u64> {
        let before = std::iter::once(&0).chain(&self.sums);
        self.sums.iter().zip(before).map(|(sum, before)| sum - before).collect()
    }

    /// From 0; the first is the likeliest.
    fn draw(&self, rng: &mut Rng) -> u64 {
        let at = rng.below(self.sums.last().copied().unwrap_or(0));
        self.sums.partition_point(|&sum| sum <= at) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use peerage_identity::Scope;

    use super::*;

    #[test]
    fn addresses_are_public_distinct_and_crowded() {
        let (mut dealer, mut rng) = (Dealer::new(), Rng::new(1));
        let mut seen = BTreeSet::new();
        let mut groups: BTreeMap<[u8; 2], u32> = BTreeMap::new();
        for n in 0..20_000u32 {
            let (addr, _) = dealer.deal(n % 4 == 0, &mut rng);
            assert_eq!(addr.scope(), Scope::Public, "{addr}");
            let Some(SocketAddr::V4(socket)) = addr.to_tcp_addr() else { panic!("{addr}") };
            let [a, b, ..] = socket.ip().octets();
            *groups.entry([a, b]).or_default() += 1;
            assert!(seen.insert(addr));
        }
        let mut sizes: Vec<u32> = groups.values().copied().collect();
        sizes.sort_unstable();
        let top: u32 = sizes.iter().rev().take(10).sum();
        assert!(sizes.len() > 2_000 && (2_000..5_000).contains(&top), "{} groups, {top} in ten", sizes.len());
    }

    #[test]
    fn a_prefix_is_of_one_region_and_regions_have_their_shares() {
        let (mut dealer, mut rng) = (Dealer::new(), Rng::new(2));
        let mut of_group: BTreeMap<[u8; 2], Region> = BTreeMap::new();
        for cloud in [true, false] {
            let mut hosts = [0; Region::COUNT];
            for _ in 0..50_000 {
                let (addr, region) = dealer.deal(cloud, &mut rng);
                let Some(SocketAddr::V4(socket)) = addr.to_tcp_addr() else { panic!("{addr}") };
                let [a, b, ..] = socket.ip().octets();
                assert_eq!(*of_group.entry([a, b]).or_insert(region), region, "{addr}");
                hosts[region.index()] += 1;
            }
            for region in Region::all() {
                let (wanted, permille) = (region.permille(), hosts[region.index()] / 50);
                // Of clouds the smallest prefix is of half a hundredth of the hosts.
                assert!(wanted.abs_diff(permille) <= 8, "{region:?}: {permille} of 1000, cloud: {cloud}");
            }
        }
        let mut prefixes = [0; Region::COUNT];
        of_group.values().for_each(|region| prefixes[region.index()] += 1);
        assert!(prefixes.iter().all(|&prefixes| prefixes > 10), "{prefixes:?}");
    }
}
