//! Unsigned varints as multiformats defines them: LEB128 in its shortest form,
//! at most 9 bytes (63 bits).
//!
//! <https://github.com/multiformats/unsigned-varint>. Protobuf's own varints
//! (up to 10 bytes, any form) are left to `prost`.

use bytes::BufMut;

/// The longest encoding, in bytes.
pub const MAX_LEN: usize = 9;

/// Why bytes are not an unsigned varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// More than [`MAX_LEN`] bytes.
    #[error("a varint of more than {MAX_LEN} bytes")]
    TooLong,
    /// A shorter encoding of the same number exists.
    #[error("a varint that is not in its shortest form")]
    NotMinimal,
}

/// Appends `value`. Values above 63 bits are a bug of the caller, since no one
/// would read them back.
pub fn put(out: &mut impl BufMut, mut value: u64) {
    debug_assert!(value >> 63 == 0, "a varint has 63 bits");
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8((value & 0x7f) as u8);
}

/// How many bytes `value` takes.
#[must_use]
pub const fn len(value: u64) -> usize {
    let bits = 64 - value.leading_zeros() as usize;
    if bits == 0 { 1 } else { bits.div_ceil(7) }
}

/// Reads a varint from the start of `bytes`: the value and how many bytes it
/// took, or `None` if more bytes are needed.
///
/// # Errors
/// If no continuation of `bytes` could be a varint.
pub fn decode(bytes: &[u8]) -> Result<Option<(u64, usize)>, VarintError> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate() {
        if i == MAX_LEN {
            return Err(VarintError::TooLong);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return Err(VarintError::NotMinimal);
            }
            return Ok(Some((value, i + 1)));
        }
    }
    if bytes.len() >= MAX_LEN { Err(VarintError::TooLong) } else { Ok(None) }
}

/// Takes a whole varint off the front of `bytes`; `None` if it is cut short or malformed.
#[must_use]
pub fn take(bytes: &mut &[u8]) -> Option<u64> {
    let (value, used) = decode(bytes).ok()??;
    *bytes = &bytes[used..];
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn round_trip(value in 0u64..1 << 63, tail in proptest::collection::vec(any::<u8>(), 0..4)) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            prop_assert_eq!(bytes.len(), len(value));
            for cut in 0..bytes.len() {
                prop_assert_eq!(decode(&bytes[..cut]), Ok(None));
            }
            let used = bytes.len();
            bytes.extend(tail);
            prop_assert_eq!(decode(&bytes), Ok(Some((value, used))));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            if let Ok(Some((value, used))) = decode(&bytes) {
                prop_assert_eq!(used, len(value));
            }
        }
    }

    #[test]
    fn malformed() {
        assert_eq!(decode(&[0x80, 0x00]), Err(VarintError::NotMinimal));
        assert_eq!(decode(&[0xff; 9]), Err(VarintError::TooLong));
        assert_eq!(
            decode(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            Ok(Some((u64::MAX >> 1, 9)))
        );
        assert_eq!(decode(&[0]), Ok(Some((0, 1))));
    }
}
