//! mDNS: peers on the same network find each other without anybody's help.
//!
//! libp2p specs `discovery/mdns.md` over RFC 6762. `message.rs` holds the
//! packets, `machine.rs` decides when to ask and to answer, `table.rs` knows
//! who is there, `links.rs` opens sockets; this file is the task around them.
//!
//! What comes out are claims: anybody on the network can name any peer and
//! any address of this or a wider network. A connection proves the peer.
//!
//! ```no_run
//! # async fn example(local: peerage_identity::PeerId) -> Result<(), peerage_identity::MultiaddrError> {
//! use peerage_transport::mdns::{Config, Mdns, News};
//! use tokio::sync::watch;
//!
//! // The listener's addresses; send those of later when they change.
//! let (_addrs, told) = watch::channel(vec!["/ip4/192.168.1.5/tcp/4001".parse()?]);
//! let (mdns, mut news) = Mdns::start(Config::default(), local, told);
//! while let Some(news) = news.recv().await {
//!     match news {
//!         News::Discovered { peer, addrs } => println!("{peer} is at {addrs:?}"),
//!         News::Expired { peer } => println!("{peer} left"),
//!     }
//! }
//! mdns.close().await;
//! # Ok(())
//! # }
//! ```

mod limits;
mod links;
mod machine;
pub(crate) mod message;
mod table;

use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use peerage_identity::{Multiaddr, PeerId};
use tokio::net::UdpSocket;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep_until, timeout};

use self::limits::MAX_PACKET;
use self::machine::{LinkId, Machine, Nets, Output};
use crate::Clock;

pub use self::limits::{Config, MAX_ADDRS};
pub use self::table::News;

/// News that wait to be taken; what comes later is merged meanwhile.
const NEWS: usize = 16;
/// Packets that wait to be looked at; then the kernel keeps some, then none.
const PACKETS: usize = 64;
/// How long leaving may take. A judgement: a few packets are sent.
const CLOSE: Duration = Duration::from_millis(500);

/// How it goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Sockets that hear others, one for each interface and family. None:
    /// there is no interface with an address of ours but loopback, or none
    /// that has multicast (many containers).
    pub links: usize,
    /// Peers that are known.
    pub peers: usize,
    /// What the operating system refused last, while it does.
    pub trouble: Option<String>,
}

