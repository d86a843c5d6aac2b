//! The entries of a folder that are too many for one block: they only have to be
//! in the order of their hashes then, and are sorted for that on disk.

use std::io;

use peerage_content::{Cid, cid_text, hamt};

use crate::sort::{Record, Run};

/// An entry of a folder; ordered as shards need it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FolderEntry {
    hash: u64,
    pub(super) name: String,
    pub(super) cid: Cid,
    pub(super) tsize: u64,
}

impl FolderEntry {
    /// The name is one of the system's, of 255 bytes or not many more; whether a
    /// folder may hold it is seen when shards are built.
    pub(super) fn new(name: String, cid: Cid, tsize: u64) -> Self {
        Self { hash: hamt::hash(name.as_bytes()), name, cid, tsize }
    }
}

impl Record for FolderEntry {
    fn weight(&self) -> usize {
        size_of::<Self>() + self.name.len()
    }

    fn write(&self, out: &mut Vec<u8>) {
        let cid = self.cid.to_bytes();
        let len = |len: usize| u16::try_from(len).expect("names and CIDs are far shorter");
        out.extend_from_slice(&self.hash.to_le_bytes());
        out.extend_from_slice(&self.tsize.to_le_bytes());
        out.extend_from_slice(&len(self.name.len()).to_le_bytes());
        out.extend_from_slice(&len(cid.len()).to_le_bytes());
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(&cid);
    }

    fn read(run: &mut Run<'_>) -> io::Result<Self> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let hash = u64::from_le_bytes(run.array()?);
        let tsize = u64::from_le_bytes(run.array()?);
        let (name, cid) = (u16::from_le_bytes(run.array()?), u16::from_le_bytes(run.array()?));
        let name = String::from_utf8(run.take(name.into())?.to_vec()).map_err(|_| wrong())?;
        let cid = cid_text::from_bytes(run.take(cid.into())?).map_err(|_| wrong())?;
        Ok(Self { hash, name, cid, tsize })
    }
}

#[cfg(test)]
mod tests {
    use peerage_content::{Leaf, Profile};

    use super::*;
    use crate::sort::{Scratch, Sorter};

    #[test]
    fn survive_the_disk_in_the_order_of_their_hashes() {
        let cid = Leaf::new(&Profile::default(), b"x").cid;
        let mut sorter = Sorter::new(&Scratch::new(None));
        let names: Vec<String> = (0..9000).map(|n| format!("entry {n}")).collect();
        for name in &names {
            sorter.push(FolderEntry::new(name.clone(), cid, 7)).unwrap();
        }
        let sorted: Vec<_> = sorter.sorted().unwrap().map(io::Result::unwrap).collect();
        assert!(sorted.is_sorted_by_key(|entry| hamt::hash(entry.name.as_bytes())));
        let mut back: Vec<_> = sorted.iter().map(|entry| entry.name.clone()).collect();
        back.sort_by_key(|name| name[6..].parse::<u32>().unwrap());
        assert_eq!(back, names);
        assert!(sorted.iter().all(|entry| (entry.cid, entry.tsize) == (cid, 7)));
    }
}
