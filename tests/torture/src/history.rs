//! One history: a seed's operations and misfortunes on a store of the doubles.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use anyhow::{Context as _, Result, ensure};
use peerage_base::Rng;
use peerage_store::disk::{Access, Disk as _};
use peerage_store::{
    Config, FileId, OpenReport, Reference, Root, RootKind, Store, TreeId, WriteError, fuzzing,
};

use crate::disk::{Faults, FaultyDisk};
use crate::index::FaultyIndex;
use crate::model::{End, Level, Model, block, cid, is_right, multihash, pin, root_name};

/// Numbers of blocks; pieces of files have higher ones.
const BLOCKS: u32 = 400;
/// Files that pieces are of, and the pieces of each.
const FILES: u32 = 6;
const PIECES: u32 = 12;
const PIECE_BYTES: usize = 200;
/// Lives of a store in one history.
const LIVES: u64 = 6;

/// What a history came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    /// Operations that were done or tried.
    pub operations: u64,
    /// Of these, those that failed, as they should when the disk does.
    pub failures: u64,
    /// Kills.
    pub kills: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Blocks that were compared.
    pub compared: u64,
}

impl Outcome {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            operations: self.operations + other.operations,
            failures: self.failures + other.failures,
            kills: self.kills + other.kills,
            cuts: self.cuts + other.cuts,
            compared: self.compared + other.compared,
        }
    }
}

/// The files of a user's that pieces are of: they never change.
#[derive(Debug)]
pub struct UserFiles {
    dir: tempfile::TempDir,
}

impl UserFiles {
    /// Writes them.
    ///
    /// # Errors
    /// The disk's.
    pub fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        for file in 0..FILES {
            let bytes: Vec<u8> = (0..PIECES).flat_map(|piece| piece_bytes(number(file, piece))).collect();
            fs::write(dir.path().join(file.to_string()), bytes)?;
        }
        Ok(Self { dir })
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

fn number(file: u32, piece: u32) -> u32 {
    BLOCKS + file * PIECES + piece
}

fn piece_bytes(n: u32) -> Vec<u8> {
    n.to_be_bytes().iter().copied().cycle().take(PIECE_BYTES).collect()
}

fn bytes_of(n: u32) -> Vec<u8> {
    if n < BLOCKS { block(n) } else { piece_bytes(n) }
}

/// Plays the history of `seed`.
///
/// # Errors
/// What the store did against its word.
pub fn play(seed: u64, files: &UserFiles) -> Result<Outcome> {
    quiet_index();
    let mut history = History::new(seed, files)?;
    for life in 0..LIVES {
        history.live(life).with_context(|| format!("seed {seed}, life {life}"))?;
    }
    Ok(history.outcome)
}

/// The double's panics are no news.
fn quiet_index() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if std::thread::current().name() != Some("index-cache") {
                usual(info);
            }
        }));
    });
}

struct History<'a> {
    rng: Rng,
    disk: FaultyDisk,
    index: FaultyIndex,
    dir: PathBuf,
    config: Config,
    files: &'a UserFiles,
    model: Model,
    trees: Vec<(TreeId, Vec<FileId>)>,
    pins: u32,
    outcome: Outcome,
}

impl<'a> History<'a> {
    fn new(seed: u64, files: &'a UserFiles) -> Result<Self> {
        let mut rng = Rng::new(seed);
        let disk = FaultyDisk::new(rng.next_u64());
        let index = FaultyIndex::new(rng.next_u64());
        let dir = PathBuf::from("/repository");
        // The key of a repository is random; this one is not, so that a seed replays.
        let journal = disk.open(&dir.join("journal"), Access::Anew)?;
        journal.write_at(0, &fuzzing::journal_head())?;
        journal.sync()?;
        disk.sync_dir(&dir)?;
        let mut within = |from: u64, to: u64| usize::try_from(from + rng.below(to - from)).unwrap_or(0);
        let config = Config {
            pack_bytes: within(2_000, 40_000) as u64,
            pack_records: within(8, 60),
            merged_records: within(60, 400),
            merged_bytes: within(20_000, 200_000) as u64,
            merge_fan: within(2, 5),
            write_buffer: within(100, 4_000),
            open_root_sets: within(1, 4),
            disk: Arc::new(disk.clone()),
            index: Arc::new(index.clone()),
            ..Config::default()
        };
        let model = Model::default();
        let (trees, pins, outcome) = (Vec::new(), 0, Outcome::default());
        Ok(Self { rng, disk, index, dir, config, files, model, trees, pins, outcome })
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.rng.below(100) < percent
    }

