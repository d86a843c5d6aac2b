//! Port mapping: the home router is asked to pass connections on to us.
//!
//! PCP (RFC 6887), NAT-PMP (RFC 6886) and UPnP, in this order, for TCP over
//! IPv4. `machine.rs` decides, `pcp.rs`, `natpmp.rs` and `upnp/` (by
//! `igd-next`) speak, `gateway.rs` finds the router; this file is the task
//! around them. Nobody but the default gateway is talked to, and only if we
//! have an address on its network and none on the internet. Left out on purpose: pinholes of
//! IPv6, and UDP, which nothing here speaks yet.
//!
//! ```no_run
//! # async fn example() -> Result<(), peerage_identity::MultiaddrError> {
//! use peerage_transport::portmap::{Config, PortMapper};
//! use tokio::sync::watch;
//!
//! // The listener's addresses; send those of later when they change.
//! let (_addrs, told) = watch::channel(vec!["/ip4/192.168.1.5/tcp/4001".parse()?]);
//! let secret = [0; 64]; // Something that only this peer can make, and make again.
//! let mapper = PortMapper::start(Config::default(), secret, told);
//! let mut external = mapper.external();
//! while external.changed().await.is_ok() {
//!     println!("others reach us at {:?}", *external.borrow());
//! }
//! mapper.close().await;
//! # Ok(())
//! # }
//! ```

pub(crate) mod gateway;
mod machine;
pub(crate) mod natpmp;
pub(crate) mod pcp;
pub(crate) mod upnp;

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use peerage_identity::Multiaddr;
use tokio::net::UdpSocket;
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

use self::machine::{Granted, Machine, Output, Request, Via};
use crate::Clock;

pub use self::gateway::Gateway;

/// How long removing the mappings may take at the end, with the end of what
/// the router is being asked then. What is not removed ends by itself, at most
/// routers.
const CLOSE: Duration = Duration::from_secs(1);
/// How long each of the questions by UDP waits for its answer: twice as long
/// each time (RFC 6886 section 3.1; fewer than its nine, as most routers that
/// speak it do so at once).
const WAITS: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
    Duration::from_millis(2000),
];
/// The largest message of PCP, in bytes (RFC 6887 section 7).
const MAX_MESSAGE: usize = 1100;

/// What may be set. The defaults are for use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// The router, instead of the one that the system's routes name.
    pub gateway: Option<Gateway>,
    /// Where NAT-PMP and PCP are, on the router.
    pub port: u16,
    /// Where UPnP gateways are searched.
    pub ssdp: SocketAddrV4,
    /// How long a mapping is asked for. A judgement: a peer that was killed
    /// leaves it behind for so long.
    pub lifetime: Duration,
    /// The longest time that a router is believed to have granted.
    pub max_lifetime: Duration,
    /// Between two requests for the same port, at least.
    pub min_interval: Duration,
    /// After all protocols failed: first, then twice as long each time.
    pub first_pause: Duration,
    /// See `first_pause`.
    pub max_pause: Duration,
    /// Between looks at the system's routes.
    pub look_interval: Duration,
    /// Ports that are mapped.
    pub max_ports: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            gateway: None,
            port: 5351,
            ssdp: SocketAddrV4::new(Ipv4Addr::new(239, 255, 255, 250), 1900),
            lifetime: Duration::from_secs(3600),
            max_lifetime: Duration::from_secs(24 * 3600),
            min_interval: Duration::from_secs(10),
            first_pause: Duration::from_secs(5 * 60),
            max_pause: Duration::from_secs(3600),
            look_interval: Duration::from_secs(60),
            max_ports: 4,
        }
    }
}

/// Why nothing was mapped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No answer: the router does not speak the protocol, or it is switched off.
    #[error("the router does not answer")]
    Silent,
    /// It says that it does not speak the protocol.
    #[error("the router does not support it")]
    Unsupported,
    /// It refuses, by the protocol's own number.
    #[error("the router refused with code {0}")]
    Refused(u32),
    /// It answered what makes no sense: its fault.
    #[error("the router's answer makes no sense")]
    Malformed,
    /// It names another host, where we do not go: its fault, or somebody plays it.
    #[error("the router's answer leads to another host")]
    Elsewhere,
    /// Its outer address is not on the internet: another router is behind it.
    #[error("the router's own address {0} is not public: there is another router behind it")]
    NotPublic(Ipv4Addr),
    /// This system refused.
    #[error("{0}")]
    Io(std::io::ErrorKind),
}

