//! Length-delimited framing: a varint, then that many bytes.
//!
//! Every protocol above multistream-select frames its messages this way.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;

use crate::varint::{self, VarintError};

/// Bytes that an unfinished message may claim before any of them has arrived.
///
/// Above this the buffer grows only as bytes come in, so that a stranger's
/// length prefix alone costs nothing.
const TRUSTED_RESERVE: usize = 64 * 1024;

/// Why a stream is not a sequence of framed messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The length is not a varint.
    #[error("length prefix: {0}")]
    Length(#[from] VarintError),
    /// The message is larger than this protocol allows.
    #[error("a message of {len} bytes, over the limit of {max}")]
    TooLarge {
        /// What the prefix says, in bytes.
        len: u64,
        /// The limit, in bytes.
        max: usize,
    },
}

/// The message with its length in front.
#[must_use]
pub fn encode(message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(len + varint::MAX_LEN);
    varint::put(&mut out, len as u64);
    message.encode(&mut out).expect("the buffer grows");
    out.freeze()
}

/// Puts messages together from the chunks of a stream.
///
/// A message that lies whole within a chunk is a slice of it; any other is
/// copied into one buffer as its pieces arrive.
///
/// ```
/// use bytes::Bytes;
/// use peerage_wire::frame::Assembler;
/// let mut frames = Assembler::new(100);
/// let mut chunk = Bytes::from_static(b"\x02hi\x03th");
/// assert_eq!(frames.push(&mut chunk), Ok(Some(Bytes::from_static(b"hi"))));
/// assert_eq!(frames.push(&mut chunk), Ok(None));
/// assert_eq!(frames.push(&mut Bytes::from_static(b"e")), Ok(Some(Bytes::from_static(b"the"))));
/// ```
#[derive(Debug)]
pub struct Assembler {
    max: usize,
    /// The length prefix as far as it has come.
    prefix: [u8; varint::MAX_LEN],
    prefix_len: usize,
    /// The message under way: its length and what has arrived.
    body: Option<(usize, BytesMut)>,
}

impl Assembler {
    /// For messages of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, prefix: [0; varint::MAX_LEN], prefix_len: 0, body: None }
    }

    /// Consumes from `chunk` up to the end of the next message and returns
    /// that; `None` once `chunk` is used up. Call again while `chunk` has bytes.
    ///
    /// # Errors
    /// If the stream is malformed; it cannot be read further then.
    pub fn push(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, FrameError> {
        if self.body.is_none() {
            let Some(len) = self.read_prefix(chunk)? else { return Ok(None) };
            if chunk.len() >= len {
                return Ok(Some(chunk.split_to(len)));
            }
            self.body = Some((len, BytesMut::with_capacity(len.min(TRUSTED_RESERVE))));
        }
        let Some((len, mut body)) = self.body.take() else { return Ok(None) };
        let missing = len - body.len();
        let more = chunk.split_to(missing.min(chunk.len()));
        if body.len() + more.len() > body.capacity() {
            // At most as much again as has come.
            body.reserve((body.len() + 2 * more.len()).min(missing));
        }
        body.put(more);
        if body.len() == len {
            return Ok(Some(body.freeze()));
        }
        self.body = Some((len, body));
        Ok(None)
    }

    /// Bytes that the message under way takes in memory: at most twice what has
    /// come of it, beside what is set aside at its beginning.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.body.as_ref().map_or(0, |(_, body)| body.capacity())
    }

    /// Length of the message under way, once it is known.
    #[must_use]
    pub fn expected(&self) -> Option<usize> {
        self.body.as_ref().map(|(len, _)| *len)
    }

    /// True between messages: the end of the stream is clean here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_none() && self.prefix_len == 0
    }

    fn read_prefix(&mut self, chunk: &mut Bytes) -> Result<Option<usize>, FrameError> {
        while chunk.has_remaining() {
            self.prefix[self.prefix_len] = chunk.get_u8();
            self.prefix_len += 1;
            if let Some((len, _)) = varint::decode(&self.prefix[..self.prefix_len])? {
                self.prefix_len = 0;
                return match usize::try_from(len) {
                    Ok(fits) if fits <= self.max => Ok(Some(fits)),
                    _ => Err(FrameError::TooLarge { len, max: self.max }),
                };
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn assemble(max: usize, chunks: impl IntoIterator<Item = Bytes>) -> Result<Vec<Bytes>, FrameError> {
        let mut frames = Assembler::new(max);
        let mut out = Vec::new();
        for mut chunk in chunks {
            while !chunk.is_empty() {
                out.extend(frames.push(&mut chunk)?);
            }
        }
        Ok(out)
    }

    proptest! {
        #[test]
        fn any_chunking_gives_the_same_messages(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
            size in 1usize..200,
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                varint::put(&mut stream, message.len() as u64);
                stream.extend(message);
            }
            let chunks = stream.chunks(size).map(Bytes::copy_from_slice);
            let got = assemble(300, chunks).unwrap();
            prop_assert_eq!(got.iter().map(|m| m.to_vec()).collect::<Vec<_>>(), messages);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
            let _ = assemble(100, bytes.chunks(size).map(Bytes::copy_from_slice));
        }
    }

    #[test]
    fn memory_grows_with_what_has_come() {
        let mut frames = Assembler::new(4 << 20);
        let mut prefix = Vec::new();
        varint::put(&mut prefix, 4 << 20);
        assert_eq!(frames.push(&mut prefix.into()), Ok(None));
        let mut come = 0;
        for len in [1, 60_000, 10_000, 100_000, 1, 300_000] {
            come += len;
            assert_eq!(frames.push(&mut Bytes::from(vec![0; len])), Ok(None));
            assert!(frames.buffered() >= come, "all of it is reported");
            assert!(frames.buffered() <= (2 * come).max(TRUSTED_RESERVE), "{come}: {}", frames.buffered());
        }
        let rest = (4 << 20) - come;
        assert_eq!(frames.push(&mut vec![0; rest].into()).unwrap().unwrap().len(), 4 << 20);
        assert_eq!(frames.buffered(), 0);
    }

    #[test]
    fn a_claimed_length_alone_reserves_little() {
        let mut frames = Assembler::new(4 << 20);
        let mut chunk = Bytes::from_static(&[0x80, 0x80, 0x80, 0x02, 1]);
        assert_eq!(frames.push(&mut chunk), Ok(None));
        assert_eq!(frames.expected(), Some(4 << 20));
        assert!(frames.buffered() <= TRUSTED_RESERVE);
        let mut over = Bytes::from_static(&[0x81, 0x80, 0x80, 0x02]);
        assert_eq!(
            Assembler::new(4 << 20).push(&mut over),
            Err(FrameError::TooLarge { len: (4 << 20) + 1, max: 4 << 20 })
        );
    }
}
