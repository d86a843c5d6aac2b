//! dag-cbor (ipld/ipld specs/codecs/dag-cbor/spec.md), by hand.
//!
//! The writer gives the canonical form: shortest numbers and lengths, keys by
//! length and then by their bytes, floats in 64 bits, no tag but 42.
//!
//! The reader takes what go-ipld-prime 0.24 takes with the options that Kubo
//! leaves at their defaults. That is the canonical form, and:
//!
//! - keys in any order, as old encoders and those of other languages wrote them;
//! - floats in 16 and 32 bits;
//! - `undefined`, which is read as null;
//! - strings that are no UTF-8, as Filecoin has them.
//!
//! Refused, there and here: numbers and lengths that are not the shortest,
//! indefinite lengths, NaN and infinities, a key twice, keys that are no
//! strings, other simple values, and bytes after the value. Before 0.24 the
//! first three of these passed.
//!
//! Different from it on purpose: it overlooks a tag before anything but bytes,
//! and gives wrong numbers for some below -2^63. Here each tag but 42 before a
//! CID is an error, as the specification demands, and integers down to -2^64
//! are read.

use std::borrow::Cow;

use crate::cid_text::{self, CidError};
use crate::limits::IPLD_DEPTH_MAX;

use super::event::{Event, Keys};
use super::{EncodeError, IpldError, Value};

/// Why a block is not dag-cbor. Its maker is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The block ends inside a value.
    #[error("cut short")]
    Truncated,
    /// Bytes follow the value.
    #[error("bytes after the value")]
    Trailing,
    /// A number or length that could have been written in fewer bytes.
    #[error("a number that is not in its shortest form")]
    NotShortest,
    /// A list, map, string or bytes without a length.
    #[error("an indefinite length")]
    Indefinite,
    /// A first byte of a value that means nothing here.
    #[error("a value that begins with 0x{0:02x}")]
    Head(u8),
    /// A tag that is not 42, or that stands before something else than bytes.
    #[error("tag {0} where it cannot be")]
    Tag(u64),
    /// A link that does not begin with a zero byte.
    #[error("a link without its leading zero byte")]
    LinkPrefix,
    /// A link that holds no CID.
    #[error("a link that is no CID ({0})")]
    Link(CidError),
    /// A float that is infinite or not a number.
    #[error("a float that is infinite or not a number")]
    Float,
    /// A key of a map that is no string.
    #[error("a key that is no string")]
    Key,
}

/// The tag of a link.
const LINK: u64 = 42;

/// Reads a block.
///
/// # Errors
/// See [`IpldError`].
pub fn decode(block: &[u8]) -> Result<Value, IpldError> {
    super::decode(crate::codec::DAG_CBOR, block)
}

/// A list or map whose end has not come.
struct Frame<'a> {
    /// Values, or entries, that are still to come.
    left: u64,
    /// Of a map, its keys.
    keys: Option<Keys<&'a [u8]>>,
    /// A key was read, its value comes next.
    keyed: bool,
}