/// Has ports mapped until it is closed. Dropped, it removes them behind our
/// back, if the runtime goes on; else they end by themselves.
#[derive(Debug)]
pub struct PortMapper {
    external: watch::Receiver<Vec<Multiaddr>>,
    failure: watch::Receiver<Option<Failure>>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl PortMapper {
    /// Starts to map the TCP ports that `addrs`, our listen addresses, have
    /// on the gateway's network. Nothing is asked if there are none (we listen
    /// on loopback only), or if one of them is public. With the same `secret`,
    /// known to nobody else, we take up what was mapped before a restart. Never
    /// fails; call within a runtime.
    #[must_use]
    pub fn start(config: Config, secret: [u8; 64], addrs: watch::Receiver<Vec<Multiaddr>>) -> Self {
        let (external_tx, external) = watch::channel(Vec::new());
        let (failure_tx, failure) = watch::channel(None);
        let (stop, stopped) = oneshot::channel();
        let clock = Clock::start();
        let machine = Machine::new(config, secret, clock.now());
        let shell = Shell {
            config,
            machine,
            clock,
            requests: JoinSet::new(),
            datagrams: Vec::new(),
            removals: JoinSet::new(),
            external: external_tx,
            failure: failure_tx,
        };
        let task = tokio::spawn(shell.run(addrs, stopped));
        Self { external, failure, stop, task }
    }

    /// Where others reach us by what is mapped, as `/ip4/../tcp/N`; empty as
    /// long as nothing is.
    #[must_use]
    pub fn external(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.external.clone()
    }

    /// Why the last attempt failed, if nothing succeeded since.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        self.failure.borrow().clone()
    }

    /// Removes what is mapped, and ends. Takes at most a second.
    pub async fn close(self) {
        drop(self.stop);
        let mut task = self.task;
        if timeout(CLOSE, &mut task).await.is_err() {
            task.abort();
        }
    }
}

struct Shell {
    config: Config,
    machine: Machine,
    clock: Clock,
    requests: JoinSet<(Request, Result<Granted, Failure>)>,
    /// Those that go by UDP.
    datagrams: Vec<AbortHandle>,
    removals: JoinSet<()>,
    external: watch::Sender<Vec<Multiaddr>>,
    failure: watch::Sender<Option<Failure>>,
}

impl Shell {
    async fn run(mut self, mut addrs: watch::Receiver<Vec<Multiaddr>>, mut stopped: oneshot::Receiver<()>) {
        let current = addrs.borrow_and_update().clone();
        self.machine.handle_addrs(current, self.clock.now());
        loop {
            self.machine.handle_timeout(self.clock.now());
            self.perform();
            let wake = self.machine.poll_timeout().map(|at| self.clock.tokio_time(at));
            tokio::select! {
                _ = &mut stopped => break,
                Some(done) = self.requests.join_next(), if !self.requests.is_empty() => {
                    if let Ok((request, result)) = done {
                        if let Err(failure) = &result {
                            tracing::debug!(port = request.port, via = ?request.via, %failure, "port mapping");
                        }
                        self.machine.handle_result(&request, result, self.clock.now());
                    }
                }
                Some(_) = self.removals.join_next(), if !self.removals.is_empty() => {}
                changed = addrs.changed() => {
                    if changed.is_err() {
                        break; // Nobody needs us any more.
                    }
                    let current = addrs.borrow_and_update().clone();
                    self.machine.handle_addrs(current, self.clock.now());
                }
                () = async { match wake { Some(at) => sleep_until(at).await, None => pending().await } } => {}
            }
        }
        self.close().await;
    }

    /// Removes all that the router may have.
    async fn close(&mut self) {
        // Sent again, they would map again.
        self.datagrams.drain(..).for_each(|request| request.abort());
        self.machine.close();
        self.perform();
        loop {
            tokio::select! {
                Some(done) = self.requests.join_next() => {
                    if let Ok((request, result)) = done {
                        self.machine.handle_result(&request, result, self.clock.now());
                        self.perform();
                    }
                }
                Some(_) = self.removals.join_next() => {}
                else => return,
            }
        }
    }

