//! CIDs as text and bytes, exactly: what `cid`'s own conversions let pass
//! (bytes left over, an `/ipfs/` anywhere in the text, numbers of ten bytes) is
//! refused here.
//! Spec: multiformats/cid README, decoding algorithm; section by section as go-cid.

use multibase::Base;

use crate::limits::{CID_TEXT_MAX, IDENTITY_MAX};
use crate::{Cid, Multihash, codec};

/// Longest number in a CID, in bytes: what [`crate::limits::VARINT_MAX`] takes.
const NUMBER_LEN_MAX: usize = 9;

/// Why text or bytes are no CID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// Nothing there.
    #[error("an empty CID")]
    Empty,
    /// Longer than any CID.
    #[error("too long for a CID")]
    TooLong,
    /// No multibase text, or characters outside its alphabet.
    #[error("not a CID: unknown base or wrong characters")]
    Base,
    /// The decoded bytes are no CID: wrong version, cut, a digest longer than
    /// 128 bytes, or a number above [`crate::limits::VARINT_MAX`].
    #[error("not a CID: wrong version, length or hash")]
    Bytes,
    /// Bytes follow the CID.
    #[error("bytes follow the CID")]
    Trailing,
    /// A version 0 CID with a multibase prefix, which is not allowed.
    #[error("a version 0 CID in a multibase")]
    MultibaseV0,
}

/// Reads a CID, version 0 (`Qm..`) or version 1 in any multibase.
///
/// ```
/// use peerage_content::cid_text;
/// let v0 = cid_text::parse("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n").unwrap();
/// assert_eq!(cid_text::canonical(&v0), "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku");
/// ```
///
/// # Errors
/// See [`CidError`].
pub fn parse(text: &str) -> Result<Cid, CidError> {
    if text.is_empty() {
        return Err(CidError::Empty);
    }
    if text.len() > CID_TEXT_MAX {
        return Err(CidError::TooLong);
    }
    if text.len() == 46 && text.starts_with("Qm") {
        let bytes = Base::Base58Btc.decode(text).map_err(|_| CidError::Base)?;
        return from_bytes(&bytes);
    }
    let (_, bytes) = multibase::decode(text).map_err(|_| CidError::Base)?;
    if bytes.len() == 34 && bytes.starts_with(&[0x12, 0x20]) {
        return Err(CidError::MultibaseV0);
    }
    from_bytes(&bytes)
}

/// Reads a CID, all of `bytes`.
///
/// # Errors
/// See [`CidError`].
pub fn from_bytes(bytes: &[u8]) -> Result<Cid, CidError> {
    if bytes.is_empty() {
        return Err(CidError::Empty);
    }
    let (cid, len) = at_front(bytes).map_err(|_| CidError::Bytes)?;
    if len == bytes.len() { Ok(cid) } else { Err(CidError::Trailing) }
}

/// Why no CID is at the front of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoCid {
    /// The bytes end inside of it.
    Cut,
    /// It is none.
    Bad,
}

/// The CID at the front of bytes, of either version, and its length. What is
/// read here and written again is the same bytes.
pub(crate) fn at_front(bytes: &[u8]) -> Result<(Cid, usize), NoCid> {
    let hash = |code, digest| Multihash::wrap(code, digest).map_err(|_| NoCid::Bad);
    if bytes == [0x12] {
        return Err(NoCid::Cut);
    }
    if let Some(rest) = bytes.strip_prefix(&[0x12, 0x20]) {
        let digest = rest.get(..32).ok_or(NoCid::Cut)?;
        let cid = Cid::new_v0(hash(0x12, digest)?).map_err(|_| NoCid::Bad)?;
        return Ok((cid, 34));
    }
    let (version, rest) = number(bytes)?;
    if version != 1 {
        return Err(NoCid::Bad);
    }
    let (codec, rest) = number(rest)?;
    let (code, rest) = number(rest)?;
    let (size, rest) = number(rest)?;
    let size = usize::try_from(size).ok().filter(|&size| size <= IDENTITY_MAX).ok_or(NoCid::Bad)?;
    let digest = rest.get(..size).ok_or(NoCid::Cut)?;
    Ok((Cid::new_v1(codec, hash(code, digest)?), bytes.len() - rest.len() + size))
}

/// The number at the front, and what follows it.
fn number(bytes: &[u8]) -> Result<(u64, &[u8]), NoCid> {
    // Of a longer one the decoder would drop bits: another CID than others read.
    let at_most = &bytes[..bytes.len().min(NUMBER_LEN_MAX)];
    match unsigned_varint::decode::u64(at_most) {
        Ok((number, tail)) => Ok((number, &bytes[at_most.len() - tail.len()..])),
        Err(unsigned_varint::decode::Error::Insufficient) if bytes.len() < NUMBER_LEN_MAX => Err(NoCid::Cut),
        Err(_) => Err(NoCid::Bad),
    }
}

