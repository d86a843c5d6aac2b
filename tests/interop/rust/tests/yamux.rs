//! Our yamux machine against the `yamux` crate, over a pipe in memory: many
//! streams, half close, reset, and bulk in both directions at once, with every
//! byte in its place.

use std::task::Poll;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use peerage_interop_rust::muxer::Muxer;
use peerage_interop_rust::within;
use peerage_transport::yamux::Role;
use tokio::io::DuplexStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_util::compat::TokioAsyncReadCompatExt as _;
use yamux::{Config, Connection, Mode, Stream};

/// Less than a frame, so that frames are cut.
const PIPE: usize = 20_000;

/// More than the windows, by far.
const BULK: usize = 12 << 20;

type Open = oneshot::Sender<Stream>;

/// Their side: a task that drives the connection, hands out streams on request
/// and passes on those that we open.
struct Theirs {
    open: UnboundedSender<Open>,
    inbound: UnboundedReceiver<Stream>,
}

impl Theirs {
    fn new(io: DuplexStream, mode: Mode) -> Self {
        let mut connection = Connection::new(io.compat(), Config::default(), mode);
        let (open, mut wanted) = unbounded_channel::<Open>();
        let (sender, inbound) = unbounded_channel();
        let mut pending: Option<Open> = None;
        tokio::spawn(futures::future::poll_fn(move |cx| {
            loop {
                if pending.is_none()
                    && let Poll::Ready(Some(open)) = wanted.poll_recv(cx)
                {
                    pending = Some(open);
                }
                if pending.is_some()
                    && let Poll::Ready(Ok(stream)) = connection.poll_new_outbound(cx)
                {
                    pending.take().map(|open| open.send(stream));
                    continue;
                }
                match connection.poll_next_inbound(cx) {
                    Poll::Ready(Some(Ok(stream))) => {
                        sender.send(stream).ok();
                    }
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }));
        Self { open, inbound }
    }

    async fn open(&self) -> Result<Stream> {
        let (sender, stream) = oneshot::channel();
        self.open.send(sender).ok().context("their connection is gone")?;
        within("their stream", stream).await?.context("their connection is gone")
    }

    async fn accept(&mut self) -> Result<Stream> {
        within("a stream of ours", self.inbound.recv()).await?.context("their connection is gone")
    }

    /// Echoes every stream that we open, from now on.
    fn echo(mut self) {
        tokio::spawn(async move {
            while let Some(stream) = self.inbound.recv().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = stream.split();
                    futures::io::copy(&mut read, &mut write).await.ok();
                    write.close().await.ok();
                });
            }
        });
    }
}

fn pair(role: Role) -> (Muxer, Theirs) {
    let (here, there) = tokio::io::duplex(PIPE);
    let mode = match role {
        Role::Client => Mode::Server,
        Role::Server => Mode::Client,
    };
    (Muxer::new(role, here), Theirs::new(there, mode))
}

/// Bytes in which each position can be told from its neighbours.
fn payload(seed: usize, len: usize) -> Bytes {
    (0..len).map(|i| ((i + seed).wrapping_mul(0x9E37_79B1) >> 13).to_le_bytes()[0]).collect()
}

#[tokio::test]
async fn many_streams_come_back_whole_and_in_order() -> Result<()> {
    let (mut ours, theirs) = pair(Role::Client);
    theirs.echo();
    let lens = (0..60).map(|i| [0, 1, 13, 4_096, 70_000, 300_001][i % 6]);
    let mut sent = Vec::new();
    for (seed, len) in lens.enumerate() {
        let payload = payload(seed, len);
        sent.push((ours.send(payload.clone())?, payload));
        // The machine lets only so many streams wait for an acknowledgement.
        within("acknowledgements", ours.run_until(|ours| ours.live() < 100)).await??;
    }
    within("the echoes", ours.run_until(|ours| ours.opened.values().all(|stream| stream.ended))).await??;
    for (id, payload) in sent {
        ensure!(ours.opened[&id].received == payload, "stream {id:?} came back different");
    }
    Ok(())
}

