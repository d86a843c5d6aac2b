//! A rust-libp2p swarm: TCP, Noise, yamux, ping, identify, and `/perf/1.0.0`
//! spoken on its raw streams.

use anyhow::{Context as _, Result, anyhow};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, identify, noise, ping, tcp, yamux};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use crate::within;

/// The perf protocol.
pub const PERF: StreamProtocol = StreamProtocol::new("/perf/1.0.0");

/// What the swarm calls itself in identify.
pub const AGENT: &str = "rust-libp2p under test";

/// What it speaks.
#[derive(NetworkBehaviour)]
struct Behaviour {
    ping: ping::Behaviour,
    identify: identify::Behaviour,
    stream: libp2p_stream::Behaviour,
}

type Event = SwarmEvent<BehaviourEvent>;

/// A running swarm that listens on loopback and serves perf.
pub struct Theirs {
    /// Its peer id.
    pub peer_id: PeerId,
    /// Where it listens, with the peer id behind.
    pub addr: Multiaddr,
    control: libp2p_stream::Control,
    events: UnboundedReceiver<Event>,
    /// Events that nobody waited for yet.
    seen: Vec<Event>,
    tasks: Vec<JoinHandle<()>>,
}

impl Theirs {
    /// Starts one; it also dials `dial`, if that is given.
    ///
    /// # Errors
    /// If it cannot listen.
    pub async fn start(dial: Option<Multiaddr>) -> Result<Self> {
        let mut swarm = swarm()?;
        let peer_id = *swarm.local_peer_id();
        let mut control = swarm.behaviour().stream.new_control();
        let mut inbound = control.accept(PERF).context("perf is registered once")?;
        swarm.listen_on("/ip4/127.0.0.1/tcp/0".parse()?)?;
        let addr = loop {
            if let SwarmEvent::NewListenAddr { address, .. } =
                within("listening", swarm.select_next_some()).await?
            {
                break address.with_p2p(peer_id).map_err(|addr| anyhow::anyhow!("{addr} names a peer"))?;
            }
        };
        if let Some(dial) = dial {
            swarm.dial(dial)?;
        }
        let (sender, events) = unbounded_channel();
        let swarming =
            tokio::spawn(async move { while sender.send(swarm.select_next_some().await).is_ok() {} });
        let serving = tokio::spawn(async move {
            while let Some((_, stream)) = inbound.next().await {
                tokio::spawn(async move {
                    // A failure shows at the other end, which measures.
                    serve_perf(stream).await.ok();
                });
            }
        });
        Ok(Self { peer_id, addr, control, events, seen: Vec::new(), tasks: vec![swarming, serving] })
    }

    /// Waits for a ping that they sent to succeed.
    ///
    /// # Errors
    /// If it fails.
    pub async fn pinged(&mut self) -> Result<()> {
        self.find("a ping", |event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Ping(event)) => match &event.result {
                Ok(_) => Some(Ok(())),
                Err(error) => Some(Err(anyhow!("their ping: {error}"))),
            },
            _ => None,
        })
        .await
    }

    /// Waits for what the other side tells of itself.
    ///
    /// # Errors
    /// If identify fails.
    pub async fn identified(&mut self) -> Result<identify::Info> {
        self.find("identify", |event| match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => match event {
                identify::Event::Received { info, .. } => Some(Ok(info.clone())),
                identify::Event::Error { error, .. } => Some(Err(anyhow!("their identify: {error}"))),
                _ => None,
            },
            _ => None,
        })
        .await
    }

    /// Waits for a connection to be made.
    ///
    /// # Errors
    /// If a dial fails.
    pub async fn connected(&mut self) -> Result<PeerId> {
        self.find("a connection", |event| match event {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => Some(Ok(*peer_id)),
            SwarmEvent::OutgoingConnectionError { error, .. } => Some(Err(anyhow!("their dial: {error}"))),
            _ => None,
        })
        .await
    }

    /// The first event, of those that came already or are to come, that `pick` takes.
    async fn find<T>(&mut self, what: &str, pick: impl Fn(&Event) -> Option<Result<T>>) -> Result<T> {
        let mut next = 0;
        loop {
            if next == self.seen.len() {
                self.seen.push(within(what, self.events.recv()).await?.context("the swarm is gone")?);
            }
            if let Some(picked) = pick(&self.seen[next]) {
                self.seen.remove(next);
                return picked;
            }
            next += 1;
        }
    }

    /// Measures as the client of perf; returns the bytes that came.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn perf(&mut self, peer: PeerId, upload: u64, download: u64) -> Result<u64> {
        let mut stream = self.control.open_stream(peer, PERF).await?;
        let run = async {
            stream.write_all(&download.to_be_bytes()).await?;
            send(&mut stream, upload).await?;
            stream.close().await?;
            count(&mut stream).await
        };
        within("their perf", run).await?.context("their perf")
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn swarm() -> Result<Swarm<Behaviour>> {
    Ok(libp2p::SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
        .with_behaviour(|key| Behaviour {
            ping: ping::Behaviour::default(),
            identify: identify::Behaviour::new(
                identify::Config::new("peerage-interop/1".to_owned(), key.public())
                    .with_agent_version(AGENT.to_owned()),
            ),
            stream: libp2p_stream::Behaviour::new(),
        })?
        .build())
}

/// The server of perf: counts what comes, then sends what was asked for.
async fn serve_perf(mut stream: libp2p::Stream) -> std::io::Result<()> {
    let mut wanted = [0; 8];
    stream.read_exact(&mut wanted).await?;
    count(&mut stream).await?;
    send(&mut stream, u64::from_be_bytes(wanted)).await?;
    stream.close().await
}

async fn send(stream: &mut libp2p::Stream, mut left: u64) -> std::io::Result<()> {
    let piece = vec![7; 64 << 10];
    while left > 0 {
        let some = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        stream.write_all(&piece[..some]).await?;
        left -= some as u64;
    }
    stream.flush().await
}

async fn count(stream: &mut libp2p::Stream) -> std::io::Result<u64> {
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0;
    loop {
        let some = stream.read(&mut buffer).await?;
        if some == 0 {
            return Ok(total);
        }
        total += some as u64;
    }
}
