//! An index cache in memory that fails, panics, and after a crash has lost any
//! number of the writes that came last, flushed or not.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerage_base::Rng;
use peerage_store::index::{Index, IndexSource, Item};

/// Opens such indexes. Clones know the same ones.
#[derive(Debug, Clone)]
pub struct FaultyIndex(Arc<Mutex<World>>);

#[derive(Debug)]
struct World {
    rng: Rng,
    /// What was written to the index of each folder, the oldest first.
    logs: BTreeMap<PathBuf, Vec<Write>>,
    /// One call in so many fails, as often by a panic as by an error; none, if 0.
    failing: u64,
}

#[derive(Debug, Clone)]
enum Write {
    Put(Vec<u8>, Vec<u8>, Vec<u8>),
    Remove(Vec<u8>, Vec<u8>),
    Clear(Vec<u8>),
}

type Table = BTreeMap<Vec<u8>, Vec<u8>>;

impl FaultyIndex {
    /// None yet, and they do no harm.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(World { rng: Rng::new(seed), logs: BTreeMap::new(), failing: 0 })))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on one call in so many fails; none, if it is 0.
    pub fn set_failing(&self, one_in: u64) {
        self.world().failing = one_in;
    }

    /// A crash: of each index some of the last writes are gone.
    pub fn crash(&self) {
        let mut world = self.world();
        let World { rng, logs, .. } = &mut *world;
        for log in logs.values_mut() {
            let kept = match rng.below(3) {
                0 => log.len() as u64,
                1 => 0,
                _ => rng.below(log.len() as u64 + 1),
            };
            log.truncate(usize::try_from(kept).unwrap_or(0));
        }
    }

    /// The index exchanges some values, each whole: it disagrees with the packs.
    pub fn shuffle(&self) {
        let mut world = self.world();
        let World { rng, logs, .. } = &mut *world;
        for log in logs.values_mut().filter(|log| !log.is_empty()) {
            let mut at = || usize::try_from(rng.below(log.len() as u64)).unwrap_or(0);
            let (one, other) = (at(), at());
            if let (Write::Put(table, key, _), Write::Put(_, _, value)) =
                (log[one].clone(), log[other].clone())
            {
                log.push(Write::Put(table, key, value));
            }
        }
    }
}

impl World {
    fn fail_sometimes(&mut self) -> io::Result<()> {
        if self.failing == 0 || self.rng.below(self.failing) > 0 {
            return Ok(());
        }
        assert!(self.rng.below(2) == 0, "the double's index panics");
        Err(io::Error::other("the double's index fails"))
    }

    fn table(&self, dir: &Path, name: &[u8]) -> Table {
        let mut table = Table::new();
        for write in self.logs.get(dir).into_iter().flatten() {
            match write {
                Write::Put(of, key, value) if of == name => drop(table.insert(key.clone(), value.clone())),
                Write::Remove(of, key) if of == name => drop(table.remove(key)),
                Write::Clear(of) if of == name => table.clear(),
                _ => {}
            }
        }
        table
    }
}

impl IndexSource for FaultyIndex {
    fn open(&self, dir: &Path) -> io::Result<Box<dyn Index>> {
        let mut world = self.world();
        world.fail_sometimes()?;
        world.logs.entry(dir.to_path_buf()).or_default();
        Ok(Box::new(Open { source: self.clone(), dir: dir.to_path_buf() }))
    }

    fn move_aside(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        let log = world.logs.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.logs.insert(to.to_path_buf(), log);
        Ok(())
    }

    fn bytes(&self, _: &Path) -> u64 {
        0
    }
}

struct Open {
    source: FaultyIndex,
    dir: PathBuf,
}

impl Open {
    fn write(&self, write: Write) -> io::Result<()> {
        let mut world = self.source.world();
        world.fail_sometimes()?;
        world.logs.entry(self.dir.clone()).or_default().push(write);
        Ok(())
    }
}

impl Index for Open {
    fn get(&self, table: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let mut world = self.source.world();
        world.fail_sometimes()?;
        Ok(world.table(&self.dir, table).remove(key))
    }

    fn put(&self, table: &[u8], key: &[u8], value: &[u8]) -> io::Result<()> {
        self.write(Write::Put(table.to_vec(), key.to_vec(), value.to_vec()))
    }

    fn remove(&self, table: &[u8], key: &[u8]) -> io::Result<()> {
        self.write(Write::Remove(table.to_vec(), key.to_vec()))
    }

    fn clear(&self, table: &[u8]) -> io::Result<()> {
        self.write(Write::Clear(table.to_vec()))
    }

    fn scan(&self, table: &[u8], prefix: &[u8], limit: usize) -> io::Result<Vec<Item>> {
        let mut world = self.source.world();
        world.fail_sometimes()?;
        let items = world.table(&self.dir, table).into_iter();
        Ok(items.filter(|(key, _)| key.starts_with(prefix)).take(limit).collect())
    }

    fn flush(&self) -> io::Result<()> {
        self.source.world().fail_sometimes()
    }
}
