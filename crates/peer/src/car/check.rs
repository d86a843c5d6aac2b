//! What a CAR holds, and whether it is what it should be: each block its CID's,
//! the roots and all that is linked to in the file, the index of a version 2
//! right. One pass over the file, which may be a pipe; what has to be compared
//! afterwards is sorted on disk.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use peerage_content::car::{Header, Index, Options, V2};
use peerage_content::{Cid, DecodeError};

use super::fault::{CarFault, CarProblem, TOLD_MAX};
use super::links::Links;
use super::marks::Marks;
use super::read::{CarReadError, Checked, Listener, Reading};
use crate::cancel::CancelOnDrop;
use crate::config::Limits;
use crate::pool::Pool;

/// Kinds of blocks that are counted apart. 64: nobody uses more codecs or hash
/// functions in one file, and strangers choose their numbers.
const KINDS_MAX: usize = 64;

/// How closely a CAR is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CarCheck {
    /// What it says it holds.
    Inspect,
    /// And whether that is so: hashes, links, roots and index.
    Verify,
}

/// What a CAR holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarSummary {
    /// Its header; none if not even that could be read.
    pub header: Option<Header>,
    /// Blocks, bad and repeated ones among them.
    pub blocks: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Bytes of the largest.
    pub largest: u64,
    /// Bytes of the file that were read.
    pub file_bytes: u64,
    /// Blocks by codec. Of more than 64 kinds the rest is not counted.
    pub codecs: BTreeMap<u64, u64>,
    /// Blocks by hash function, likewise.
    pub hashes: BTreeMap<u64, u64>,
    /// What [`CarCheck::Verify`] finds that is wrong, in the order of the file,
    /// then what only its end tells: of each kind the first 1,000.
    pub faults: Vec<CarFault>,
    /// How much of what it finds; none if it could not be compared, as when the
    /// disk is full or the file could not be read.
    pub found: Option<CarFound>,
}

/// What is wrong with a CAR, or noteworthy. After a fault in the middle of the
/// file all of this is about what stands before it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarFound {
    /// Blocks that are not what their CIDs say.
    pub bad_blocks: u64,
    /// Blocks of which nobody here can say that, nor what they link to.
    pub unchecked: u64,
    /// Blocks that are in the file more than once.
    pub repeated: u64,
    /// Blocks that roots or other blocks name, and that are not in the file.
    pub missing: u64,
    /// Blocks that cannot be read as what their codec says, so that nobody
    /// knows what they link to.
    pub unreadable: u64,
    /// Entries of the index of a version 2.
    pub index_entries: u64,
    /// Entries that lead to no such block.
    pub index_wrong: u64,
    /// Blocks that an index lacks which says to have them all.
    pub not_indexed: u64,
    /// The index cannot be read, or is not there though it is to have all blocks.
    pub index_damaged: bool,
}

impl CarFound {
    /// Whether each block is known to be right, nothing is missing, and the index is right.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.bad_blocks == 0
            && self.unchecked == 0
            && self.unreadable == 0
            && self.missing == 0
            && self.index_wrong == 0
            && self.not_indexed == 0
            && !self.index_damaged
    }
}

/// What a worker makes of a good block: the blocks that it links to.
type Linked = Result<Links, DecodeError>;

struct Checking<'a> {
    summary: CarSummary,
    found: CarFound,
    marks: Option<Marks>,
    index: Option<Index>,
    failed: Option<io::Error>,
    progress: &'a dyn Fn(u64),
}