#[tokio::test]
async fn bulk_in_both_directions_with_half_close() -> Result<()> {
    // Our stream carries bulk there and back while theirs does the same.
    let (mut ours, mut theirs) = pair(Role::Server);
    let up = payload(1, BULK);
    let down = payload(2, BULK);
    let ours_id = ours.send(up.clone())?;
    let expected = (up.clone(), down.clone());
    let their_side = tokio::spawn(async move {
        let echoed = theirs.open().await?;
        let (mut echo_read, mut echo_write) = echoed.split();
        let sending = async {
            echo_write.write_all(&down).await?;
            echo_write.close().await
        };
        let mut back = Vec::new();
        let (sent, read) = futures::join!(sending, echo_read.read_to_end(&mut back));
        sent.context("sending")?;
        read.context("reading after our half close")?;

        // Ours has finished its half long ago; the other half still works.
        let mut accepted = theirs.accept().await?;
        let mut got = Vec::new();
        accepted.read_to_end(&mut got).await.context("reading up to their half close")?;
        accepted.write_all(b"all of it").await?;
        accepted.close().await?;
        anyhow::Ok((got, back))
    });
    within("bulk", ours.run_until(|ours| ours.opened[&ours_id].ended)).await??;
    ensure!(ours.opened[&ours_id].received == b"all of it");
    let (got, back) = within("their side", their_side).await???;
    ensure!(got == expected.0, "what we sent came out of order");
    ensure!(back == expected.1, "what they sent was not echoed in order");
    Ok(())
}

#[tokio::test]
async fn our_reset_ends_their_stream_and_no_other() -> Result<()> {
    let (mut ours, mut theirs) = pair(Role::Client);
    let doomed = ours.send(payload(3, BULK))?;
    let other = ours.send(payload(4, 1000))?;
    let their_side = tokio::spawn(async move {
        let mut doomed = theirs.accept().await?;
        let mut other = theirs.accept().await?;
        let mut some = [0; 1000];
        doomed.read_exact(&mut some).await?;
        let mut all = Vec::new();
        other.read_to_end(&mut all).await?;
        other.write_all(&all).await?;
        other.close().await?;
        let mut rest = Vec::new();
        let read = doomed.read_to_end(&mut rest).await;
        anyhow::Ok(read.is_err() || rest.len() < BULK - 1000)
    });
    within("the other stream", ours.run_until(|ours| ours.opened[&other].ended)).await??;
    ensure!(ours.opened[&other].received == payload(4, 1000));
    ours.reset(doomed);
    let after = ours.send(payload(5, 10))?;
    // The new stream is opened after the reset is out; nobody reads it.
    let running = ours.run_until(|ours| ours.opened[&after].ended);
    let cut = tokio::select! {
        cut = within("their side", their_side) => cut??,
        ended = running => return ended.context("ended early"),
    };
    ensure!(cut?, "their stream ended as if it were whole");
    Ok(())
}

#[tokio::test]
async fn their_reset_is_told_and_others_go_on() -> Result<()> {
    let (mut ours, mut theirs) = pair(Role::Client);
    let doomed = ours.send(payload(6, BULK))?;
    let other = ours.send(payload(7, 5000))?;
    tokio::spawn(async move {
        let mut doomed = theirs.accept().await?;
        let mut other = theirs.accept().await?;
        let mut some = [0; 100];
        doomed.read_exact(&mut some).await?;
        drop(doomed);
        let mut all = Vec::new();
        other.read_to_end(&mut all).await?;
        other.write_all(&all).await?;
        other.close().await?;
        anyhow::Ok(())
    });
    let done = |ours: &Muxer| ours.opened[&doomed].reset && ours.opened[&other].ended;
    within("the reset", ours.run_until(done)).await??;
    ensure!(ours.opened[&other].received == payload(7, 5000));
    Ok(())
}
