//! `car import`: the blocks of CARs into the repository, and then their roots pinned.
//!
//! What is wrong with one file or root is told, and the others go on: the worst
//! of it is how the command ends. What is wrong with the repository ends it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use peerage_content::{Cid, WalkError, cid_text, name};
use peerage_peer::{CarImportError, CarReadError, Missing, Peer, PinError, PinOptions, WholeDag};
use peerage_store::{Durability, PinKind, RootSetBuilder};

use super::super::failure::Fails as _;
use super::{bad, input, progress, read_kind};
use crate::api::{self, CarFile, Event, Failure, Kind, NoticeKind};
use crate::backend::Sink;

/// What is linked to and not there, named in a message.
const MISSING_TOLD: usize = 3;

/// Roots that one command pins. 65,536: four files of the most roots; they take 20 MB.
const ROOTS_MAX: usize = 65_536;

/// Pins that are made durable together. 256: the syncs take as long as looking
/// whether the DAGs are whole, and nobody waits long for the first to be told.
const PINS_AT_ONCE: usize = 256;

/// Blocks of these, after which no other DAG is added. 131,072: 2 MB.
const BLOCKS_AT_ONCE: u64 = 1 << 17;

pub(in crate::local) async fn import(
    peer: &Peer,
    request: api::CarImport,
    out: &Sink,
) -> Result<(), Failure> {
    let meanwhile = Arc::new(peer.store().root_set_builder());
    let mut import = Import { peer, out, meanwhile, worst: None, roots: Roots::default() };
    let mut handles = request.inputs.into_iter();
    for file in &request.files {
        if request.again && !matches!(file, CarFile::Path(_)) {
            handles.next();
            let message = "the process that read a CAR from a pipe ended; run the command again";
            import.fail(Failure::new(Kind::Failed, message)).await;
            continue;
        }
        match input::open(file, &mut handles).await {
            Ok((path, file)) => import.file(path, file).await?,
            Err(failure) => import.fail(failure).await,
        }
    }
    if request.pin {
        import.pin(request.name.as_deref()).await?;
    }
    peer.commit(Durability::Durable).await.map_err(|error| error.failure())?;
    import.worst.map_or(Ok(()), Err)
}

/// The roots of all files, each once, and the file that named it first.
#[derive(Default)]
struct Roots {
    known: BTreeSet<Cid>,
    all: Vec<(Cid, usize)>,
    paths: Vec<String>,
}

impl Roots {
    /// Adds those of a file; how many there was no room for.
    fn add(&mut self, path: &str, roots: &[Cid]) -> usize {
        let (number, mut left) = (self.paths.len(), 0);
        for root in roots {
            if self.known.contains(&cid_text::to_v1(root)) {
                continue;
            }
            if self.all.len() == ROOTS_MAX {
                left += 1;
                continue;
            }
            self.known.insert(cid_text::to_v1(root));
            self.all.push((*root, number));
        }
        self.paths.push(path.to_owned());
        left
    }
}

struct Import<'a> {
    peer: &'a Peer,
    out: &'a Sink,
    /// What was imported, until its roots are pinned.
    meanwhile: Arc<RootSetBuilder>,
    worst: Option<Failure>,
    roots: Roots,
}

