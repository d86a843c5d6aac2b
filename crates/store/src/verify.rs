//! Whether bytes match a multihash: `content` knows the functions.

use crate::Multihash;

/// True if the pieces, one after another, hash to `mh` by a function that
/// `peerage-content` knows.
#[must_use]
pub fn verify(mh: &Multihash, pieces: &[&[u8]]) -> bool {
    peerage_content::hash::verify_parts(mh, pieces).is_ok()
}
