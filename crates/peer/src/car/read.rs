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
    /// It does not begin as a CAR does.
    #[error("not a CAR: {0}")]
    NoCar(CarError),
    /// It is a CAR, and cut or damaged from this place on.
    #[error("not a whole CAR: {0}")]
    Car(CarError),
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

    /// Some of the index of a version 2. May break off as of blocks.
    fn index(&mut self, data: &[u8]) -> ControlFlow<()>;

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
    /// Reads all of `input`. On an error, what came before it was heard, unless
    /// the caller asked to stop.
    pub(super) fn run(
        &self,
        input: &mut dyn Read,
        listener: &mut dyn Listener<T>,
    ) -> Result<(), CarReadError> {
        let (mut jobs, mut batch) = (VecDeque::new(), Vec::new());
        let result = self.read(input, &mut batch, &mut jobs, listener);
        // Good blocks before the damage are good.
        self.post(batch, &mut jobs);
        let rest = self.take_back(&mut jobs, 0, listener);
        result.and(rest)
    }

    fn read(
        &self,
        input: &mut dyn Read,
        batch: &mut Vec<Section>,
        jobs: &mut VecDeque<Job<T>>,
        listener: &mut dyn Listener<T>,
    ) -> Result<(), CarReadError> {
        let mut reader = Reader::new(self.options);
        let (mut begun, mut bytes, mut read) = (false, 0, 0);
        loop {
            let fault = |error| if begun { CarReadError::Car(error) } else { CarReadError::NoCar(error) };
            match reader.next().map_err(fault)? {
                None => {
                    // Padding and indexes have no end that we know of.
                    if self.cancelled.load(Ordering::Relaxed) {
                        return Err(CarReadError::Cancelled);
                    }
                    match input.read(reader.space()) {
                        Ok(0) => reader.finish(),
                        Ok(len) => {
                            reader.filled(len);
                            read += len as u64;
                            listener.progress(read);
                        }
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Some(Event::Header(header)) => {
                    begun = true;
                    listener.header(header);
                }
                Some(Event::Index { data, .. }) => {
                    if listener.index(&data).is_break() {
                        return Err(CarReadError::Cancelled);
                    }
                }
                Some(Event::Block { cid, data, offset }) => {
                    bytes += data.len();
                    batch.push(Section { cid, data, offset });
                    if bytes >= JOB_BYTES || batch.len() >= JOB_BLOCKS {
                        self.take_back(jobs, JOBS_IN_FLIGHT - 1, listener)?;
                        self.post(std::mem::take(batch), jobs);
                        bytes = 0;
                    }
                }
                Some(Event::End) => return Ok(()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_content::{car, codec, hash};

    /// Does all work at once.
    struct AtOnce;

    impl Workers for AtOnce {
        fn post(&self, work: Box<dyn FnOnce() + Send>) {
            work();
        }
    }

    #[derive(Default)]
    struct Heard {
        header: bool,
        blocks: Vec<u64>,
        index: Vec<u8>,
    }

    impl Listener<()> for Heard {
        fn header(&mut self, _: Header) {
            self.header = true;
        }

        fn block(&mut self, checked: Checked<()>) -> ControlFlow<()> {
            self.blocks.push(checked.offset);
            ControlFlow::Continue(())
        }

        /// Ten bytes are enough.
        fn index(&mut self, data: &[u8]) -> ControlFlow<()> {
            self.index.extend_from_slice(data);
            if self.index.len() < 10 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }

        fn progress(&mut self, _: u64) {}
    }

    fn hear(input: &mut dyn Read, cancelled: &AtomicBool) -> (Heard, Result<(), CarReadError>) {
        let options = Options { index: true, ..Options::default() };
        let reading =
            Reading { workers: &AtOnce, options, verify: true, keep: Arc::new(|_, _| ()), cancelled };
        let mut heard = Heard::default();
        let result = reading.run(input, &mut heard);
        (heard, result)
    }

    /// Bytes, and then what `more` gives.
    struct Then<F>(Vec<u8>, F);

    impl<F: FnMut(&mut [u8]) -> io::Result<usize>> Read for Then<F> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() {
                return (self.1)(into);
            }
            let len = self.0.len().min(into.len());
            into[..len].copy_from_slice(&self.0[..len]);
            self.0.drain(..len);
            Ok(len)
        }
    }

    fn version_2(data_offset: u64, data_size: u64, index_offset: u64) -> Vec<u8> {
        let numbers = [data_offset, data_size, index_offset].map(u64::to_le_bytes).concat();
        [b"\x0a\xa1\x67version\x02", &[0; 16][..], &numbers].concat()
    }

    fn one_block() -> Vec<u8> {
        let cid = Cid::new_v1(codec::RAW, hash::digest(hash::SHA2_256, b"x").unwrap());
        [&car::header(&[cid])[..], &car::section_head(&cid, 1), b"x"].concat()
    }

    #[test]
    fn padding_without_end_can_be_cancelled() {
        let cancelled = AtomicBool::new(false);
        let mut reads = 0;
        let zeros = |into: &mut [u8]| {
            reads += 1;
            assert!(!cancelled.swap(reads == 3, Ordering::Relaxed), "read on after it was cancelled");
            into.fill(0);
            Ok(into.len())
        };
        let mut input = Then(version_2(1 << 42, 100, 0), zeros);
        let (heard, result) = hear(&mut input, &cancelled);
        assert!(matches!(result, Err(CarReadError::Cancelled)) && !heard.header);
        assert_eq!(reads, 3);
    }

    #[test]
    fn who_has_enough_of_an_index_reads_no_more() {
        let data = one_block();
        let len = data.len() as u64;
        let mut reads = 0;
        let endless = |into: &mut [u8]| {
            reads += 1;
            assert!(reads < 5, "it goes on");
            Ok(into.len().min(4))
        };
        let mut input = Then([version_2(51, len, 51 + len), data].concat(), endless);
        let (heard, result) = hear(&mut input, &AtomicBool::new(false));
        assert!(matches!(result, Err(CarReadError::Cancelled)));
        assert_eq!((heard.blocks.len(), heard.index.len()), (1, 12));
    }

    #[test]
    fn what_came_before_a_disk_fails_is_heard() {
        let mut input = Then(one_block(), |_: &mut [u8]| Err(io::Error::other("the disk")));
        let (heard, result) = hear(&mut input, &AtomicBool::new(false));
        assert!(matches!(result, Err(CarReadError::Io(_))));
        assert_eq!(heard.blocks.len(), 1);
    }

    #[test]
    fn what_is_no_car_is_told_from_what_is_a_damaged_one() {
        let whole = one_block();
        for len in 0..whole.len() {
            let (heard, result) = hear(&mut &whole[..len], &AtomicBool::new(false));
            match result {
                Err(CarReadError::NoCar(_)) => assert!(!heard.header, "{len}"),
                Err(CarReadError::Car(_)) => assert!(heard.header, "{len}"),
                // Cut behind the header, which nobody can see.
                Ok(()) => assert!(heard.header && heard.blocks.is_empty(), "{len}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
