//! Events as a person or a program reads them. `output.rs` is the thread that
//! writes; the renderers only turn an event into bytes for stdout and stderr,
//! so that tests see exactly what is printed.

mod bars;
mod car;
mod gc;
mod human;
mod json;
mod listing;
mod network;
mod output;
mod pings;
mod table;
mod text;
mod transfer;
mod verify;

use std::io::{self, Write};

pub(crate) use human::Human;
pub(crate) use json::Json;
pub(crate) use output::{Output, print};

use crate::api::{Event, Failure};

/// Turns what a command says into bytes.
pub(crate) trait Render: Send {
    /// Prints `event`. An error is of writing to `out`.
    fn event(&mut self, event: Event, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()>;

    /// Prints what was held back, such as a table that waited for its widest row.
    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()>;

    /// Prints why the command failed.
    fn failure(&mut self, failure: &Failure, err: &mut dyn Write);
}

/// How one command is printed for people.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// Of `add`, only the last root's CID.
    pub(crate) quieter: bool,
    /// What goes on while no peer has a part in it.
    pub(crate) doing: Option<&'static str>,
}

/// The renderer that was asked for.
pub(crate) fn renderer(json: bool, style: Style) -> Box<dyn Render> {
    if json { Box::new(Json) } else { Box::new(Human::for_terminal(style)) }
}
