//! `car`: DAGs out of the repository and into it as CAR files, and what such a
//! file holds. What all of them use is here.

mod export;
mod import;
mod input;
mod look;
mod part;

use std::cell::Cell;
use std::fmt::Display;
use std::time::{Duration, Instant};

use peerage_content::Cid;
use peerage_peer::CarReadError;

use crate::api::{BadBlock, Event, Kind, Progress};
use crate::backend::Sink;

pub(super) use export::export;
pub(super) use import::import;
pub(crate) use look::look;

/// Least time between two events that say how far it is: two a second, as of `get`.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Says how far it is, now and then.
fn progress(out: &Sink, total: Option<u64>) -> impl Fn(u64) + Send + use<> {
    let (out, told) = (out.clone(), Cell::new(Instant::now()));
    move |bytes| {
        if told.get().elapsed() >= TELL_EVERY {
            told.set(Instant::now());
            out.try_send(Event::Progress(Progress { bytes, total, ..Progress::default() }));
        }
    }
}

/// The data of a CAR is wrong from some place on; what does not begin as one may be anything.
fn read_kind(error: &CarReadError) -> Kind {
    match error {
        CarReadError::NoCar(_) => Kind::Content,
        CarReadError::Car(_) => Kind::Verification,
        CarReadError::Io(error) | CarReadError::Scratch(error) => error.into(),
        CarReadError::WorkerLost => Kind::Failed,
        CarReadError::Cancelled => Kind::Interrupted,
    }
}

/// One thing that is wrong with a CAR.
fn bad(path: &str, cid: Option<Cid>, offset: Option<u64>, problem: &dyn Display) -> BadBlock {
    let place = offset.map(|offset| format!("at byte {offset}: ")).unwrap_or_default();
    BadBlock {
        cid: cid.map(|cid| cid.to_string()).unwrap_or_default(),
        path: Some(path.to_owned()),
        problem: format!("{place}{problem}"),
        offset,
        needed_by: Vec::new(),
    }
}