impl Checking<'_> {
    fn data_offset(&self) -> u64 {
        self.summary.header.as_ref().map_or(0, Header::data_offset)
    }

    fn mark(&mut self, checked: &Checked<Linked>) -> io::Result<()> {
        let base = self.data_offset();
        let Some(marks) = &mut self.marks else { return Ok(()) };
        if self.index.is_some() {
            marks.section(checked.offset.saturating_sub(base), &checked.cid)?;
        }
        // A bad one is there, too: it is told as bad, and not as missing.
        marks.have(&checked.cid)?;
        match &checked.kept {
            Ok(Ok(links)) => marks.want(links),
            _ => Ok(()),
        }
    }

    /// A block that is told if not too many of its kind were.
    fn tell_block(&mut self, cid: Cid, offset: u64, problem: CarProblem) {
        let count = match problem {
            CarProblem::Hash(_) => &mut self.found.bad_blocks,
            CarProblem::Unchecked(_) => &mut self.found.unchecked,
            _ => &mut self.found.unreadable,
        };
        *count += 1;
        if *count <= TOLD_MAX as u64 {
            self.summary.faults.push(CarFault { cid: Some(cid), offset: Some(offset), problem });
        }
    }

    /// The index is wrong as a whole.
    fn tell_index(&mut self, offset: u64, problem: CarProblem) {
        self.found.index_damaged = true;
        self.summary.faults.push(CarFault { cid: None, offset: Some(offset), problem });
    }

    fn root(&mut self, root: &Cid) -> io::Result<()> {
        match Links::of_root(root) {
            Ok(links) => self.marks.as_mut().map_or(Ok(()), |marks| marks.want(&links)),
            // Its block is in the CID, and so in the header.
            Err(error) => {
                self.tell_block(*root, self.data_offset(), CarProblem::Unreadable(error));
                Ok(())
            }
        }
    }

    /// Compares what was noted. What is said of the index is wrong if the file
    /// was not read up to its end.
    fn conclude(&mut self, whole: bool) -> io::Result<()> {
        let Some(mut marks) = self.marks.take() else { return Ok(()) };
        let mut told = Vec::new();
        let linked = marks.compare_links(&mut at_most(&mut told))?;
        self.summary.faults.append(&mut told);
        (self.found.repeated, self.found.missing) = (linked.repeated, linked.missing);
        let v2 = self.summary.header.as_ref().and_then(|header| header.v2);
        let has_all = v2.is_some_and(|v2| v2.fully_indexed());
        if let Some(index) = self.index.take().filter(|_| whole && !self.found.index_damaged) {
            if let Err(error) = index.finish() {
                self.tell_index(error.offset, CarProblem::Index(error));
            }
            let (mut wrong, mut absent) = (Vec::new(), Vec::new());
            let mut tell = |fault: CarFault| match fault.problem {
                CarProblem::NotIndexed => at_most(&mut absent)(fault),
                _ => at_most(&mut wrong)(fault),
            };
            let compared = marks.compare_index(self.data_offset(), has_all, &mut tell)?;
            self.summary.faults.append(&mut wrong);
            self.summary.faults.append(&mut absent);
            (self.found.index_entries, self.found.index_wrong) = (compared.entries, compared.wrong);
            self.found.not_indexed = compared.not_indexed;
        }
        self.summary.found = Some(std::mem::take(&mut self.found));
        Ok(())
    }
}

/// Takes what is told, up to a bound.
fn at_most(told: &mut Vec<CarFault>) -> impl FnMut(CarFault) {
    |fault| {
        if told.len() < TOLD_MAX {
            told.push(fault);
        }
    }
}

