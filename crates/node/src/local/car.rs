//! `car`: DAGs out of the repository and into it as CAR files, and what such a
//! file holds.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use peerage_content::{Cid, hash, name};
use peerage_peer::{
    BadSection, CarCheck, CarImportError, CarPiece, CarReadError, Peer, PinOptions, check_car,
};
use tokio::sync::mpsc;

use super::failure::Fails as _;
use super::get::{failed, sources};
use super::look::PIECE;
use crate::api::{
    self, BadBlock, CarFile, CarFound, CarKind, CarLook, CarSummary, CarV2, Data, Event, Failure, Kind,
    NoticeKind,
};
use crate::backend::{Cancel, Sink};
use crate::render::Output;

/// Least time between two events that say how far it is: two a second, as of `get`.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Pieces of a CAR that wait for the disk. 4: at most 8 MiB of usual blocks.
const PIECES_WAITING: usize = 4;

/// What is linked to and not there, named in a message.
const MISSING_TOLD: usize = 3;

pub(super) async fn export(peer: &Peer, request: api::CarExport, out: &Sink) -> Result<(), Failure> {
    let (link, sources) = sources(&request.source)?;
    let mut query = peer.query(link.cid, sources.clone());
    let root = match query.resolve(link.cid, &link.path).await {
        Ok(root) => root,
        Err(error) => return Err(failed(peer, &request.source, error).await),
    };
    drop(query);
    let mut writer = match &request.dest {
        Some(dest) => Writer::file(&dest.0)?,
        None => Writer::Events { out: out.clone(), skip: request.skip },
    };
    let mut car = peer.export_car(root, sources, request.dups);
    let progress = progress(out, None);
    let mut bytes = 0;
    loop {
        let piece = match car.next().await {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(error) => return Err(failed(peer, &request.source, error).await),
        };
        bytes += (piece.head.len() + piece.block.len()) as u64;
        writer.write(piece).await?;
        if request.dest.is_some() {
            progress(bytes);
        }
    }
    writer.finish().await?;
    if let Some(dest) = &request.dest {
        let path = Some(dest.0.to_string_lossy().into_owned());
        out.send(Event::Exported { cid: root.to_string(), path, blocks: car.blocks(), bytes }).await;
    }
    Ok(())
}

/// Says how far it is, now and then.
fn progress(out: &Sink, total: Option<u64>) -> impl Fn(u64) + Send + use<> {
    let (out, told) = (out.clone(), Cell::new(Instant::now()));
    move |bytes| {
        if told.get().elapsed() >= TELL_EVERY {
            told.set(Instant::now());
            out.try_send(Event::Progress { bytes, total, sources: 0, via: Vec::new() });
        }
    }
}

/// Where a CAR goes.
enum Writer {
    /// Onto the disk, by a thread of its own.
    File { pieces: mpsc::Sender<CarPiece>, written: tokio::task::JoinHandle<Result<(), Failure>> },
    /// To whoever prints it.
    Events { out: Sink, skip: u64 },
}

