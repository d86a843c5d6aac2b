//! A block as a row of events, the same whatever its codec, so that each way
//! of reading it is written once. A reader holds the keys of the maps that are
//! open and a frame for each level, nothing else.

use std::borrow::Cow;

use crate::dagpb;
use crate::limits::BLOCK_MAX;
use crate::{Cid, codec};

use super::{IpldError, Kind, cbor, json, pb};

/// What comes next in a block. Strings and keys are bytes, as in [`super::Text`].
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Event<'a> {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    String(Cow<'a, [u8]>),
    Bytes(Cow<'a, [u8]>),
    /// Boxed, as a CID is five times as large as all else here.
    Link(Box<Cid>),
    /// A list begins; values follow, then [`Event::End`].
    List,
    /// A map begins; keys follow, each with its value, then [`Event::End`].
    Map,
    Key(Cow<'a, [u8]>),
    /// The list or map ends that was opened last.
    End,
}

impl Event<'_> {
    /// The sort of value that this is, or begins; none for keys and ends.
    pub(super) fn kind(&self) -> Option<Kind> {
        Some(match self {
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Integer(_) => Kind::Integer,
            Self::Float(_) => Kind::Float,
            Self::String(_) => Kind::String,
            Self::Bytes(_) => Kind::Bytes,
            Self::Link(_) => Kind::Link,
            Self::List => Kind::List,
            Self::Map => Kind::Map,
            Self::Key(_) | Self::End => return None,
        })
    }
}

/// The events of one block: those of exactly one value, or those up to an error.
pub(super) type Events<'a> = Box<dyn Iterator<Item = Result<Event<'a>, IpldError>> + 'a>;

/// Reads a block of any codec.
pub(super) fn events(codec: u64, block: &[u8]) -> Result<Events<'_>, IpldError> {
    if block.len() > BLOCK_MAX {
        return Err(IpldError::TooLarge(block.len()));
    }
    Ok(match codec {
        codec::DAG_CBOR => Box::new(cbor::Reader::new(block)),
        codec::DAG_JSON => Box::new(json::Reader::new(block)),
        codec::DAG_PB => Box::new(pb::events(dagpb::decode(block)?).map(Ok)),
        codec::RAW => Box::new(std::iter::once(Ok(Event::Bytes(block.into())))),
        other => return Err(IpldError::Codec(other)),
    })
}

/// The keys of a map that is open.
#[derive(Debug)]
pub(super) struct Keys<K> {
    all: Vec<K>,
    ascending: bool,
}

impl<K: Ord> Keys<K> {
    pub(super) fn new() -> Self {
        Self { all: Vec::new(), ascending: true }
    }

    /// Adds a key; `before` is the order of the codec.
    pub(super) fn push(&mut self, key: K, before: impl FnOnce(&K, &K) -> bool) {
        self.ascending &= self.all.last().is_none_or(|last| before(last, &key));
        self.all.push(key);
    }

    /// Ends the map. Only keys that were not in the codec's order need sorting.
    pub(super) fn check(mut self) -> Result<(), IpldError> {
        if self.ascending {
            return Ok(());
        }
        self.all.sort_unstable();
        let twice = self.all.windows(2).any(|pair| pair[0] == pair[1]);
        if twice { Err(IpldError::DuplicateKey) } else { Ok(()) }
    }
}
