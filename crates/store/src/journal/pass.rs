//! One pass over the frames of a journal and of its twin: what one has lost at an
//! offset is taken from the other.

use std::io;

use super::{MAX_FRAME, frame};
use crate::disk::DiskFile;
use crate::pack::scan::Window;

/// What a pass came across.
#[derive(Debug, Default)]
pub(super) struct Pass {
    /// Where the last good frame ends.
    pub(super) end: u64,
    pub(super) records: usize,
    /// Whether something that neither file has lies before that.
    pub(super) damaged: bool,
    /// For each file, from where on it has nothing that is good.
    pub(super) lags: Vec<Option<u64>>,
    /// Whether a file lacks something and has what comes after it.
    pub(super) mixed: bool,
}

/// A file, and how many bytes of it count.
pub(super) type Side<'a> = (&'a dyn DiskFile, u64);

/// Shows `take` every record from `from` on, and where its frame begins. It says
/// whether that is a record, or a chance find.
pub(super) fn pass(
    sides: &[Side<'_>],
    from: u64,
    take: &mut dyn FnMut(u64, &[u8]) -> io::Result<bool>,
) -> io::Result<Pass> {
    let mut windows: Vec<Window<'_>> = sides.iter().map(|(file, len)| Window::new(*file, *len)).collect();
    let len = sides.iter().map(|(_, len)| *len).max().unwrap_or(0);
    let mut found = Pass { end: from, lags: vec![None; sides.len()], ..Pass::default() };
    let mut at = from;
    while at < len {
        let mut total = None;
        let mut good = Vec::with_capacity(sides.len());
        for window in &mut windows {
            let here = frame(window.get(at, MAX_FRAME)?);
            let is_good = match (here, total) {
                (Some((payload, len)), None) if take(at, payload)? => {
                    total = Some(len);
                    true
                }
                // The same frame: its sum is over all of it.
                (Some((_, len)), Some(known)) => len == known,
                _ => false,
            };
            good.push(is_good);
        }
        let Some(total) = total else {
            at += 1;
            continue;
        };
        found.damaged |= at > found.end;
        for (lag, is_good) in found.lags.iter_mut().zip(good) {
            found.mixed |= is_good && lag.is_some();
            if !is_good && lag.is_none() {
                *lag = Some(at);
            }
        }
        found.records += 1;
        at += total as u64;
        found.end = at;
    }
    Ok(found)
}
