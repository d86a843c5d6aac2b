//! `gc`: gives back the disk of blocks that nothing needs.

use std::ops::ControlFlow;

use peerage_peer::{CollectError, Collecting, Peer};

use super::failure::Fails;
use super::pace::Pace;
use crate::api::{Event, Failure, Kind};
use crate::backend::Sink;

pub(super) async fn gc(peer: &Peer, dry_run: bool, out: &Sink) -> Result<(), Failure> {
    // Goes with this future, when the command is interrupted.
    let (alive, watch) = tokio::sync::watch::channel(());
    let (tell, mut pace) = (out.clone(), Pace::default());
    let collected = peer
        .collect(dry_run, move |collecting| {
            let Collecting { marking, done, total, so_far } = collecting;
            if pace.is_due() || done == total {
                tell.try_send(Event::Collecting {
                    phase: if marking { "marking" } else { "sweeping" }.to_owned(),
                    done,
                    total,
                    dead_bytes: so_far.dead_bytes,
                    freed_bytes: so_far.freed_bytes,
                });
            }
            if watch.has_changed().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
        .await
        .map_err(|error| error.failure())?;
    drop(alive);
    out.send(Event::Collected {
        dry_run,
        dead_bytes: collected.dead_bytes,
        freed_bytes: collected.freed_bytes,
        mended_roots: collected.mended_roots,
    })
    .await;
    Ok(())
}

impl Fails for CollectError {
    fn kind(&self) -> Kind {
        match self {
            Self::Running => Kind::Owned,
            Self::Walk { .. } | Self::Unknown { .. } => Kind::Content,
            Self::Store(error) => error.kind(),
            Self::Stopped => Kind::Interrupted,
        }
    }
}
