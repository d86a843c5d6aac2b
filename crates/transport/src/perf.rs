//! `/perf/1.0.0`: how fast a connection is.
//!
//! libp2p `perf/perf.md`. The opener sends eight bytes, big endian: how much
//! it wants; then it uploads anything and ends its side; the listener then
//! sends exactly that much. Serving it gives bandwidth away, so whoever uses
//! this crate decides whether to.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::time::{Instant, timeout};

use crate::Stream;

/// The protocol's name.
pub const PROTOCOL: &str = "/perf/1.0.0";
/// A run in which nothing moves for this long is given up. A judgement.
pub const IDLE: Duration = Duration::from_secs(30);
/// Bytes handed to the stream at once: 16 chunks to a MiB.
const CHUNK: usize = 64 * 1024;
static ZEROS: [u8; CHUNK] = [0; CHUNK];

/// What a run found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// From the first byte out until the listener had it all, as far as the
    /// opener can tell: until the first byte of the download or its end came.
    pub upload: Duration,
    /// From then until the end.
    pub download: Duration,
}

/// Uploads and then downloads so many bytes on a stream opened for [`PROTOCOL`].
///
/// # Errors
/// If the stream fails, nothing moves for [`IDLE`], or the listener sends
/// another amount than asked for (`InvalidData`).
pub async fn measure(stream: &mut Stream, upload: u64, download: u64) -> io::Result<Report> {
    let start = Instant::now();
    stream.write_chunk(Bytes::copy_from_slice(&download.to_be_bytes())).await?;
    send(stream, upload).await?;
    stream.finish();
    let mut received = 0;
    let mut uploaded = None;
    while let Some(chunk) = read(stream).await? {
        uploaded.get_or_insert_with(Instant::now);
        received += chunk.len() as u64;
        if received > download {
            break;
        }
    }
    if received != download {
        return Err(io::Error::new(io::ErrorKind::InvalidData, WrongAmount { asked: download, received }));
    }
    let uploaded = uploaded.unwrap_or_else(Instant::now);
    Ok(Report { upload: uploaded - start, download: uploaded.elapsed() })
}

/// The listener sent another amount than it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("asked for {asked} bytes, and at least {received} came")]
pub struct WrongAmount {
    /// Bytes asked for.
    pub asked: u64,
    /// Bytes that came before the stream ended or we gave up.
    pub received: u64,
}

/// Serves one run; returns the bytes received and sent.
///
/// # Errors
/// If the stream fails, or nothing moves for [`IDLE`].
pub async fn serve(stream: &mut Stream) -> io::Result<(u64, u64)> {
    let mut request = Vec::with_capacity(8);
    let mut uploaded = 0;
    while let Some(mut chunk) = read(stream).await? {
        let head = chunk.len().min(8 - request.len());
        request.extend_from_slice(&chunk[..head]);
        chunk.advance(head);
        uploaded += chunk.len() as u64;
    }
    let wanted = <[u8; 8]>::try_from(request).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let wanted = u64::from_be_bytes(wanted);
    send(stream, wanted).await?;
    stream.finish();
    Ok((uploaded, wanted))
}

async fn send(stream: &mut Stream, mut left: u64) -> io::Result<()> {
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let chunk = Bytes::from_static(&ZEROS).slice(..now);
        timeout(IDLE, stream.write_chunk(chunk)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        left -= now as u64;
    }
    Ok(())
}

async fn read(stream: &mut Stream) -> io::Result<Option<Bytes>> {
    timeout(IDLE, stream.read_chunk(usize::MAX)).await.map_err(|_| io::ErrorKind::TimedOut)?
}
