//! Chunkers: where a file is cut into the payloads of its leaves, in the
//! syntax and with the results of Kubo (boxo `chunker`). Cuts depend on the
//! bytes of the file alone, never on how they come in.
//!
//! Left out on purpose: rabin with an average below 48, which makes Kubo put
//! a whole file into one chunk; chunkers that a plugin registers; and what Kubo
//! takes though it is more likely a slip than meant: no text at all, anything
//! behind `buzhash-`, labels of rabin's parameters with more than one colon.

mod buzhash;
mod rabin;
mod splitter;

use std::fmt;
use std::str::FromStr;

use crate::limits::CHUNK_MAX;
pub use splitter::Splitter;

/// How a file is cut.
///
/// ```
/// use peerage_content::Chunker;
/// assert_eq!("size-1024".parse(), Ok(Chunker::Size(1024)));
/// assert_eq!("rabin".parse::<Chunker>().unwrap().to_string(), "rabin-87381-262144-393216");
/// assert_eq!("buzhash".parse::<Chunker>().unwrap().max_len(), 512 * 1024);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Chunker {
    /// Chunks of so many bytes, the last one shorter; 1 to [`CHUNK_MAX`].
    Size(usize),
    /// Cut by the content: where the Rabin fingerprint of the last 16 bytes
    /// ends in zeros. 16 ≤ `min` < `avg` < `max` ≤ [`CHUNK_MAX`].
    Rabin {
        /// Fewest bytes of a chunk that is not the file's last.
        min: usize,
        /// About how many bytes a chunk has beyond `min`: the largest power
        /// of two up to this counts.
        avg: usize,
        /// Most bytes of a chunk.
        max: usize,
    },
    /// Cut by the content: where a sum of the last 32 bytes ends in 17 zeros.
    /// Chunks have 128 to 512 KiB.
    Buzhash,
}

/// The average of `rabin` without parameters and the size of `default`, in
/// bytes: 256 KiB (boxo `DefaultBlockSize`).
const DEFAULT_SIZE: usize = 256 * 1024;

/// A text that is not a chunker. Who wrote it is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkerError {
    /// No such chunker, or parameters of another number than it has.
    #[error("there are size-BYTES, rabin, rabin-AVG, rabin-MIN-AVG-MAX and buzhash")]
    Syntax,
    /// A parameter is not a number of bytes.
    #[error("a chunker's parameters are numbers of bytes")]
    Number,
    /// A chunk without bytes.
    #[error("a chunk has at least one byte")]
    Zero,
    /// A chunk could be larger than [`CHUNK_MAX`].
    #[error("a chunk has at most {CHUNK_MAX} bytes")]
    TooLong,
    /// A chunk of rabin could be shorter than the 16 bytes that it looks at.
    #[error("a chunk of rabin has at least 16 bytes, so the average at least 48")]
    RabinMin,
    /// Parameters of rabin that are not in ascending order.
    #[error("rabin has a minimum below the average, and an average below the maximum")]
    RabinOrder,
}

impl Chunker {
    /// Bytes of the longest chunk.
    #[must_use]
    pub const fn max_len(self) -> usize {
        match self {
            Self::Size(size) => size,
            Self::Rabin { max, .. } => max,
            Self::Buzhash => buzhash::MAX,
        }
    }

    /// A file of at most so many bytes is one chunk, whatever is in it.
    #[must_use]
    pub const fn single_max(self) -> usize {
        match self {
            Self::Size(size) => size,
            Self::Rabin { min, .. } => min,
            Self::Buzhash => buzhash::MIN,
        }
    }

    /// Bytes of every chunk but the last, if that does not depend on content.
    #[must_use]
    pub const fn fixed_len(self) -> Option<usize> {
        match self {
            Self::Size(size) => Some(size),
            Self::Rabin { .. } | Self::Buzhash => None,
        }
    }

    /// Rabin around an average, as boxo derives the bounds from it.
    fn rabin(avg: usize) -> Result<Self, ChunkerError> {
        Self::Rabin { min: avg / 3, avg, max: avg.saturating_add(avg / 2) }.check()
    }

