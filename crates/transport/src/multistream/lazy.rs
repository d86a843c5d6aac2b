//! Lazy negotiation: the opener of a stream that wants exactly one protocol
//! sends header, proposal and payload in one flight and checks the echo when
//! it first reads. go-multistream's `NewMSSelect`, rust's `V1Lazy`; the bytes
//! on the wire are those of the ordinary negotiation.

use bytes::{Buf, Bytes};

use super::{HEADER, NegotiateError, REFUSAL, token};

/// What a lazy opener sends first, and what a willing listener answers.
#[must_use]
pub fn proposal(protocol: &str) -> Bytes {
    let mut out = Vec::with_capacity(HEADER.len() + protocol.len() + 6);
    token::put(&mut out, HEADER);
    token::put(&mut out, protocol);
    Bytes::from(out)
}

/// The answer to a lazy proposal, as far as it has come.
#[derive(Debug)]
pub(crate) struct Echo {
    want: Bytes,
    refusal: Bytes,
    seen: usize,
    /// Whether what came so far is the start of a refusal instead.
    refused: bool,
}

impl Echo {
    /// Awaits the answer to `proposal(protocol)`.
    pub(crate) fn new(protocol: &str) -> Self {
        Self { want: proposal(protocol), refusal: proposal(REFUSAL), seen: 0, refused: false }
    }

    /// Consumes the answer from the front of `chunk`; true once it is whole.
    ///
    /// # Errors
    /// If the peer refused, or answered nonsense.
    pub(crate) fn check(&mut self, chunk: &mut Bytes) -> Result<bool, NegotiateError> {
        while self.refused || self.seen < self.want.len() {
            if !chunk.has_remaining() {
                return Ok(false);
            }
            let byte = chunk.get_u8();
            let differs = self.want[self.seen] != byte;
            if self.refused || differs {
                // Both answers begin with the header; they part at the length
                // of the second token, or within it.
                let may_be_refusal = self.seen >= HEADER.len() + 2
                    && self.refusal.get(self.seen) == Some(&byte)
                    && (self.refused || self.want[..self.seen] == self.refusal[..self.seen]);
                if !may_be_refusal {
                    let in_header = self.seen < HEADER.len() + 2;
                    return Err(if in_header {
                        NegotiateError::WrongHeader
                    } else {
                        NegotiateError::WrongAnswer
                    });
                }
                self.refused = true;
            }
            self.seen += 1;
            if self.refused && self.seen == self.refusal.len() {
                return Err(NegotiateError::Refused);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(echo: &mut Echo, bytes: &[u8], size: usize) -> Result<Vec<u8>, NegotiateError> {
        let mut rest = Vec::new();
        for piece in bytes.chunks(size) {
            let mut piece = Bytes::copy_from_slice(piece);
            if echo.check(&mut piece)? {
                rest.extend_from_slice(&piece);
            }
        }
        Ok(rest)
    }

    #[test]
    fn consumes_the_echo_and_nothing_more() {
        for size in 1..40 {
            let mut bytes = proposal("/x/1").to_vec();
            bytes.extend_from_slice(b"payload");
            assert_eq!(feed(&mut Echo::new("/x/1"), &bytes, size).unwrap(), b"payload");
        }
    }

    #[test]
    fn tells_refusal_from_nonsense() {
        // "/x" has the same length as "na", so that they part one byte later.
        for (protocol, size) in [("/x/1", 1), ("/x/1", 99), ("/x", 1), ("/x", 99)] {
            let refused = feed(&mut Echo::new(protocol), &proposal("na"), size);
            assert!(matches!(refused, Err(NegotiateError::Refused)), "{refused:?}");
            let other = feed(&mut Echo::new(protocol), &proposal("/y/2"), size);
            assert!(matches!(other, Err(NegotiateError::WrongAnswer)), "{other:?}");
            let garbage = feed(&mut Echo::new(protocol), b"HTTP/1.1 400 Bad Request", size);
            assert!(matches!(garbage, Err(NegotiateError::WrongHeader)), "{garbage:?}");
        }
    }
}