impl Listener<Linked> for Checking<'_> {
    fn header(&mut self, header: Header) {
        let roots = if self.marks.is_some() { header.roots.clone() } else { Vec::new() };
        let v2 = header.v2.filter(|_| self.marks.is_some());
        self.summary.header = Some(header);
        self.failed = roots.iter().try_for_each(|root| self.root(root)).err();
        self.index = v2.and_then(|v2| v2.index_offset).map(Index::new);
        if self.index.is_none() && v2.is_some_and(|v2| v2.fully_indexed()) {
            self.tell_index(V2::OFFSET, CarProblem::NoIndex);
        }
    }

    fn block(&mut self, checked: Checked<Linked>) -> ControlFlow<()> {
        let summary = &mut self.summary;
        summary.blocks += 1;
        summary.bytes += checked.len as u64;
        summary.largest = summary.largest.max(checked.len as u64);
        count(&mut summary.codecs, checked.cid.codec());
        count(&mut summary.hashes, checked.cid.hash().code());
        if let Err(error) = self.mark(&checked) {
            self.failed.get_or_insert(error);
        }
        let Checked { cid, offset, kept, .. } = checked;
        match kept {
            Err(error) => self.tell_block(cid, offset, error.into()),
            Ok(Err(error)) => self.tell_block(cid, offset, CarProblem::Unreadable(error)),
            Ok(Ok(_)) => {}
        }
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn index(&mut self, mut data: &[u8]) -> ControlFlow<()> {
        let (Some(index), Some(marks)) = (&mut self.index, &mut self.marks) else {
            return ControlFlow::Continue(());
        };
        loop {
            match index.next(&mut data) {
                Ok(None) => return ControlFlow::Continue(()),
                Ok(Some(entry)) => {
                    if let Err(error) = marks.entry(&entry) {
                        self.failed = Some(error);
                        return ControlFlow::Break(());
                    }
                }
                Err(error) => {
                    self.tell_index(error.offset, CarProblem::Index(error));
                    return ControlFlow::Break(());
                }
            }
        }
    }

    fn progress(&mut self, bytes: u64) {
        self.summary.file_bytes = bytes;
        (self.progress)(bytes);
    }
}

fn count(kinds: &mut BTreeMap<u64, u64>, kind: u64) {
    if kinds.len() < KINDS_MAX || kinds.contains_key(&kind) {
        *kinds.entry(kind).or_default() += 1;
    }
}

/// Looks at a CAR. `on_progress` is told the bytes of the file that were read.
/// Dropped, it stops. Beside an error stands what was found before it.
///
/// # Errors
/// The file is no CAR, or cannot be read to its end.
pub async fn check_car(
    mut input: impl Read + Send + 'static,
    how: CarCheck,
    on_progress: impl Fn(u64) + Send + 'static,
) -> (CarSummary, Result<(), CarReadError>) {
    let cancel = CancelOnDrop::default();
    let cancelled = cancel.flag();
    let verifies = how == CarCheck::Verify;
    let work = move || {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let pool = match Pool::start(threads, Limits::default().pool, 1) {
            Ok(pool) => pool,
            Err(error) => return (CarSummary::default(), Err(error.into())),
        };
        // Without verification nothing is asked of the links.
        let keep = move |cid: &Cid, data: &Bytes| {
            if verifies { Links::of(cid, data) } else { Ok(Links::default()) }
        };
        let options = Options { index: verifies, ..Options::default() };
        let reading = Reading {
            workers: &pool,
            options,
            verify: verifies,
            keep: Arc::new(keep),
            cancelled: &cancelled,
        };
        let mut checking = Checking {
            summary: CarSummary::default(),
            found: CarFound::default(),
            marks: verifies.then(Marks::new),
            index: None,
            failed: None,
            progress: &on_progress,
        };
        let read = match reading.run(&mut input, &mut checking) {
            // What follows damage in an index says nothing: reading stopped there.
            Err(CarReadError::Cancelled)
                if checking.failed.is_none() && checking.index.is_some() && checking.found.index_damaged =>
            {
                Ok(())
            }
            read => read,
        };
        // Of what could not be read, nobody knows what there is.
        let comparable = matches!(read, Ok(()) | Err(CarReadError::Car(_)));
        let result = match checking.failed.take() {
            Some(error) => Err(CarReadError::Scratch(error)),
            None if comparable => {
                let concluded = checking.conclude(read.is_ok());
                read.and(concluded.map_err(CarReadError::Scratch))
            }
            None => read,
        };
        (checking.summary, result)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| (CarSummary::default(), Err(CarReadError::WorkerLost)))
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
