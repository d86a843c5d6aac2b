//! Global knowledge, which no peer has: every host by its key. Seeds tables,
//! serves liars, and says what a look-up should have found.

use peerage_dht::{Distance, Key};

use crate::host::HostId;

/// A host, and where in the keyspace it is.
type Place = (Key, HostId);

/// Hosts by key, in the order of their bits.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    sorted: Vec<Place>,
}

impl Oracle {
    pub(crate) fn insert(&mut self, key: Key, host: HostId) {
        let index = self.sorted.partition_point(|(other, _)| *other < key);
        self.sorted.insert(index, (key, host));
    }

    /// Many at once.
    pub(crate) fn extend(&mut self, hosts: impl IntoIterator<Item = (Key, HostId)>) {
        self.sorted.extend(hosts);
        self.sorted.sort_unstable();
    }

    /// The `count` hosts nearest to a key that are wanted, nearest first.
    pub(crate) fn nearest(&self, key: &Key, count: usize, wanted: impl Fn(HostId) -> bool) -> Vec<HostId> {
        let mut found = Vec::with_capacity(count);
        collect(&self.sorted, key, 0, count, &wanted, &mut found);
        found
    }

    /// The hosts that share exactly `prefix` leading bits with a key: a bucket.
    pub(crate) fn bucket(&self, key: &Key, prefix: usize) -> &[Place] {
        let mut range = &self.sorted[..];
        for at in 0..prefix {
            range = halves(range, key, at).0;
        }
        halves(range, key, prefix).1
    }

    /// Hosts that share at least `prefix` bits with a key.
    pub(crate) fn within(&self, key: &Key, prefix: usize) -> usize {
        let mut range = &self.sorted[..];
        for at in 0..prefix {
            range = halves(range, key, at).0;
        }
        range.len()
    }
}

fn bit(key: &Key, at: usize) -> bool {
    key.as_bytes()[at / 8] >> (7 - at % 8) & 1 == 1
}

/// Of keys that agree in the bits before `at`: those that agree with `key` in
/// that bit too, and those that do not.
fn halves<'a>(range: &'a [Place], key: &Key, at: usize) -> (&'a [Place], &'a [Place]) {
    let (zeros, ones) = range.split_at(range.partition_point(|(other, _)| !bit(other, at)));
    if bit(key, at) { (ones, zeros) } else { (zeros, ones) }
}

fn collect(
    range: &[Place],
    key: &Key,
    at: usize,
    count: usize,
    wanted: &impl Fn(HostId) -> bool,
    found: &mut Vec<HostId>,
) {
    /// So few are sorted at once.
    const FEW: usize = 24;
    if found.len() >= count {
        return;
    }
    if range.len() <= FEW || at >= peerage_dht::KEY_BITS {
        let all = range.iter().filter(|(_, host)| wanted(*host));
        let mut near: Vec<(Distance, HostId)> =
            all.map(|(other, host)| (other.distance(key), *host)).collect();
        near.sort_unstable();
        let room = count - found.len();
        found.extend(near.into_iter().take(room).map(|(_, host)| host));
        return;
    }
    let (near, far) = halves(range, key, at);
    collect(near, key, at + 1, count, wanted, found);
    collect(far, key, at + 1, count, wanted, found);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_if_all_were_sorted() {
        let keys: Vec<(Key, HostId)> = (0..2_000u32).map(|n| (Key::of(&n.to_be_bytes()), n)).collect();
        let mut oracle = Oracle::default();
        oracle.extend(keys[..1_999].iter().copied());
        oracle.insert(keys[1_999].0, 1_999);
        for target in 0..50u32 {
            let target = Key::of(format!("target {target}").as_bytes());
            let odd = |host: HostId| host % 2 == 1;
            let mut expected: Vec<(Distance, HostId)> =
                keys.iter().filter(|(_, n)| odd(*n)).map(|(key, n)| (key.distance(&target), *n)).collect();
            expected.sort_unstable();
            let expected: Vec<HostId> = expected.into_iter().take(20).map(|(_, n)| n).collect();
            assert_eq!(oracle.nearest(&target, 20, odd), expected);
            for prefix in 0..12 {
                let here = keys.iter().filter(|(key, _)| key.common_prefix(&target) == prefix).count();
                assert_eq!(oracle.bucket(&target, prefix).len(), here);
                let within = keys.iter().filter(|(key, _)| key.common_prefix(&target) >= prefix).count();
                assert_eq!(oracle.within(&target, prefix), within);
            }
        }
    }
}