impl Import<'_> {
    /// Tells a failure now, or at the end if it is the worst so far.
    async fn fail(&mut self, failure: Failure) {
        let worse = |worst: &Failure| failure.kind.exit_code() > worst.kind.exit_code();
        let told =
            if self.worst.as_ref().is_none_or(worse) { self.worst.replace(failure) } else { Some(failure) };
        if let Some(Failure { message, .. }) = told {
            self.out.send(Event::notice(NoticeKind::Skipped, message)).await;
        }
    }

    async fn file(&mut self, path: String, file: std::fs::File) -> Result<(), Failure> {
        let total = file.metadata().ok().map(|meta| meta.len()).filter(|len| *len > 0);
        let (imported, result) =
            self.peer.import_car(file, Arc::clone(&self.meanwhile), progress(self.out, total)).await;
        for block in &imported.bad {
            let told = bad(&path, Some(block.cid), Some(block.offset), &block.error);
            self.out.send(Event::Bad(told)).await;
        }
        for block in &imported.unchecked {
            let told = bad(&path, Some(block.cid), Some(block.offset), &block.error);
            self.out.send(Event::Unchecked(told)).await;
        }
        let told = Event::Imported {
            path: path.clone(),
            blocks: imported.blocks,
            bytes: imported.bytes,
            new_blocks: imported.new_blocks,
            bad: imported.bad_blocks,
            unchecked: imported.unchecked_blocks,
            roots: imported.roots.iter().map(ToString::to_string).collect(),
        };
        self.out.send(told).await;
        let shown = name::escape(&path);
        if let Err(error) = result {
            let message = format!("{shown}: {error}; what came before it is kept");
            let failure = Failure::new(kind(&error), message);
            if is_of_the_file(&error) {
                self.fail(failure).await;
            } else {
                return Err(failure);
            }
        }
        if imported.bad_blocks > 0 {
            let message =
                format!("{shown}: {} bad blocks were left out, the good ones are kept", imported.bad_blocks);
            self.fail(Failure::new(Kind::Verification, message)).await;
        }
        if imported.unchecked_blocks > 0 {
            let message = format!(
                "{shown}: {} blocks were left out, since nobody here can check them: their hash functions \
                 are not supported",
                imported.unchecked_blocks
            );
            self.fail(Failure::new(Kind::Verification, message)).await;
        }
        let left = self.roots.add(&path, &imported.roots);
        if left > 0 {
            let message = format!(
                "{shown}: {left} roots are not pinned, as one command pins at most {ROOTS_MAX}; \
                 import this file alone, or `peerage pin add` them"
            );
            self.fail(Failure::new(Kind::Content, message)).await;
        }
        Ok(())
    }

    /// Pins all roots that are whole, now that all blocks are here: a DAG may lie
    /// in several files.
    async fn pin(&mut self, called: Option<&str>) -> Result<(), Failure> {
        let (name, rename) = (called.unwrap_or_default(), called.is_some());
        let options = PinOptions { name, rename, recursive: true, announce: true };
        let Roots { all, paths, .. } = std::mem::take(&mut self.roots);
        let (mut whole, mut blocks) = (Vec::new(), 0);
        for (root, number) in &all {
            match self.peer.find_whole(*root).await {
                Ok(Ok(dag)) => {
                    blocks += dag.blocks();
                    whole.push(dag);
                }
                Ok(Err(missing)) => self.fail(not_whole(&paths[*number], *root, &missing)).await,
                Err(error) if error.kind() == Kind::Content => {
                    self.fail(not_walked(&paths[*number], *root, &error)).await;
                }
                Err(error) => return Err(error.failure()),
            }
            if whole.len() == PINS_AT_ONCE || blocks >= BLOCKS_AT_ONCE {
                self.pin_whole(std::mem::take(&mut whole), options).await?;
                blocks = 0;
            }
        }
        self.pin_whole(whole, options).await
    }

    /// Pins these together, and tells of each.
    async fn pin_whole(&self, dags: Vec<WholeDag>, options: PinOptions<'_>) -> Result<(), Failure> {
        if dags.is_empty() {
            return Ok(());
        }
        let roots: Vec<Cid> = dags.iter().map(WholeDag::cid).collect();
        self.peer.pin_whole(dags, options).await.map_err(|error| error.failure())?;
        self.peer.commit(Durability::Durable).await.map_err(|error| error.failure())?;
        // A pin that was there may have a name.
        let names: BTreeMap<Cid, String> = self
            .peer
            .pins()
            .into_iter()
            .filter(|pin| pin.kind == PinKind::Recursive)
            .map(|pin| (pin.cid, pin.name))
            .collect();
        for root in roots {
            let name = names.get(&root).cloned().unwrap_or_default();
            self.out.send(Event::Pinned { cid: root.to_string(), name }).await;
        }
        Ok(())
    }
}