    fn n(&mut self) -> u32 {
        u32::try_from(self.rng.below(u64::from(BLOCKS))).unwrap_or(0)
    }

    fn open(&mut self) -> Result<(Store, OpenReport)> {
        let (store, report) = Store::open(&self.dir, self.config.clone())?;
        ensure!(report.lost_root_sets.is_empty(), "lost root sets: {:?}", report.lost_root_sets);
        Ok((store, report))
    }

    /// Opens the store, does things, ends it, opens it in peace and compares.
    fn live(&mut self, life: u64) -> Result<()> {
        let (store, _) = self.open()?;
        self.begin_misfortunes(life);
        let operations = 10 + self.rng.below(120);
        for number in 0..operations {
            self.outcome.operations += 1;
            let done = self.operate(&store).with_context(|| format!("operation {number}"))?;
            if !done {
                self.outcome.failures += 1;
            }
            if self.chance(1) {
                // The user makes room, or something else fills the disk.
                self.begin_misfortunes(life);
            }
        }
        let end = self.end(store)?;
        self.disk.set_faults(Faults::default());
        self.disk.set_room(None);
        self.index.set_failing(0);
        if self.chance(20) {
            self.index.shuffle();
        }
        let (store, report) = self.open()?;
        // Only a power cut leaves records after what is of no use, until they are rewritten.
        let torn = self.outcome.cuts == 0 && (report.damaged_bytes > 0 || report.journal_copied_to.is_some());
        ensure!(!torn, "after a kill: {report:?}");
        self.outcome.compared += self.model.numbers().count() as u64;
        self.model.check(&store, end, &bytes_of)?;
        Ok(())
    }

    fn begin_misfortunes(&mut self, life: u64) {
        let faults = match self.rng.below(4) {
            0 if life > 0 => {
                let often = |rng: &mut Rng| if rng.below(2) == 0 { 0 } else { 5 + rng.below(60) };
                let rng = &mut self.rng;
                Faults { write: often(rng), sync: often(rng), name: often(rng), read: often(rng) * 4 }
            }
            _ => Faults::default(),
        };
        self.disk.set_faults(faults);
        let room = if self.chance(20) { Some(self.rng.below(30_000)) } else { None };
        self.disk.set_room(room);
        let failing = if self.chance(20) { 1 + self.rng.below(20) } else { 0 };
        self.index.set_failing(failing);
    }

    fn end(&mut self, store: Store) -> Result<End> {
        match self.rng.below(5) {
            // Closed, which hands everything to the system if that is possible.
            0 => {
                drop(store);
                self.disk.kill();
                Ok(End::Kill)
            }
            1 | 2 => {
                self.outcome.kills += 1;
                self.disk.kill();
                drop(store);
                self.index.crash();
                Ok(End::Kill)
            }
            _ => {
                self.outcome.cuts += 1;
                self.disk.cut_power();
                drop(store);
                self.index.crash();
                Ok(End::PowerCut)
            }
        }
    }

    /// One operation; false if it failed as it may.
    fn operate(&mut self, store: &Store) -> Result<bool> {
        let choice = self.rng.below(40);
        let result = match choice {
            0..12 => self.put(store),
            12..15 => self.share(store),
            15 => self.remove_tree(store),
            16..19 => {
                let flushed = store.flush();
                if flushed.is_ok() {
                    self.model.promised(store, Level::Flushed);
                }
                flushed
            }
            19..23 => {
                let synced = store.sync();
                if synced.is_ok() {
                    self.model.promised(store, Level::Synced);
                }
                synced
            }
            23..27 => self.pin(store),
            27 => self.add_root(store),
            28 => self.remove_root(store),
            29..32 => store.maintain().map(drop),
            32 | 33 => self.collect(store),
            _ => return self.look(store),
        };
        if std::env::var("TRACE").is_ok() {
            eprintln!(
                "{choice}: {result:?} pins {} free {:?}",
                self.pins,
                peerage_store::disk::Disk::free_space(&self.disk, Path::new(""))
            );
        }
        Ok(result.is_ok())
    }

    fn put(&mut self, store: &Store) -> Result<(), WriteError> {
        let from = self.n();
        let count = 1 + u32::try_from(self.rng.below(12)).unwrap_or(0);
        for n in from..(from + count).min(BLOCKS) {
            let bytes = block(n);
            store.put_block(&multihash(&bytes), &bytes)?;
            self.model.put(n);
        }
        Ok(())
    }

