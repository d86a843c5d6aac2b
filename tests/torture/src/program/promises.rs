//! What the program told its user, and so must be there after a kill: beside it,
//! which files of the user's it may lean on.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use peerage_store::{RootKind, Store};

use super::content::{Data, Tree};
use crate::model::{End, Level, Possible};

/// The model. What was begun and not acknowledged may be or not.
#[derive(Debug, Default)]
pub(super) struct Promises {
    /// Names of pins by their CIDs, or that there is none.
    pins: BTreeMap<String, Possible<Option<String>>>,
    /// CIDs of what is kept at a path: more than one if a kill came between.
    kept: BTreeMap<PathBuf, (BTreeSet<String>, Possible<BTreeSet<String>>)>,
    /// What CIDs stand for.
    contents: BTreeMap<String, Content>,
    /// CIDs that were acknowledged as a root that there is still.
    acknowledged: BTreeSet<String>,
    /// CIDs of the roots that there were last, acknowledged or not.
    present: BTreeSet<String>,
    /// Data whose bytes are in the repository itself.
    copied: BTreeSet<Cut>,
    /// Files of the user's that hold data, and that the program said it reads.
    lent: BTreeMap<PathBuf, BTreeSet<Cut>>,
}

/// How files are cut into blocks: the flag `--chunker`.
pub(super) type Chunker = Option<&'static str>;

/// Data in its blocks: cut in another way it is other ones.
type Cut = (Data, Chunker);

/// What a CID stands for.
#[derive(Debug)]
struct Content {
    tree: Tree,
    chunker: Chunker,
}

impl Content {
    fn cuts(&self) -> impl Iterator<Item = Cut> {
        self.tree.0.values().map(|data| (*data, self.chunker))
    }
}

/// What a repository tells of its roots.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Names of pins by their CIDs.
    pub(super) pins: BTreeMap<String, String>,
    /// CIDs by the paths at which they are kept.
    pub(super) kept: BTreeMap<PathBuf, BTreeSet<String>>,
    /// CIDs of all roots.
    pub(super) roots: BTreeSet<String>,
}

impl Listed {
    pub(super) fn of(store: &Store) -> Result<Self> {
        let mut listed = Self::default();
        let mut pinned = BTreeSet::new();
        for entry in store.roots() {
            let cid = entry.root.cid.to_string();
            ensure!(entry.set.is_some(), "the set of {cid} is lost");
            match (entry.root.kind, entry.root.path) {
                (RootKind::Pin, _) => drop(pinned.insert(cid.clone())),
                (_, Some(path)) => drop(listed.kept.entry(path).or_default().insert(cid.clone())),
                (_, None) => {}
            }
            listed.roots.insert(cid);
        }
        for pin in store.pins() {
            let cid = pin.cid.to_string();
            // Nothing else would keep its blocks from a collection.
            ensure!(pinned.contains(&cid), "the pin of {cid} has no root");
            listed.pins.insert(cid, pin.name);
        }
        Ok(listed)
    }
}

impl Promises {
    /// Takes down what a CID stands for.
    pub(super) fn name(&mut self, cid: &str, tree: &Tree, chunker: Chunker) {
        self.contents.insert(cid.to_owned(), Content { tree: tree.clone(), chunker });
    }

    pub(super) fn content(&self, cid: &str) -> Option<&Tree> {
        self.contents.get(cid).map(|content| &content.tree)
    }

    /// A pin is added, renamed or removed, or may be.
    pub(super) fn try_pin(&mut self, cid: &str, name: Option<&str>) {
        let known = self.pins.entry(cid.to_owned()).or_insert_with(|| Possible::one(None));
        known.tried(name.map(str::to_owned));
    }

    /// It was said that it is so.
    pub(super) fn pinned(&mut self, cid: &str, name: Option<&str>) {
        self.try_pin(cid, name);
        let name = name.map(str::to_owned);
        if name.is_some() {
            self.acknowledged.insert(cid.to_owned());
        }
        if let Some(known) = self.pins.get_mut(cid) {
            known.promised(name, Level::Synced);
        }
    }

    /// A root takes the place of what is kept at a path, or nothing does; or may.
    pub(super) fn try_keep(&mut self, path: &Path, cid: Option<&str>) {
        let (now, possible) = self.kept.entry(path.to_owned()).or_insert_with(none_kept);
        let old: Vec<&String> = now.iter().collect();
        // Those from before go one by one, after the new one has come.
        for some in 0..1_u32 << old.len().min(8) {
            let left = old.iter().enumerate().filter(|(at, _)| some >> at & 1 == 1);
            possible.tried(left.map(|(_, cid)| (*cid).clone()).chain(cid.map(str::to_owned)).collect());
        }
    }