impl Writer {
    /// A file that takes its name when it is whole, and replaces nothing.
    fn file(dest: &Path) -> Result<Self, Failure> {
        let shown = name::escape(&dest.to_string_lossy());
        if dest.symlink_metadata().is_ok() {
            let message = format!("{shown} exists; remove it, or name another file with -o");
            return Err(Failure::new(Kind::Exists, message));
        }
        let failure = move |error: &io::Error| {
            Failure::new(Kind::from(error), format!("cannot write {shown}: {error}"))
        };
        let (Some(folder), Some(called)) = (dest.parent(), dest.file_name()) else {
            return Err(failure(&io::ErrorKind::IsADirectory.into()));
        };
        let mut builder = tempfile::Builder::new();
        let prefix = format!(".{}.", called.to_string_lossy());
        builder.prefix(&prefix).suffix(".peerage-part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(folder).map_err(|error| failure(&error))?;
        let (pieces, mut waiting) = mpsc::channel::<CarPiece>(PIECES_WAITING);
        let dest = dest.to_path_buf();
        let written = tokio::task::spawn_blocking(move || {
            let mut finished = false;
            while let Some(CarPiece { head, block }) = waiting.blocking_recv() {
                // An empty piece is the end; without it the command was given up.
                finished = head.is_empty();
                let both = file.write_all(&head).and_then(|()| file.write_all(&block));
                both.map_err(|error| failure(&error))?;
            }
            if !finished {
                return Ok(());
            }
            file.as_file().sync_all().map_err(|error| failure(&error))?;
            file.persist_noclobber(dest).map_err(|error| failure(&error.error))?;
            Ok(())
        });
        Ok(Self::File { pieces, written })
    }

    async fn write(&mut self, piece: CarPiece) -> Result<(), Failure> {
        match self {
            Self::File { pieces, written } => {
                if pieces.send(piece).await.is_err() {
                    // It has ended, which only an error does so early.
                    return ended(written.await);
                }
            }
            Self::Events { out, skip } => {
                for mut bytes in [&piece.head[..], &piece.block[..]] {
                    let passed = usize::try_from(*skip).unwrap_or(usize::MAX).min(bytes.len());
                    *skip -= passed as u64;
                    bytes = &bytes[passed..];
                    for part in bytes.chunks(PIECE) {
                        out.send(Event::Data(Data { bytes: part.to_vec() })).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn finish(self) -> Result<(), Failure> {
        match self {
            Self::File { pieces, written } => {
                drop(pieces.send(CarPiece::default()).await);
                drop(pieces);
                ended(written.await)
            }
            Self::Events { .. } => Ok(()),
        }
    }
}

fn ended(result: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    result.unwrap_or_else(|_| Err(Failure::new(Kind::Failed, "writing the CAR did not finish")))
}

pub(super) async fn import(peer: &Peer, request: api::CarImport, out: &Sink) -> Result<(), Failure> {
    let mut worst = None;
    for file in &request.files {
        if request.again && *file == CarFile::Stdin {
            let message = "the process that read the CAR from stdin ended; run the command again";
            return Err(Failure::new(Kind::Failed, message));
        }
        let (path, input) = open(file, request.input.as_ref())?;
        let total = input.metadata().ok().map(|meta| meta.len()).filter(|len| *len > 0);
        let (imported, result) = peer.import_car(input, progress(out, total)).await;
        for bad in &imported.bad {
            out.send(Event::Bad(bad_block(&path, bad))).await;
        }
        out.send(Event::Imported {
            path: path.clone(),
            blocks: imported.blocks,
            bytes: imported.bytes,
            new_blocks: imported.new_blocks,
            bad: imported.bad_blocks,
            roots: imported.roots.iter().map(ToString::to_string).collect(),
        })
        .await;
        if let Err(error) = result {
            return Err(not_imported(&path, &error));
        }
        if imported.bad_blocks > 0 {
            let message = format!(
                "{}: {} bad blocks were left out, the good ones are kept",
                name::escape(&path),
                imported.bad_blocks
            );
            worst = Some(Failure::new(Kind::Verification, message));
        }
        if request.pin {
            for root in &imported.roots {
                if let Some(failure) = pin(peer, *root, request.name.as_deref(), out).await? {
                    worst.get_or_insert(failure);
                }
            }
        }
    }
    peer.sync().await.map_err(|error| error.failure())?;
    worst.map_or(Ok(()), Err)
}

/// Pins a root; what it lacks for that, if anything.
async fn pin(peer: &Peer, root: Cid, called: Option<&str>, out: &Sink) -> Result<Option<Failure>, Failure> {
    let called = called.unwrap_or_default();
    let options = PinOptions { name: called, recursive: true, announce: true };
    let Some(missing) = peer.pin_held(root, options).await.map_err(|error| error.failure())? else {
        out.send(Event::Pinned { cid: root.to_string(), name: called.to_owned() }).await;
        return Ok(None);
    };
    let first: Vec<String> = missing.first.iter().take(MISSING_TOLD).map(ToString::to_string).collect();
    let message = format!(
        "{root} is not pinned, since {} blocks of it are in neither the CAR nor the repository, such as {}; \
         `peerage pin add {root}` fetches them",
        missing.blocks,
        first.join(", ")
    );
    out.send(Event::notice(NoticeKind::Skipped, message.clone())).await;
    Ok(Some(Failure::new(Kind::NotFound, message)))
}

fn not_imported(path: &str, error: &CarImportError) -> Failure {
    let kind = match error {
        CarImportError::Read(error) => read_kind(error),
        CarImportError::Store(error) => error.kind(),
        CarImportError::Stopped => Kind::Interrupted,
    };
    Failure::new(kind, format!("{}: {error}; what came before it is kept", name::escape(path)))
}

fn read_kind(error: &CarReadError) -> Kind {
    match error {
        CarReadError::Car(_) => Kind::Content,
        CarReadError::Io(error) | CarReadError::Scratch(error) => error.into(),
        CarReadError::WorkerLost => Kind::Failed,
        CarReadError::Cancelled => Kind::Interrupted,
    }
}

fn bad_block(path: &str, bad: &BadSection) -> BadBlock {
    BadBlock {
        cid: bad.cid.to_string(),
        path: Some(path.to_owned()),
        problem: format!("at byte {}: {}", bad.offset, bad.error),
        offset: Some(bad.offset),
    }
}

/// A CAR, and what it is called.
fn open(file: &CarFile, input: Option<&api::Handle>) -> Result<(String, File), Failure> {
    let unreadable = |path: &str, error: &io::Error| {
        Failure::new(Kind::from(error), format!("cannot read {}: {error}", name::escape(path)))
    };
    match file {
        CarFile::Path(path) => {
            let shown = path.0.to_string_lossy().into_owned();
            let file = open_file(&path.0).map_err(|error| unreadable(&shown, &error))?;
            Ok((shown, file))
        }
        CarFile::Stdin => {
            let handle = input.ok_or_else(|| Failure::usage("no CAR came with the request"))?;
            let file = handle.handle().try_clone().map(File::from);
            Ok(("-".to_owned(), file.map_err(|error| unreadable("stdin", &error))?))
        }
    }
}

fn open_file(path: &PathBuf) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

/// `car inspect` and `car verify`, which need no repository.
pub(crate) async fn look(request: CarLook, output: &Output, cancel: &Cancel) -> Result<(), Failure> {
    let stdin = match request.file {
        CarFile::Stdin => api::Handle::stdin().ok(),
        CarFile::Path(_) => None,
    };
    let (path, input) = open(&request.file, stdin.as_ref())?;
    let work = async |out: Sink| checked(&path, input, request.verify, &out).await;
    super::without_repository(output, cancel, work).await
}

async fn checked(
    path: &str,
    input: impl Read + Send + 'static,
    verifies: bool,
    out: &Sink,
) -> Result<(), Failure> {
    let how = if verifies { CarCheck::Verify } else { CarCheck::Inspect };
    let (summary, result) = check_car(input, how, progress(out, None)).await;
    for bad in &summary.found.bad {
        out.send(Event::Bad(bad_block(path, bad))).await;
    }
    let missing = &summary.found.missing.first;
    for cid in missing {
        let problem = "linked to, and not in the file".to_owned();
        let (cid, path) = (cid.to_string(), Some(path.to_owned()));
        out.send(Event::Bad(BadBlock { cid, path, problem, offset: None })).await;
    }
    if summary.header.is_some() {
        out.send(Event::Car(Box::new(told(path, &summary, verifies)))).await;
    }
    let shown = name::escape(path);
    result.map_err(|error| Failure::new(read_kind(&error), format!("{shown}: {error}")))?;
    if let Some(error) = &summary.found.index_error {
        return Err(Failure::new(Kind::Content, format!("{shown}: its index is damaged {error}")));
    }
    if summary.found.is_good() {
        return Ok(());
    }
    Err(Failure::new(Kind::Verification, format!("{shown} is not a whole and right CAR")))
}

fn told(path: &str, summary: &peerage_peer::CarSummary, verifies: bool) -> CarSummary {
    let header = summary.header.as_ref();
    let found = &summary.found;
    let kinds = |kinds: &std::collections::BTreeMap<u64, u64>, name: fn(u64) -> String| {
        kinds.iter().map(|(code, blocks)| CarKind { name: name(*code), blocks: *blocks }).collect()
    };
    CarSummary {
        path: path.to_owned(),
        version: header.map_or(0, peerage_content::car::Header::version),
        roots: header.iter().flat_map(|header| &header.roots).map(ToString::to_string).collect(),
        blocks: summary.blocks,
        bytes: summary.bytes,
        file_bytes: summary.file_bytes,
        largest_block: summary.largest,
        codecs: kinds(&summary.codecs, super::look::codec_name),
        hashes: kinds(&summary.hashes, hash_name),
        v2: header.and_then(|header| header.v2).map(|v2| CarV2 {
            data_offset: v2.data_offset,
            data_size: v2.data_size,
            index_offset: v2.index_offset,
            fully_indexed: v2.fully_indexed(),
        }),
        found: verifies.then_some(CarFound {
            bad: found.bad_blocks,
            missing: found.missing.blocks,
            repeated: found.repeated,
            unreadable: found.unreadable,
            index_entries: found.index_entries,
            index_wrong: found.index_wrong,
            not_indexed: found.not_indexed,
        }),
    }
}

fn hash_name(code: u64) -> String {
    match hash::Algorithm::try_from(code) {
        Ok(algorithm) => algorithm.to_string(),
        Err(_) if code == hash::IDENTITY => "identity".to_owned(),
        Err(_) => format!("0x{code:x}"),
    }
}
