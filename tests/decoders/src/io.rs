//! Streams and files for decoders that read them.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

/// The other side of a stream: says what it has to say and listens to all.
#[derive(Debug, Default)]
pub(crate) struct Script {
    says: VecDeque<Bytes>,
    /// What it heard.
    pub(crate) heard: Vec<u8>,
}

impl Script {
    pub(crate) fn of(pieces: &mut dyn Iterator<Item = &[u8]>) -> Self {
        Self { says: pieces.map(Bytes::copy_from_slice).collect(), heard: Vec::new() }
    }

    /// What it has not said yet.
    pub(crate) fn left(&self) -> usize {
        self.says.iter().map(Bytes::len).sum()
    }
}

impl AsyncRead for Script {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(piece) = self.says.front_mut() {
            let now = piece.split_to(piece.len().min(buf.remaining()));
            buf.put_slice(&now);
            if piece.is_empty() {
                self.says.pop_front();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Script {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.heard.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime without I/O needs nothing");
    static FOLDER: TempDir = {
        // In memory where there is such a place: the readers of the store sync what they mend.
        let shared = Path::new("/dev/shm");
        let made = if shared.is_dir() { TempDir::new_in(shared) } else { TempDir::new() };
        made.expect("there is room for a folder")
    };
}

/// Runs what waits for nothing but a [`Script`].
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// A path of this thread's own.
pub(crate) fn path(name: &str) -> PathBuf {
    FOLDER.with(|folder| folder.path().join(name))
}

/// A file that holds `bytes`, at [`path`].
pub(crate) fn file(name: &str, bytes: &[u8]) -> File {
    let path = path(name);
    std::fs::write(&path, bytes).expect("there is room for a file");
    File::options().read(true).write(true).open(path).expect("it was written just now")
}
