//! `car export`: a DAG into a file, or to whoever prints it.

use std::io::{self, Write as _};
use std::path::Path;

use peerage_content::name;
use peerage_peer::{CarPiece, Peer};
use tokio::sync::mpsc;

use super::super::get::{failed, sources};
use super::super::look::PIECE;
use super::part::Part;
use super::progress;
use crate::api::{self, Data, Event, Failure, Kind};
use crate::backend::Sink;

/// Pieces of a CAR that wait for the disk. 4: at most 8 MiB of usual blocks.
const PIECES_WAITING: usize = 4;

pub(in crate::local) async fn export(
    peer: &Peer,
    request: api::CarExport,
    out: &Sink,
) -> Result<(), Failure> {
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

/// Where a CAR goes.
enum Writer {
    /// Onto the disk, by a thread of its own.
    File {
        pieces: mpsc::Sender<CarPiece>,
        written: tokio::task::JoinHandle<Result<(), Failure>>,
        /// Gone with the command if it is given up.
        part: Part,
        shown: String,
    },
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
        let (mut file, part) = Part::create(dest).map_err(|error| cannot_write(&shown, &error))?;
        let (pieces, mut waiting) = mpsc::channel::<CarPiece>(PIECES_WAITING);
        let called = shown.clone();
        let written = tokio::task::spawn_blocking(move || {
            let mut write = || {
                let mut finished = false;
                while let Some(CarPiece { head, block }) = waiting.blocking_recv() {
                    // An empty piece is the end; without it the command was given up.
                    finished = head.is_empty();
                    file.write_all(&head).and_then(|()| file.write_all(&block))?;
                }
                if finished { file.sync_all() } else { Ok(()) }
            };
            write().map_err(|error| cannot_write(&called, &error))
        });
        Ok(Self::File { pieces, written, part, shown })
    }

    async fn write(&mut self, piece: CarPiece) -> Result<(), Failure> {
        match self {
            Self::File { pieces, written, .. } => {
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
            Self::File { pieces, written, part, shown } => {
                drop(pieces.send(CarPiece::default()).await);
                drop(pieces);
                ended(written.await)?;
                part.finish().map_err(|error| cannot_write(&shown, &error))
            }
            Self::Events { .. } => Ok(()),
        }
    }
}

fn cannot_write(shown: &str, error: &io::Error) -> Failure {
    Failure::new(Kind::from(error), format!("cannot write {shown}: {error}"))
}

fn ended(result: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    result.unwrap_or_else(|_| Err(Failure::new(Kind::Failed, "writing the CAR did not finish")))
}
