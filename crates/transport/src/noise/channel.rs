//! The secured byte stream before the muxer takes over: what negotiating the
//! muxer by multistream runs on. Small and plain; bulk data never passes here.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::{FrameReader, FrameWriter, Opener, Sealer};

/// Bytes asked of the socket at once.
const READ: usize = 4096;

/// A byte stream in Noise frames.
pub struct SecureChannel<T> {
    io: T,
    reader: FrameReader,
    writer: FrameWriter,
    plain: Bytes,
}

impl<T> SecureChannel<T> {
    /// The stream after the handshake.
    pub fn new(io: T, sealer: Sealer, opener: Opener) -> Self {
        Self { io, reader: FrameReader::new(opener), writer: FrameWriter::new(sealer), plain: Bytes::new() }
    }

    /// Takes it apart again; the last part is what was read and not consumed.
    pub fn into_parts(self) -> (T, FrameReader, FrameWriter, Bytes) {
        (self.io, self.reader, self.writer, self.plain)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for SecureChannel<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.plain.is_empty() {
            match this.reader.open().map_err(invalid)? {
                Some(plain) => this.plain = plain,
                None => {
                    let raw = this.reader.raw();
                    raw.reserve(READ);
                    if ready!(pin!(this.io.read_buf(raw)).poll(cx))? == 0 {
                        return Poll::Ready(Ok(()));
                    }
                }
            }
        }
        let now = this.plain.len().min(buf.remaining());
        buf.put_slice(&this.plain[..now]);
        this.plain.advance(now);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for SecureChannel<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.as_mut().poll_flush(cx))?;
        let buf = &buf[..buf.len().min(READ)];
        self.writer.push(buf).map_err(invalid)?;
        self.writer.seal().map_err(invalid)?;
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.writer.sealed().is_empty() {
            match ready!(Pin::new(&mut this.io).poll_write(cx, this.writer.sealed()))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => this.writer.advance(written),
            }
        }
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.as_mut().poll_flush(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

fn invalid(error: super::NoiseError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
