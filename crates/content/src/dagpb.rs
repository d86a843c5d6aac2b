//! The dag-pb codec, by hand: links and data in one node (ipld/ipld
//! specs/codecs/dag-pb/spec.md).
//!
//! The encoder writes the one canonical form: links first, then data; in a
//! link hash, name, size. The decoder takes what the specification allows and
//! nothing else: either order of links and data, but links in one run, fields
//! of a link in order, nothing twice, nothing unknown, a CID in each link. It
//! sorts nothing. Blocks are never re-encoded to be hashed.

use crate::Cid;
use crate::cid_text::{self, CidError};
use crate::limits::LINKS_MAX;
use crate::pb::{self, Reader, Value, WireError};

/// A link to another block. A missing name and an empty one are different
/// things in this codec, though not in UnixFS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link<'a> {
    /// The block.
    pub cid: Cid,
    /// Name, not always UTF-8 in blocks of others.
    pub name: Option<&'a [u8]>,
    /// Bytes of the whole DAG under the link, repetitions counted again. What
    /// the maker of the block claims, not more.
    pub tsize: Option<u64>,
}

/// A dag-pb node, borrowing from its block.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PbNode<'a> {
    /// Links, in the order of the block.
    pub links: Vec<Link<'a>>,
    /// Data; none and empty are different.
    pub data: Option<&'a [u8]>,
}

/// Why a block is not dag-pb. Its maker is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DagPbError {
    /// Not protobuf.
    #[error("dag-pb: {0}")]
    Wire(#[from] WireError),
    /// A field that the format does not have, or of a wrong type.
    #[error("dag-pb: unknown field {0}")]
    Field(u32),
    /// A field that is there twice, or not in its place.
    #[error("dag-pb: field {0} twice or out of order")]
    Order(u32),
    /// A link whose hash is no CID.
    #[error("dag-pb: a link without a valid hash ({0})")]
    Hash(CidError),
    /// More links than [`LINKS_MAX`].
    #[error("dag-pb: too many links")]
    TooManyLinks,
}

/// Reads a block.
///
/// ```
/// use peerage_content::dagpb;
/// let node = dagpb::decode(b"\x0a\x02\x08\x01").unwrap();
/// assert_eq!((node.links.len(), node.data), (0, Some(&[8, 1][..])));
/// ```
///
/// # Errors
/// See [`DagPbError`].
pub fn decode(block: &[u8]) -> Result<PbNode<'_>, DagPbError> {
    decode_at(block).map(|(node, _)| node)
}

/// [`decode`], and the offset of the data in the block.
pub(crate) fn decode_at(block: &[u8]) -> Result<(PbNode<'_>, usize), DagPbError> {
    let mut reader = Reader::new(block, 0)?;
    let mut node = PbNode::default();
    let mut data_at = 0;
    let mut data_after_links = false;
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (1, Value::Bytes { bytes, at }) => {
                if node.data.is_some() {
                    return Err(DagPbError::Order(1));
                }
                data_after_links = !node.links.is_empty();
                node.data = Some(bytes);
                data_at = at;
            }
            (2, Value::Bytes { bytes, at }) => {
                if data_after_links {
                    return Err(DagPbError::Order(2));
                }
                if node.links.len() == LINKS_MAX {
                    return Err(DagPbError::TooManyLinks);
                }
                node.links.push(decode_link(bytes, at)?);
            }
            _ => return Err(DagPbError::Field(number)),
        }
    }
    Ok((node, data_at))
}

fn decode_link(bytes: &[u8], at: usize) -> Result<Link<'_>, DagPbError> {
    let mut reader = Reader::new(bytes, at)?;
    let (mut cid, mut name, mut tsize) = (None, None, None);
    let mut last = 0;
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (1..=3, _) if number <= last => return Err(DagPbError::Order(number)),
            (1, Value::Bytes { bytes, .. }) => {
                cid = Some(cid_text::from_bytes(bytes).map_err(DagPbError::Hash)?);
            }
            (2, Value::Bytes { bytes, .. }) => name = Some(bytes),
            (3, Value::Varint(size)) => tsize = Some(size),
            _ => return Err(DagPbError::Field(number)),
        }
        last = number;
    }
    let cid = cid.ok_or(DagPbError::Hash(CidError::Empty))?;
    Ok(Link { cid, name, tsize })
}

/// Writes the block of `node` in canonical form. The caller brings the links
/// in order: sorted by name in folders, by content in files.
#[must_use]
pub fn encode(node: &PbNode<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(encoded_len(node));
    for link in &node.links {
        let hash_len = link.cid.encoded_len();
        pb::put_len(&mut out, 2, link_len(link));
        pb::put_len(&mut out, 1, hash_len);
        link.cid.write_bytes(&mut out).expect("a Vec takes all that is written");
        if let Some(name) = link.name {
            pb::put_bytes(&mut out, 2, name);
        }
        if let Some(tsize) = link.tsize {
            pb::put_u64(&mut out, 3, tsize);
        }
    }
    if let Some(data) = node.data {
        pb::put_bytes(&mut out, 1, data);
    }
    out
}

/// Length of the block of `node`, in bytes.
#[must_use]
pub fn encoded_len(node: &PbNode<'_>) -> usize {
    let links: usize = node.links.iter().map(|link| field_len(link_len(link))).sum();
    links + node.data.map_or(0, |data| field_len(data.len()))
}

/// Bytes that a link adds to a block.
pub(crate) fn link_field_len(link: &Link<'_>) -> usize {
    field_len(link_len(link))
}

/// Bytes of a length-delimited field with a one-byte key.
pub(crate) const fn field_len(len: usize) -> usize {
    1 + pb::varint_len(len as u64) + len
}

fn link_len(link: &Link<'_>) -> usize {
    field_len(link.cid.encoded_len())
        + link.name.map_or(0, |name| field_len(name.len()))
        + link.tsize.map_or(0, |size| 1 + pb::varint_len(size))
}
