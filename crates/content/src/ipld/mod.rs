//! The IPLD data model and its codecs: dag-cbor, dag-json, dag-pb and raw
//! (ipld/ipld docs/data-model and specs/codecs). A block of any of them is
//! read as a [`Value`], or searched as it stands, without one: for its links
//! ([`links`], [`named_links`]), or along a path ([`step`]).
//!
//! Whatever is written is the one canonical form. What is read is what Kubo
//! reads; [`cbor`] and [`json`] say where that is more, or less, than their
//! specifications.
//!
//! Left out on purpose: cbor and json without links (codes 0x51 and 0x0200),
//! schemas and selectors.
//!
//! # Following a path
//!
//! ```
//! use std::collections::BTreeMap;
//! use peerage_content::ipld::{self, Step, Value, cbor};
//! use peerage_content::{Cid, codec, hash};
//!
//! let mut store = BTreeMap::new();
//! let mut put = |value: &Value| {
//!     let block = cbor::encode(value).unwrap();
//!     let cid = Cid::new_v1(codec::DAG_CBOR, hash::digest(hash::SHA2_256, &block).unwrap());
//!     store.insert(cid, block);
//!     cid
//! };
//! let map = |key: &str, value| Value::Map([(key, value)].into());
//! let child = put(&map("name", Value::from("a child")));
//! let root = put(&map("children", Value::List(vec![Value::from(child)])));
//!
//! // root/children/0/name leads through a link to another block.
//! let path = ["children", "0", "name"].map(String::from);
//! let (mut at, mut rest) = (root, &path[..]);
//! while let Step::Link { cid, used } = ipld::step(at.codec(), &store[&at], rest).unwrap() {
//!     (at, rest) = (cid, &rest[used..]);
//! }
//! assert_eq!((at, rest), (child, &path[2..]));
//! let value = ipld::decode(at.codec(), &store[&at]).unwrap();
//! assert_eq!(value.child("name"), Some(&Value::from("a child")));
//!
//! assert_eq!(ipld::links(root.codec(), &store[&root]), Ok(vec![child]));
//! assert_eq!(ipld::named_links(root.codec(), &store[&root]), Ok(vec![("children/0".into(), child)]));
//! ```

mod build;
pub mod cbor;
mod event;
pub mod json;
mod json_float;
mod json_text;
mod map;
mod path;
pub mod pb;
mod search;
mod text;

use std::fmt;

pub use map::Map;
pub use path::{PathError, Step, step};
pub use search::{links, named_links};
pub use text::Text;

use crate::dagpb::DagPbError;
use crate::{Cid, codec};

/// What a block holds, or a part of it.
///
/// ```
/// use peerage_content::ipld::{Value, cbor, json};
/// let value = json::decode(br#"{"n": 1, "of": {"/": {"bytes": "AQ"}}}"#).unwrap();
/// assert_eq!(value.child("n"), Some(&Value::Integer(1)));
/// assert_eq!(cbor::encode(&value).unwrap(), b"\xa2\x61n\x01\x62of\x41\x01");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number from -2^64 to 2^64 - 1; others cannot be written.
    Integer(i128),
    /// A number with a fraction, maybe 0; infinity and NaN cannot be written.
    Float(f64),
    /// Text, as a rule.
    String(Text),
    /// Bytes.
    Bytes(Vec<u8>),
    /// Values in a row.
    List(Vec<Value>),
    /// Values by name.
    Map(Map),
    /// Another block. Boxed, so that the small values of a stranger's block
    /// stay small.
    Link(Box<Cid>),
}

impl Value {
    /// What sort of value this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Integer(_) => Kind::Integer,
            Self::Float(_) => Kind::Float,
            Self::String(_) => Kind::String,
            Self::Bytes(_) => Kind::Bytes,
            Self::List(_) => Kind::List,
            Self::Map(_) => Kind::Map,
            Self::Link(_) => Kind::Link,
        }
    }

    /// The value under one component of a path: a key of a map, or the number
    /// of an item of a list, counted from 0.
    #[must_use]
    pub fn child(&self, component: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.get(component),
            Self::List(items) => items.get(path::index(component)?),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.into())
    }
}

