//! CIDs as text and bytes, exactly: what `cid`'s own conversions let pass
//! (bytes left over, an `/ipfs/` anywhere in the text, numbers of ten bytes) is
//! refused here.
//! Spec: multiformats/cid README, decoding algorithm; section by section as go-cid.

use multibase::Base;

use crate::limits::{CID_TEXT_MAX, VARINT_MAX};
use crate::{Cid, codec};

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
    /// 128 bytes, or a number above [`VARINT_MAX`].
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
    let mut rest = bytes;
    let cid = Cid::read_bytes(&mut rest).map_err(|_| CidError::Bytes)?;
    // Of a number in ten bytes the reader drops bits: another CID than others read.
    let whole = cid.encoded_len() == bytes.len() - rest.len();
    if !whole || cid.codec() > VARINT_MAX || cid.hash().code() > VARINT_MAX {
        return Err(CidError::Bytes);
    }
    if rest.is_empty() { Ok(cid) } else { Err(CidError::Trailing) }
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
    fn versions_name_the_same_block() {
        let v0 = parse("QmS4ustL54uo8FzR9455qaxZwuMiUhyvMcX9Ba8nUH4uVv").unwrap();
        let v1 = parse("bafybeibxm2nsadl3fnxv2sxcxmxaco2jl53wpeorjdzidjwf5aqdg7wa6u").unwrap();
        assert_eq!(to_v1(&v0), v1);
        assert_eq!(to_v0(&v1), Some(v0));
        assert_eq!(native(&v0), "QmS4ustL54uo8FzR9455qaxZwuMiUhyvMcX9Ba8nUH4uVv");
        assert_eq!(to_v0(&Cid::new_v1(codec::RAW, *v1.hash())), None);
    }
}