    /// The same chunker, if its parameters are such as a text can give.
    ///
    /// # Errors
    /// See [`ChunkerError`].
    pub fn check(self) -> Result<Self, ChunkerError> {
        match self {
            Self::Size(0) => Err(ChunkerError::Zero),
            Self::Rabin { min, .. } if min < rabin::WINDOW => Err(ChunkerError::RabinMin),
            Self::Rabin { min, avg, max } if min >= avg || avg >= max => Err(ChunkerError::RabinOrder),
            _ if self.max_len() > CHUNK_MAX => Err(ChunkerError::TooLong),
            _ => Ok(self),
        }
    }
}

/// From Kubo's syntax: `size-BYTES`, `rabin`, `rabin-AVG`, `rabin-MIN-AVG-MAX`,
/// `buzhash`, `default`.
impl FromStr for Chunker {
    type Err = ChunkerError;

    fn from_str(text: &str) -> Result<Self, ChunkerError> {
        let number = |text: &str| text.parse::<usize>().map_err(|_| ChunkerError::Number);
        // Kubo lets each be labelled: `rabin-min:16-avg:32-max:64`.
        let labelled = |label, text: &str| number(text.strip_prefix(label).unwrap_or(text));
        match text.split('-').collect::<Vec<_>>()[..] {
            ["default"] => Ok(Self::Size(DEFAULT_SIZE)),
            ["size", size] => Self::Size(number(size)?).check(),
            ["rabin"] => Self::rabin(DEFAULT_SIZE),
            ["rabin", avg] => Self::rabin(number(avg)?),
            ["rabin", min, avg, max] => Self::Rabin {
                min: labelled("min:", min)?,
                avg: labelled("avg:", avg)?,
                max: labelled("max:", max)?,
            }
            .check(),
            ["buzhash"] => Ok(Self::Buzhash),
            _ => Err(ChunkerError::Syntax),
        }
    }
}

/// Kubo's syntax, rabin always with its three parameters.
impl fmt::Display for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(f, "size-{size}"),
            Self::Rabin { min, avg, max } => write!(f, "rabin-{min}-{avg}-{max}"),
            Self::Buzhash => f.write_str("buzhash"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_kubo_reads_save_slips() {
        let rabin = |min, avg, max| Ok(Chunker::Rabin { min, avg, max });
        for (text, want) in [
            ("default", Ok(Chunker::Size(262_144))),
            ("size-1", Ok(Chunker::Size(1))),
            ("size-2096896", Ok(Chunker::Size(2_096_896))),
            ("size-2096897", Err(ChunkerError::TooLong)),
            ("size-0", Err(ChunkerError::Zero)),
            ("size--1", Err(ChunkerError::Syntax)),
            ("size-", Err(ChunkerError::Number)),
            ("size-99999999999999999999", Err(ChunkerError::Number)),
            ("size", Err(ChunkerError::Syntax)),
            ("fixed", Err(ChunkerError::Syntax)),
            ("rabin", rabin(87_381, 262_144, 393_216)),
            ("rabin-48", rabin(16, 48, 72)),
            ("rabin-47", Err(ChunkerError::RabinMin)),
            ("rabin-1397931", rabin(465_977, 1_397_931, 2_096_896)),
            ("rabin-1397932", Err(ChunkerError::TooLong)),
            ("rabin-16-32", Err(ChunkerError::Syntax)),
            ("rabin-16-17-18", rabin(16, 17, 18)),
            ("rabin-min:16-avg:32-max:64", rabin(16, 32, 64)),
            ("rabin-16-avg:32-64", rabin(16, 32, 64)),
            ("rabin-max:16-avg:32-64", Err(ChunkerError::Number)),
            ("rabin-15-32-64", Err(ChunkerError::RabinMin)),
            ("rabin-32-32-64", Err(ChunkerError::RabinOrder)),
            ("rabin-16-64-64", Err(ChunkerError::RabinOrder)),
            ("rabin-16-32-2096896", rabin(16, 32, 2_096_896)),
            ("rabin-16-32-2096897", Err(ChunkerError::TooLong)),
            ("buzhash", Ok(Chunker::Buzhash)),
            // Kubo reads these.
            ("buzhash-1", Err(ChunkerError::Syntax)),
            ("buzhash-", Err(ChunkerError::Syntax)),
            ("", Err(ChunkerError::Syntax)),
            ("rabin-min:x:16-32-64", Err(ChunkerError::Number)),
        ] {
            let got = text.parse::<Chunker>();
            assert_eq!(got, want, "{text}");
            if let Ok(chunker) = got {
                assert_eq!(chunker.to_string().parse(), Ok(chunker));
            }
        }
    }
}
