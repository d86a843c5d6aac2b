//! Noise transport messages: sealing into, and opening out of, large buffers.
//!
//! Sealing gathers plaintext straight into the outgoing buffer and encrypts
//! it there; opening copies ciphertext once, into the buffer whose plaintext
//! is handed on. Nonces count up from zero (Noise specification, section 12):
//! four zero bytes and a little-endian counter.

use bytes::{Buf, Bytes, BytesMut};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::NoiseError;

/// Bytes that the length in front of each Noise message takes.
const PREFIX: usize = 2;
/// Bytes of a Poly1305 tag.
const TAG: usize = 16;
/// Most plaintext in one Noise message, in bytes: 65,535 less the tag.
pub const MAX_PLAINTEXT: usize = 65_535 - TAG;
/// Opened plaintext is gathered into buffers of this many bytes. One full
/// message fills one, so a slice that is kept pins no more than that message.
const PLAIN_BUFFER: usize = 64 * 1024;

/// Plaintext that fills less than this part of its buffer is copied out of it.
const PIN_RATIO: usize = 4;

/// One direction's key and its message counter.
struct Cipher {
    key: LessSafeKey,
    counter: u64,
}

impl Cipher {
    fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&CHACHA20_POLY1305, key).expect("ChaCha20-Poly1305 takes 32 bytes");
        Self { key: LessSafeKey::new(key), counter: 0 }
    }

    /// The nonce of the next message; none once all are used.
    fn next_nonce(&mut self) -> Result<Nonce, NoiseError> {
        // 2^64 - 1 is reserved by the specification.
        if self.counter == u64::MAX {
            return Err(NoiseError::Exhausted);
        }
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.counter.to_le_bytes());
        self.counter += 1;
        Ok(Nonce::assume_unique_for_key(nonce))
    }
}

/// Encrypts what we send.
pub struct Sealer(Cipher);

impl Sealer {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Cipher::new(key))
    }

    /// A message without plaintext, which we never send.
    #[cfg(test)]
    pub(super) fn seal_empty(&mut self) -> [u8; TAG] {
        self.seal(&mut []).expect("nonces are left")
    }

    fn seal(&mut self, in_place: &mut [u8]) -> Result<[u8; TAG], NoiseError> {
        let nonce = self.0.next_nonce()?;
        let tag = self
            .0
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), in_place)
            .map_err(|_| NoiseError::Exhausted)?;
        let mut bytes = [0; TAG];
        bytes.copy_from_slice(tag.as_ref());
        Ok(bytes)
    }
}

/// Decrypts what the peer sends.
pub struct Opener(Cipher);

impl Opener {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Cipher::new(key))
    }

    /// Decrypts `in_place` (ciphertext and tag); the plaintext is its first bytes.
    fn open(&mut self, in_place: &mut [u8]) -> Result<usize, NoiseError> {
        let nonce = self.0.next_nonce()?;
        let plain = self.0.key.open_in_place(nonce, Aad::empty(), in_place);
        plain.map(|plain| plain.len()).map_err(|_| NoiseError::Forged)
    }
}

/// Gathers plaintext into sealed frames, ready for the socket.
pub struct FrameWriter {
    sealer: Sealer,
    out: BytesMut,
    /// Where the frame begins that is still being filled.
    open_frame: Option<usize>,
}

impl FrameWriter {
    /// A writer with nothing in it.
    #[must_use]
    pub fn new(sealer: Sealer) -> Self {
        Self { sealer, out: BytesMut::new(), open_frame: None }
    }

    /// Makes room for `plaintext` more bytes, so that pushing them moves nothing.
    pub fn reserve(&mut self, plaintext: usize) {
        let frames = plaintext / MAX_PLAINTEXT + 1;
        self.out.reserve(plaintext + frames * (PREFIX + TAG));
    }

