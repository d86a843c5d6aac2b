//! A queue of byte chunks that keeps large slices as they are and gathers
//! small ones.
//!
//! Large slices are never copied. Small ones are: a slice of a few bytes
//! would otherwise pin the whole buffer that it was cut from, and a peer that
//! sends one-byte frames would make us keep a chunk for each byte.

use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};

/// Slices below this many bytes are always copied: a chunk's own overhead is
/// about a tenth of it.
const SMALL: usize = 1024;
/// A slice is kept only if it is at least this fraction of its buffer, so
/// that what is held in memory is at most four times what is counted.
const PINNED_FRACTION: usize = 4;
/// Copied slices are gathered up to this many bytes.
const GATHER: usize = 16 * 1024;

/// Bytes in order.
#[derive(Debug, Default)]
pub(super) struct ByteQueue {
    chunks: VecDeque<Bytes>,
    /// Copies of small slices; comes after `chunks`.
    tail: BytesMut,
    len: usize,
}

impl ByteQueue {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends `data`, a slice of a buffer of `buffer_len` bytes.
    pub(super) fn push(&mut self, data: Bytes, buffer_len: usize) {
        self.len += data.len();
        if data.len() < SMALL || data.len() < buffer_len / PINNED_FRACTION {
            self.tail.extend_from_slice(&data);
            if self.tail.len() >= GATHER {
                self.seal_tail();
            }
        } else {
            self.seal_tail();
            self.chunks.push_back(data);
        }
    }

    /// Takes out at most `max` bytes of one chunk; none if empty or `max` is 0.
    pub(super) fn pop(&mut self, max: usize) -> Option<Bytes> {
        if self.is_empty() || max == 0 {
            return None;
        }
        if self.chunks.is_empty() {
            self.seal_tail();
        }
        let front = self.chunks.front_mut()?;
        let popped = if front.len() > max { front.split_to(max) } else { self.chunks.pop_front()? };
        self.len -= popped.len();
        Some(popped)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn seal_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks.push_back(mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_large_slices_and_gathers_small_ones() {
        let buffer = Bytes::from(vec![7; 65_536]);
        let mut queue = ByteQueue::default();
        queue.push(buffer.slice(..40_000), buffer.len());
        for at in 0..2000 {
            queue.push(buffer.slice(at..=at), buffer.len());
        }
        queue.push(buffer.slice(..10_000), buffer.len());
        assert_eq!(queue.len(), 52_000);
        let first = queue.pop(usize::MAX).unwrap();
        assert_eq!(first.as_ptr(), buffer.as_ptr());
        // 2,000 single bytes and the 10,000 that are less than a quarter of their buffer.
        assert_eq!(queue.pop(usize::MAX).unwrap().len(), 12_000);
        assert_eq!(queue.pop(1), None);
        assert_eq!(queue.len(), 0);
    }

    #[test]
    fn pops_in_order_and_at_most_what_was_asked() {
        let mut queue = ByteQueue::default();
        queue.push(Bytes::from_static(b"abc"), 3);
        queue.push(Bytes::from(vec![b'd'; 2000]), 2000);
        queue.push(Bytes::from_static(b"e"), 1);
        let mut all = Vec::new();
        assert_eq!(queue.pop(0), None);
        while let Some(chunk) = queue.pop(2) {
            assert!(chunk.len() <= 2);
            all.extend_from_slice(&chunk);
        }
        let mut want = b"abc".to_vec();
        want.resize(2003, b'd');
        want.push(b'e');
        assert_eq!(all, want);
        queue.push(Bytes::from_static(b"x"), 1);
        queue.clear();
        assert!(queue.is_empty() && queue.pop(9).is_none());
    }
}
