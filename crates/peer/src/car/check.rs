//! What a CAR holds, and whether it is what it should be: each block its CID's,
//! the roots and all that is linked to in the file, the index of a version 2
//! right. One pass over the file, which may be a pipe; what has to be compared
//! afterwards is sorted on disk.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use peerage_content::car::{Header, Index, IndexError, Options};
use peerage_content::{Cid, hash, node};

use super::import::{BAD_KEPT, BadSection};
use super::marks::Marks;
use super::read::{CarReadError, Checked, Listener, Reading};
use crate::cancel::CancelOnDrop;
use crate::keep::Missing;
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
    /// What only [`CarCheck::Verify`] finds.
    pub found: CarFound,
}

/// What is wrong with a CAR, or noteworthy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CarFound {
    /// Blocks that are not what their CIDs say: the first 1,000.
    pub bad: Vec<BadSection>,
    /// Those in all.
    pub bad_blocks: u64,
    /// Blocks that are in the file more than once.
    pub repeated: u64,
    /// Blocks that roots or other blocks name, and that are not in the file.
    pub missing: Missing,
    /// Blocks that cannot be read as what their codec says, so that nobody
    /// knows what they link to.
    pub unreadable: u64,
    /// Entries of the index of a version 2.
    pub index_entries: u64,
    /// Entries that lead to no such block.
    pub index_wrong: u64,
    /// Blocks that an index lacks which says to have them all.
    pub not_indexed: u64,
    /// Why the index cannot be read.
    pub index_error: Option<IndexError>,
}

impl CarFound {
    /// Whether each block is right, nothing is missing, and the index is right.
    #[must_use]
    pub const fn is_good(&self) -> bool {
        self.bad_blocks == 0
            && self.missing.blocks == 0
            && self.index_wrong == 0
            && self.not_indexed == 0
            && self.index_error.is_none()
    }
}

/// What a worker makes of a good block: the blocks that it links to.
type Linked = Option<Vec<Cid>>;

struct Checking<'a> {
    summary: CarSummary,
    marks: Option<Marks>,
    index: Option<Index>,
    failed: Option<io::Error>,
    progress: &'a dyn Fn(u64),
}

impl Checking<'_> {
    fn mark(&mut self, checked: &Checked<Linked>) -> io::Result<()> {
        let Some(marks) = &mut self.marks else { return Ok(()) };
        let base = self.summary.header.as_ref().map_or(0, Header::data_offset);
        marks.section(checked.offset.saturating_sub(base), &checked.cid)?;
        // A bad one is there, too: it is told as bad, and not as missing.
        marks.have(&checked.cid)?;
        let Ok(links) = &checked.kept else { return Ok(()) };
        match links {
            None => self.summary.found.unreadable += 1,
            Some(links) => links.iter().try_for_each(|link| marks.want(link))?,
        }
        Ok(())
    }

    /// Compares what was noted.
    fn conclude(&mut self) -> io::Result<()> {
        let Some(marks) = &mut self.marks else { return Ok(()) };
        let found = &mut self.summary.found;
        let linked = marks.compare_links()?;
        found.repeated = linked.repeated;
        found.missing.blocks = linked.missing;
        found.missing.first = linked.first;
        if let Some(index) = self.index.take() {
            if let Err(error) = index.finish() {
                found.index_error.get_or_insert(error);
            }
            let v2 = self.summary.header.as_ref().and_then(|header| header.v2);
            let compared = marks.compare_index()?;
            (found.index_entries, found.index_wrong) = (compared.entries, compared.wrong);
            if v2.is_some_and(|v2| v2.fully_indexed()) {
                found.not_indexed = compared.not_indexed;
            }
        }
        Ok(())
    }
}

impl Listener<Linked> for Checking<'_> {
    fn header(&mut self, header: Header) {
        if let Some(marks) = &mut self.marks {
            let wanted = header.roots.iter().try_for_each(|root| marks.want_root(root));
            self.failed = wanted.err();
            self.index = header.v2.and_then(|v2| v2.index_offset).map(Index::new);
        }
        self.summary.header = Some(header);
    }

    fn block(&mut self, checked: Checked<Linked>) -> ControlFlow<()> {
        let summary = &mut self.summary;
        summary.blocks += 1;
        summary.bytes += checked.len as u64;
        summary.largest = summary.largest.max(checked.len as u64);
        count(&mut summary.codecs, checked.cid.codec());
        count(&mut summary.hashes, checked.cid.hash().code());
        if let Err(error) = checked.kept {
            summary.found.bad_blocks += 1;
            if summary.found.bad.len() < BAD_KEPT {
                summary.found.bad.push(BadSection { cid: checked.cid, offset: checked.offset, error });
            }
        }
        if let Err(error) = self.mark(&checked) {
            self.failed.get_or_insert(error);
        }
        if self.failed.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn index(&mut self, mut data: &[u8], _: u64) {
        let (Some(index), Some(marks)) = (&mut self.index, &mut self.marks) else { return };
        loop {
            match index.next(&mut data) {
                Ok(None) => return,
                Ok(Some(entry)) => {
                    if let Err(error) = marks.entry(&entry) {
                        self.failed.get_or_insert(error);
                    }
                }
                Err(error) => {
                    self.summary.found.index_error.get_or_insert(error);
                    return;
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

/// What a block links to, the links of identity CIDs among them included.
fn linked(cid: &Cid, data: &Bytes) -> Linked {
    let mut all = Vec::new();
    let mut next = node::links(cid, data).ok()?;
    // An identity CID is shorter than the one that it is in, so this ends.
    while !next.is_empty() {
        let inside =
            next.iter().filter_map(|link| Some(node::links(link, hash::inline(link)?).unwrap_or_default()));
        let inside = inside.flatten().collect();
        all.extend(next.iter().filter(|link| hash::inline(link).is_none()));
        next = inside;
    }
    Some(all)
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
        let pool = match Pool::start(threads, 1) {
            Ok(pool) => pool,
            Err(error) => return (CarSummary::default(), Err(error.into())),
        };
        let keep = move |cid: &Cid, data: &Bytes| if verifies { linked(cid, data) } else { None };
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
            marks: verifies.then(Marks::new),
            index: None,
            failed: None,
            progress: &on_progress,
        };
        let read = reading.run(&mut input, &mut checking);
        let concluded = match checking.failed.take() {
            Some(error) => Err(error),
            None if matches!(read, Err(CarReadError::Cancelled)) => Ok(()),
            None => checking.conclude(),
        };
        let result = concluded.map_err(CarReadError::Scratch).and(read);
        (checking.summary, result)
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| (CarSummary::default(), Err(CarReadError::WorkerLost)))
}
