//! dag-json (ipld/ipld specs/codecs/dag-json/spec.md; RFC 8259), by hand: it
//! needs integers of 64 bits apart from floats, keys that are not there twice,
//! and a look ahead for links and bytes.
//!
//! The writer gives the canonical form: no whitespace, keys by their bytes,
//! version 0 CIDs in base58 and others in base32. Where the specification is
//! silent it writes what Kubo does: control characters as `\n`, `\r`, `\t` or
//! `\u00xx`, and U+2028 and U+2029 escaped, nothing else; floats as ECMAScript
//! prints them. Floats without a fraction end in `.0`, as the specification
//! asks and JavaScript's dag-json does; Kubo leaves that out and reads them back
//! as integers, which fails from 2^63 up.
//!
//! The reader takes what go-ipld-prime 0.24, and so Kubo, takes: keys in any
//! order, whitespace, a CID in any base, base64 with its padding or without.
//! Integers reach from -2^64 to 2^64 - 1, there from -2^63 to 2^63 - 1.
//!
//! Refused here, though not there: maps in the reserved namespace that are
//! neither links nor bytes, as the specification demands; and what is no JSON
//! or would be altered by reading: commas before a bracket, strings that are
//! not UTF-8 or have half of a surrogate pair, base64 with line breaks or stray
//! bits, NULs after the value.

use std::borrow::Cow;

use multibase::Base;

use crate::cid_text::{self, CidError};
use crate::limits::IPLD_DEPTH_MAX;

use super::event::{Event, Keys};
use super::json_text::{self, Scanner};
use super::{EncodeError, IpldError, Map, Text, Value, json_float};

/// Why a block is not dag-json. Its maker is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The block ends inside a value.
    #[error("cut short")]
    Truncated,
    /// Not JSON.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8, at byte {0}")]
    NotUtf8(usize),
    /// An integer outside -2^64..2^64, or a float that is infinite.
    #[error("a number that is too large, at byte {0}")]
    Number(usize),
    /// A map whose first key is `/`, but that is neither a link nor bytes.
    #[error("a map that could be taken for a link or bytes, at byte {0}")]
    Reserved(usize),
    /// A link that holds no CID.
    #[error("a link that is no CID ({0})")]
    Link(CidError),
    /// Bytes that are not in base64.
    #[error("bytes that are not in base64")]
    Base64,
}

/// Reads a block.
///
/// # Errors
/// See [`IpldError`].
pub fn decode(block: &[u8]) -> Result<Value, IpldError> {
    super::decode(crate::codec::DAG_JSON, block)
}

/// What has to come next in a list or map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// A value or key, or the end.
    First,
    /// A comma, or the end.
    Next,
    /// The value of a key.
    Keyed,
}

/// A list or map whose end has not come.
struct Frame<'a> {
    keys: Option<Keys<Cow<'a, str>>>,
    place: Place,
}