    /// It was said that it is so.
    pub(super) fn kept(&mut self, path: &Path, cid: Option<&str>) {
        self.try_keep(path, cid);
        self.acknowledged.extend(cid.map(str::to_owned));
        if let Some((_, possible)) = self.kept.get_mut(path) {
            possible.promised(cid.map(str::to_owned).into_iter().collect(), Level::Synced);
        }
    }

    /// Files that the program said it reads where they are.
    pub(super) fn lend(&mut self, folder: &Path, tree: &Tree, chunker: Chunker) {
        for (path, data) in &tree.0 {
            self.lent.entry(folder.join(path)).or_default().insert((*data, chunker));
        }
    }

    /// The user does with his folder as he likes: what held `before` is to hold `after`.
    pub(super) fn take_back(&mut self, folder: &Path, before: &Tree, after: &Tree) {
        for path in before.0.iter().filter(|(path, data)| after.0.get(*path) != Some(data)) {
            self.lent.remove(&folder.join(path.0));
        }
    }

    /// The program said that it has the bytes of these itself.
    pub(super) fn copied(&mut self, data: impl IntoIterator<Item = Data>, chunker: Chunker) {
        self.copied.extend(data.into_iter().map(|data| (data, chunker)));
    }

    /// CIDs of pins.
    pub(super) fn pins(&self) -> Vec<String> {
        let there = |possible: &Possible<Option<String>>| possible.after_kill().any(Option::is_some);
        self.pins.iter().filter(|(_, possible)| there(possible)).map(|(cid, _)| cid.clone()).collect()
    }

    /// Paths at which something is kept.
    pub(super) fn places(&self) -> Vec<PathBuf> {
        self.kept.iter().filter(|(_, (now, _))| !now.is_empty()).map(|(path, _)| path.clone()).collect()
    }

    /// CIDs of which every block must be here.
    pub(super) fn whole(&self) -> Vec<String> {
        let lent: BTreeSet<&Cut> = self.lent.values().flatten().collect();
        let is_held = |cut: Cut| self.copied.contains(&cut) || lent.contains(&cut);
        let whole =
            |cid: &&String| self.contents.get(*cid).is_some_and(|content| content.cuts().all(is_held));
        self.acknowledged.iter().filter(whole).cloned().collect()
    }

    /// How the files of a root are held, for who looks for what was lost.
    pub(super) fn held(&self, cid: &str) -> String {
        let mut lines = String::new();
        let Some(Content { tree, chunker }) = self.contents.get(cid) else { return lines };
        for (path, data) in &tree.0 {
            let cut = (*data, *chunker);
            let copied = if self.copied.contains(&cut) { " copied" } else { "" };
            let lent = self.lent.iter().filter(|(_, lent)| lent.contains(&cut));
            let lent: Vec<String> = lent.map(|(path, _)| path.display().to_string()).collect();
            lines.push_str(&format!("\n{path}: {cut:?}{copied} {}", lent.join(" ")));
        }
        lines
    }

    /// Compares the roots that there are after a kill with what was told. What is found
    /// is so from now on.
    pub(super) fn check(&mut self, listed: &Listed) -> Result<()> {
        for (cid, possible) in &mut self.pins {
            let (found, expected) = (listed.pins.get(cid).cloned(), format!("{possible:?}"));
            ensure!(
                possible.found(found.clone(), End::Kill),
                "the pin of {cid} is {found:?}, not {expected}"
            );
        }
        for cid in listed.pins.keys() {
            ensure!(self.pins.contains_key(cid), "a pin that nobody added: {cid}");
        }
        for (path, (now, possible)) in &mut self.kept {
            let found = listed.kept.get(path).cloned().unwrap_or_default();
            let expected = format!("{possible:?}");
            ensure!(
                possible.found(found.clone(), End::Kill),
                "at {} is kept {found:?}, not {expected}",
                path.display()
            );
            *now = found;
        }
        for path in listed.kept.keys() {
            ensure!(self.kept.contains_key(path), "a root that nobody kept: {}", path.display());
        }
        self.present.clone_from(&listed.roots);
        self.acknowledged.retain(|cid| listed.roots.contains(cid));
        // A collection may take what no root has.
        let needed: BTreeSet<Cut> =
            self.present.iter().filter_map(|cid| self.contents.get(cid)).flat_map(Content::cuts).collect();
        self.copied.retain(|cut| needed.contains(cut));
        Ok(())
    }
}

fn none_kept() -> (BTreeSet<String>, Possible<BTreeSet<String>>) {
    (BTreeSet::new(), Possible::one(BTreeSet::new()))
}
