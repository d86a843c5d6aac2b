//! The pieces of a large file, each a job for a worker. Where all chunks have one
//! length, workers read them, in any order; where the content decides, the file
//! is read and cut in order, and the workers only hash.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use peerage_content::{Chunker, Splitter};

use super::hash::{OpenFile, Trouble};
use super::limits::JOB_BYTES;

/// What a job hashes.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes of the file, still to be read: whole chunks of `chunk` bytes, or
    /// what reaches the file's end.
    Span { offset: u64, len: usize, chunk: usize },
    /// Chunks that were read, one after the other, and the length of each.
    Chunks { bytes: Vec<u8>, lens: Vec<usize> },
}

/// A file that is being cut.
pub(super) struct Pieces {
    file: Arc<OpenFile>,
    /// Bytes of the file that were given out, or read.
    done: u64,
    how: How,
}

enum How {
    Spans {
        chunk: usize,
    },
    Content {
        splitter: Splitter,
        /// Read, and not cut yet.
        window: Vec<u8>,
    },
}

impl Pieces {
    pub(super) fn new(file: &Arc<OpenFile>, chunker: Chunker) -> Self {
        let how = match chunker.fixed_len() {
            Some(chunk) => How::Spans { chunk },
            None => How::Content { splitter: Splitter::new(chunker), window: Vec::new() },
        };
        Self { file: Arc::clone(file), done: 0, how }
    }

    /// The next piece, about a mebibyte; none at the end.
    pub(super) fn next_piece(&mut self) -> Result<Option<Piece>, Trouble> {
        let left = self.file.stat.size - self.done;
        match &mut self.how {
            How::Spans { chunk } => {
                let span = *chunk * (JOB_BYTES / *chunk).max(1);
                let len = usize::try_from(left).unwrap_or(span).min(span);
                let offset = self.done;
                self.done += len as u64;
                Ok((len > 0).then_some(Piece::Span { offset, len, chunk: *chunk }))
            }
            How::Content { splitter, window } => {
                let (mut lens, mut cut) = (Vec::new(), 0);
                let mut left = left;
                while cut < JOB_BYTES {
                    if let Some(len) = splitter.next_cut(&window[cut..], left == 0) {
                        lens.push(len);
                        cut += len;
                        continue;
                    }
                    if left == 0 {
                        break;
                    }
                    let more = usize::try_from(left).unwrap_or(JOB_BYTES).min(JOB_BYTES);
                    let have = window.len();
                    window.resize(have + more, 0);
                    self.file.file.read_exact_at(&mut window[have..], self.done)?;
                    self.done += more as u64;
                    left -= more as u64;
                }
                let rest = window.split_off(cut);
                let bytes = std::mem::replace(window, rest);
                Ok((!lens.is_empty()).then_some(Piece::Chunks { bytes, lens }))
            }
        }
    }
}
