//! Cutting a file whose bytes come in one after the other.

use super::Chunker;
use super::buzhash::Buzhash;
use super::rabin::Rabin;

/// Cuts one file, from its first byte to its last.
///
/// Who holds the bytes shows those that are not cut yet and takes off what
/// [`Self::next_cut`] says; the window may grow in any steps, bytes that were
/// looked at once are not looked at again.
///
/// ```
/// use peerage_content::{Chunker, Splitter};
/// let content = vec![7; 10];
/// let mut splitter = Splitter::new(Chunker::Size(4));
/// assert_eq!(splitter.next_cut(&content[..3], false), None);
/// assert_eq!(splitter.next_cut(&content[..5], false), Some(4));
/// assert_eq!(splitter.next_cut(&content[4..], true), Some(4));
/// assert_eq!(splitter.next_cut(&content[8..], true), Some(2));
/// assert_eq!(splitter.next_cut(&content[10..], true), None);
/// ```
#[derive(Debug, Clone)]
pub struct Splitter(Search);

#[derive(Debug, Clone)]
enum Search {
    Size(usize),
    Rabin(Rabin),
    Buzhash(Buzhash),
    /// Never cuts.
    Whole,
}

impl Splitter {
    /// A splitter at the start of a file. With a chunker that [`Chunker::check`]
    /// refuses, the whole file is one chunk.
    #[must_use]
    pub fn new(chunker: Chunker) -> Self {
        Self(match chunker.check() {
            Ok(Chunker::Size(size)) => Search::Size(size),
            Ok(Chunker::Rabin { min, avg, max }) => Search::Rabin(Rabin::new(min, avg, max)),
            Ok(Chunker::Buzhash) => Search::Buzhash(Buzhash::default()),
            Err(_) => Search::Whole,
        })
    }

    /// Length of the next chunk, at the front of `window`: the bytes after the
    /// last cut, as many as there are. None if more are needed to tell, and,
    /// with `at_end`, when all are cut; an empty file has no chunk, and its
    /// one leaf is empty. With [`Chunker::max_len`] bytes it always tells.
    pub fn next_cut(&mut self, window: &[u8], at_end: bool) -> Option<usize> {
        let found = match &mut self.0 {
            Search::Size(size) => (window.len() >= *size).then_some(*size),
            Search::Rabin(search) => search.find(window),
            Search::Buzhash(search) => search.find(window),
            Search::Whole => None,
        };
        found.or((at_end && !window.is_empty()).then_some(window.len()))
    }
}
