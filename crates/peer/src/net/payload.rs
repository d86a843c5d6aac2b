//! Which bytes of a Bitswap stream are blocks, while they come: a message is decoded
//! when it is whole, and a rate is to be kept long before.
//!
//! Follows frames and the top level of messages (fields `blocks` and `payload`,
//! with the few bytes of their prefixes), and believes everything: what is wrong is
//! found when the message is decoded.

/// `Message.blocks`, of Bitswap 1.0.0, and `Message.payload` (`proto/bitswap.proto`).
const BLOCKS: [u64; 2] = [2, 3];

/// The wire type of fields with a length.
const LENGTH: u64 = 2;

/// What the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// Of the length of a message.
    Frame,
    /// Of a field's number and wire type.
    Tag,
    /// Of a number, which is passed over.
    Number,
    /// Of the length of a field, which is a block or not.
    Len { block: bool },
    /// Of a field that has so many more.
    Body { left: u64, block: bool },
}

/// Counts the bytes of blocks in a stream of messages.
#[derive(Debug)]
pub(super) struct PayloadMeter {
    next: Next,
    /// The varint that is being read.
    value: u64,
    shift: u32,
    /// Bytes of the message that have not come.
    message: u64,
}

impl Default for PayloadMeter {
    fn default() -> Self {
        Self { next: Next::Frame, value: 0, shift: 0, message: 0 }
    }
}

impl PayloadMeter {
    /// Bytes of blocks that are known to come next.
    pub(super) fn ahead(&self) -> u64 {
        match self.next {
            Next::Body { left, block: true } => left.min(self.message),
            _ => 0,
        }
    }

    /// Takes the next bytes of the stream; how many of them are of blocks.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> u64 {
        let mut payload = 0;
        while let Some((&first, rest)) = bytes.split_first() {
            if let Next::Body { left, block } = self.next {
                let here = left.min(self.message).min(bytes.len() as u64);
                bytes = &bytes[usize::try_from(here).unwrap_or(bytes.len())..];
                payload += if block { here } else { 0 };
                self.message -= here;
                self.next = if left > here { Next::Body { left: left - here, block } } else { Next::Tag };
            } else {
                bytes = rest;
                if self.next != Next::Frame {
                    self.message -= 1;
                }
                self.varint(first);
            }
            if self.next != Next::Frame && self.message == 0 {
                (self.next, self.value, self.shift) = (Next::Frame, 0, 0);
            }
        }
        payload
    }

    /// One byte of a varint; at its end, what it means.
    fn varint(&mut self, byte: u8) {
        self.value |= u64::from(byte & 0x7f).checked_shl(self.shift).unwrap_or(0);
        self.shift = self.shift.saturating_add(7);
        if byte & 0x80 != 0 {
            return;
        }
        let value = std::mem::take(&mut self.value);
        self.shift = 0;
        self.next = match self.next {
            Next::Frame => {
                self.message = value;
                if value == 0 { Next::Frame } else { Next::Tag }
            }
            Next::Tag => match (value >> 3, value & 7) {
                (field, LENGTH) => Next::Len { block: BLOCKS.contains(&field) },
                (_, 0) => Next::Number,
                (_, 1) => Next::Body { left: 8, block: false },
                (_, 5) => Next::Body { left: 4, block: false },
                // No message: the rest of it is nothing.
                _ => Next::Body { left: self.message, block: false },
            },
            Next::Len { block } if value > 0 => Next::Body { left: value, block },
            Next::Number | Next::Len { .. } | Next::Body { .. } => Next::Tag,
        };
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use peerage_content::{Cid, Multihash, Prefix};
    use peerage_exchange::codec::{encode, encode_blocks};
    use peerage_exchange::{Outgoing, Presence, Version, WantEntry, WantKind};
    use proptest::prelude::*;

    use super::*;

    fn cid(n: u8) -> Cid {
        Cid::new_v1(0x55, Multihash::wrap(0x12, &[n; 32]).unwrap())
    }

    fn words(count: u8) -> Bytes {
        let want = |n| WantEntry { cid: cid(n), priority: 7, kind: WantKind::Block, send_dont_have: true };
        let message = Outgoing {
            full: true,
            wants: (0..count).map(want).collect(),
            cancels: vec![cid(200)],
            presences: vec![(cid(201), Presence::Have)],
        };
        encode(&message, Version::V1_2)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// Blocks are counted, with what is around them, and words are not, however the stream is cut.
        #[test]
        fn blocks_are_counted_and_words_are_not(
            messages in proptest::collection::vec(
                (0u8..40, proptest::collection::vec(0usize..5000, 1..4), any::<bool>()), 1..6),
            cuts in proptest::collection::vec(1usize..700, 1..30),
        ) {
            let (mut stream, mut data, mut blocks) = (Vec::new(), 0, 0);
            for (wants, lens, old) in &messages {
                stream.extend_from_slice(&words(*wants));
                let version = if *old { Version::V1_0 } else { Version::V1_2 };
                let all: Vec<_> = lens.iter().map(|len| (Prefix::of(&cid(1)), Bytes::from(vec![3; *len]))).collect();
                stream.extend_from_slice(&encode_blocks(&all, version));
                data += lens.iter().sum::<usize>() as u64;
                blocks += lens.len() as u64;
            }
            let (mut meter, mut payload, mut rest, mut nth) = (PayloadMeter::default(), 0, &stream[..], 0);
            while !rest.is_empty() {
                let (now, later) = rest.split_at(cuts[nth % cuts.len()].min(rest.len()));
                let ahead = meter.ahead();
                let here = meter.push(now);
                prop_assert!(here >= ahead.min(now.len() as u64));
                (payload, rest, nth) = (payload + here, later, nth + 1);
            }
            prop_assert_eq!(meter.next, Next::Frame);
            prop_assert!((data..=data + 16 * blocks).contains(&payload), "{} of {}", payload, data);
        }

        #[test]
        fn anything_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..300), cut in 1usize..50) {
            let mut meter = PayloadMeter::default();
            let payload: u64 = bytes.chunks(cut).map(|chunk| meter.push(chunk)).sum();
            prop_assert!(payload <= bytes.len() as u64);
        }
    }
}
