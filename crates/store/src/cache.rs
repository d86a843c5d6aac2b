//! The index cache: what spares work and may be lost at any time.
//!
//! The [`Index`] lives in a thread of its own, and an error, a panic or an answer
//! past the deadline means that it is lost: its folder is moved to `index.bad`
//! and a new one begun, once per process; after that the store does without.
//! Every value carries a CRC of ours, and what disagrees is as good as absent.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::codec::Reader;
use crate::config::{Config, MAX_PATH_BYTES, MAX_TABLE_VALUE};
use crate::error::WriteError;
use crate::index::{Index, IndexSource};
use crate::notice::{Notice, OpenReport};
use crate::pack::open::Checkpoint;
use crate::pack::record::Entry;
use crate::pack::set::lock;
use crate::store::Store;

/// Entries of the active pack in one value: it stays under 1 KiB.
pub(crate) const PAGE_ENTRIES: usize = 63;
const ACTIVE_TABLE: &[u8] = b"active";
/// Pages of a checkpoint. 2,048: a pack of twice the usual records.
const MAX_PAGES: usize = 2048;
const META: &[u8] = b"meta";

type Job = Box<dyn FnOnce(&dyn Index) + Send>;

#[derive(Debug)]
struct Worker {
    jobs: Sender<Job>,
    /// Ends when the thread has let go of the folder.
    done: Receiver<()>,
}

#[derive(Debug, Default)]
struct State {
    worker: Option<Worker>,
    generation: u64,
    loss: Option<Notice>,
}

/// The cache, or what is left of it.
#[derive(Debug)]
pub(crate) struct Cache {
    dir: PathBuf,
    source: Arc<dyn IndexSource>,
    deadline: Duration,
    state: Mutex<State>,
}

fn start(source: &Arc<dyn IndexSource>, path: &Path, deadline: Duration) -> Option<Worker> {
    let (jobs, inbox) = channel::<Job>();
    let (ready, opened) = sync_channel(1);
    let (letting_go, done) = channel();
    let (source, path) = (Arc::clone(source), path.to_path_buf());
    let run = move || {
        // Dropped last, after the index has let go of its folder.
        let _letting_go = letting_go;
        let opened = catch_unwind(AssertUnwindSafe(|| source.open(&path)));
        let Ok(Ok(index)) = opened else { return };
        if ready.send(()).is_err() {
            return;
        }
        while let Ok(job) = inbox.recv() {
            if catch_unwind(AssertUnwindSafe(|| job(&*index))).is_err() {
                break;
            }
        }
        // Its destructor flushes, and may panic too.
        drop(catch_unwind(AssertUnwindSafe(|| drop(index))));
    };
    thread::Builder::new().name("index-cache".into()).spawn(run).ok()?;
    opened.recv_timeout(deadline).ok()?;
    Some(Worker { jobs, done })
}

impl Cache {
    /// Opens the cache of the repository in `dir`, a new one if it must.
    pub(crate) fn open(dir: &Path, config: &Config, report: &mut OpenReport) -> Self {
        let source = Arc::clone(&config.index);
        let deadline = config.index_deadline;
        let cache = Self { dir: dir.to_path_buf(), source, deadline, state: Mutex::default() };
        {
            let mut state = lock(&cache.state);
            state.worker = start(&cache.source, &dir.join("index"), cache.deadline);
            if state.worker.is_none() {
                cache.replace(&mut state);
                report.index_lost = true;
                report.index_moved_to = match state.loss.take() {
                    Some(Notice::IndexLost { moved_to }) => moved_to,
                    _ => None,
                };
            }
        }
        cache
    }

    /// Moves the folder aside and begins anew, the first time.
    fn replace(&self, state: &mut State) {
        state.worker = None;
        state.generation += 1;
        let (from, to) = (self.dir.join("index"), self.dir.join("index.bad"));
        let mut moved_to = None;
        if state.generation == 1 {
            moved_to = self.source.move_aside(&from, &to).is_ok().then_some(to);
            state.worker = start(&self.source, &from, self.deadline);
        }
        state.loss = Some(Notice::IndexLost { moved_to });
    }

    /// Lets go of its folder for good.
    pub(crate) fn close(&self) {
        let worker = lock(&self.state).worker.take();
        if let Some(Worker { jobs, done }) = worker {
            drop(jobs);
            // It never sends; the wait ends when the thread does.
            let _ended = done.recv_timeout(self.deadline);
        }
    }

    /// Bytes of its files.
    pub(crate) fn bytes(&self) -> u64 {
        self.source.bytes(&self.dir.join("index"))
    }

    /// What was lost since the last call.
    pub(crate) fn take_loss(&self) -> Option<Notice> {
        lock(&self.state).loss.take()
    }

