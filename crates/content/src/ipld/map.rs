//! Maps of the data model, small: a tree would take 600 bytes for a map of one
//! entry, and a stranger's block can hold a hundred thousand of those.

use super::{Text, Value};

/// Values by name, each name once. Each codec has its own order of names; this
/// has them in the order of their bytes.
///
/// ```
/// use peerage_content::ipld::{Map, Value};
/// let map: Map = [("b", Value::Null), ("a", Value::Bool(true))].into();
/// assert_eq!(map.get("a"), Some(&Value::Bool(true)));
/// assert_eq!(map.iter().next().map(|(key, _)| key.as_str()), Some(Some("a")));
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Map(Box<[(Text, Value)]>);

impl Map {
    /// A map of entries no two of which have the same name.
    pub(super) fn of_distinct(mut entries: Vec<(Text, Value)>) -> Self {
        entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Self(entries.into_boxed_slice())
    }

    /// The value under a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.binary_search_by(|(key, _)| key.as_bytes().cmp(name.as_bytes()));
        found.ok().map(|at| &self.0[at].1)
    }

    /// All entries, in the order of the bytes of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Value)> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Of several values under a name, the last counts.
impl<K: Into<Text>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        entries.reverse();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries.dedup_by(|a, b| a.0 == b.0);
        Self(entries.into_boxed_slice())
    }
}

impl<K: Into<Text>, const N: usize> From<[(K, Value); N]> for Map {
    fn from(entries: [(K, Value); N]) -> Self {
        entries.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let number = |n| Value::Integer(n);
        let map: Map = [("b", number(1)), ("", number(2)), ("a", number(3)), ("b", number(4))].into();
        assert_eq!(map.len(), 3);
        assert_eq!(map.get("b"), Some(&number(4)));
        assert_eq!(map.get(""), Some(&number(2)));
        assert_eq!(map.get("c"), None);
        let names: Vec<_> = map.iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(names, ["", "a", "b"]);
        assert!(!map.is_empty() && Map::default().is_empty());
    }
}
