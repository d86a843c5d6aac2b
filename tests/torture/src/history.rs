//! One history: a seed's operations and misfortunes on a store of the doubles.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use anyhow::{Context as _, Result, ensure};
use peerage_base::Rng;
use peerage_store::disk::{Access, Disk as _};
use peerage_store::{Config, OpenReport, Store, fuzzing};

use crate::disk::{Faults, FaultyDisk};
use crate::index::FaultyIndex;
use crate::model::{End, Level, Model, block, multihash, pin};
use crate::operations::Operator;
use crate::record::{Facts, Record as _};

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

/// Plays the history of `seed`; the files of [`write_user_files`](crate::operations::write_user_files)
/// are in `user_files`.
///
/// # Errors
/// What the store did against its word.
pub fn play(seed: u64, user_files: &Path) -> Result<Outcome> {
    quiet_index();
    let mut history = History::new(seed, user_files)?;
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

struct History {
    operator: Operator,
    disk: FaultyDisk,
    index: FaultyIndex,
    dir: PathBuf,
    config: Config,
    model: Model,
    outcome: Outcome,
}

impl History {
    fn new(seed: u64, user_files: &Path) -> Result<Self> {
        let mut rng = Rng::new(seed);
        let disk = FaultyDisk::new(rng.next_u64());
        let index = FaultyIndex::new(rng.next_u64());
        let dir = PathBuf::from("/repository");
        // The key of a repository is random; this one is not, so that a seed replays.
        let journal = disk.open(&dir.join("journal"), Access::Anew)?;
        journal.write_at(0, &fuzzing::journal_head())?;
        journal.sync()?;
        disk.create_dir(&dir)?;
        disk.sync_dir(Path::new("/"))?;
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
        let operator = Operator::new(rng, user_files);
        let (model, outcome) = (Model::default(), Outcome::default());
        Ok(Self { operator, disk, index, dir, config, model, outcome })
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
        let operations = 10 + self.operator.rng.below(120);
        for number in 0..operations {
            self.outcome.operations += 1;
            let done = self
                .operator
                .operate(&store, &mut self.model)
                .with_context(|| format!("operation {number}"))?;
            if !done {
                self.outcome.failures += 1;
            }
            if self.operator.chance(1) {
                // The user makes room, or something else fills the disk.
                self.begin_misfortunes(life);
            }
        }
        let end = self.end(store)?;
        self.disk.set_faults(Faults::default());
        self.disk.set_room(None);
        self.index.set_failing(0);
        if self.operator.chance(20) {
            self.index.shuffle();
        }
        let (store, report) = self.open()?;
        // Only a power cut leaves records after what is of no use, until they are rewritten.
        let torn = self.outcome.cuts == 0 && (report.damaged_bytes > 0 || report.journal_copied_to.is_some());
        ensure!(!torn, "after a kill: {report:?}");
        self.outcome.compared += self.model.numbers().count() as u64;
        self.model.check(&store, end)?;
        Ok(())
    }

    fn begin_misfortunes(&mut self, life: u64) {
        let faults = match self.operator.rng.below(4) {
            0 if life > 0 => {
                let often = |rng: &mut Rng| if rng.below(2) == 0 { 0 } else { 5 + rng.below(60) };
                let rng = &mut self.operator.rng;
                Faults { write: often(rng), sync: often(rng), name: often(rng), read: often(rng) * 4 }
            }
            _ => Faults::default(),
        };
        self.disk.set_faults(faults);
        let room = if self.operator.chance(20) { Some(self.operator.rng.below(30_000)) } else { None };
        self.disk.set_room(room);
        let failing = if self.operator.chance(20) { 1 + self.operator.rng.below(20) } else { 0 };
        self.index.set_failing(failing);
    }

    fn end(&mut self, store: Store) -> Result<End> {
        match self.operator.rng.below(5) {
            // Closed, after which all is safe and nothing is written.
            0 if self.operator.chance(50) => {
                let closed = store.close();
                ensure!(
                    matches!(store.put_block(&multihash(&block(0)), &block(0)), Ok(false) | Err(_))
                        && store.add_pin(&pin(0, 0)).is_err(),
                    "written to after it was closed"
                );
                if closed.is_ok() {
                    self.model.promised(Level::Synced, &Facts::of(&store));
                }
                self.outcome.cuts += 1;
                self.disk.cut_power();
                drop(store);
                self.index.crash();
                Ok(End::PowerCut)
            }
            // Dropped, which hands everything to the system if that is possible.
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
}