    /// Runs a job in the cache's thread; `None` if the cache is lost or gets lost by it.
    fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&dyn Index) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let (reply, answer) = sync_channel(1);
        let (jobs, generation) = {
            let state = lock(&self.state);
            (state.worker.as_ref()?.jobs.clone(), state.generation)
        };
        // A panic in the job drops `reply`, and the wait ends.
        let sent = jobs.send(Box::new(move |index| drop(reply.send(job(index)))));
        match sent.ok().and_then(|()| answer.recv_timeout(self.deadline).ok()) {
            Some(Ok(value)) => Some(value),
            _ => {
                let mut state = lock(&self.state);
                if state.generation == generation {
                    self.replace(&mut state);
                }
                None
            }
        }
    }

    /// The index of the active pack, if it is here and agrees with itself.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.call(|index| {
            let meta = index.get(ACTIVE_TABLE, META)?;
            let Some((pack, end, count)) = meta.as_deref().and_then(|value| parse_meta(unseal(META, value)?))
            else {
                return Ok(None);
            };
            let mut entries = Vec::new();
            for (key, value) in index.scan(ACTIVE_TABLE, &pack.to_be_bytes(), MAX_PAGES)? {
                let Some(page) = unseal(&key, &value) else { return Ok(None) };
                entries.extend(page.chunks(Entry::BYTES).filter_map(Entry::decode));
            }
            entries.truncate(count);
            let sane = entries.len() == count
                && entries.is_sorted_by(|a, b| a.offset < b.offset)
                && entries.last().is_none_or(|last| u64::from(last.offset) < end);
            Ok(sane.then_some(Checkpoint { pack, end, entries }))
        })?
    }

    /// Notes the entries of pack `pack` from the `from`th on, a multiple of
    /// [`PAGE_ENTRIES`]; all before `end` is on disk.
    pub(crate) fn write_checkpoint(&self, pack: u32, end: u64, from: usize, entries: &[Entry]) -> bool {
        let count = from + entries.len();
        let pages: Vec<Vec<u8>> = entries
            .chunks(PAGE_ENTRIES)
            .map(|page| page.iter().flat_map(|entry| entry.encode()).collect())
            .collect();
        self.call(move |index| {
            if from == 0 {
                index.clear(ACTIVE_TABLE)?;
            }
            for (number, page) in (from / PAGE_ENTRIES..).zip(pages) {
                let number = u32::try_from(number).unwrap_or(u32::MAX);
                let key = [pack.to_be_bytes(), number.to_be_bytes()].concat();
                index.put(ACTIVE_TABLE, &key, &seal(&key, &page))?;
            }
            let mut meta = pack.to_le_bytes().to_vec();
            meta.extend_from_slice(&end.to_le_bytes());
            meta.extend_from_slice(&(count as u64).to_le_bytes());
            index.put(ACTIVE_TABLE, META, &seal(META, &meta))?;
            index.flush()
        })
        .is_some()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.close();
    }
}

pub(crate) fn parse_meta(bytes: &[u8]) -> Option<(u32, u64, usize)> {
    let mut reader = Reader(bytes);
    Some((reader.u32()?, reader.u64()?, usize::try_from(reader.u64()?).ok()?))
}

/// A value with its sum. The key is summed too: an index that gives the value of
/// another key is found out.
pub(crate) fn seal(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = sum(key, value).to_vec();
    out.extend_from_slice(value);
    out
}

pub(crate) fn unseal<'a>(key: &[u8], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (crc, value) = bytes.split_at_checked(4)?;
    (crc == sum(key, value)).then_some(value)
}

fn sum(key: &[u8], value: &[u8]) -> [u8; 4] {
    crc32c::crc32c_append(crc32c::crc32c(key), value).to_le_bytes()
}

impl Store {
    /// Remembers a value in a small table, such as of known peers. Tables may
    /// be empty at any time: a miss is no answer. False if the cache is lost.
    ///
    /// # Errors
    /// A value over 1,024 bytes, or a key over 4,096.
    pub fn table_put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<bool, WriteError> {
        for (what, len, limit) in
            [("value", value.len(), MAX_TABLE_VALUE), ("key", key.len() + table.len(), MAX_PATH_BYTES)]
        {
            if len > limit {
                return Err(WriteError::TooLong { what, len, limit });
            }
        }
        let (name, key, value) = (table_name(table), key.to_vec(), seal(key, value));
        Ok(self.inner.cache.call(move |index| index.put(&name, &key, &value)).is_some())
    }

    /// The value of a key, if it is remembered.
    #[must_use]
    pub fn table_get(&self, table: &str, key: &[u8]) -> Option<Vec<u8>> {
        let (name, asked) = (table_name(table), key.to_vec());
        let value = self.inner.cache.call(move |index| index.get(&name, &asked))??;
        unseal(key, &value).map(<[u8]>::to_vec)
    }

    /// Forgets a key.
    pub fn table_remove(&self, table: &str, key: &[u8]) {
        let (name, key) = (table_name(table), key.to_vec());
        let _done = self.inner.cache.call(move |index| index.remove(&name, &key));
    }

    /// Hands what the tables remember to the system, which otherwise happens
    /// now and then. False if the cache is lost.
    pub fn flush_tables(&self) -> bool {
        self.inner.cache.call(|index| index.flush()).is_some()
    }

    /// Up to `limit` keys and values in the order of their keys.
    #[must_use]
    pub fn table_iter(&self, table: &str, limit: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let name = table_name(table);
        let items = self.inner.cache.call(move |index| index.scan(&name, &[], limit)).unwrap_or_default();
        let good = items.into_iter().filter_map(|(key, value)| {
            let value = unseal(&key, &value)?.to_vec();
            Some((key, value))
        });
        good.collect()
    }
}

fn table_name(table: &str) -> Vec<u8> {
    [b"table/", table.as_bytes()].concat()
}
