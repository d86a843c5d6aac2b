//! The user's machine: his repository and his folders; and another peer that has
//! what he fetches.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use peerage_base::Rng;
use peerage_tests::peer::{field, number as number_of, text};
use peerage_tests::{MIB, Peer, Place, Sharing};

use super::content::{Data, Tree};
use super::operation::Operation;
use super::promises::{Listed, Promises};

/// The user's folders.
const FOLDERS: usize = 3;
/// Places to which he fetches.
const DESTS: usize = 4;
/// Folders of the other peer.
const OFFERS: usize = 5;

/// Bytes of a file that is long enough for a kill to find it half fetched.
const LARGE: u64 = 10 * MIB + 5;

/// A folder of another peer.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) cid: String,
    pub(super) tree: Tree,
    pub(super) car: PathBuf,
    /// Bytes of its blocks that are no file's.
    pub(super) nodes: u64,
}

/// All there is.
#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) place: &'a Place,
    /// Whose processes are killed.
    pub(super) peer: Peer,
    /// Where the other peer can be asked.
    pub(super) from: String,
    /// Runs until the end.
    other: (Peer, Sharing),
    pub(super) offers: Vec<Offer>,
    /// What the user's folders hold.
    pub(super) folders: Vec<Tree>,
    /// What the places hold to which he fetches.
    pub(super) dests: Vec<Tree>,
    /// Places and what was begun to be fetched to them.
    pub(super) fetching: BTreeSet<(usize, String)>,
    pub(super) promises: Promises,
}

impl<'a> World<'a> {
    pub(super) fn new(place: &'a Place, rng: &mut Rng) -> Result<Self> {
        let other = place.peer("other");
        let owner = other.up()?;
        let mut world = Self {
            place,
            peer: place.peer("repository"),
            from: owner.addr()?,
            other: (other, owner),
            offers: Vec::new(),
            folders: vec![Tree::default(); FOLDERS],
            dests: vec![Tree::default(); DESTS],
            fetching: BTreeSet::new(),
            promises: Promises::default(),
        };
        for number in 0..OFFERS {
            // Some are nearly the same.
            let tree = match world.offers.last() {
                Some(last) if number % 2 == 1 => last.tree.changed(rng),
                _ => Tree::draw(rng),
            };
            let offer = world.offer(number, tree, &Tree::default())?;
            world.offers.push(offer);
        }
        Ok(world)
    }

    /// The other peer has something new, which takes a while to fetch.
    pub(super) fn renew(&mut self, number: usize, rng: &mut Rng) -> Result<()> {
        let before = self.offers[number].tree.clone();
        let mut tree = if rng.below(2) == 0 { Tree::draw(rng) } else { before.changed(rng) };
        tree.0.insert("large".to_owned(), Data::of_len(rng, LARGE));
        self.offers[number] = self.offer(number, tree, &before)?;
        Ok(())
    }

    fn offer(&mut self, number: usize, tree: Tree, before: &Tree) -> Result<Offer> {
        let (path, car) =
            (self.place.path(&format!("offer{number}")), self.place.path(&format!("offer{number}.car")));
        tree.write(&path, before)?;
        let run = |args: &[&str]| self.other.0.run_attached(args)?.with_status(0);
        let cid = field(&run(&["add", text(&path)])?.event("added")?, "cid")?;
        if car.exists() {
            fs::remove_file(&car)?;
        }
        run(&["car", "export", "--offline", &cid, "-o", text(&car)])?;
        let all = number_of(&run(&["stat", "--offline", &cid])?.event("stat")?, "dag_size")?;
        let nodes = all.checked_sub(tree.len()).context("a DAG that is smaller than its files")?;
        self.promises.name(&cid, &tree, None);
        Ok(Offer { cid, tree, car, nodes })
    }

    pub(super) fn folder_path(&self, folder: usize) -> PathBuf {
        self.place.path(&format!("folder{folder}"))
    }

    pub(super) fn dest_path(&self, dest: usize) -> PathBuf {
        self.place.path(&format!("dest{dest}"))
    }

    /// Where `get` keeps what it has not finished.
    pub(super) fn staging_path(&self, dest: usize, cid: &str) -> PathBuf {
        self.place.path(&format!(".dest{dest}.{}.peerage-part", &cid[cid.len().saturating_sub(8)..]))
    }