impl From<Cid> for Value {
    fn from(cid: Cid) -> Self {
        Self::Link(Box::new(cid))
    }
}

/// A sort of value. Prints itself for messages, such as `a map`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// [`Value::Null`].
    Null,
    /// [`Value::Bool`].
    Bool,
    /// [`Value::Integer`].
    Integer,
    /// [`Value::Float`].
    Float,
    /// [`Value::String`].
    String,
    /// [`Value::Bytes`].
    Bytes,
    /// [`Value::List`].
    List,
    /// [`Value::Map`].
    Map,
    /// [`Value::Link`].
    Link,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Integer => "an integer",
            Self::Float => "a float",
            Self::String => "a string",
            Self::Bytes => "bytes",
            Self::List => "a list",
            Self::Map => "a map",
            Self::Link => "a link",
        })
    }
}

/// Why a block cannot be read. Its maker is at fault, but for
/// [`IpldError::Codec`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IpldError {
    /// A codec that this module does not read.
    #[error("codec 0x{0:x} is not supported")]
    Codec(u64),
    /// More bytes than any block has.
    #[error("a block of {0} bytes is too large")]
    TooLarge(usize),
    /// Not dag-cbor.
    #[error("dag-cbor: {0}")]
    Cbor(#[from] cbor::CborError),
    /// Not dag-json.
    #[error("dag-json: {0}")]
    Json(#[from] json::JsonError),
    /// Not dag-pb.
    #[error(transparent)]
    DagPb(#[from] DagPbError),
    /// A map with a key twice.
    #[error("a map with the same key twice")]
    DuplicateKey,
    /// More levels than [`crate::limits::IPLD_DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
    /// More values than [`crate::limits::IPLD_VALUES_MAX`].
    #[error("too many values")]
    TooManyValues,
    /// More links than [`crate::limits::LINKS_MAX`].
    #[error("too many links")]
    TooManyLinks,
    /// Paths to links that are longer, together, than
    /// [`crate::limits::IPLD_PATHS_MAX`].
    #[error("too many and too long paths to links")]
    LongPaths,
}

/// Why a value cannot be written. Who made the value is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A codec that this module does not write.
    #[error("codec 0x{0:x} is not supported")]
    Codec(u64),
    /// An integer below -2^64 or above 2^64 - 1.
    #[error("an integer of more than 64 bits")]
    Integer,
    /// A float that is infinite or not a number.
    #[error("a float that is infinite or not a number")]
    Float,
    /// More levels than [`crate::limits::IPLD_DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
    /// dag-json: a string that is not UTF-8.
    #[error("dag-json: a string that is not UTF-8")]
    NotUtf8,
    /// dag-json: a map that looks like a link or bytes
    /// (specs/codecs/dag-json/spec.md, the reserved namespace).
    #[error("dag-json: a map that would be taken for a link or bytes")]
    Reserved,
    /// dag-pb: a value of another form than dag-pb has.
    #[error("dag-pb: {0}")]
    DagPb(#[from] pb::FormError),
    /// raw: a value that is not bytes.
    #[error("raw: {0} where only bytes can be")]
    Raw(Kind),
}

/// Reads a block of one of the four codecs.
///
/// # Errors
/// See [`IpldError`].
pub fn decode(codec: u64, block: &[u8]) -> Result<Value, IpldError> {
    build::value(event::events(codec, block)?)
}

/// Writes a block of one of the four codecs.
///
/// # Errors
/// See [`EncodeError`].
pub fn encode(codec: u64, value: &Value) -> Result<Vec<u8>, EncodeError> {
    match (codec, value) {
        (codec::DAG_CBOR, _) => cbor::encode(value),
        (codec::DAG_JSON, _) => json::encode(value),
        (codec::DAG_PB, _) => pb::encode(value),
        (codec::RAW, Value::Bytes(bytes)) => Ok(bytes.clone()),
        (codec::RAW, other) => Err(EncodeError::Raw(other.kind())),
        _ => Err(EncodeError::Codec(codec)),
    }
}
