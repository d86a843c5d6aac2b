//! The bytes of a CAR that have come and are not used yet, and where in the
//! file they are.

use bytes::Bytes;

use crate::limits::CAR_BUFFER;

/// Largest item that waits in the buffer until it is whole, in bytes. Larger
/// ones get memory of their own, into which the rest is read directly.
pub(super) const BUFFERED_MAX: usize = CAR_BUFFER / 2;

/// A buffer, and at times a large item that is being filled. While there is
/// one, the buffer is empty.
#[derive(Debug)]
pub(super) struct Input {
    /// `buffer[start..end]` is not used yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// As long as it will be.
    large: Vec<u8>,
    filled: usize,
    position: u64,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; CAR_BUFFER], start: 0, end: 0, large: Vec::new(), filled: 0, position: 0 }
    }

    /// Where in the file [`Self::available`] begins, in bytes.
    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// What has come, without a large item.
    pub(super) fn available(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Drops `len` bytes, which are available.
    pub(super) const fn consume(&mut self, len: usize) {
        self.start += len;
        self.position += len as u64;
    }

    /// Room for the next bytes. Items that wait in the buffer are at most half
    /// of it, so there is some.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if !self.large.is_empty() {
            return &mut self.large[self.filled..];
        }
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buffer[self.end..]
    }

    /// `len` bytes of the space are taken.
    pub(super) fn filled(&mut self, len: usize) {
        if self.large.is_empty() {
            self.end = self.buffer.len().min(self.end + len);
        } else {
            self.filled = self.large.len().min(self.filled + len);
        }
    }

    /// Makes an item of `len` bytes, of which only some are available.
    pub(super) fn begin_large(&mut self, len: usize) {
        self.large = vec![0; len];
        self.filled = self.end - self.start;
        self.large[..self.filled].copy_from_slice(&self.buffer[self.start..self.end]);
        self.start = self.end;
        self.position += len as u64;
    }

    /// The large item, once it is whole.
    pub(super) fn take_large(&mut self) -> Option<Bytes> {
        let whole = self.filled == self.large.len();
        whole.then(|| Bytes::from(std::mem::take(&mut self.large)))
    }
}
