//! `verify`: every block read back, every root looked through, and repair.

use std::ops::ControlFlow;

use peerage_content::{Cid, codec};
use peerage_peer::{Peer, Repaired, Sources, VerifyError, Verifying};
use peerage_store::{Change, Checked};
use tokio::sync::mpsc;

use super::failure::Fails;
use super::get::addresses;
use super::moved;
use super::pace::Pace;
use crate::api::{self, BadBlock, Event, Failure, Kind, NoticeKind, Progress};
use crate::backend::Sink;

/// Findings that wait to be printed. 64: who prints slowly slows the reading.
const WAITING: usize = 64;

pub(super) async fn verify(peer: &Peer, request: api::Verify, out: &Sink) -> Result<(), Failure> {
    // What is found first is not told as missing.
    if !request.folders.is_empty() {
        moved::look(peer, &request.folders, out).await?;
    }
    let (found, mut findings) = mpsc::channel(WAITING);
    let (progress, mut pace) = (out.clone(), Pace::default());
    // Stops when this future, and with it the receiver, is dropped.
    let tell = move |verifying: Verifying| {
        let closed = match verifying {
            Verifying::Progress { done, total } => {
                // The last one is true.
                if pace.is_due() || done == total {
                    let now = Progress { bytes: done, total: Some(total), ..Progress::default() };
                    progress.try_send(Event::Progress(now));
                }
                found.is_closed()
            }
            finding => found.blocking_send(finding).is_err(),
        };
        if closed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let mut incomplete = Vec::new();
    let printing = async {
        while let Some(finding) = findings.recv().await {
            if let Verifying::Missing { root, .. } = &finding {
                incomplete.push(*root);
            }
            if let Some(bad) = problem(finding) {
                out.send(Event::Bad(bad)).await;
            }
        }
    };
    let (sum, ()) = tokio::join!(peer.verify(tell), printing);
    let sum = sum.map_err(|error| error.failure())?;
    out.send(Event::Verified {
        blocks: sum.good,
        bytes: sum.bytes,
        bad: sum.bad,
        missing: sum.missing,
        incomplete_roots: sum.incomplete_roots,
    })
    .await;
    let mut missing = sum.missing;
    if request.repair && missing > 0 {
        let repaired = repair(peer, &request, &incomplete, out).await?;
        missing = repaired.missing;
        out.send(Event::Repaired {
            blocks: repaired.blocks,
            bytes: repaired.bytes,
            missing: repaired.missing,
        })
        .await;
        if missing == 0 && sum.incomplete_roots == incomplete.len() as u64 {
            return Ok(());
        }
    }
    if sum.bad == 0 && sum.incomplete_roots == 0 {
        return Ok(());
    }
    let message = match (missing, request.repair) {
        (0, _) => format!("{} places are not what they were; nothing of them is served", sum.bad),
        (_, true) => format!("{missing} blocks are still missing: nobody who was asked has them"),
        (_, false) => format!(
            "{missing} blocks are missing: fetch them with `peerage verify --repair`, find files that were \
             moved with `peerage verify --repair FOLDER`, or share or add them again"
        ),
    };
    Err(Failure::new(Kind::Verification, message))
}

async fn repair(peer: &Peer, request: &api::Verify, roots: &[Cid], out: &Sink) -> Result<Repaired, Failure> {
    let hints = addresses(&request.from)?;
    let mut sum = Repaired::default();
    for root in roots {
        // What its link alone may name is asked of nobody but those who are named.
        let announced = peer.shares().iter().any(|entry| entry.root.cid == *root && entry.root.announce);
        let sources = Sources {
            hints: hints.clone(),
            ask_connected: true,
            find: announced,
            anchor: None,
            wait: request.wait,
        };
        let before = sum;
        let (progress, mut pace) = (out.clone(), Pace::default());
        let tell = move |done: Repaired| {
            if pace.is_due() {
                let bytes = before.bytes + done.bytes;
                progress.try_send(Event::Progress(Progress { bytes, ..Progress::default() }));
            }
        };
        match peer.repair(*root, sources, tell).await {
            Ok(done) => {
                sum.blocks += done.blocks;
                sum.bytes += done.bytes;
                sum.missing += done.missing;
            }
            Err(error) => {
                let message = format!("{root}: {error}");
                out.send(Event::notice(NoticeKind::Other, message)).await;
                sum.missing += 1;
            }
        }
    }
    Ok(sum)
}

impl Fails for VerifyError {
    fn kind(&self) -> Kind {
        match self {
            Self::Read(peerage_store::ReadError::Io(error)) => error.into(),
            Self::Write(error) => error.kind(),
            Self::Stopped => Kind::Interrupted,
        }
    }
}

fn problem(finding: Verifying) -> Option<BadBlock> {
    let of = |root: Cid, name: String| if name.is_empty() { root.to_string() } else { name };
    match finding {
        Verifying::Progress { .. } => None,
        Verifying::Bad { place, needed_by } => {
            let bad = place_problem(&place)?;
            let needed_by = needed_by.into_iter().map(|(root, name)| of(root, name)).collect();
            Some(BadBlock { needed_by, ..bad })
        }
        Verifying::Missing { root, name, missing } => {
            // What was told as bad in its place is not told again.
            let first = missing.first.first()?.to_string();
            let more = missing.first.len() - 1;
            let problem = match more {
                0 => "it is missing".to_owned(),
                more => format!("it is missing, and {more} more"),
            };
            let needed_by = vec![of(root, name)];
            Some(BadBlock { cid: first, path: None, problem, offset: None, needed_by })
        }
        Verifying::Broken { root, name, why } => Some(BadBlock {
            cid: root.to_string(),
            path: None,
            problem: why,
            offset: None,
            needed_by: if name.is_empty() { Vec::new() } else { vec![name] },
        }),
    }
}

fn place_problem(checked: &Checked) -> Option<BadBlock> {
    let cid = |hash| Cid::new_v1(codec::RAW, hash).to_string();
    Some(match checked {
        Checked::Progress { .. } => return None,
        Checked::BadRecord { pack, offset, block } => BadBlock {
            cid: block.map(cid).unwrap_or_default(),
            path: Some(pack.to_string_lossy().into_owned()),
            problem: format!("damaged at byte {offset}"),
            offset: Some(*offset),
            needed_by: Vec::new(),
        },
        Checked::BadFile { path, block, change } => BadBlock {
            cid: cid(*block),
            path: Some(path.to_string_lossy().into_owned()),
            problem: match change {
                Change::Content => "the file has changed",
                Change::Shrunk => "the file is shorter",
                Change::NotAFile => "it is no regular file",
                Change::Missing => "the file is gone",
            }
            .to_owned(),
            offset: None,
            needed_by: Vec::new(),
        },
        Checked::Unreadable { path, block, error } => BadBlock {
            cid: cid(*block),
            path: Some(path.to_string_lossy().into_owned()),
            problem: error.clone(),
            offset: None,
            needed_by: Vec::new(),
        },
        Checked::BadIndex { pack } => BadBlock {
            cid: String::new(),
            path: Some(pack.to_string_lossy().into_owned()),
            problem: "its index is damaged".to_owned(),
            offset: None,
            needed_by: Vec::new(),
        },
    })
}
