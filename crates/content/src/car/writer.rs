//! Writing version 1: a header, then for each block its head and the block.
//!
//! Callers leave out identity CIDs, whose blocks are in the CIDs (no software
//! puts them in a CAR, trustless gateways must not), and decide whether a
//! block that comes twice is written twice.

use crate::ipld::cbor::put_head;
use crate::limits::CID_WIRE_MAX;
use crate::{Cid, pb};

/// The beginning of a version 1 with these roots: what stands first in the
/// file, its length included. The specification asks for one root or more.
///
/// ```
/// use peerage_content::car;
/// assert_eq!(car::header(&[]), b"\x11\xa2\x65roots\x80\x67version\x01");
/// ```
#[must_use]
pub fn header(roots: &[Cid]) -> Vec<u8> {
    // DAG-CBOR sorts keys by length.
    let mut map = b"\xa2\x65roots".to_vec();
    put_head(&mut map, 4, roots.len() as u64);
    for root in roots {
        map.extend_from_slice(&[0xd8, 42]);
        put_head(&mut map, 2, 1 + root.encoded_len() as u64);
        map.push(0);
        put_cid(&mut map, root);
    }
    map.extend_from_slice(b"\x67version\x01");
    let mut out = Vec::with_capacity(map.len() + 4);
    pb::put_varint(&mut out, map.len() as u64);
    out.extend_from_slice(&map);
    out
}

/// What stands before a block of `len` bytes: the section's length and the CID.
/// The block itself comes next, as it is.
#[must_use]
pub fn section_head(cid: &Cid, len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(CID_WIRE_MAX);
    pb::put_varint(&mut out, (cid.encoded_len() + len) as u64);
    put_cid(&mut out, cid);
    out
}

fn put_cid(out: &mut Vec<u8>, cid: &Cid) {
    cid.write_bytes(out).expect("a Vec takes all that is written");
}
