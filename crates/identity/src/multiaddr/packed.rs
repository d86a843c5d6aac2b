//! The bytes of an address: a short one in place, a long one shared.
//!
//! A peer holds some hundreds of addresses, nearly all of them of an IP and a
//! port: an allocation for each would be larger than what it holds.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// Bytes held in place: all that the size of the long form leaves room for, and
/// enough for an IPv6 address and a port.
const SHORT_MAX: usize = 22;

#[derive(Debug, Clone)]
pub(super) enum Packed {
    /// So many of these bytes.
    Short(u8, [u8; SHORT_MAX]),
    Long(Arc<[u8]>),
}

impl Deref for Packed {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => &bytes[..usize::from(*len)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Packed {
    fn from(given: &[u8]) -> Self {
        let mut bytes = [0; SHORT_MAX];
        match (bytes.get_mut(..given.len()), u8::try_from(given.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(given);
                Self::Short(len, bytes)
            }
            _ => Self::Long(given.into()),
        }
    }
}

impl Default for Packed {
    fn default() -> Self {
        Self::Short(0, [0; SHORT_MAX])
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Packed {}

impl PartialOrd for Packed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Packed {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Packed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_reads_as_it_was_given() {
        let bytes: Vec<u8> = (1..=100).collect();
        for len in 0..=bytes.len() {
            let packed = Packed::from(&bytes[..len]);
            assert_eq!(*packed, bytes[..len]);
            assert_eq!(matches!(packed, Packed::Short(..)), len <= SHORT_MAX);
            assert!(packed == packed.clone() && (len == 0 || packed > Packed::from(&bytes[..len - 1])));
        }
        assert_eq!(Packed::default(), Packed::from(&[][..]));
        assert_eq!(size_of::<Packed>(), 24);
    }
}
