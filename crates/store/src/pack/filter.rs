//! The filter of a sealed pack or a root set: about 10 bits a key, one cache line a question.
//!
//! A Bloom filter in blocks of 512 bits: the key's high bits choose the block,
//! six 9-bit pieces of a mix of it choose bits within. About one absent key in
//! sixty passes. Keys are SipHash outputs, so no one can aim at a block.

const LINE_WORDS: usize = 8;
const BITS_PER_KEY: usize = 10;
const PROBES: usize = 6;

/// Says "certainly not here" or "perhaps".
#[derive(Debug)]
pub(crate) struct Filter {
    words: Box<[u64]>,
}

impl Filter {
    /// An empty filter for `keys` keys.
    pub(crate) fn with_room_for(keys: usize) -> Self {
        Self { words: vec![0; Self::lines(keys) * LINE_WORDS].into() }
    }

    /// Bytes that one for `keys` keys takes.
    pub(crate) fn bytes_for(keys: usize) -> usize {
        Self::lines(keys).saturating_mul(LINE_WORDS * 8)
    }

    fn lines(keys: usize) -> usize {
        keys.saturating_mul(BITS_PER_KEY).div_ceil(LINE_WORDS * 64).max(1)
    }

    fn probe(&self, key: u64) -> (usize, u64) {
        let lines = (self.words.len() / LINE_WORDS) as u128;
        // Less than `lines`, since the key is less than 2^64.
        let line = usize::try_from((u128::from(key) * lines) >> 64).unwrap_or(0);
        (line * LINE_WORDS, key.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29))
    }

    pub(crate) fn insert(&mut self, key: u64) {
        let (line, mut bits) = self.probe(key);
        for _ in 0..PROBES {
            let bit = (bits & 511) as usize;
            self.words[line + bit / 64] |= 1 << (bit % 64);
            bits >>= 9;
        }
    }

    pub(crate) fn may_contain(&self, key: u64) -> bool {
        let (line, mut bits) = self.probe(key);
        (0..PROBES).all(|_| {
            let bit = (bits & 511) as usize;
            bits >>= 9;
            self.words[line + bit / 64] & (1 << (bit % 64)) != 0
        })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let fits = rest.is_empty() && !words.is_empty() && words.len().is_multiple_of(LINE_WORDS);
        fits.then(|| Self { words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_its_keys_and_few_others() {
        let key = |n: u64| {
            crate::key::RepoKey([3; 16]).of(&crate::Multihash::wrap(0x12, &n.to_le_bytes()).unwrap())
        };
        let mut filter = Filter::with_room_for(10_000);
        (0..10_000).for_each(|n| filter.insert(key(n)));
        let filter = Filter::from_bytes(&filter.to_bytes()).unwrap();
        assert!((0..10_000).all(|n| filter.may_contain(key(n))));
        let passed = (10_000..60_000).filter(|n| filter.may_contain(key(*n))).count();
        assert!(passed < 50_000 / 40, "{passed} of 50,000 passed");
    }

    #[test]
    fn odd_sizes_are_refused() {
        assert!(Filter::from_bytes(&[]).is_none());
        assert!(Filter::from_bytes(&[0; 60]).is_none());
        assert!(Filter::from_bytes(&[0; 63]).is_none());
    }
}
