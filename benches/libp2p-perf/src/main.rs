//! rust-libp2p moving bytes from one process to another over a stream of
//! `/perf/1.0.0` (libp2p/specs, `perf/perf.md`), as a rival of our transfers.
//!
//!     libp2p-perf serve tcp|quic     prints its multiaddr, serves until killed
//!     libp2p-perf get MADDR BYTES    prints how many bytes came
//!
//! It has the easier task: the bytes are made up at one end and dropped at the
//! other; no file is read, hashed or written.

use anyhow::{Context as _, Result, bail, ensure};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Stream, StreamProtocol, Swarm, noise, tcp, yamux};

const PERF: StreamProtocol = StreamProtocol::new("/perf/1.0.0");

/// Bytes written, and asked of a read, at once: as much as its other users do.
const PIECE: usize = 64 << 10;

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", "tcp"] => serve("/ip4/127.0.0.1/tcp/0").await,
        ["serve", "quic"] => serve("/ip4/127.0.0.1/udp/0/quic-v1").await,
        ["get", addr, bytes] => get(addr.parse()?, bytes.parse()?).await,
        _ => bail!("libp2p-perf serve tcp|quic | libp2p-perf get MADDR BYTES"),
    }
}

fn swarm() -> Result<Swarm<libp2p_stream::Behaviour>> {
    Ok(libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|_| libp2p_stream::Behaviour::new())?
        .build())
}

async fn serve(listen: &str) -> Result<()> {
    let mut swarm = swarm()?;
    let mut inbound = swarm.behaviour().new_control().accept(PERF).context("perf is registered once")?;
    swarm.listen_on(listen.parse()?)?;
    tokio::spawn(async move {
        while let Some((_, stream)) = inbound.next().await {
            // A failure shows at the other end, which measures.
            tokio::spawn(async move { answer(stream).await.ok() });
        }
    });
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            println!("{}", address.with(Protocol::P2p(*swarm.local_peer_id())));
        }
    }
}

/// The server of perf: reads how much is wanted, then all there is, then sends.
async fn answer(mut stream: Stream) -> std::io::Result<()> {
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted).await?;
    count(&mut stream).await?;
    let piece = vec![7; PIECE];
    let mut left = u64::from_be_bytes(wanted);
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        stream.write_all(&piece[..some]).await?;
        left -= some as u64;
    }
    stream.close().await
}

async fn get(addr: Multiaddr, bytes: u64) -> Result<()> {
    let Some(Protocol::P2p(peer)) = addr.iter().last() else { bail!("{addr} names no peer") };
    let mut swarm = swarm()?;
    let mut control = swarm.behaviour().new_control();
    swarm.dial(addr)?;
    tokio::spawn(async move {
        loop {
            swarm.select_next_some().await;
        }
    });
    let mut stream = control.open_stream(peer, PERF).await?;
    stream.write_all(&bytes.to_be_bytes()).await?;
    stream.close().await?;
    let came = count(&mut stream).await?;
    ensure!(came == bytes, "{came} of {bytes} bytes came");
    println!("{came}");
    Ok(())
}

/// Drops what comes until the other side closes, and counts it.
async fn count(stream: &mut Stream) -> std::io::Result<u64> {
    let mut buffer = vec![0; PIECE];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(total),
            some => total += some as u64,
        }
    }
}
