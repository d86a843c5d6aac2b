//! Numbers at the front of bytes, exactly as they stand: one that is written too
//! long or does not fit is an error, so what is read here and written again is
//! the same bytes. (CIDs: `cid_text`.)

use super::error::VarintError;

/// Longest unsigned varint that is read, in bytes: 64 bits by seven.
pub(super) const VARINT_MAX: usize = 10;

/// The varint at the front and its length; none if it does not end here.
pub(super) fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, VarintError> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(VARINT_MAX).enumerate() {
        if at == VARINT_MAX - 1 && byte > 1 {
            return Err(if byte < 0x80 { VarintError::Overflow } else { VarintError::TooLong });
        }
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            let minimal = byte != 0 || at == 0;
            return if minimal { Ok(Some((value, at + 1))) } else { Err(VarintError::NotMinimal) };
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_are_read_exactly() {
        let nines = |last: &[u8]| [&[0xff; 9], last].concat();
        for (bytes, expected) in [
            (vec![], Ok(None)),
            (vec![0], Ok(Some((0, 1)))),
            (vec![0x7f, 9], Ok(Some((127, 1)))),
            (vec![0x80], Ok(None)),
            (vec![0x80, 1], Ok(Some((128, 2)))),
            (vec![0x80, 0], Err(VarintError::NotMinimal)),
            (vec![0xff; 9], Ok(None)),
            (nines(&[1]), Ok(Some((u64::MAX, 10)))),
            (nines(&[0]), Err(VarintError::NotMinimal)),
            (nines(&[2]), Err(VarintError::Overflow)),
            (nines(&[0x81]), Err(VarintError::TooLong)),
            (vec![0x80; 11], Err(VarintError::TooLong)),
        ] {
            assert_eq!(varint(&bytes), expected, "{bytes:x?}");
        }
        for bits in 0..64 {
            for value in [(1 << bits) - 1, 1 << bits, u64::MAX - (1 << bits)] {
                let mut bytes = Vec::new();
                crate::pb::put_varint(&mut bytes, value);
                assert_eq!(varint(&bytes), Ok(Some((value, bytes.len()))));
            }
        }
    }
}