    /// The user works in a folder, or begins another one there.
    pub(super) fn work(&mut self, folder: usize, rng: &mut Rng) -> Result<()> {
        let now = match rng.below(4) {
            _ if self.folders[folder].0.is_empty() => Tree::draw(rng),
            0 => return Ok(()),
            1 => Tree::draw(rng),
            _ => self.folders[folder].changed(rng),
        };
        self.set_folder(folder, now)
    }

    /// One more file in a folder.
    pub(super) fn put_file(&mut self, folder: usize, data: Data) -> Result<()> {
        let mut now = self.folders[folder].clone();
        now.0.insert("large".to_owned(), data);
        self.set_folder(folder, now)
    }

    fn set_folder(&mut self, folder: usize, now: Tree) -> Result<()> {
        let path = self.folder_path(folder);
        let before = std::mem::replace(&mut self.folders[folder], now);
        self.promises.take_back(&path, &before, &self.folders[folder]);
        self.folders[folder].write(&path, &before)
    }

    /// What is at a place before something is fetched to it: nothing, a part of it,
    /// or whatever was there.
    pub(super) fn prepare_dest(&mut self, dest: usize, offer: usize, rng: &mut Rng) -> Result<()> {
        let path = self.dest_path(dest);
        let now = match rng.below(5) {
            0..2 => None,
            2 => Some(self.offers[offer].tree.part(rng)),
            _ => return Ok(()),
        };
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        if rng.below(3) == 0 {
            self.remove_staging(dest)?;
        }
        let before = std::mem::take(&mut self.dests[dest]);
        if let Some(part) = now {
            part.write(&path, &Tree::default())?;
            self.dests[dest] = part;
        }
        self.promises.take_back(&path, &before, &self.dests[dest]);
        Ok(())
    }

    /// Removes what a killed command left under a name of its own.
    pub(super) fn remove_left(&self, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(self.place.path(""))? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                match entry.file_type()?.is_dir() {
                    true => fs::remove_dir_all(entry.path())?,
                    false => fs::remove_file(entry.path())?,
                }
            }
        }
        Ok(())
    }

    fn remove_staging(&mut self, dest: usize) -> Result<()> {
        for (of, cid) in &self.fetching {
            let staging = self.staging_path(dest, cid);
            if *of == dest && staging.exists() {
                fs::remove_dir_all(staging)?;
            }
        }
        self.fetching.retain(|(of, _)| *of != dest);
        Ok(())
    }

    /// Something begins to be fetched to a place: what differs there goes.
    pub(super) fn fetch(&mut self, dest: usize, offer: usize) {
        let (path, offered) = (self.dest_path(dest), &self.offers[offer]);
        let mut after = self.dests[dest].clone();
        after.0.extend(offered.tree.0.clone());
        self.promises.take_back(&path, &self.dests[dest], &after);
        self.promises.try_keep(&path, Some(&offered.cid));
        self.fetching.insert((dest, offered.cid.clone()));
    }

    /// Data that the program may read from files of the user's.
    pub(super) fn at_hand(&self) -> BTreeSet<Data> {
        let staged = self.fetching.iter().filter_map(|(_, cid)| self.promises.content(cid));
        self.folders.iter().chain(&self.dests).chain(staged).flat_map(Tree::data).collect()
    }

    /// Names what an operation made that was killed before it said the CID.
    pub(super) fn name_unknown(&mut self, operation: &Operation, listed: &Listed) {
        match operation {
            Operation::Add { folder, name, chunker, .. } => {
                let found = listed.pins.iter().filter(|(_, found)| *found == name);
                for (cid, name) in found {
                    self.promises.name(cid, &self.folders[*folder], *chunker);
                    self.promises.try_pin(cid, Some(name));
                }
            }
            Operation::Share { folder } => {
                let path = self.folder_path(*folder);
                for cid in listed.kept.get(&path).into_iter().flatten() {
                    let tree = &self.folders[*folder];
                    if self.promises.content(cid).is_none_or(|known| known == tree) {
                        self.promises.name(cid, tree, None);
                        self.promises.try_keep(&path, Some(cid));
                    }
                }
            }
            _ => {}
        }
    }
}
