//! Finding one name in a folder, sharded or not, without reading the rest.

use crate::Cid;
use crate::hamt;
use crate::node::{Bucket, Entry, Node};

/// The search for one name in one folder.
///
/// Give it the folder's root node, then each node that it asks for.
///
/// ```
/// use peerage_content::{DirectoryBuilder, Leaf, Profile, node, resolve::{Lookup, Step}};
/// let profile = Profile::default();
/// let mut folder = DirectoryBuilder::new(&profile);
/// folder.add("a", Leaf::new(&profile, b"x").cid, 1).unwrap();
/// let built = folder.finish().unwrap();
/// let root = node::decode(&built.cid, &built.blocks[0].data).unwrap();
/// let Step::Found(entry) = Lookup::new("a").step(&root).unwrap() else { panic!() };
/// assert_eq!(entry.cid, Leaf::new(&profile, b"x").cid);
/// assert!(Lookup::new("b").step(&root).is_err());
/// ```
#[derive(Debug, Clone)]
pub struct Lookup {
    name: String,
    hash: u64,
    depth: usize,
    fanout: Option<u32>,
}

/// Where a search goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The entry.
    Found(Entry),
    /// Decode the block of this CID and give it to [`Lookup::step`].
    Descend(Cid),
}

/// Why a name leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The folder has no such entry.
    #[error("no such entry")]
    NotFound,
    /// A file, symlink or other block has no entries.
    #[error("not a folder")]
    NotAFolder,
    /// Shards that do not fit together: their maker is at fault.
    #[error("a sharded folder whose nodes do not fit together")]
    BadShard,
}

impl Lookup {
    /// A search for `name`, one component.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), hash: hamt::hash(name.as_bytes()), depth: 0, fanout: None }
    }

    /// Looks into the folder's root node, or into the node that the last step
    /// asked for. Of several entries with the name, the first counts.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn step(&mut self, node: &Node) -> Result<Step, ResolveError> {
        match node {
            Node::Directory { entries, .. } if self.depth == 0 => {
                let found = entries.iter().find(|entry| entry.name == self.name);
                found.cloned().map(Step::Found).ok_or(ResolveError::NotFound)
            }
            Node::Shard { entries, fanout, .. } => {
                if self.fanout.is_some_and(|other| other != *fanout) {
                    return Err(ResolveError::BadShard);
                }
                self.fanout = Some(*fanout);
                let bucket = hamt::bucket(self.hash, *fanout, self.depth).ok_or(ResolveError::BadShard)?;
                let taken = entries.binary_search_by_key(&bucket, |entry| entry.bucket);
                match &entries[taken.map_err(|_| ResolveError::NotFound)?].value {
                    Bucket::Value(entry) if entry.name == self.name => Ok(Step::Found(entry.clone())),
                    Bucket::Value(_) => Err(ResolveError::NotFound),
                    Bucket::Sub(cid, _) => {
                        self.depth += 1;
                        Ok(Step::Descend(*cid))
                    }
                }
            }
            _ if self.depth > 0 => Err(ResolveError::BadShard),
            _ => Err(ResolveError::NotAFolder),
        }
    }
}
