//! All entries of a folder, sharded or not, block by block.
//!
//! What is listed is found: an entry that lies in another bucket than the one where
//! its name is looked for is an error, and not an entry that no path leads to. No
//! writer makes such folders; boxo lists them without comparing.

use crate::Cid;
use crate::hamt::Place;
use crate::node::{Bucket, Entry, Node};
use crate::resolve::ResolveError;

/// A walk over the nodes of one folder.
///
/// Give it the node of each block that [`Self::need`] names; take the entries that
/// come back; stop when `need` is none. It goes down before it goes on, so what it
/// remembers is at most one node's buckets for each of a hash's digits: 6,144
/// CIDs, with 1,024 buckets a node.
///
/// ```
/// use peerage_content::{DirectoryBuilder, Leaf, Listing, Profile, node};
/// let profile = Profile::default();
/// let mut folder = DirectoryBuilder::new(&profile);
/// folder.add("a", Leaf::new(&profile, b"x").cid, 1).unwrap();
/// let built = folder.finish_sharded().unwrap();
/// let mut listing = Listing::new(built.cid);
/// assert_eq!(listing.need(), Some(built.cid));
/// let root = node::decode(&built.cid, &built.blocks[0].data).unwrap();
/// assert_eq!(listing.supply(root).unwrap()[0].name, "a");
/// assert_eq!(listing.need(), None);
/// ```
#[derive(Debug, Clone)]
pub struct Listing {
    /// Nodes to read, the next one last.
    pending: Vec<(Cid, Place)>,
}

impl Listing {
    /// Lists the folder with this root.
    #[must_use]
    pub fn new(root: Cid) -> Self {
        Self { pending: vec![(root, Place::ROOT)] }
    }

    /// The block whose node must be supplied next; none at the end.
    #[must_use]
    pub fn need(&self) -> Option<Cid> {
        self.ahead().next()
    }

    /// The blocks that will be needed, as far as the nodes read so far tell, the
    /// next first.
    pub fn ahead(&self) -> impl Iterator<Item = Cid> {
        self.pending.iter().rev().map(|(cid, _)| *cid)
    }

    /// Takes the node of [`Self::need`]; returns the entries in it, in its order.
    ///
    /// # Errors
    /// Not a folder; nodes that do not fit together, or an entry where its name is
    /// not looked for. The listing is of no more use then.
    pub fn supply(&mut self, node: Node) -> Result<Vec<Entry>, ResolveError> {
        let Some((_, place)) = self.pending.pop() else { return Ok(Vec::new()) };
        match node {
            Node::Directory { entries, .. } if place == Place::ROOT => Ok(entries),
            Node::Shard { entries: buckets, fanout, .. } => {
                let mut entries = Vec::new();
                let places = place.places(fanout, &buckets)?;
                for (bucket, below) in buckets.into_iter().zip(places) {
                    match bucket.value {
                        Bucket::Sub(cid, _) => self.pending.push((cid, below)),
                        Bucket::Value(entry) => entries.push(entry),
                    }
                }
                Ok(entries)
            }
            _ if place == Place::ROOT => Err(ResolveError::NotAFolder),
            _ => Err(ResolveError::BadShard),
        }
    }
}