    fn perform(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            let config = self.config;
            match output {
                Output::FindGateway => {
                    let gateway = config.gateway.or_else(Gateway::find);
                    self.machine.handle_gateway(gateway, self.clock.now());
                }
                Output::Map(request) => {
                    let by_datagrams = matches!(request.via, Via::Pcp(_) | Via::NatPmp);
                    let task = self.requests.spawn(async move {
                        let result = map(&config, &request).await;
                        (request, result)
                    });
                    if by_datagrams {
                        self.datagrams.retain(|request| !request.is_finished());
                        self.datagrams.push(task);
                    }
                }
                Output::Unmap { gateway, port, via, external } => {
                    self.removals.spawn(async move {
                        if let Err(failure) = unmap(&config, gateway, port, via, external).await {
                            tracing::debug!(port, %failure, "removing a port mapping");
                        }
                    });
                }
            }
        }
        publish(&self.external, self.machine.external());
        publish(&self.failure, self.machine.failure().cloned());
    }
}

fn publish<T: PartialEq>(sender: &watch::Sender<T>, now: T) {
    sender.send_if_modified(|before| {
        let changed = *before != now;
        *before = now;
        changed
    });
}

async fn map(config: &Config, request: &Request) -> Result<Granted, Failure> {
    let Request { gateway, port, wanted, .. } = *request;
    let seconds = u32::try_from(config.lifetime.as_secs()).unwrap_or(u32::MAX);
    let (external, seconds, via) = match &request.via {
        Via::Pcp(nonce) => {
            let internal = SocketAddrV4::new(gateway.local, port);
            let outer = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, wanted);
            let message = pcp::map_request(*nonce, internal, outer, seconds);
            let mapped =
                exchange(config, gateway, &message, |answer| pcp::read_map(answer, nonce, port)).await?;
            (mapped.external, mapped.seconds, request.via.clone())
        }
        Via::NatPmp => {
            let ip = exchange(config, gateway, &natpmp::ADDRESS_REQUEST, natpmp::read_address).await?;
            let message = natpmp::map_request(port, wanted, seconds);
            let mapped = exchange(config, gateway, &message, |answer| natpmp::read_map(answer, port)).await?;
            (SocketAddrV4::new(ip, mapped.port), mapped.seconds, Via::NatPmp)
        }
        Via::Upnp(control) => {
            let control = match control {
                Some(control) => control.clone(),
                None => upnp::find(config, gateway).await?,
            };
            let mapped = upnp::map(control, gateway, port, wanted, seconds).await?;
            (mapped.external, seconds, Via::Upnp(Some(mapped.control)))
        }
    };
    if external.port() == 0 || seconds == 0 {
        return Err(Failure::Malformed);
    }
    Ok(Granted { via, external, lifetime: Duration::from_secs(seconds.into()) })
}

async fn unmap(
    config: &Config,
    gateway: Gateway,
    port: u16,
    via: Via,
    external: SocketAddrV4,
) -> Result<(), Failure> {
    match via {
        Via::Pcp(nonce) => {
            let internal = SocketAddrV4::new(gateway.local, port);
            let message = pcp::map_request(nonce, internal, external, 0);
            exchange(config, gateway, &message, |answer| pcp::read_map(answer, &nonce, port)).await.map(drop)
        }
        Via::NatPmp => {
            let message = natpmp::map_request(port, 0, 0);
            exchange(config, gateway, &message, |answer| natpmp::read_map(answer, port)).await.map(drop)
        }
        Via::Upnp(Some(control)) => upnp::unmap(&control, external.port()).await,
        Via::Upnp(None) => Ok(()),
    }
}

/// Asks until the gateway answers, and nobody else: the socket is connected.
async fn exchange<T>(
    config: &Config,
    gateway: Gateway,
    message: &[u8],
    read: impl Fn(&[u8]) -> Option<Result<T, Failure>>,
) -> Result<T, Failure> {
    let failed = |error: std::io::Error| match error.kind() {
        // Nobody listens there.
        std::io::ErrorKind::ConnectionRefused => Failure::Silent,
        kind => Failure::Io(kind),
    };
    let socket = UdpSocket::bind((gateway.local, 0)).await.map_err(failed)?;
    socket.connect((gateway.ip, config.port)).await.map_err(failed)?;
    let mut buf = [0; MAX_MESSAGE];
    for wait in WAITS {
        socket.send(message).await.map_err(failed)?;
        let answer = timeout(wait, async {
            loop {
                let len = socket.recv(&mut buf).await.map_err(failed)?;
                if let Some(answer) = read(&buf[..len]) {
                    return answer;
                }
            }
        });
        if let Ok(answer) = answer.await {
            return answer;
        }
    }
    Err(Failure::Silent)
}

#[cfg(test)]
mod tests;
