//! Strings of the data model. They should be UTF-8, and yet deployed ones are
//! not: the keys of Filecoin's maps are any bytes.

use std::borrow::Cow;
use std::fmt;

/// A string of a block: text, or any bytes in its place.
///
/// ```
/// use peerage_content::ipld::Text;
/// assert_eq!(Text::from("a").as_str(), Some("a"));
/// let odd = Text::from(b"a\xff".to_vec());
/// assert_eq!((odd.as_str(), odd.as_bytes()), (None, &b"a\xff"[..]));
/// assert_eq!(odd.to_string(), "a\u{fffd}");
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// The text; none if it is not UTF-8.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Vec<u8>> for Text {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl From<Cow<'_, [u8]>> for Text {
    fn from(bytes: Cow<'_, [u8]>) -> Self {
        Self(bytes.into_owned())
    }
}

/// U+FFFD in place of what is no UTF-8. Not escaped: see [`crate::name::escape`].
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}