    fn share(&mut self, store: &Store) -> Result<(), WriteError> {
        let tree = store.add_tree(self.files.path())?;
        self.trees.push((tree, Vec::new()));
        let file = u32::try_from(self.rng.below(u64::from(FILES))).unwrap_or(0);
        let id = store.add_file(tree, Path::new(&file.to_string()), None)?;
        for piece in 0..PIECES {
            let n = number(file, piece);
            let reference = Reference {
                file: id,
                offset: u64::from(piece) * PIECE_BYTES as u64,
                len: u32::try_from(PIECE_BYTES).unwrap_or(0),
                head: Default::default(),
                tail: Default::default(),
            };
            store.put_reference(&multihash(&piece_bytes(n)), &reference)?;
            self.model.put_piece(tree, n);
        }
        Ok(())
    }

    fn remove_tree(&mut self, store: &Store) -> Result<(), WriteError> {
        if self.trees.is_empty() {
            return Ok(());
        }
        let at = usize::try_from(self.rng.below(self.trees.len() as u64)).unwrap_or(0);
        let (tree, _) = self.trees.swap_remove(at);
        self.model.remove_tree(tree);
        store.remove_tree(tree)
    }

    fn pin(&mut self, store: &Store) -> Result<(), WriteError> {
        let n = self.n() % 40;
        self.pins += 1;
        let result = if self.chance(30) {
            self.model.try_pin(n, None);
            let pin = pin(n, 0);
            store.remove_pin(&pin.cid, pin.kind).map(drop)
        } else {
            let pin = pin(n, self.pins);
            self.model.try_pin(n, Some(pin.name.clone()));
            store.add_pin(&pin)
        };
        if result.is_ok() {
            self.model.facts_promised(store, Level::Flushed);
        }
        result
    }

    fn add_root(&mut self, store: &Store) -> Result<(), WriteError> {
        let from = self.n();
        let to = (from + 1 + self.n() % 60).min(BLOCKS);
        let name = root_name(from, to);
        let set = store.root_set_builder();
        for n in from..to {
            set.insert(&multihash(&block(n)))?;
        }
        let root = Root {
            cid: cid(from),
            kind: RootKind::Kept,
            path: None,
            name: name.clone(),
            announce: false,
            keep: true,
            size: 0,
            tree: None,
            added: 0,
        };
        if store.roots().iter().any(|entry| entry.root.name == name) {
            return Ok(());
        }
        self.model.try_root(&name, true);
        store.add_root(&root, &set)?;
        self.model.facts_promised(store, Level::Flushed);
        Ok(())
    }

    fn remove_root(&mut self, store: &Store) -> Result<(), WriteError> {
        let roots = store.roots();
        let Some(entry) = self.rng.pick(&roots) else { return Ok(()) };
        self.model.try_root(&entry.root.name, false);
        store.remove_root(entry.id)?;
        self.model.facts_promised(store, Level::Flushed);
        Ok(())
    }

    /// A whole collection, or one that is given up, of which others know nothing.
    fn collect(&mut self, store: &Store) -> Result<(), WriteError> {
        let modulus = 2 + u32::try_from(self.rng.below(8)).unwrap_or(0);
        let keep_most = self.chance(50);
        let dead = |n: u32| n.is_multiple_of(modulus) != keep_most;
        let Some(mut collection) = store.collect()? else { return Ok(()) };
        let all = (0..number(FILES, 0)).map(|n| (multihash(&bytes_of(n)), n));
        let numbers: std::collections::BTreeMap<Vec<u8>, u32> =
            all.map(|(mh, n)| (mh.to_bytes(), n)).collect();
        self.model.give_up(dead);
        let live = |mh: &peerage_store::Multihash| numbers.get(&mh.to_bytes()).is_some_and(|n| !dead(*n));
        loop {
            if self.chance(30) {
                self.put(store)?;
            }
            if self.chance(5) || collection.step(&live)?.is_none() {
                return Ok(());
            }
        }
    }

    fn look(&mut self, store: &Store) -> Result<bool> {
        let n = u32::try_from(self.rng.below(u64::from(number(FILES, 0)))).unwrap_or(0);
        match is_right(store, n, &bytes_of(n)) {
            Ok(there) => {
                ensure!(there || !self.model.has(n), "block {n} is gone while the store lives");
                Ok(true)
            }
            // The disk's error is the store's; wrong bytes never are.
            Err(error) if error.root_cause().downcast_ref::<std::io::Error>().is_some() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
