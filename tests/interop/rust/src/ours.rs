//! A peer of ours on `peerage-transport` alone: it dials or accepts one
//! connection and serves ping, identify and perf on it.

use anyhow::{Context as _, Result};
use peerage_base::SharedBudget;
use peerage_identity::{Keypair, Multiaddr};
use peerage_transport::{
    Config, Connection, Control, Incoming, Role, Stream, identify, perf, ping, tcp, upgrade,
};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

use crate::within;

/// What we call ourselves in identify.
pub const AGENT: &str = "peerage under test";

/// Unread bytes that the connection may hold: the product's default.
const INBOUND: u64 = 32 << 20;

/// One connection with its tasks.
pub struct Ours {
    /// Opens streams to them.
    pub control: Control,
    /// Perf runs that we served: bytes received and sent.
    pub served: UnboundedReceiver<(u64, u64)>,
    tasks: Vec<JoinHandle<()>>,
}

impl Ours {
    /// Dials `addr`, which ends in the peer id that must answer.
    ///
    /// # Errors
    /// If the dial or the upgrade fails.
    pub async fn dial(addr: &str) -> Result<Self> {
        let addr: Multiaddr = addr.parse().with_context(|| format!("the address {addr}"))?;
        let expected = addr.peer_id();
        let socket = tcp::dial(&addr.without_peer()).await?;
        let keypair = Keypair::generate()?;
        let upgraded = upgrade(socket, Role::Dialer, &keypair, expected, Config::default(), budget()).await?;
        Ok(Self::run(upgraded, &keypair))
    }

    /// Accepts one connection.
    ///
    /// # Errors
    /// If the upgrade fails.
    pub async fn accept(listener: &tcp::Listener, keypair: &Keypair) -> Result<Self> {
        let (socket, _) = within("accepting", listener.accept()).await??;
        let upgraded = upgrade(socket, Role::Listener, keypair, None, Config::default(), budget()).await?;
        Ok(Self::run(upgraded, keypair))
    }

    fn run(connection: Connection<TcpStream>, keypair: &Keypair) -> Self {
        let Connection { control, incoming, driver, .. } = connection;
        let (sender, served) = unbounded_channel();
        let info = identify::Info {
            public_key: Some(keypair.public()),
            protocols: PROTOCOLS.iter().map(|&protocol| protocol.to_owned()).collect(),
            protocol_version: Some("ipfs/0.1.0".to_owned()),
            agent_version: Some(AGENT.to_owned()),
            ..identify::Info::default()
        };
        let driving = tokio::spawn(async move {
            driver.await;
        });
        let serving = tokio::spawn(serve(incoming, info, sender));
        Self { control, served, tasks: vec![driving, serving] }
    }

    /// What they tell of themselves.
    ///
    /// # Errors
    /// If identify fails.
    pub async fn identify(&self) -> Result<identify::Info> {
        let mut stream = self.control.open(identify::PROTOCOL).await?;
        Ok(within("our identify", identify::receive(&mut stream, identify::TIMEOUT)).await??)
    }

    /// Pings them three times on one stream.
    ///
    /// # Errors
    /// If a ping fails.
    pub async fn ping(&self) -> Result<()> {
        let mut stream = self.control.open(ping::PROTOCOL).await?;
        for _ in 0..3 {
            within("our ping", ping::ping(&mut stream)).await??;
        }
        Ok(())
    }

    /// Measures as the client of perf, which checks the amounts.
    ///
    /// # Errors
    /// If the run fails.
    pub async fn perf(&self, upload: u64, download: u64) -> Result<()> {
        let mut stream = self.control.open(perf::PROTOCOL).await?;
        within("our perf", perf::measure(&mut stream, upload, download)).await??;
        Ok(())
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

const PROTOCOLS: [&str; 3] = [ping::PROTOCOL, identify::PROTOCOL, perf::PROTOCOL];

fn budget() -> SharedBudget {
    SharedBudget::new(INBOUND)
}

async fn serve(mut incoming: Incoming, info: identify::Info, served: UnboundedSender<(u64, u64)>) {
    while let Some(stream) = incoming.next().await {
        let (info, served) = (info.clone(), served.clone());
        tokio::spawn(async move {
            // A failure shows at their end, where the test waits.
            serve_stream(stream, &info, &served).await.ok();
        });
    }
}

async fn serve_stream(
    mut stream: Stream,
    info: &identify::Info,
    served: &UnboundedSender<(u64, u64)>,
) -> Result<()> {
    let chosen = stream.accept(|name| PROTOCOLS.into_iter().find(|known| *known == name)).await?;
    match chosen {
        ping::PROTOCOL => ping::serve(&mut stream).await?,
        identify::PROTOCOL => identify::send(&mut stream, info).await?,
        _ => served.send(perf::serve(&mut stream).await?)?,
    }
    Ok(())
}