/// The events of a block.
pub(super) struct Reader<'a> {
    block: &'a [u8],
    at: usize,
    begun: bool,
    stack: Vec<Frame<'a>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Self { block, at: 0, begun: false, stack: Vec::new() }
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], CborError> {
        let len = usize::try_from(len).map_err(|_| CborError::Truncated)?;
        let taken = self.block[self.at..].get(..len).ok_or(CborError::Truncated)?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CborError> {
        let taken = self.block[self.at..].first_chunk().ok_or(CborError::Truncated)?;
        self.at += N;
        Ok(*taken)
    }

    /// The major type that comes next, and the number that goes with it.
    fn head(&mut self) -> Result<(u8, u64), CborError> {
        let [first] = self.array()?;
        let (major, low) = (first >> 5, first & 0x1f);
        let (number, least) = match low {
            0..24 => (low.into(), 0),
            24 => (u8::from_be_bytes(self.array()?).into(), 24),
            25 => (u16::from_be_bytes(self.array()?).into(), 1 << 8),
            26 => (u32::from_be_bytes(self.array()?).into(), 1 << 16),
            27 => (u64::from_be_bytes(self.array()?), 1 << 32),
            31 if (2..6).contains(&major) => return Err(CborError::Indefinite),
            _ => return Err(CborError::Head(first)),
        };
        if number < least { Err(CborError::NotShortest) } else { Ok((major, number)) }
    }

    fn value(&mut self) -> Result<Event<'a>, IpldError> {
        if self.block.get(self.at).is_some_and(|first| first >> 5 == 7) {
            return Ok(self.simple()?);
        }
        let (major, number) = self.head()?;
        Ok(match major {
            0 => Event::Integer(number.into()),
            1 => Event::Integer(-1 - i128::from(number)),
            2 => Event::Bytes(self.take(number)?.into()),
            3 => Event::String(self.take(number)?.into()),
            4 => self.open(number, number, None)?,
            5 => self.open(number, number.saturating_mul(2), Some(Keys::new()))?,
            _ => self.link(number)?,
        })
    }

    /// A value of major type 7.
    fn simple(&mut self) -> Result<Event<'a>, CborError> {
        let [first] = self.array()?;
        let value = match first {
            0xf4 => return Ok(Event::Bool(false)),
            0xf5 => return Ok(Event::Bool(true)),
            0xf6 | 0xf7 => return Ok(Event::Null),
            0xf9 => half(u16::from_be_bytes(self.array()?)),
            0xfa => f32::from_be_bytes(self.array()?).into(),
            0xfb => f64::from_be_bytes(self.array()?),
            other => return Err(CborError::Head(other)),
        };
        if value.is_finite() { Ok(Event::Float(value)) } else { Err(CborError::Float) }
    }

    /// Begins a list or map, whose items take at least `least` bytes.
    fn open(&mut self, left: u64, least: u64, keys: Option<Keys<&'a [u8]>>) -> Result<Event<'a>, IpldError> {
        if least > (self.block.len() - self.at) as u64 {
            return Err(CborError::Truncated.into());
        }
        if self.stack.len() == IPLD_DEPTH_MAX {
            return Err(IpldError::TooDeep);
        }
        let event = if keys.is_some() { Event::Map } else { Event::List };
        self.stack.push(Frame { left, keys, keyed: false });
        Ok(event)
    }

    fn link(&mut self, tag: u64) -> Result<Event<'a>, CborError> {
        if tag != LINK || self.block.get(self.at).is_some_and(|first| first >> 5 != 2) {
            return Err(CborError::Tag(tag));
        }
        let (_, len) = self.head()?;
        let cid = self.take(len)?.strip_prefix(&[0]).ok_or(CborError::LinkPrefix)?;
        Ok(Event::Link(cid_text::from_bytes(cid).map_err(CborError::Link)?.into()))
    }

    fn step(&mut self) -> Result<Option<Event<'a>>, IpldError> {
        let Some(frame) = self.stack.last_mut() else {
            if !self.begun {
                self.begun = true;
                return self.value().map(Some);
            }
            return if self.at == self.block.len() { Ok(None) } else { Err(CborError::Trailing.into()) };
        };
        if frame.left == 0 {
            let keys = self.stack.pop().and_then(|frame| frame.keys);
            keys.map_or(Ok(()), Keys::check)?;
            return Ok(Some(Event::End));
        }
        if frame.keys.is_some() && !frame.keyed {
            frame.keyed = true;
            let (major, len) = self.head()?;
            if major != 3 {
                return Err(CborError::Key.into());
            }
            let key = self.take(len)?;
            if let Some(keys) = self.stack.last_mut().and_then(|frame| frame.keys.as_mut()) {
                keys.push(key, |a, b| (a.len(), *a) < (b.len(), *b));
            }
            return Ok(Some(Event::Key(Cow::Borrowed(key))));
        }
        frame.keyed = false;
        frame.left -= 1;
        self.value().map(Some)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Event<'a>, IpldError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            // Nothing comes after an error.
            self.stack.clear();
            self.at = self.block.len();
        }
        step.transpose()
    }
}

/// A float of 16 bits (RFC 8949 appendix D; IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (bits >> 10 & 0x1f, f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 => f64::NAN, // or infinity: both are refused
        _ => (1024.0 + fraction) * 2f64.powi(i32::from(exponent) - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

/// Writes a value in canonical form.
///
/// # Errors
/// Numbers that dag-cbor does not have, or too many levels.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    put(&mut out, value, 0)?;
    Ok(out)
}

fn put(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), EncodeError> {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(value) => out.push(0xf4 + u8::from(*value)),
        Value::Integer(value) => {
            let (major, number) = if *value < 0 { (1, -1 - value) } else { (0, *value) };
            put_head(out, major, u64::try_from(number).map_err(|_| EncodeError::Integer)?);
        }
        Value::Float(value) => {
            if !value.is_finite() {
                return Err(EncodeError::Float);
            }
            out.push(0xfb);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::String(text) => put_bytes(out, 3, text.as_bytes()),
        Value::Bytes(bytes) => put_bytes(out, 2, bytes),
        Value::Link(cid) => {
            put_head(out, 6, LINK);
            put_bytes(out, 2, &[&[0], &cid.to_bytes()[..]].concat());
        }
        Value::List(_) | Value::Map(_) if depth == IPLD_DEPTH_MAX => return Err(EncodeError::TooDeep),
        Value::List(items) => {
            put_head(out, 4, items.len() as u64);
            for item in items {
                put(out, item, depth + 1)?;
            }
        }
        Value::Map(entries) => {
            put_head(out, 5, entries.len() as u64);
            let mut entries: Vec<_> = entries.iter().collect();
            // Equal lengths stay in the order of their bytes.
            entries.sort_by_key(|(key, _)| key.as_bytes().len());
            for (key, value) in entries {
                put_bytes(out, 3, key.as_bytes());
                put(out, value, depth + 1)?;
            }
        }
    }
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, major: u8, bytes: &[u8]) {
    put_head(out, major, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends the head of a value of a major type, in its one shortest form.
pub(crate) fn put_head(out: &mut Vec<u8>, major: u8, number: u64) {
    let bytes = number.to_be_bytes();
    let (low, len) = match number {
        0..24 => (bytes[7], 0),
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    out.push(major << 5 | low);
    out.extend_from_slice(&bytes[8 - len..]);
}
