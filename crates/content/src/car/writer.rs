//! Writing version 1: a header, then for each block its head and the block.
//!
//! Callers leave out identity CIDs, whose blocks are in the CIDs (no software
//! puts them in a CAR, trustless gateways must not), and decide whether a
//! block that comes twice is written twice.

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
    put_head(&mut map, 4, roots.len());
    for root in roots {
        map.extend_from_slice(&[0xd8, 42]);
        put_head(&mut map, 2, 1 + root.encoded_len());
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

/// Appends the head of a CBOR value of a major type, in its one shortest form.
fn put_head(out: &mut Vec<u8>, major: u8, value: usize) {
    let bytes = (value as u64).to_be_bytes();
    let (code, width) = match value {
        0..=23 => (bytes[7], 0),
        24..=0xff => (24, 1),
        0x100..=0xffff => (25, 2),
        0x1_0000..=0xffff_ffff => (26, 4),
        _ => (27, 8),
    };
    out.push(major << 5 | code);
    out.extend_from_slice(&bytes[8 - width..]);
}