fn not_whole(path: &str, root: Cid, missing: &Missing) -> Failure {
    let first: Vec<String> = missing.first.iter().take(MISSING_TOLD).map(ToString::to_string).collect();
    let (blocks, them) = match missing.blocks {
        1 => ("1 block of it is".to_owned(), "it"),
        blocks => (format!("{blocks} blocks of it are"), "them"),
    };
    let message = format!(
        "{}: {root} is not pinned, since {blocks} in neither the CARs nor the repository, such as {}; `peerage \
         pin add {root}` fetches {them}",
        name::escape(path),
        first.join(", ")
    );
    Failure::new(Kind::NotFound, message)
}

/// A block that is none is wrong data, as one is that does not match its hash.
fn not_walked(path: &str, root: Cid, error: &PinError) -> Failure {
    let kind = match error {
        PinError::Walk(WalkError::Decode { .. }) => Kind::Verification,
        _ => Kind::Content,
    };
    Failure::new(kind, format!("{}: {root} is not pinned: {error}", name::escape(path)))
}

fn kind(error: &CarImportError) -> Kind {
    match error {
        CarImportError::Read(error) => read_kind(error),
        CarImportError::Store(error) => error.kind(),
        CarImportError::Stopped => Kind::Interrupted,
    }
}

/// Whether another file may do better.
const fn is_of_the_file(error: &CarImportError) -> bool {
    matches!(error, CarImportError::Read(CarReadError::NoCar(_) | CarReadError::Car(_) | CarReadError::Io(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use peerage_content::{codec, hash};

    #[test]
    fn roots_are_kept_once_and_not_without_bound() {
        let node = |n: usize| hash::digest(hash::SHA2_256, &n.to_be_bytes()).unwrap();
        let cids = |range: std::ops::Range<usize>| range.map(|n| Cid::new_v1(codec::DAG_PB, node(n)));
        let mut roots = Roots::default();
        assert_eq!(roots.add("a", &cids(0..10).chain(cids(5..8)).collect::<Vec<_>>()), 0);
        // The versions of a CID are one root.
        let old: Vec<Cid> = (0..12).map(|n| Cid::new_v0(node(n)).unwrap()).collect();
        assert_eq!(roots.add("b", &old), 0);
        assert_eq!((roots.all.len(), roots.all[9].1, roots.all[10]), (12, 0, (old[10], 1)));
        assert_eq!(roots.add("c", &cids(0..ROOTS_MAX + 3).collect::<Vec<_>>()), 3);
        assert_eq!((roots.all.len(), roots.known.len()), (ROOTS_MAX, ROOTS_MAX));
    }

    #[tokio::test]
    async fn the_worst_is_told_last_and_each_once() {
        let dir = tempfile::tempdir().unwrap();
        let peer = Peer::start(peerage_peer::Config::new(dir.path().join("repo"))).await.unwrap();
        let (out, mut events) = Sink::new();
        let meanwhile = Arc::new(peer.store().root_set_builder());
        let mut import = Import { peer: &peer, out: &out, meanwhile, worst: None, roots: Roots::default() };
        for (kind, message) in [
            (Kind::Path, "a"),
            (Kind::NotFound, "b"),
            (Kind::Verification, "c"),
            (Kind::Verification, "d"),
            (Kind::Io, "e"),
        ] {
            import.fail(Failure::new(kind, message)).await;
        }
        assert_eq!(import.worst.take().unwrap(), Failure::new(Kind::Verification, "c"));
        drop(import);
        drop(out);
        let mut told = Vec::new();
        while let Some(event) = events.recv().await {
            match event {
                Event::Notice { message, .. } => told.push(message),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(told, ["a", "b", "d", "e"]);
        peer.shutdown().await;
    }
}