/// Finds peers on the local network, and lets them find us, until it is
/// closed or dropped.
#[derive(Debug)]
pub struct Mdns {
    status: watch::Receiver<Status>,
    /// Dropped to end the task.
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Mdns {
    /// Starts as `local`, which can be reached at `addrs`; of those, each
    /// network is told the ones that belong to it. Nothing is sent while all
    /// of them are loopback ones. Never fails: see [`Status::trouble`]. Call
    /// within a runtime. The receiver ends when this is closed; who drops the
    /// receiver closes this.
    #[must_use]
    pub fn start(
        config: Config,
        local: PeerId,
        addrs: watch::Receiver<Vec<Multiaddr>>,
    ) -> (Self, mpsc::Receiver<News>) {
        let (news, receiver) = mpsc::channel(NEWS);
        let (status, seen) = watch::channel(Status::default());
        let (stop, stopped) = oneshot::channel();
        let clock = Clock::start();
        let mut seed = [0; 8];
        if let Err(error) = getrandom::fill(&mut seed) {
            // The name is then the same each time, which harms nobody's safety.
            tracing::debug!(%error, "no randomness for mDNS");
        }
        let machine = Machine::new(config, local, u64::from_le_bytes(seed), clock.now());
        let (packets, arrived) = mpsc::channel(PACKETS);
        let shell =
            Shell { machine, clock, links: BTreeMap::new(), readers: JoinSet::new(), packets, status };
        let task = tokio::spawn(shell.run(addrs, news, arrived, stopped));
        (Self { status: seen, stop: Some(stop), task }, receiver)
    }

    /// How it goes.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Tells the network that we leave, and ends. Takes at most half a second.
    pub async fn close(mut self) {
        self.stop.take();
        if timeout(CLOSE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

type Arrived = (LinkId, SocketAddr, Vec<u8>);

struct Open {
    nets: Nets,
    socket: Arc<UdpSocket>,
    reader: tokio::task::AbortHandle,
}

struct Shell {
    machine: Machine,
    clock: Clock,
    links: BTreeMap<LinkId, Open>,
    readers: JoinSet<()>,
    packets: mpsc::Sender<Arrived>,
    status: watch::Sender<Status>,
}

impl Shell {
    async fn run(
        mut self,
        mut addrs: watch::Receiver<Vec<Multiaddr>>,
        news: mpsc::Sender<News>,
        mut arrived: mpsc::Receiver<Arrived>,
        mut stopped: oneshot::Receiver<()>,
    ) {
        let mut current = addrs.borrow_and_update().clone();
        self.machine.handle_addrs(current.clone(), self.clock.now());
        loop {
            self.machine.handle_timeout(self.clock.now());
            self.perform(&current).await;
            // News that find no room stay in the machine.
            while let Ok(permit) = news.try_reserve() {
                let Some(item) = self.machine.poll_news() else { break };
                permit.send(item);
            }
            let full = news.capacity() == 0;
            let wake = self.machine.poll_timeout().map(|at| self.clock.tokio_time(at));
            tokio::select! {
                _ = &mut stopped => break,
                Some((link, from, bytes)) = arrived.recv() => {
                    self.machine.handle_packet(link, from, &bytes, self.clock.now());
                }
                changed = addrs.changed() => {
                    if changed.is_err() {
                        break; // Nobody needs us any more.
                    }
                    current = addrs.borrow_and_update().clone();
                    self.machine.handle_addrs(current.clone(), self.clock.now());
                }
                room = news.reserve(), if full => {
                    if room.is_err() {
                        break;
                    }
                }
                () = news.closed() => break,
                Some(_) = self.readers.join_next(), if !self.readers.is_empty() => {}
                () = async { match wake { Some(at) => sleep_until(at).await, None => pending().await } } => {}
            }
        }
        self.machine.leave();
        self.perform(&current).await;
    }

    /// Does what the machine says.
    async fn perform(&mut self, addrs: &[Multiaddr]) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Look => self.look(addrs),
                Output::Send { link, to, packet } => {
                    let Some(open) = self.links.get(&link) else { continue };
                    let to = to.unwrap_or_else(|| links::group(link));
                    // A datagram goes at once or never; there is nothing to wait for.
                    if let Err(error) = open.socket.send_to(&packet, to).await {
                        tracing::trace!(?link, %error, "sending by mDNS");
                    }
                }
            }
        }
        let (links, peers) = (self.links.len(), self.machine.peers());
        self.status.send_if_modified(|status| {
            let changed = (status.links, status.peers) != (links, peers);
            (status.links, status.peers) = (links, peers);
            changed
        });
    }

    /// Opens and closes sockets as interfaces come and go.
    fn look(&mut self, addrs: &[Multiaddr]) {
        let mut trouble = None;
        let wanted = match if_addrs::get_if_addrs() {
            Ok(interfaces) => links::choose(&interfaces, addrs),
            Err(error) => {
                trouble = Some(format!("network interfaces: {error}"));
                BTreeMap::new()
            }
        };
        self.links.retain(|id, open| {
            let keep = wanted.get(id) == Some(&open.nets) && !open.reader.is_finished();
            if !keep {
                open.reader.abort();
            }
            keep
        });
        for (id, nets) in wanted {
            if self.links.contains_key(&id) {
                continue;
            }
            match links::open(id, &nets) {
                Ok(socket) => {
                    let socket = Arc::new(socket);
                    let reader = self.readers.spawn(read(id, Arc::clone(&socket), self.packets.clone()));
                    self.links.insert(id, Open { nets, socket, reader });
                }
                Err(error) => trouble = Some(format!("multicast on interface {}: {error}", id.interface)),
            }
        }
        let nets = self.links.iter().map(|(id, open)| (*id, open.nets.clone())).collect();
        self.machine.handle_links(nets, self.clock.now());
        self.status.send_if_modified(|status| {
            let changed = status.trouble != trouble;
            if let Some(trouble) = trouble.as_ref().filter(|_| changed) {
                tracing::debug!("mDNS: {trouble}");
            }
            status.trouble = trouble;
            changed
        });
    }
}

/// Reads until the socket fails; then the next look opens it anew.
async fn read(id: LinkId, socket: Arc<UdpSocket>, packets: mpsc::Sender<Arrived>) {
    // One byte more than allowed tells that there were more.
    let mut buf = vec![0; MAX_PACKET + 1];
    loop {
        match socket.recv_from(&mut buf).await {
            Ok((len, from)) => {
                if packets.send((id, from, buf[..len].to_vec())).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::trace!(?id, %error, "receiving by mDNS");
                return;
            }
        }
    }
}
