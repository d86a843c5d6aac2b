//! Numbers and CIDs at the front of bytes, exactly as they stand: a number
//! that is written too long or does not fit is an error, so what is read here
//! and written again is the same bytes.

use super::error::VarintError;
use crate::limits::IDENTITY_MAX;
use crate::{Cid, Multihash};

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

/// Why no CID is at the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoCid {
    /// The bytes end inside of it.
    Cut,
    /// It is none.
    Bad,
}

/// The CID at the front, of either version, and its length.
pub(super) fn cid(bytes: &[u8]) -> Result<(Cid, usize), NoCid> {
    let hash = |code, digest| Multihash::wrap(code, digest).map_err(|_| NoCid::Bad);
    if bytes == [0x12] {
        return Err(NoCid::Cut);
    }
    if let Some(rest) = bytes.strip_prefix(&[0x12, 0x20]) {
        let digest = rest.get(..32).ok_or(NoCid::Cut)?;
        let cid = Cid::new_v0(hash(0x12, digest)?).map_err(|_| NoCid::Bad)?;
        return Ok((cid, 34));
    }
    let mut rest = bytes;
    let mut number = || {
        let (value, len) = varint(rest).map_err(|_| NoCid::Bad)?.ok_or(NoCid::Cut)?;
        rest = &rest[len..];
        Ok(value)
    };
    if number()? != 1 {
        return Err(NoCid::Bad);
    }
    let (codec, code, size) = (number()?, number()?, number()?);
    let size = usize::try_from(size).ok().filter(|&size| size <= IDENTITY_MAX).ok_or(NoCid::Bad)?;
    let digest = rest.get(..size).ok_or(NoCid::Cut)?;
    Ok((Cid::new_v1(codec, hash(code, digest)?), bytes.len() - rest.len() + size))
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

    #[test]
    fn a_cid_ends_where_it_says() {
        for text in [
            "bafkqaaa",
            "Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD",
            "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
            "bafy2bzaced4ueelaegfs5fqu4tzsh6ywbbpfk3cxppupmxfdhbpbhzawfw5oy",
        ] {
            let expected = crate::cid_text::parse(text).unwrap();
            let mut bytes = expected.to_bytes();
            let len = bytes.len();
            for cut in 0..len {
                assert_eq!(cid(&bytes[..cut]), Err(NoCid::Cut), "{text} {cut}");
            }
            bytes.extend(b"block");
            assert_eq!(cid(&bytes), Ok((expected, len)));
        }
        for bytes in [
            &[0, 0x55, 0, 0][..],
            &[2, 0x55, 0, 0],
            &[0x12, 0x21, 0, 0],
            &[1, 0xd5, 0, 0, 0],       // codec 0x55, not minimal
            &[1, 0x55, 0, 0x81, 1, 0], // a digest of 129 bytes
        ] {
            assert_eq!(cid(bytes), Err(NoCid::Bad), "{bytes:x?}");
        }
        // Bits that a 64-bit number has no room for are not just dropped.
        let codec = [&[1][..], &[0x80; 9], &[2, 0, 0]].concat();
        assert_eq!(cid(&codec), Err(NoCid::Bad));
    }
}
