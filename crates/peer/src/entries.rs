//! The entries of a folder, one after the other, however many there are: in memory is
//! one node's, and what [`Listing`] remembers of those above it.

use std::vec;

use peerage_content::hamt::Misfit;
use peerage_content::node::Entry;
use peerage_content::resolve::ResolveError;
use peerage_content::{Cid, Listing};

use crate::query::{AHEAD, Query, QueryError};

/// A folder that is being listed; see [`Query::next_entry`].
#[derive(Debug)]
pub struct Entries {
    listing: Listing,
    /// Of the node that was read last.
    found: vec::IntoIter<Entry>,
}

impl Entries {
    /// All entries of `folder`, in the order in which its blocks have them: by
    /// their names, or in a sharded folder by the hashes of these.
    #[must_use]
    pub fn new(folder: Cid) -> Self {
        Self { listing: Listing::new(folder), found: Vec::new().into_iter() }
    }
}

impl Query {
    /// The next entry of a folder; none at the end.
    ///
    /// # Errors
    /// Not a folder, or a part of it that cannot be had or does not fit.
    pub async fn next_entry(&mut self, entries: &mut Entries) -> Result<Option<Entry>, QueryError> {
        loop {
            if let Some(entry) = entries.found.next() {
                return Ok(Some(entry));
            }
            let Some(cid) = entries.listing.need() else { return Ok(None) };
            let node = self.node(cid).await?.0;
            let found = entries.listing.supply(node).map_err(|error| match error {
                ResolveError::BadShard => QueryError::BadShard(Misfit(cid)),
                ResolveError::NotAFolder | ResolveError::NotFound => QueryError::NotAFolder(cid),
            })?;
            entries.found = found.into_iter();
            entries.listing.ahead().take(AHEAD).for_each(|cid| self.ask(cid));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use peerage_content::{DirectoryBuilder, Leaf, Profile, codec, dagpb, node};

    use super::*;

    /// All names in a folder, and the most nodes that were pending at once; none if
    /// something does not fit.
    fn listed(root: Cid, blocks: &BTreeMap<Cid, Vec<u8>>) -> Option<(Vec<String>, usize)> {
        let (mut listing, mut names, mut most) = (Listing::new(root), Vec::new(), 0);
        while let Some(cid) = listing.need() {
            let node = node::decode(&cid, &blocks[&cid]).unwrap();
            names.extend(listing.supply(node).ok()?.into_iter().map(|entry| entry.name));
            most = most.max(listing.ahead().count());
        }
        Some((names, most))
    }

    fn folder(count: usize, profile: &Profile) -> (Cid, BTreeMap<Cid, Vec<u8>>) {
        let leaf = Leaf::new(profile, b"x").cid;
        let mut folder = DirectoryBuilder::new(profile);
        for i in 0..count {
            folder.add(&format!("entry {i}"), leaf, 1).unwrap();
        }
        let built = folder.finish().unwrap();
        (built.cid, built.blocks.into_iter().map(|block| (block.cid, block.data.to_vec())).collect())
    }

    #[test]
    fn a_folder_of_any_number_of_shards_is_listed_and_little_of_it_is_in_memory() {
        let profile = Profile { shard_above: 1, ..Profile::default() };
        let (root, blocks) = folder(70_000, &profile);
        assert!(blocks.len() > 16_384, "{}", blocks.len());
        let (names, most) = listed(root, &blocks).unwrap();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 70_000);
        assert!(most < 2000, "{most} were pending");
        let (root, blocks) = folder(3, &Profile::default());
        assert_eq!(listed(root, &blocks).unwrap().0, ["entry 0", "entry 1", "entry 2"]);
        let (root, blocks) = folder(0, &profile);
        assert_eq!(listed(root, &blocks).unwrap().0, [""; 0]);
    }

    /// A shard with these links: bucket, rest of the name, and where it leads.
    fn shard(links: &[(u32, &str, Cid)]) -> (Cid, Vec<u8>) {
        let mut data = vec![0x08, 5, 0x12, 32];
        let mut bits = [0u8; 32];
        links.iter().for_each(|(bucket, ..)| bits[31 - *bucket as usize / 8] |= 1 << (bucket % 8));
        data.extend(bits);
        data.extend([0x28, 0x22, 0x30, 0x80, 2]);
        let names: Vec<String> =
            links.iter().map(|(bucket, name, _)| format!("{bucket:02X}{name}")).collect();
        let links = links.iter().zip(&names);
        let links = links.map(|((_, _, cid), name)| dagpb::Link {
            cid: *cid,
            name: Some(name.as_bytes()),
            tsize: Some(1),
        });
        let block = dagpb::encode(&dagpb::PbNode { links: links.collect(), data: Some(&data) });
        let hash = *Leaf::new(&Profile::default(), &block).cid.hash();
        (Cid::new_v1(codec::DAG_PB, hash), block)
    }

    #[test]
    fn shards_that_name_each_other_over_and_over_are_an_end() {
        let leaf = Leaf::new(&Profile::default(), b"x").cid;
        // At each level all buckets lead to the same shard: 256^7 ways to nothing.
        for bottom in [shard(&[]), shard(&[(7, "name", leaf)])] {
            let mut blocks = BTreeMap::from([bottom.clone()]);
            let mut at = bottom.0;
            for _ in 0..7 {
                let links: Vec<_> = (0..256).map(|bucket| (bucket, "", at)).collect();
                let (cid, data) = shard(&links);
                blocks.insert(cid, data);
                at = cid;
            }
            assert_eq!(listed(at, &blocks), None);
        }
    }
}
