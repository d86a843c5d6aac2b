//! Addresses as they are dealt: many hosts share a few prefixes.
//!
//! Trautwein et al. (SIGCOMM 2022, section 5.1) find 64.9 % of all addresses in
//! ten autonomous systems and 90.6 % in a hundred, of over 2,700. An AS has many
//! /16. So: a quarter of the hosts in 64 prefixes of /16 of clouds, the rest in
//! 4,096 others, both by the law of Zipf and Mandelbrot; the largest prefix has
//! not quite a fiftieth of all hosts. All these numbers are judgements: Balduf et
//! al. ("The Cloud Strikes Back", 2023) find even most servers in clouds. A prefix
//! is not tied to a region.

use std::net::{Ipv4Addr, SocketAddr};

use peerage_base::Rng;
use peerage_identity::Multiaddr;

const CLOUD_PREFIXES: u64 = 64;
const OTHER_PREFIXES: u64 = 4_096;

/// Deals addresses; none twice.
#[derive(Debug)]
pub(crate) struct Dealer {
    /// Hosts dealt in each prefix.
    dealt: std::collections::BTreeMap<u16, u32>,
    cloud: Zipf,
    other: Zipf,
}

impl Dealer {
    pub(crate) fn new() -> Self {
        Self {
            dealt: std::collections::BTreeMap::new(),
            cloud: Zipf::new(CLOUD_PREFIXES, 4),
            other: Zipf::new(OTHER_PREFIXES, 16),
        }
    }

    /// An address of somebody, in a cloud or not.
    pub(crate) fn deal(&mut self, cloud: bool, rng: &mut Rng) -> Multiaddr {
        let rank = if cloud { self.cloud.draw(rng) } else { CLOUD_PREFIXES + self.other.draw(rng) };
        self.in_prefix(rank)
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
            let addr = dealer.deal(n % 4 == 0, &mut rng);
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
}
