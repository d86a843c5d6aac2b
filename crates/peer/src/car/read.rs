//! The way of a CAR through this program: one thread reads and frames, the
//! workers verify, and what they say is heard in the order of the file.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use peerage_content::car::{CarError, Event, Header, Options, Reader};
use peerage_content::{Cid, VerifyError, verify};

use crate::files::import::Workers;

/// Bytes of blocks in one job of a worker. 1 MiB: the hand-over between threads
/// does not show beside the hashing.
const JOB_BYTES: usize = 1 << 20;

/// Blocks in one job. 256: a small block costs about as much as 4 KiB of hashing.
const JOB_BLOCKS: usize = 256;

/// Jobs that are posted and not taken back. 8: at most 8 MiB and a block each.
const JOBS_IN_FLIGHT: usize = 8;

/// Milliseconds between looks at the cancellation while a worker is busy.
const CANCEL_LOOK_MS: u64 = 100;

/// Why a CAR was not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum CarReadError {
    /// It is no CAR, or damaged, from this place on.
    #[error("not a whole CAR: {0}")]
    Car(#[from] CarError),
    /// The file cannot be read.
    #[error("cannot read the CAR: {0}")]
    Io(#[from] io::Error),
    /// What is to be compared could not be sorted on disk.
    #[error(
        "cannot sort on disk what is in the CAR: {0}; free some space, or set TMPDIR to where there is some"
    )]
    Scratch(io::Error),
    /// A worker failed: a defect of this program.
    #[error("a worker failed while it verified blocks; please report this")]
    WorkerLost,
    /// The caller asked to stop.
    #[error("interrupted")]
    Cancelled,
}

/// A block of a CAR, as it came.
struct Section {
    cid: Cid,
    data: Bytes,
    offset: u64,
}

/// A block of a CAR that was looked at.
#[derive(Debug)]
pub(super) struct Checked<T> {
    pub(super) cid: Cid,
    /// Bytes of the block.
    pub(super) len: usize,
    /// Where its section begins, in bytes from the start of the file.
    pub(super) offset: u64,
    /// What the worker made of it, or why it is not what its CID says.
    pub(super) kept: Result<T, VerifyError>,
}

/// What hears of a CAR, in the order of the file.
pub(super) trait Listener<T> {
    /// The beginning.
    fn header(&mut self, header: Header);

    /// A block, and what the worker said of it. What breaks off is told as
    /// [`CarReadError::Cancelled`].
    fn block(&mut self, checked: Checked<T>) -> ControlFlow<()>;

    /// Some of the index of a version 2, and where it begins.
    fn index(&mut self, data: &[u8], offset: u64);

    /// So many bytes of the file were read.
    fn progress(&mut self, bytes: u64);
}

/// What workers say of the blocks of one job.
type Job<T> = Receiver<Vec<Checked<T>>>;

/// What a worker does with a good block.
pub(super) type Keep<T> = Arc<dyn Fn(&Cid, &Bytes) -> T + Send + Sync>;

/// A CAR on its way.
pub(super) struct Reading<'a, T> {
    pub(super) workers: &'a dyn Workers,
    pub(super) options: Options,
    /// Whether blocks are verified; else all count as good.
    pub(super) verify: bool,
    /// What is done with a good block, by a worker.
    pub(super) keep: Keep<T>,
    pub(super) cancelled: &'a AtomicBool,
}

impl<T: Send + 'static> Reading<'_, T> {
    /// Reads all of `input`. On an error, what came before it was heard.
    pub(super) fn run(
        &self,
        input: &mut dyn Read,
        listener: &mut dyn Listener<T>,
    ) -> Result<(), CarReadError> {
        let mut jobs = VecDeque::new();
        let result = self.read(input, &mut jobs, listener);
        // Good blocks before the damage are good.
        let rest = self.take_back(&mut jobs, 0, listener);
        result.and(rest)
    }

    fn read(
        &self,
        input: &mut dyn Read,
        jobs: &mut VecDeque<Job<T>>,
        listener: &mut dyn Listener<T>,
    ) -> Result<(), CarReadError> {
        let mut reader = Reader::new(self.options);
        let (mut batch, mut bytes, mut read) = (Vec::new(), 0, 0);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(error) => {
                    self.post(batch, jobs);
                    return Err(error.into());
                }
            };
            match event {
                None => match input.read(reader.space()) {
                    Ok(0) => reader.finish(),
                    Ok(len) => {
                        reader.filled(len);
                        read += len as u64;
                        listener.progress(read);
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                },
                Some(Event::Header(header)) => listener.header(header),
                Some(Event::Index { data, offset }) => listener.index(&data, offset),
                Some(Event::Block { cid, data, offset }) => {
                    bytes += data.len();
                    batch.push(Section { cid, data, offset });
                    if bytes >= JOB_BYTES || batch.len() >= JOB_BLOCKS {
                        self.take_back(jobs, JOBS_IN_FLIGHT - 1, listener)?;
                        self.post(std::mem::take(&mut batch), jobs);
                        bytes = 0;
                    }
                }
                Some(Event::End) => {
                    self.post(batch, jobs);
                    return Ok(());
                }
            }
        }
    }

    fn post(&self, batch: Vec<Section>, jobs: &mut VecDeque<Job<T>>) {
        if batch.is_empty() {
            return;
        }
        let (done, result) = sync_channel(1);
        let (keep, verifies) = (Arc::clone(&self.keep), self.verify);
        let check = move |Section { cid, data, offset }: Section| {
            let good = if verifies { verify(&cid, &data) } else { Ok(()) };
            let kept = good.map(|()| keep(&cid, &data));
            Checked { cid, len: data.len(), offset, kept }
        };
        // Nobody listens any more if the reading ended early.
        self.workers.post(Box::new(move || drop(done.send(batch.into_iter().map(check).collect()))));
        jobs.push_back(result);
    }

    /// Hears of jobs until at most `leave` are under way.
    fn take_back(
        &self,
        jobs: &mut VecDeque<Job<T>>,
        leave: usize,
        listener: &mut dyn Listener<T>,
    ) -> Result<(), CarReadError> {
        while jobs.len() > leave
            && let Some(job) = jobs.front()
        {
            if self.cancelled.load(Ordering::Relaxed) {
                return Err(CarReadError::Cancelled);
            }
            match job.recv_timeout(Duration::from_millis(CANCEL_LOOK_MS)) {
                Ok(checked) => {
                    jobs.pop_front();
                    for block in checked {
                        if listener.block(block).is_break() {
                            return Err(CarReadError::Cancelled);
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(CarReadError::WorkerLost),
            }
        }
        Ok(())
    }
}
