//! What came back from the workers, put together: folders, known files, small
//! files, large files in spans, and files that changed and are read once more.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;

use peerage_content::folder::AddError;
use peerage_content::hash;
use peerage_content::shard::ShardError;
use peerage_content::{Block, Cid, DirectoryBuilder, FileBuilder, Leaf, Multihash};
use peerage_store::{FileId, Reference, Seen, Stat, WriteError};

use super::{Builder, Entries, Frame, Large, failure};
use crate::files::import::Remark;
use crate::files::import::cut::Pieces;
use crate::files::import::entries::FolderEntry;
use crate::files::import::error::ImportError;
use crate::files::import::folder::FileAt;
use crate::files::import::hash::{OpenFile, Small, Step, Trouble};
use crate::files::import::known::{Known, Part};
use crate::files::import::limits::JOBS_IN_FLIGHT;
use crate::sort::Sorter;

impl Builder<'_> {
    pub(super) fn play(&mut self, step: Step) -> Result<(), ImportError> {
        match step {
            Step::Enter { name, path, metadata } => {
                let builder = DirectoryBuilder::with_metadata(&self.shared.profile, metadata);
                self.frames.push(Frame { name, path, entries: Entries::Few(builder) });
                Ok(())
            }
            Step::Leave => self.leave(),
            Step::Symlink { name, block } => {
                self.keep(&block)?;
                self.add(&name, block.cid, block.data.len() as u64)
            }
            Step::Known(at, known) => self.known(at, &known),
            Step::Hashed(at, Ok(small)) => self.small(&at, &small),
            Step::Hashed(at, Err(Trouble::Changed)) | Step::File(at) => self.read_again(at),
            Step::Hashed(at, Err(trouble)) => self.unread(&at, trouble),
        }
    }

    fn leave(&mut self) -> Result<(), ImportError> {
        let Some(frame) = self.frames.pop() else { return Ok(()) };
        let Frame { name, path, entries } = frame;
        let built = match entries {
            Entries::Few(builder) => builder.finish().map_err(|error| unshardable(error, &path, None))?,
            Entries::Many(mut shards, mut sorter) => {
                let scratch = scratch(&path);
                for entry in sorter.sorted().map_err(scratch)? {
                    let FolderEntry { name, cid, tsize, .. } = entry.map_err(scratch)?;
                    let blocks = shards.push(&name, cid, tsize);
                    let blocks = blocks.map_err(|error| unshardable(error, &path, Some(&name)))?;
                    blocks.iter().try_for_each(|block| self.keep(block))?;
                    self.check_cancelled()?;
                }
                shards.finish().map_err(|error| unshardable(error, &path, None))?
            }
        };
        built.blocks.iter().try_for_each(|block| self.keep(block))?;
        self.add(&name, built.cid, built.tsize)
    }

    /// Adds an entry to the folder that is being built, or finds that it is the root.
    pub(super) fn add(&mut self, name: &str, cid: Cid, tsize: u64) -> Result<(), ImportError> {
        let Some(Frame { name: of, path, entries }) = self.frames.pop() else {
            self.root = Some((cid, tsize));
            return Ok(());
        };
        let entries = match entries {
            Entries::Few(mut builder) => {
                builder.add(name, cid, tsize).map_err(|error| {
                    let path = path.join(name);
                    match error {
                        AddError::Name(error) => ImportError::Name { path, error },
                        AddError::Duplicate => ImportError::SameName { first: path.clone(), second: path },
                    }
                })?;
                if builder.is_sharded() {
                    self.sort(builder).map_err(scratch(&path))?
                } else {
                    Entries::Few(builder)
                }
            }
            // What is wrong with names shows when the shards are built.
            Entries::Many(shards, mut sorter) => {
                sorter.push(FolderEntry::new(name.to_owned(), cid, tsize)).map_err(scratch(&path))?;
                Entries::Many(shards, sorter)
            }
        };
        self.frames.push(Frame { name: of, path, entries });
        Ok(())
    }

    /// Goes on with a folder that is too large for one block.
    fn sort(&self, builder: DirectoryBuilder) -> io::Result<Entries> {
        let (shards, entries) = builder.into_shards();
        let mut sorter = Sorter::new(&self.scratch);
        for (name, cid, tsize) in entries {
            sorter.push(FolderEntry::new(name, cid, tsize))?;
        }
        Ok(Entries::Many(Box::new(shards), sorter))
    }

    /// Stores a block that is no leaf.
    pub(super) fn keep(&self, block: &Block) -> Result<(), WriteError> {
        if hash::inline(&block.cid).is_some() {
            return Ok(());
        }
        self.reach(block.cid.hash())?;
        if let Some(store) = &self.store {
            store.put_block(block.cid.hash(), &block.data)?;
        }
        Ok(())
    }

    /// To be called before the store is asked for a block or given it, so that no
    /// collection takes it in between.
    pub(super) fn reach(&self, mh: &Multihash) -> Result<(), WriteError> {
        self.set.as_ref().map_or(Ok(()), |set| set.insert(mh))
    }

    /// Notes where a leaf lies. It was hashed after the file had the stat `under`, if that
    /// was a settled one.
    fn refer(
        &self,
        id: Option<FileId>,
        offset: u64,
        leaf: &Leaf,
        under: Option<&Stat>,
    ) -> Result<(), WriteError> {
        if leaf.is_inline() {
            return Ok(());
        }
        self.reach(leaf.cid.hash())?;
        // An empty block needs no place: everyone knows its bytes.
        if let (Some(store), Some(file), true) = (&self.store, id, leaf.block_len() > 0) {
            let len = u32::try_from(leaf.payload_len).unwrap_or(u32::MAX);
            let (head, tail) = (leaf.head.to_vec(), leaf.tail.to_vec());
            let reference = Reference { file, offset, len, head, tail };
            store.put_reference(leaf.cid.hash(), &reference)?;
            if let Some(stat) = under {
                store.trust_hashed(leaf.cid.hash(), &reference, stat);
            }
        }
        Ok(())
    }

    /// The store's id of a file; with `seen` its record says so, too.
    fn register(&mut self, at: &FileAt, seen: Option<Seen>) -> Result<Option<FileId>, ImportError> {
        let (Some(claim), Some(tree)) = (&self.claim, self.tree.id) else { return Ok(None) };
        if let Some(id) = at.id {
            if let (Some(store), Some(seen)) = (&self.shared.references, seen) {
                store.set_seen(id, seen)?;
            }
            return Ok(Some(id));
        }
        let id = claim.add_file(tree, &at.path(), seen).map_err(|error| match error {
            WriteError::TooLong { limit, .. } => {
                ImportError::PathTooLong { path: self.tree.base.join(at.path()), limit }
            }
            error => error.into(),
        })?;
        Ok(Some(id))
    }

    fn small(&mut self, at: &FileAt, small: &Small) -> Result<(), ImportError> {
        let Small { leaf, metadata, seen, executable } = small;
        let mut builder = FileBuilder::with_metadata(&self.shared.profile, *metadata);
        let mut nodes = builder.push(leaf);
        let Ok(built) = builder.finish() else { return self.unread(at, Trouble::Changed) };
        nodes.extend(built.blocks);
        let seen = Seen { root: seen.root.map(|_| built.cid), ..*seen };
        let id = self.register(at, Some(seen))?;
        self.refer(id, 0, leaf, seen.root.map(|_| &seen.stat))?;
        nodes.iter().try_for_each(|node| self.keep(node))?;
        self.so_far.bytes += seen.stat.size;
        self.file_done(at, built.cid, built.size, built.tsize, *executable)
    }

    /// A file that did not change: nothing new, but in this root, too.
    pub(super) fn known(&mut self, at: FileAt, known: &Known) -> Result<(), ImportError> {
        let shared = Arc::clone(&self.shared);
        let sources = shared.references.iter().zip(&shared.relied);
        for part in sources.flat_map(|(store, relied)| known.parts(store, relied)) {
            match part {
                Some(Part::Node(block)) => self.keep(&block)?,
                Some(Part::Leaf(cid)) => self.reach(cid.hash())?,
                // Lost since a moment ago.
                None => return self.read_again(at),
            }
        }
        self.so_far.bytes += known.size;
        self.file_done(&at, known.cid, known.size, known.tsize, at.facts.mode & 0o111 != 0)
    }

    fn file_done(
        &mut self,
        at: &FileAt,
        cid: Cid,
        size: u64,
        tsize: u64,
        executable: bool,
    ) -> Result<(), ImportError> {
        self.so_far.files += 1;
        self.sums.files += 1;
        self.sums.size += size;
        self.sums.executables += u64::from(executable);
        self.add(&at.called, cid, tsize)
    }

    pub(super) fn begin_large(
        &mut self,
        at: FileAt,
        open: Arc<OpenFile>,
        second_try: bool,
    ) -> Result<(), ImportError> {
        let id = self.register(&at, None)?;
        let builder = FileBuilder::with_metadata(&self.shared.profile, open.metadata);
        self.large = Some(Large { at, open, builder, id, done: 0, trouble: None, second_try });
        Ok(())
    }

    pub(super) fn span(&mut self, leaves: Result<Vec<Leaf>, Trouble>) -> Result<(), ImportError> {
        let Some(mut large) = self.large.take() else { return Ok(()) };
        match leaves {
            Err(trouble) => large.trouble = large.trouble.or(Some(trouble)),
            Ok(leaves) if large.trouble.is_none() => {
                for leaf in &leaves {
                    self.refer(large.id, large.done, leaf, large.open.settled())?;
                    large.done += leaf.payload_len as u64;
                    self.so_far.bytes += leaf.payload_len as u64;
                    for node in large.builder.push(leaf) {
                        self.keep(&node)?;
                    }
                }
            }
            Ok(_) => {}
        }
        self.large = Some(large);
        Ok(())
    }

    pub(super) fn end_large(&mut self) -> Result<(), ImportError> {
        let Some(large) = self.large.take() else { return Ok(()) };
        let Large { mut at, open, builder, id, done, trouble, second_try } = large;
        if let Err(trouble) = open.check_whole(trouble) {
            self.so_far.bytes -= done;
            at.id = id;
            return match trouble {
                Trouble::Changed if !second_try => self.read_again(at),
                trouble => self.unread(&at, trouble),
            };
        }
        let Ok(built) = builder.finish() else { return self.unread(&at, Trouble::Changed) };
        for node in &built.blocks {
            self.keep(node)?;
        }
        if let (Some(store), Some(id)) = (&self.shared.references, id) {
            store.set_seen(id, open.seen(built.cid))?;
        }
        self.file_done(&at, built.cid, built.size, built.tsize, open.executable)
    }

    /// Reads a file that changed once more, as it is now.
    pub(super) fn read_again(&mut self, at: FileAt) -> Result<(), ImportError> {
        let open = match self.shared.open(&at) {
            Ok(open) => Arc::new(open),
            Err(trouble) => return self.unread(&at, trouble),
        };
        let size = open.stat.size;
        let chunker = self.shared.profile.chunker;
        self.so_far.bytes_found = (self.so_far.bytes_found + size).saturating_sub(at.facts.stat.size);
        if size <= chunker.single_max() as u64 {
            let hashed = self.post(move |shared| (shared.hash_small(&at, &mut Vec::new()), at));
            return match self.wait(&hashed)? {
                (Ok(small), at) => self.small(&at, &small),
                (Err(trouble), at) => self.unread(&at, trouble),
            };
        }
        self.begin_large(at, Arc::clone(&open), true)?;
        let mut waiting = VecDeque::new();
        let mut pieces = Some(Pieces::new(&open, chunker));
        loop {
            while waiting.len() < JOBS_IN_FLIGHT
                && let Some(rest) = &mut pieces
            {
                match rest.next_piece() {
                    Ok(Some(piece)) => waiting.push_back(self.post_piece(&open, piece)),
                    Ok(None) => pieces = None,
                    Err(trouble) => {
                        pieces = None;
                        self.span(Err(trouble))?;
                    }
                }
            }
            let Some(leaves) = waiting.pop_front() else { break };
            let leaves = self.wait(&leaves)?;
            self.span(leaves)?;
            (self.progress)(self.so_far);
        }
        self.end_large()
    }

    /// Says why a file was not read, or that it vanished.
    fn unread(&mut self, at: &FileAt, trouble: Trouble) -> Result<(), ImportError> {
        let path = self.tree.base.join(at.path());
        match trouble {
            // What it holds can be read, but not be found again at a place in it.
            Trouble::Size if self.shared.references.is_none() => match self.shared.open(at) {
                Ok(open) => self.read_to_end(&at.called, open.into(), path),
                Err(trouble) => Err(failure(trouble, path)),
            },
            Trouble::Gone => {
                self.so_far.files_found -= 1;
                self.so_far.bytes_found = self.so_far.bytes_found.saturating_sub(at.facts.stat.size);
                self.remark(path, Remark::Vanished);
                Ok(())
            }
            trouble => Err(failure(trouble, path)),
        }
    }
}

fn scratch(path: &Path) -> impl Fn(io::Error) -> ImportError + Copy {
    move |source| ImportError::Scratch { path: path.to_path_buf(), source }
}

/// Why the folder at `path` did not become shards, when it was this entry's turn.
fn unshardable(error: ShardError, path: &Path, entry: Option<&str>) -> ImportError {
    let at = entry.map_or(path.to_path_buf(), |name| path.join(name));
    match error {
        ShardError::Name(error) => ImportError::Name { path: at, error },
        ShardError::Duplicate => ImportError::SameName { first: at.clone(), second: at },
        ShardError::Profile(error) => error.into(),
        // Entries are sorted, so it is never their order.
        ShardError::Collision | ShardError::Order => ImportError::HashCollision { path: path.to_path_buf() },
    }
}
