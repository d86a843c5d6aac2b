//! How often blocks were sent, and who waits for which: what was sent least often
//! goes first, so that those who get the same have something to give each other.

use std::collections::{BTreeMap, VecDeque};

use peerage_content::{Cid, Multihash, codec};
use peerage_identity::PeerId;

/// Blocks of which it is remembered how often they were sent; those that were first
/// sent longest ago are forgotten. A file of 64 GiB, and some 3 MiB.
const REMEMBERED: usize = 65_536;

/// Longest node that is taken to name others, in bytes: 1,024 links, as the default
/// profile has them; leaves of older profiles, which are dag-pb as well, are longer.
const NODE_MAX: u32 = 64 << 10;

/// Of a digest enough to tell blocks apart; a mistake costs nothing but an order.
type Key = u64;

/// Blocks by how often they were sent.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    times: BTreeMap<Key, u32>,
    oldest: VecDeque<Key>,
    /// Wants whose blocks are here and wait for credit.
    waiting: BTreeMap<Key, Vec<(PeerId, Cid)>>,
}

impl Sent {
    /// How often a block was sent, as it counts for its turn: 0 is never too often.
    pub(crate) fn times(&self, cid: &Cid, len: u32) -> u32 {
        if leads_on(cid, len) {
            return 0;
        }
        self.times.get(&key(cid.hash())).copied().unwrap_or(1)
    }

    /// A block is being sent: how often that makes it, and who else waits for it.
    pub(crate) fn note(&mut self, cid: &Cid, len: u32) -> (u32, Vec<(PeerId, Cid)>) {
        if leads_on(cid, len) {
            return (0, Vec::new());
        }
        let key = key(cid.hash());
        let times = self.times.entry(key).or_insert_with(|| {
            self.oldest.push_back(key);
            1
        });
        *times = times.saturating_add(1);
        let times = *times;
        if self.oldest.len() > REMEMBERED
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.times.remove(&oldest);
        }
        (times, self.waiting.get(&key).cloned().unwrap_or_default())
    }

    pub(crate) fn wait(&mut self, peer: PeerId, cid: Cid) {
        self.waiting.entry(key(cid.hash())).or_default().push((peer, cid));
    }

    pub(crate) fn stop_waiting(&mut self, peer: PeerId, cid: &Cid) {
        let key = key(cid.hash());
        if let Some(waiting) = self.waiting.get_mut(&key) {
            waiting.retain(|(other, named)| *other != peer || named != cid);
            if waiting.is_empty() {
                self.waiting.remove(&key);
            }
        }
    }
}

/// Whether a block is likely to name others: nobody can ask for those before, so that it
/// is never too often sent.
fn leads_on(cid: &Cid, len: u32) -> bool {
    cid.codec() != codec::RAW && len <= NODE_MAX
}

fn key(hash: &Multihash) -> Key {
    let eight = |bytes: &[u8]| {
        let mut all = [0; 8];
        let len = bytes.len().min(8);
        all[..len].copy_from_slice(&bytes[..len]);
        Key::from_le_bytes(all)
    };
    let digest = hash.digest();
    eight(digest) ^ eight(&digest[digest.len() / 2..])
}
