//! dag-pb in the data model: a map of `Data` and `Links`, these of `Hash`,
//! `Name` and `Tsize` (ipld/ipld specs/codecs/dag-pb/spec.md, logical format).
//!
//! The writer takes that form alone, with links in the order of their names,
//! and sorts nothing, so that no link changes its number unseen; Kubo sorts.

use crate::Cid;
use crate::dagpb::{self, Link, PbNode};

use super::event::Event;
use super::{EncodeError, IpldError, Map, Value};

/// Why a value is not dag-pb.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// Not a map, or one with other keys than `Data` and `Links`.
    #[error("a node must be a map of Data and Links")]
    Node,
    /// `Data` that is not bytes.
    #[error("Data must be bytes")]
    Data,
    /// `Links` that are missing or not a list.
    #[error("Links must be a list")]
    Links,
    /// A link that is not a map, or one with other keys than `Hash`, `Name`
    /// and `Tsize`.
    #[error("a link must be a map of Hash, Name and Tsize")]
    Link,
    /// `Hash` that is missing or not a link.
    #[error("the Hash of a link must be a link")]
    Hash,
    /// `Name` that is not a string.
    #[error("the Name of a link must be a string")]
    Name,
    /// `Tsize` that is not an integer from 0 to 2^64 - 1.
    #[error("the Tsize of a link must be an integer that is not negative")]
    Tsize,
    /// Links that are not sorted by the bytes of their names.
    #[error("links must be in the order of their names")]
    Order,
}

/// Reads a block.
///
/// # Errors
/// See [`IpldError`].
pub fn decode(block: &[u8]) -> Result<Value, IpldError> {
    super::decode(crate::codec::DAG_PB, block)
}

/// The events of a node. The link's fields are in the order of dag-json and
/// dag-cbor alike.
pub(super) fn events(node: PbNode<'_>) -> impl Iterator<Item = Event<'_>> {
    let data = node.data.map(|data| [key(b"Data"), Event::Bytes(data.into())]);
    let links = node.links.into_iter().flat_map(|link| {
        let name = link.name.map(|name| [key(b"Name"), Event::String(name.into())]);
        let tsize = link.tsize.map(|tsize| [key(b"Tsize"), Event::Integer(tsize.into())]);
        let hash = [Event::Map, key(b"Hash"), Event::Link(link.cid.into())].into_iter();
        let rest = name.into_iter().flatten().chain(tsize.into_iter().flatten());
        hash.chain(rest).chain([Event::End])
    });
    let start = [Event::Map].into_iter().chain(data.into_iter().flatten());
    start.chain([key(b"Links"), Event::List]).chain(links).chain([Event::End, Event::End])
}

fn key(name: &'static [u8]) -> Event<'static> {
    Event::Key(name.into())
}

/// Writes a value as a block.
///
/// # Errors
/// See [`FormError`].
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let fields = fields(value, &["Data", "Links"]).ok_or(FormError::Node)?;
    let data = match fields.get("Data") {
        None => None,
        Some(Value::Bytes(bytes)) => Some(&bytes[..]),
        Some(_) => return Err(FormError::Data.into()),
    };
    let Some(Value::List(links)) = fields.get("Links") else { return Err(FormError::Links.into()) };
    let links = links.iter().map(link).collect::<Result<Vec<_>, _>>()?;
    // A missing name counts as an empty one.
    if !links.is_sorted_by_key(|link| link.name.unwrap_or_default()) {
        return Err(FormError::Order.into());
    }
    Ok(dagpb::encode(&PbNode { links, data }))
}

fn link(value: &Value) -> Result<Link<'_>, FormError> {
    let fields = fields(value, &["Hash", "Name", "Tsize"]).ok_or(FormError::Link)?;
    let Some(Value::Link(cid)) = fields.get("Hash") else { return Err(FormError::Hash) };
    let cid: Cid = **cid;
    let name = match fields.get("Name") {
        None => None,
        Some(Value::String(name)) => Some(name.as_bytes()),
        Some(_) => return Err(FormError::Name),
    };
    let tsize = match fields.get("Tsize") {
        None => None,
        Some(Value::Integer(tsize)) => Some(u64::try_from(*tsize).map_err(|_| FormError::Tsize)?),
        Some(_) => return Err(FormError::Tsize),
    };
    Ok(Link { cid, name, tsize })
}

/// The entries of a map that has no other keys than `known`.
fn fields<'a>(value: &'a Value, known: &[&str]) -> Option<&'a Map> {
    let Value::Map(entries) = value else { return None };
    entries.iter().all(|(key, _)| key.as_str().is_some_and(|key| known.contains(&key))).then_some(entries)
}