/// The events of a block.
pub(super) struct Reader<'a> {
    text: Scanner<'a>,
    begun: bool,
    stack: Vec<Frame<'a>>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(block: &'a [u8]) -> Self {
        Self { text: Scanner::new(block), begun: false, stack: Vec::new() }
    }

    fn step(&mut self) -> Result<Option<Event<'a>>, IpldError> {
        self.text.skip_space();
        let Some(frame) = self.stack.last_mut() else {
            if !self.begun {
                self.begun = true;
                return self.value().map(Some);
            }
            return if self.text.peek().is_none() { Ok(None) } else { Err(self.text.wrong().into()) };
        };
        let close = if frame.keys.is_some() { b'}' } else { b']' };
        let place = std::mem::replace(&mut frame.place, Place::Next);
        if place != Place::Keyed && self.text.accept(close) {
            let keys = self.stack.pop().and_then(|frame| frame.keys);
            keys.map_or(Ok(()), Keys::check)?;
            return Ok(Some(Event::End));
        }
        if place == Place::Next {
            self.text.expect(b',')?;
            self.text.skip_space();
        }
        let Some(keys) = frame.keys.as_mut().filter(|_| place != Place::Keyed) else {
            return self.value().map(Some);
        };
        let key = self.text.string()?;
        self.text.skip_space();
        self.text.expect(b':')?;
        keys.push(key.clone(), |a, b| a < b);
        frame.place = Place::Keyed;
        Ok(Some(Event::Key(bytes_of(key))))
    }

    fn value(&mut self) -> Result<Event<'a>, IpldError> {
        let text = &mut self.text;
        Ok(match text.peek() {
            Some(b'{') => match self.reserved()? {
                Some(event) => event,
                None => self.open(Some(Keys::new()))?,
            },
            Some(b'[') => self.open(None)?,
            Some(b'"') => Event::String(bytes_of(text.string()?)),
            Some(b'n') => text.word(b"null", Event::Null)?,
            Some(b't') => text.word(b"true", Event::Bool(true))?,
            Some(b'f') => text.word(b"false", Event::Bool(false))?,
            _ => text.number()?,
        })
    }

    /// Begins a list or map, at its bracket.
    fn open(&mut self, keys: Option<Keys<Cow<'a, str>>>) -> Result<Event<'a>, IpldError> {
        if self.stack.len() == IPLD_DEPTH_MAX {
            return Err(IpldError::TooDeep);
        }
        self.text.skip(1);
        let event = if keys.is_some() { Event::Map } else { Event::List };
        self.stack.push(Frame { keys, place: Place::First });
        Ok(event)
    }

    /// The link or bytes that begin at this bracket; none, and nothing read, if
    /// a map begins. Looks no further than two keys and a string.
    fn reserved(&mut self) -> Result<Option<Event<'a>>, JsonError> {
        let start = self.text.clone();
        let event = self.link_or_bytes()?;
        if event.is_none() {
            self.text = start;
        }
        Ok(event)
    }

    fn link_or_bytes(&mut self) -> Result<Option<Event<'a>>, JsonError> {
        let start = self.text.at();
        if self.first_key()?.as_deref() != Some("/") {
            return Ok(None);
        }
        let bytes = self.text.peek() == Some(b'{');
        if bytes && self.first_key()?.as_deref() != Some("bytes") || self.text.peek() != Some(b'"') {
            return Ok(None);
        }
        let content = self.text.string()?;
        for _ in 0..1 + usize::from(bytes) {
            self.text.skip_space();
            if !self.text.accept(b'}') {
                return Err(self.text.peek().map_or(JsonError::Truncated, |_| JsonError::Reserved(start)));
            }
        }
        Ok(Some(if bytes {
            Event::Bytes(base64(&content)?.into())
        } else {
            Event::Link(cid_text::parse(&content).map_err(JsonError::Link)?.into())
        }))
    }

    /// Reads from a bracket to before the value of the first key; none if the
    /// map is empty, or no map.
    fn first_key(&mut self) -> Result<Option<Cow<'a, str>>, JsonError> {
        self.text.skip(1);
        self.text.skip_space();
        if self.text.peek() != Some(b'"') {
            return Ok(None);
        }
        let key = self.text.string()?;
        self.text.skip_space();
        self.text.expect(b':')?;
        self.text.skip_space();
        Ok(Some(key))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Event<'a>, IpldError>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            // Nothing comes after an error.
            self.stack.clear();
            self.text = Scanner::new(b"");
        }
        step.transpose()
    }
}

fn bytes_of(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

fn base64(text: &str) -> Result<Vec<u8>, JsonError> {
    let base = if text.ends_with('=') { Base::Base64Pad } else { Base::Base64 };
    base.decode(text).map_err(|_| JsonError::Base64)
}

/// Writes a value in canonical form.
///
/// # Errors
/// Numbers and maps that dag-json does not have, or too many levels.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    put(&mut out, value, 0)?;
    Ok(out)
}

fn put(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), EncodeError> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Integer(value) => {
            let size = if *value < 0 { -1 - value } else { *value };
            u64::try_from(size).map_err(|_| EncodeError::Integer)?;
            out.extend_from_slice(value.to_string().as_bytes());
        }
        Value::Float(value) if !value.is_finite() => return Err(EncodeError::Float),
        Value::Float(value) => out.extend_from_slice(json_float::text(*value).as_bytes()),
        Value::String(text) => put_string(out, text)?,
        Value::Bytes(bytes) => {
            out.extend_from_slice(br#"{"/":{"bytes":""#);
            out.extend_from_slice(Base::Base64.encode(bytes).as_bytes());
            out.extend_from_slice(br#""}}"#);
        }
        Value::Link(cid) => {
            out.extend_from_slice(br#"{"/":""#);
            out.extend_from_slice(cid_text::native(cid).as_bytes());
            out.extend_from_slice(br#""}"#);
        }
        Value::List(_) | Value::Map(_) if depth == IPLD_DEPTH_MAX => return Err(EncodeError::TooDeep),
        Value::List(items) => {
            out.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                put(out, item, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Map(entries) => {
            if looks_special(entries) {
                return Err(EncodeError::Reserved);
            }
            out.push(b'{');
            for (n, (key, value)) in entries.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                put_string(out, key)?;
                out.push(b':');
                put(out, value, depth + 1)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn put_string(out: &mut Vec<u8>, text: &Text) -> Result<(), EncodeError> {
    json_text::put_string(out, text.as_str().ok_or(EncodeError::NotUtf8)?);
    Ok(())
}

/// Whether a map would be read as a link, as bytes, or refused.
fn looks_special(entries: &Map) -> bool {
    match first_under(entries, "/") {
        Some(Value::String(_)) => true,
        Some(Value::Map(inner)) => matches!(first_under(inner, "bytes"), Some(Value::String(_))),
        _ => false,
    }
}

/// The first value of a map, if it is under this key.
fn first_under<'a>(entries: &'a Map, key: &str) -> Option<&'a Value> {
    entries.iter().next().filter(|(first, _)| first.as_str() == Some(key)).map(|(_, value)| value)
}
