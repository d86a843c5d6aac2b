//! Files that are read to their end, whatever their size is said to be: what comes
//! by a pipe, and what a system makes up when it is read. They are read in order on
//! the import's thread, a piece at a time, and the workers hash the pieces. Nothing
//! can refer to a place in them, so their blocks are stored, or only hashed.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use peerage_content::{FileBuilder, Leaf, Metadata, Splitter};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::{Builder, failure};
use crate::files::import::Imported;
use crate::files::import::error::ImportError;
use crate::files::import::hash::{OpenFile, Trouble};
use crate::files::import::limits::{CANCEL_LOOK_MS, JOB_BYTES, JOBS_IN_FLIGHT};

/// What is read to its end.
pub(in crate::files::import) struct Stream {
    file: File,
    metadata: Metadata,
    executable: bool,
}

impl From<File> for Stream {
    fn from(file: File) -> Self {
        Self { file, metadata: Metadata::default(), executable: false }
    }
}

impl From<OpenFile> for Stream {
    fn from(open: OpenFile) -> Self {
        Self { file: open.file, metadata: open.metadata, executable: open.executable }
    }
}

/// What was read and not cut yet.
struct Window {
    stream: Stream,
    bytes: Vec<u8>,
    ended: bool,
}

impl Window {
    /// Reads on, unless the end was met.
    fn fill(&mut self) -> io::Result<()> {
        let have = self.bytes.len();
        self.bytes.resize(have + JOB_BYTES, 0);
        let read = self.stream.file.read(&mut self.bytes[have..]);
        self.bytes.truncate(have + read.as_ref().map_or(0, |read| *read));
        match read {
            Ok(read) => self.ended = read == 0,
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits a moment for something to read; true if it is there.
    fn is_ready(&self) -> io::Result<bool> {
        let moment = Timespec { tv_sec: 0, tv_nsec: i64::try_from(CANCEL_LOOK_MS * 1_000_000).unwrap_or(0) };
        match poll(&mut [PollFd::from_borrowed_fd(self.stream.file.as_fd(), PollFlags::IN)], Some(&moment)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Builder<'_> {
    /// A root that is a file, and nothing but what comes from `file`.
    pub(in crate::files::import) fn stream_root(
        &mut self,
        file: File,
        name: Option<String>,
    ) -> Result<Imported, ImportError> {
        self.begin_root();
        let called = name.clone().unwrap_or_default();
        self.read_to_end(&called, file.into(), PathBuf::from("stdin"))?;
        let root = self.end_root(Vec::new(), name)?;
        root.ok_or_else(|| failure(Trouble::Gone, PathBuf::from("stdin")))
    }

    /// Adds what is in `stream` as a file of this name; `path` is for messages.
    pub(in crate::files::import) fn read_to_end(
        &mut self,
        called: &str,
        stream: Stream,
        path: PathBuf,
    ) -> Result<(), ImportError> {
        let Stream { metadata, executable, .. } = stream;
        let mut window = Window { stream, bytes: Vec::new(), ended: false };
        let mut splitter = Splitter::new(self.shared.profile.chunker);
        let mut builder = FileBuilder::with_metadata(&self.shared.profile, metadata);
        let mut waiting = VecDeque::new();
        let mut is_first = true;
        loop {
            let (mut lens, mut cut) = (Vec::new(), 0);
            // One chunk is the whole file only if nothing follows it.
            while cut < JOB_BYTES || (is_first && lens.len() == 1) {
                if let Some(len) = splitter.next_cut(&window.bytes[cut..], window.ended) {
                    lens.push(len);
                    cut += len;
                } else if window.ended {
                    break;
                } else {
                    self.fill(&mut window, &path)?;
                }
            }
            if is_first && window.ended && lens.len() <= 1 {
                let leaf = Leaf::only(&self.shared.profile, &window.bytes, metadata);
                self.shared.copy(&leaf, &window.bytes)?;
                self.take_leaf(&leaf, &mut builder)?;
                break;
            }
            is_first = false;
            if !lens.is_empty() {
                let rest = window.bytes.split_off(cut);
                let bytes = std::mem::replace(&mut window.bytes, rest);
                waiting.push_back(self.post(move |shared| shared.hash_chunks(&bytes, &lens)));
            }
            if waiting.len() < JOBS_IN_FLIGHT && !window.ended {
                continue;
            }
            let Some(leaves) = waiting.pop_front() else { break };
            let leaves = self.wait(&leaves)?.map_err(|trouble| failure(trouble, path.clone()))?;
            leaves.iter().try_for_each(|leaf| self.take_leaf(leaf, &mut builder))?;
            (self.progress)(self.so_far);
        }
        let built = builder.finish().map_err(|_| failure(Trouble::Changed, path))?;
        built.blocks.iter().try_for_each(|node| self.keep(node))?;
        self.so_far.files += 1;
        self.sums.files += 1;
        self.sums.size += built.size;
        self.sums.executables += u64::from(executable);
        self.add(called, built.cid, built.tsize)
    }

    fn fill(&mut self, window: &mut Window, path: &std::path::Path) -> Result<(), ImportError> {
        let unreadable = |source| ImportError::Unreadable { path: path.to_path_buf(), source };
        // Whoever writes may take his time.
        while !window.is_ready().map_err(unreadable)? {
            self.check_cancelled()?;
        }
        self.check_cancelled()?;
        window.fill().map_err(unreadable)
    }

    fn take_leaf(&mut self, leaf: &Leaf, builder: &mut FileBuilder) -> Result<(), ImportError> {
        self.so_far.bytes_found += leaf.payload_len as u64;
        self.so_far.bytes += leaf.payload_len as u64;
        if !leaf.is_inline() {
            self.reach(leaf.cid.hash())?;
        }
        for node in builder.push(leaf) {
            self.keep(&node)?;
        }
        Ok(())
    }
}
