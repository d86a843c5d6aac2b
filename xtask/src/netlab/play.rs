//! What is played in a lab: a plain TCP stream, and a `get` from a `share`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tempfile::TempDir;

use super::forward::Tally;
use super::lab::{Between, Lab};
use super::stream::{READY, Stream};
use crate::bench::peerage::{alone, link};
use crate::bench::process::{Measured, Usage};
use crate::bench::workspace::{self, Payload};

/// Where the plain stream is sent from.
const STREAM_PORT: u16 = 5_001;

/// One transfer.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trial {
    /// Who sends, from start to end.
    pub(crate) sender: Usage,
    /// Who fetches, from start to end: its seconds are the figure.
    pub(crate) getter: Usage,
    /// The line from the sender to the getter, and back.
    pub(crate) line: [Tally; 2],
}

/// Who takes part, and what is sent.
pub(crate) struct Players {
    /// The release build of `peerage`.
    peerage: PathBuf,
    folder: TempDir,
    source: PathBuf,
    bytes: u64,
}

impl Players {
    /// Makes a file of so many bytes, in memory if there is room.
    pub(crate) fn new(peerage: &Path, bytes: u64) -> Result<Self> {
        let payload = Payload::File(bytes);
        let folder = workspace::folder(payload)?;
        let source = workspace::make(payload, folder.path())?;
        Ok(Self { peerage: peerage.to_owned(), folder, source, bytes })
    }

    /// One stream, without a protocol and to no file.
    pub(crate) fn tcp(&self, between: &Between) -> Result<Trial> {
        let lab = Lab::new(between)?;
        let ourselves = std::env::current_exe().context("finding our own program")?;
        let at = SocketAddr::new(lab.sender.address().into(), STREAM_PORT);
        let mut send = lab.sender.command(&ourselves);
        send.arg("netlab").args(Stream::Send { at, bytes: self.bytes }.args());
        let sender = Measured::spawn("the plain sender", &mut send)?;
        sender.line(READY, |line| (line == READY).then_some(()))?;
        let mut receive = lab.getter.command(&ourselves);
        receive.arg("netlab").args(Stream::Receive { from: at, bytes: self.bytes }.args());
        let getter = Measured::spawn("the plain receiver", &mut receive)?.finish()?;
        Ok(Trial { sender: sender.finish()?, getter, line: lab.finish()? })
    }

    /// One `get`, by two peers who know nobody else and have fresh repositories.
    pub(crate) fn peerage(&self, between: &Between) -> Result<Trial> {
        let lab = Lab::new(between)?;
        let dir = tempfile::tempdir_in(self.folder.path())?;
        let dest = dir.path().join("got");
        let mut share = lab.sender.command(&self.peerage);
        alone(&mut share, &dir.path().join("sharer"), lab.sender.address());
        let sender = Measured::spawn("peerage share", share.arg("share").arg(&self.source))?;
        let (link, _) = link(&sender)?;
        let mut get = lab.getter.command(&self.peerage);
        alone(&mut get, &dir.path().join("getter"), lab.getter.address());
        let getter = Measured::spawn("peerage get", get.args(["get", &link, "-o"]).arg(&dest))?.finish()?;
        workspace::assert_same(&self.source, &dest).context("something else came")?;
        Ok(Trial { sender: sender.interrupt()?, getter, line: lab.finish()? })
    }
}
