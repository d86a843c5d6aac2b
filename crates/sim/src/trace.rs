//! A hash over everything that happened, in order: two runs are the same run
//! if it is the same.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 under a key of zeros: quick, and every bit counts.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: SipHasher13,
    events: u64,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { hash: SipHasher13::new(), events: 0 }
    }

    /// One event: what it was and whom it concerned.
    pub(crate) fn event(&mut self, kind: u8, at: u64, words: [u64; 2]) {
        self.events += 1;
        let mut bytes = [0; 25];
        bytes[0] = kind;
        for (place, word) in bytes[1..].chunks_exact_mut(8).zip([at, words[0], words[1]]) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        self.hash.write(&bytes);
    }

    /// What the event said.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.hash.write(bytes);
    }

    /// Events so far.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn digest(&self) -> u64 {
        self.hash.finish()
    }
}
