//! `verify --repair FOLDER`: files that were moved, found again.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use peerage_content::name::escape;
use peerage_peer::{Finding, Peer};
use tokio::sync::mpsc;

use super::failure::Fails as _;
use super::pace::Pace;
use crate::api::{Event, Failure, Kind, NoticeKind, PathText};
use crate::backend::Sink;

/// Findings that wait to be printed. 64: who prints slowly slows the search.
const WAITING: usize = 64;

/// Looks in the folders for files that are not where they were.
pub(super) async fn look(peer: &Peer, folders: &[PathText], out: &Sink) -> Result<(), Failure> {
    let folders = folders.iter().map(resolved).collect::<Result<_, Failure>>()?;
    let (found, mut findings) = mpsc::channel(WAITING);
    let (progress, mut pace) = (out.clone(), Pace::default());
    // Stops when this future, and with it the receiver, is dropped.
    let tell = move |finding| {
        let closed = match finding {
            Finding::Progress { done } => {
                if pace.is_due() {
                    progress.try_send(Event::Looking { done });
                }
                found.is_closed()
            }
            finding => found.blocking_send(finding).is_err(),
        };
        if closed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let printing = async {
        while let Some(finding) = findings.recv().await {
            let event = match finding {
                Finding::Progress { .. } => continue,
                Finding::Moved { from, to, files } => {
                    Event::Moved { from: text(&from), path: text(&to), files }
                }
                Finding::Unreadable { path, error } => {
                    let message = format!("cannot look at {}: {error}", escape(&path.to_string_lossy()));
                    Event::notice(NoticeKind::Other, message)
                }
            };
            out.send(event).await;
        }
    };
    let (sum, ()) = tokio::join!(peer.find_moved(folders, tell), printing);
    let sum = sum.map_err(|error| error.failure())?;
    out.send(Event::Looked { found: sum.found, lost: sum.lost }).await;
    Ok(())
}

/// The folder itself, whatever symlinks lead to it.
fn resolved(PathText(path): &PathText) -> Result<PathBuf, Failure> {
    fs::canonicalize(path).map_err(|error| {
        let path = escape(&path.to_string_lossy());
        Failure::new(Kind::Path, format!("cannot look for moved files in `{path}`: {error}"))
    })
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}
