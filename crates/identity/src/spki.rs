//! The DER of RSA and P-256 public keys (SubjectPublicKeyInfo, RFC 5280; RFC
//! 8017 for the RSA key inside; RFC 5480 for the curve).
//!
//! Only the one canonical encoding is taken: a peer id hashes these bytes, so
//! two encodings of one key would be two peers. Left out: other curves, RSA-PSS keys.

use crate::limits::RSA_BITS;

/// `AlgorithmIdentifier { rsaEncryption, NULL }`.
const RSA_ALGORITHM: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Everything of a P-256 key before the uncompressed point: ecPublicKey,
/// prime256v1, a bit string of 66 bytes.
const P256_PREFIX: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// The RSAPublicKey inside an SPKI, if the encoding is canonical; with the
/// bits of its modulus.
pub(crate) fn rsa(spki: &[u8]) -> Option<(&[u8], usize)> {
    let body = whole(spki, SEQUENCE)?.strip_prefix(RSA_ALGORITHM)?;
    let key = whole(body, BIT_STRING)?.strip_prefix(&[0])?;
    let mut numbers = whole(key, SEQUENCE)?;
    let modulus = positive(take(&mut numbers, INTEGER)?)?;
    positive(take(&mut numbers, INTEGER)?)?;
    numbers.is_empty().then(|| (key, bits(modulus)))
}

/// True if the modulus has a size that we verify with.
pub(crate) fn rsa_bits_ok(bits: usize) -> bool {
    RSA_BITS.contains(&bits)
}

/// The uncompressed point (65 bytes) of a P-256 key.
pub(crate) fn p256(spki: &[u8]) -> Option<&[u8]> {
    spki.strip_prefix(P256_PREFIX).filter(|point| point.len() == 65 && point[0] == 4)
}

/// The contents of the one element that `der` is.
fn whole(mut der: &[u8], tag: u8) -> Option<&[u8]> {
    let body = take(&mut der, tag)?;
    der.is_empty().then_some(body)
}

/// Takes an element off the front; its length must be in the shortest form.
fn take<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let rest = der.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&low, rest) = rest.split_first()?;
            (usize::from(low), rest)
        }
        0x82 => {
            let (wide, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*wide)), rest)
        }
        _ => return None,
    };
    let shortest = match len {
        0..=0x7f => first < 0x80,
        0x80..=0xff => first == 0x81,
        _ => first == 0x82,
    };
    if !shortest {
        return None;
    }
    let (body, rest) = rest.split_at_checked(len)?;
    *der = rest;
    Some(body)
}

/// The magnitude of an INTEGER's contents, if it is positive and minimal.
fn positive(contents: &[u8]) -> Option<&[u8]> {
    match contents {
        [0, rest @ ..] if rest.first().is_some_and(|&b| b >= 0x80) => Some(rest),
        [1..=0x7f, ..] => Some(contents),
        _ => None,
    }
}

fn bits(magnitude: &[u8]) -> usize {
    let zeros = magnitude.first().map_or(0, |b| b.leading_zeros() as usize);
    magnitude.len() * 8 - zeros
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lengths_must_be_shortest() {
        assert_eq!(whole(&[4, 1, 9], 4), Some(&[9u8][..]));
        assert_eq!(whole(&[4, 0x81, 1, 9], 4), None);
        assert_eq!(whole(&[4, 0x82, 0, 1, 9], 4), None);
        assert_eq!(whole(&[4, 0x80, 9, 0, 0], 4), None);
        assert_eq!(whole(&[4, 1, 9, 9], 4), None);
        assert_eq!(whole(&[4, 2, 9], 4), None);
    }

    #[test]
    fn integers_must_be_positive_and_minimal() {
        assert_eq!(positive(&[0, 0x80]), Some(&[0x80u8][..]));
        assert_eq!(positive(&[3]), Some(&[3u8][..]));
        for bad in [&[][..], &[0], &[0, 1], &[0x80], &[0, 0, 0x80]] {
            assert_eq!(positive(bad), None, "{bad:?}");
        }
        assert_eq!((bits(&[1, 0]), bits(&[0x80]), bits(&[])), (9, 8, 0));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (rsa(&bytes), p256(&bytes));
        }
    }
}
