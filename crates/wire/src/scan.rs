//! A look at a protobuf message before it is decoded.
//!
//! A decoded element takes far more memory than the two bytes that an empty
//! one takes on the wire, so a codec counts a stranger's elements first.

use bytes::Bytes;

/// Counts the fields of one message, and for fields listed in `nested` the
/// fields inside them instead; `None` if the bytes are not protobuf or there
/// are more than `max`.
///
/// ```
/// // Three empty elements of field 1, and one number.
/// assert_eq!(peerage_wire::scan::fields(b"\x0a\x00\x0a\x00\x0a\x00\x10\x05", &[], 10), Some(4));
/// assert_eq!(peerage_wire::scan::fields(b"\x0a\x00\x0a\x00\x0a\x00\x10\x05", &[], 3), None);
/// ```
#[must_use]
pub fn fields(mut bytes: &[u8], nested: &[u32], max: usize) -> Option<usize> {
    let mut count = 0usize;
    while !bytes.is_empty() {
        let tag = protobuf_varint(&mut bytes)?;
        count += 1;
        match tag & 7 {
            0 => drop(protobuf_varint(&mut bytes)?),
            1 => bytes = bytes.get(8..)?,
            5 => bytes = bytes.get(4..)?,
            2 => {
                let len = usize::try_from(protobuf_varint(&mut bytes)?).ok()?;
                let body = bytes.get(..len)?;
                bytes = &bytes[len..];
                if nested.iter().any(|&field| u64::from(field) == tag >> 3) {
                    count += fields(body, &[], max.checked_sub(count)?)?;
                }
            }
            _ => return None,
        }
        if count > max {
            return None;
        }
    }
    Some(count)
}

/// The message with no more than `max` of its fields number `field`, which are
/// taken evenly from all over it; `None` if the bytes are not protobuf.
///
/// ```
/// use bytes::Bytes;
/// let message = Bytes::from_static(b"\x0a\x01a\x10\x05\x0a\x01b\x0a\x01c\x0a\x01d");
/// assert_eq!(peerage_wire::scan::thin(message.clone(), 1, 4), Some(message.clone()));
/// assert_eq!(peerage_wire::scan::thin(message, 1, 2), Some(Bytes::from_static(b"\x10\x05\x0a\x01b\x0a\x01d")));
/// ```
#[must_use]
pub fn thin(bytes: Bytes, field: u32, max: usize) -> Option<Bytes> {
    let is_it = |tag: u64| tag >> 3 == u64::from(field);
    let (mut count, mut rest) = (0usize, &bytes[..]);
    while !rest.is_empty() {
        count += usize::from(is_it(skip(&mut rest)?));
    }
    if count <= max {
        return Some(bytes);
    }
    let (mut kept, mut seen, mut rest) = (Vec::new(), 0, &bytes[..]);
    while !rest.is_empty() {
        let before = rest;
        if is_it(skip(&mut rest)?) {
            seen += 1;
            // So many of those seen so far are to be kept: one more than before?
            if seen * max / count == (seen - 1) * max / count {
                continue;
            }
        }
        kept.extend_from_slice(&before[..before.len() - rest.len()]);
    }
    Some(kept.into())
}

/// Passes over one field; its tag.
fn skip(bytes: &mut &[u8]) -> Option<u64> {
    let tag = protobuf_varint(bytes)?;
    let len = match tag & 7 {
        0 => {
            protobuf_varint(bytes)?;
            0
        }
        1 => 8,
        5 => 4,
        2 => usize::try_from(protobuf_varint(bytes)?).ok()?,
        _ => return None,
    };
    *bytes = bytes.get(len..)?;
    Some(tag)
}

/// Protobuf's varint: up to ten bytes, any form.
fn protobuf_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for i in 0..10 {
        let &byte = bytes.get(i)?;
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(i).ok()?)?;
        if byte & 0x80 == 0 {
            *bytes = &bytes[i + 1..];
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bitswap::{Entry, Message, Wantlist};
    use proptest::prelude::*;
    use prost::Message as _;

    #[test]
    fn counts_inside_the_wantlist() {
        let entries = vec![Entry::default(); 5];
        let message = Message { wantlist: Some(Wantlist { entries, full: true }), ..Message::default() };
        let bytes = message.encode_to_vec();
        assert_eq!(fields(&bytes, &[1], 7), Some(7));
        assert_eq!(fields(&bytes, &[1], 6), None);
        assert_eq!(fields(&bytes, &[], 6), Some(1));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(count) = fields(&bytes, &[1, 2], 50) {
                prop_assert!(count <= 50);
            }
            if let Some(thinned) = thin(bytes.clone().into(), 1, 2) {
                prop_assert!(thinned.len() <= bytes.len());
            }
        }
    }
}