    /// Appends plaintext; full frames are sealed at once.
    ///
    /// # Errors
    /// If every nonce is used.
    pub fn push(&mut self, mut plaintext: &[u8]) -> Result<(), NoiseError> {
        while !plaintext.is_empty() {
            let start = *self.open_frame.get_or_insert_with(|| {
                let start = self.out.len();
                self.out.extend_from_slice(&[0; PREFIX]);
                start
            });
            let room = MAX_PLAINTEXT - (self.out.len() - start - PREFIX);
            let (now, later) = plaintext.split_at(room.min(plaintext.len()));
            self.out.extend_from_slice(now);
            plaintext = later;
            if now.len() == room {
                self.seal()?;
            }
        }
        Ok(())
    }

    /// Seals the frame that is not full, if there is one. Only then may
    /// [`sealed`](Self::sealed) be sent.
    ///
    /// # Errors
    /// If every nonce is used.
    pub fn seal(&mut self) -> Result<(), NoiseError> {
        let Some(start) = self.open_frame.take() else { return Ok(()) };
        let body = start + PREFIX;
        let tag = self.sealer.seal(&mut self.out[body..])?;
        self.out.extend_from_slice(&tag);
        let len = u16::try_from(self.out.len() - body).expect("a frame is never filled further than this");
        self.out[start..body].copy_from_slice(&len.to_be_bytes());
        Ok(())
    }

    /// What is to be written to the socket.
    #[must_use]
    pub fn sealed(&self) -> &[u8] {
        debug_assert!(self.open_frame.is_none(), "seal first");
        &self.out
    }

    /// Forgets the first `count` bytes, which were written.
    pub fn advance(&mut self, count: usize) {
        self.out.advance(count);
        if self.out.is_empty() {
            self.out.clear();
        }
    }

    /// Gives the memory back if there is nothing to send.
    pub fn release(&mut self) {
        if self.out.is_empty() {
            self.out = BytesMut::new();
        }
    }
}

/// Takes frames apart as they come from the socket.
pub struct FrameReader {
    opener: Opener,
    /// Ciphertext that was read and not yet opened. Never handed out, so it is reused.
    raw: BytesMut,
}

impl FrameReader {
    /// A reader with nothing in it.
    #[must_use]
    pub fn new(opener: Opener) -> Self {
        Self { opener, raw: BytesMut::new() }
    }

    /// The buffer to append to what the socket gives.
    pub fn raw(&mut self) -> &mut BytesMut {
        &mut self.raw
    }

    /// True if no part of a frame has come: the stream may end here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The length of the frame at the front, prefix included, if that is known.
    #[must_use]
    pub fn front_len(&self) -> Option<usize> {
        let prefix = self.raw.first_chunk::<PREFIX>()?;
        Some(PREFIX + usize::from(u16::from_be_bytes(*prefix)))
    }

    /// Opens as many whole frames as fill one buffer of about 64 KiB; `None`
    /// when no whole frame with data is left. Call again until then.
    ///
    /// # Errors
    /// If a frame was forged or cut; the connection is over then.
    pub fn open(&mut self) -> Result<Option<Bytes>, NoiseError> {
        let mut plain = BytesMut::new();
        while let Some(len) = self.front_len().filter(|&len| len <= self.raw.len()) {
            let body = len - PREFIX;
            if body < TAG {
                return Err(NoiseError::Forged);
            }
            if plain.capacity() == 0 {
                plain.reserve(self.raw.len().min(PLAIN_BUFFER));
            } else if plain.len() + body > plain.capacity() {
                break;
            }
            let at = plain.len();
            plain.extend_from_slice(&self.raw[PREFIX..len]);
            let opened = self.opener.open(&mut plain[at..])?;
            plain.truncate(at + opened);
            self.raw.advance(len);
        }
        if self.raw.is_empty() {
            self.raw.clear();
        }
        // A frame without plaintext is no data, and no end either.
        // Little data in a large buffer is copied out, so that it pins none of it.
        let pins = plain.len() < plain.capacity() / PIN_RATIO;
        let plain = if pins { Bytes::copy_from_slice(&plain) } else { plain.freeze() };
        Ok(Some(plain).filter(|plain| !plain.is_empty()))
    }

    /// Gives back what memory is not needed for the part of a frame that has come.
    pub fn release(&mut self) {
        self.raw = BytesMut::from(&self.raw[..]);
    }
}