/// The text for links and logs: version 1, base32, whatever the CID's version.
#[must_use]
pub fn canonical(cid: &Cid) -> String {
    to_v1(cid).to_string()
}

/// The text that the CID's version is usually printed in: base58 for version
/// 0, base32 for version 1. This is what `Display` does, too.
#[must_use]
pub fn native(cid: &Cid) -> String {
    cid.to_string()
}

/// The version 1 CID of the same block.
#[must_use]
pub fn to_v1(cid: &Cid) -> Cid {
    Cid::new_v1(cid.codec(), *cid.hash())
}

/// The version 0 CID of the same block, if there is one (dag-pb and SHA2-256).
#[must_use]
pub fn to_v0(cid: &Cid) -> Option<Cid> {
    (cid.codec() == codec::DAG_PB).then(|| Cid::new_v0(*cid.hash()).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_cid() {
        let good = parse("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e").unwrap();
        let mut long = good.to_bytes();
        long.push(0);
        assert_eq!(from_bytes(&long), Err(CidError::Trailing));
        assert_eq!(from_bytes(&long[..20]), Err(CidError::Bytes));
        assert_eq!(parse(""), Err(CidError::Empty));
        assert_eq!(parse("/ipfs/QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"), Err(CidError::Base));
        assert_eq!(parse("Qm"), Err(CidError::Base));
        assert_eq!(parse(&"b".repeat(5000)), Err(CidError::TooLong));
        assert_eq!(parse("hello world"), Err(CidError::Base));
        // A version 0 CID must stand alone.
        let v0 = parse("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n").unwrap();
        assert_eq!(parse(&multibase::encode(Base::Base32Lower, v0.to_bytes())), Err(CidError::MultibaseV0));
        // Versions 0, 2 and 3 do not exist as prefixes.
        for version in [0, 2, 3] {
            let mut bytes = good.to_bytes();
            bytes[0] = version;
            assert_eq!(from_bytes(&bytes), Err(CidError::Bytes), "{version}");
        }
    }

    #[test]
    fn a_number_of_more_than_nine_bytes_is_refused_whatever_is_lost_of_it() {
        for last in [0x01, 0x02, 0x05, 0x7e] {
            let long = [&[0xb0][..], &[0xff; 8], &[last]].concat();
            for bytes in [
                [&[1][..], &long, &[0, 0]].concat(),            // codec
                [&[1, 0x55], &long[..], &[0]].concat(),         // hash function
                [&[1, 0x55, 0][..], &[0x80; 9], &[2]].concat(), // length
            ] {
                assert_eq!(from_bytes(&bytes), Err(CidError::Bytes), "{bytes:x?}");
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
            let expected = parse(text).unwrap();
            let mut bytes = expected.to_bytes();
            let len = bytes.len();
            for cut in 0..len {
                assert_eq!(at_front(&bytes[..cut]), Err(NoCid::Cut), "{text} {cut}");
            }
            bytes.extend(b"block");
            assert_eq!(at_front(&bytes), Ok((expected, len)));
        }
        for bytes in [
            &[0, 0x55, 0, 0][..],
            &[2, 0x55, 0, 0],
            &[0x12, 0x21, 0, 0],
            &[1, 0xd5, 0, 0, 0],       // codec 0x55, not minimal
            &[1, 0x55, 0, 0x81, 1, 0], // a digest of 129 bytes
            &[1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // a number of more than nine bytes
        ] {
            assert_eq!(at_front(bytes), Err(NoCid::Bad), "{bytes:x?}");
        }
    }

    #[test]
    fn versions_name_the_same_block() {
        let v0 = parse("QmS4ustL54uo8FzR9455qaxZwuMiUhyvMcX9Ba8nUH4uVv").unwrap();
        let v1 = parse("bafybeibxm2nsadl3fnxv2sxcxmxaco2jl53wpeorjdzidjwf5aqdg7wa6u").unwrap();
        assert_eq!(to_v1(&v0), v1);
        assert_eq!(to_v0(&v1), Some(v0));
        assert_eq!(native(&v0), "QmS4ustL54uo8FzR9455qaxZwuMiUhyvMcX9Ba8nUH4uVv");
        assert_eq!(to_v0(&Cid::new_v1(codec::RAW, *v1.hash())), None);
    }
}
