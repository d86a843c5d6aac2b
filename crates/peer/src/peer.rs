//! The peer: starting, stopping, and what can be asked of it. What takes
//! longer has a file of its own: [`crate::share`], [`crate::get`], [`crate::query`].

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use peerage_base::{Instant, Now, UnixTime};
use peerage_dht::Network;
use peerage_engine::{Engine, JobId};
use peerage_exchange::PeerStats;
use peerage_identity::keyfile::{self, KeyFileError};
use peerage_identity::{Multiaddr, PeerId, Scope};
use peerage_store::{
    Durability, LockError, Notice, OpenError, OpenReport, Opening, RepoLock, Store, WriteError,
};
use peerage_transport::tcp::{ListenError, Listener};
use peerage_transport::{Clock, Control, perf, ping, portmap};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::brain::{Brain, Input, PeerInfo, Totals, Watcher};
use crate::collect::collect_when_full;
use crate::config::{Config, Rates};
use crate::files::claims::Claims;
use crate::join::{Ahead, Meeting};
use crate::keep::KeptRoots;
use crate::net::dial::{self, DialError};
use crate::net::mapping::{MappedPorts, Ports};
use crate::net::{Net, accept, connection, interfaces};
use crate::notices::{Heard, Notices};
use crate::pool::Pool;
use crate::remember;
use crate::served::{Blocks, ServedRoots, Serving};
use crate::upkeep::upkeep;

/// The key's file in the repository.
const KEY_FILE: &str = "key";

/// How long noting whom to begin with the next time may hold up the end. What
/// takes longer is done before the store is closed, while others are told goodbye.
const NOTE: Duration = Duration::from_millis(300);

/// Why a peer did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Another process owns the repository, or its lock cannot be taken.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The key file is not usable.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The system refused something else.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Why a connected peer was not measured.
#[derive(Debug, thiserror::Error)]
pub enum PingError {
    /// Nobody could be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The peer is not connected, and no address was given.
    #[error("not connected to {0}; give an address")]
    NotConnected(PeerId),
    /// No stream could be opened.
    #[error(transparent)]
    Open(#[from] peerage_transport::OpenError),
    /// The peer did not answer as it should.
    #[error(transparent)]
    Ping(#[from] ping::PingError),
    /// The peer did not answer as it should.
    #[error("perf: {0}")]
    Perf(#[source] io::Error),
}

/// A running peer. Cheap to clone; stops when the last clone is dropped.
#[derive(Clone)]
pub struct Peer(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) id: PeerId,
    pub(crate) net: Arc<Net>,
    pub(crate) store: Store,
    pub(crate) claims: Claims,
    pub(crate) pool: Pool,
    pub(crate) served: ServedRoots,
    pub(crate) kept: Arc<KeptRoots>,
    /// Where the listeners are bound.
    bound: Vec<Multiaddr>,
    report: OpenReport,
    notices: Notices,
    next_job: AtomicU64,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    pub(crate) meeting: Meeting,
    pub(crate) ports: Arc<Ports>,
    /// As long as we run, if the configuration says so.
    _mapped: Option<MappedPorts>,
    brain: Mutex<Option<JoinHandle<()>>>,
    lock: Mutex<Option<RepoLock>>,
}

impl Peer {
    /// Takes the repository, opens the store, listens, and runs. Waits for
    /// nothing on the network. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`StartError::Lock`] if another process owns the repository.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let lock = RepoLock::acquire(&config.repo, &config.command)?;
        let repo = config.repo.clone();
        let store_config = peerage_store::Config { opening: tell_opening, ..config.store.clone() };
        let keypair = keyfile::load_or_create(&config.repo.join(KEY_FILE))?;
        let is_loopback = |addr: &Multiaddr| addr.scope() == Scope::Loopback;
        // Nobody else can reach it.
        let alone = !config.listen.is_empty() && config.listen.iter().all(is_loopback);
        let routing = &config.engine.routing;
        // Public servers are of no use to it, unless such addresses count as public.
        let networks: &[Network] = match alone && !routing.wan.private_addresses {
            true => &[Network::Lan],
            false => &[Network::Wan, Network::Lan],
        };
        let open = move || {
            let (store, report) = Store::open(&repo, store_config)?;
            collect_when_full(&store);
            let remembered = remember::read(&store, networks);
            Ok::<_, OpenError>((store, report, remembered))
        };
        let opened = tokio::task::spawn_blocking(open).await;
        let (store, report, remembered) = opened.map_err(io::Error::other)??;
        let threads = if config.workers > 0 { config.workers } else { cores() };
        let pool = Pool::start(threads, config.limits.pool, config.worker_slowdown)?;
        let (inbox, inputs) = mpsc::unbounded_channel();
        let id = keypair.peer_id();
        let net = Net::new(&config, keypair, pool.clone(), inbox);
        let bind = |addr| Listener::bind(addr).map(Arc::new);
        let listeners: Vec<Arc<Listener>> = config.listen.iter().map(bind).collect::<Result<_, _>>()?;
        net.local.set_listen(&interfaces::addrs(&listeners)?);
        let bound = listeners.iter().map(|listener| listener.bound_addr()).collect();

        let served = ServedRoots::default();
        let clock = Clock::start();
        // What is spread over days begins today.
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = Now::new(Instant::START, UnixTime(unix.as_secs()));
        let mut engine = config.engine.clone();
        // Who listens for others on this machine finds them there.
        Arc::make_mut(&mut engine.routing.lan).loopback_addresses |= config.listen.iter().any(is_loopback);
        engine.routing.near = config.mdns && !alone && !config.listen.is_empty();
        engine.routing.routers = !config.routers.is_empty();
        let seeds = [&config.seeds[..], &remembered].concat();
        let ahead = Ahead { bootstrap: config.bootstrap.clone(), seeds, mdns: engine.routing.near };
        let ports = Ports::new(Arc::clone(&net), (!alone).then(portmap::Config::default));
        let engine = Engine::new(id, engine, config.exchange.clone(), seed()?, now);
        let brain = Brain::new(engine, clock, Arc::clone(&net), store.clone(), served.clone());
        let brain = tokio::spawn(brain.run(inputs));
        let handshakes = accept::Handshakes::new(config.limits.handshakes);
        let accept = |listener| accept::accept(Arc::clone(&net), listener, handshakes.clone());
        let mut tasks: Vec<JoinHandle<()>> =
            listeners.iter().map(|listener| tokio::spawn(accept(Arc::clone(listener)))).collect();
        tasks.push(tokio::spawn(interfaces::follow(Arc::clone(&net), listeners)));
        tasks.push(tokio::spawn(upkeep(store.clone())));
        net.tell(Input::Rates(config.rates));
        net.tell(Input::Listen { addrs: net.local.listen() });
        let meeting = Meeting::new(ahead);
        if !config.quiet {
            meeting.begin(&net);
        }
        tasks.push(tokio::spawn(remember::keep_noting(Arc::clone(&net), store.clone())));
        let kept = Arc::new(KeptRoots::new(store.clone(), served.clone(), Arc::clone(&net)));
        Ok(Self(Arc::new(Inner {
            id,
            net,
            claims: Claims::new(store.clone()),
            store,
            notices: Notices::default(),
            pool,
            served,
            kept,
            bound,
            report,
            next_job: AtomicU64::new(0),
            tasks: Mutex::new(tasks),
            meeting,
            _mapped: config.portmap.then(|| ports.want()),
            ports,
            brain: Mutex::new(Some(brain)),
            lock: Mutex::new(Some(lock)),
        })))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Who this peer is.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.0.id
    }

    /// Concrete addresses that can be dialled, each with `/p2p/` and the id:
    /// first those at which others have reached us from outside, then those of
    /// this machine.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.0.net.local.addrs().into_iter().map(|addr| addr.with_peer(self.0.id)).collect()
    }

    /// Where it listens: the ports are those that it got, an unspecified IP stays.
    #[must_use]
    pub fn bound_addrs(&self) -> &[Multiaddr] {
        &self.0.bound
    }

    /// What opening the store had to rebuild or move aside.
    #[must_use]
    pub fn open_report(&self) -> &OpenReport {
        &self.0.report
    }

    /// Listens for [`notices`](Self::notices): for those that nobody has heard yet, and
    /// all that come.
    #[must_use]
    pub fn begin_to_hear(&self) -> Heard {
        self.0.notices.listen()
    }

    /// What the user should hear about his files, and this listener was not told.
    #[must_use]
    pub fn notices(&self, listener: &mut Heard) -> Vec<Notice> {
        self.0.notices.hear(self.0.store.drain_notices(), listener)
    }

    /// The store, for what needs no network.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// Connects to an address that the user gave; its peer may be asked for
    /// anything. What it says of itself has come when this returns, if it
    /// answers in time, and is in [`Peer::peers`].
    ///
    /// # Errors
    /// Why nobody answered there, or who else did.
    pub async fn connect(&self, addr: &Multiaddr) -> Result<PeerId, DialError> {
        let addrs = [addr.clone()];
        let control = dial::connect(&self.0.net, None, addr.peer_id(), &addrs, &addrs).await?;
        // The connection's own task asks, too, but nobody hears when it is done.
        connection::identify_peer(Arc::clone(&self.0.net), control.clone()).await;
        Ok(control.peer())
    }

    /// Everyone who is connected.
    pub async fn peers(&self) -> Vec<PeerInfo> {
        self.ask(|reply| Input::Peers { reply }).await.unwrap_or_default()
    }

    /// Bitswap figures of a peer, connected or remembered.
    pub async fn stats(&self, peer: PeerId) -> PeerStats {
        self.ask(|reply| Input::Stats { peer, reply }).await.unwrap_or_default()
    }

    /// Payload bytes since the start.
    pub async fn totals(&self) -> Totals {
        self.ask(|reply| Input::Totals { reply }).await.unwrap_or_default()
    }

    /// The rates that hold now.
    #[must_use]
    pub fn rates(&self) -> Rates {
        self.0.net.paced.rates()
    }

    /// Other rates from now on, also for what is under way.
    pub fn set_rates(&self, rates: Rates) {
        self.0.net.paced.set(rates);
        self.tell(Input::Rates(rates));
    }

    /// Opens one stream for pings with a peer that is connected, or is at `addr`.
    ///
    /// # Errors
    /// Nobody there, or a peer that does not answer.
    pub async fn pinger(&self, peer: Option<PeerId>, addr: Option<&Multiaddr>) -> Result<Pinger, PingError> {
        let control = self.reach(peer, addr).await?;
        let stream = control.open(ping::PROTOCOL).await?;
        Ok(Pinger { peer: control.peer(), stream })
    }

    /// Measures throughput with a peer that serves `/perf/1.0.0`: bytes each way.
    ///
    /// # Errors
    /// Nobody there, or a peer that does not serve it.
    pub async fn perf(
        &self,
        peer: Option<PeerId>,
        addr: Option<&Multiaddr>,
        upload: u64,
        download: u64,
    ) -> Result<perf::Report, PingError> {
        let control = self.reach(peer, addr).await?;
        let mut stream = control.open(perf::PROTOCOL).await?;
        perf::measure(&mut stream, upload, download).await.map_err(PingError::Perf)
    }

    async fn reach(&self, peer: Option<PeerId>, addr: Option<&Multiaddr>) -> Result<Control, PingError> {
        let peer = peer.or_else(|| addr.and_then(Multiaddr::peer_id));
        if let Some(peer) = peer
            && let Some(control) = self.ask(|reply| Input::Control { peer, reply }).await.flatten()
        {
            return Ok(control);
        }
        match (addr, peer) {
            (Some(addr), _) => {
                let addrs = std::slice::from_ref(addr);
                Ok(dial::connect(&self.0.net, None, peer, addrs, addrs).await?)
            }
            (None, Some(peer)) => Err(PingError::NotConnected(peer)),
            (None, None) => Err(DialError::NoAddr.into()),
        }
    }

    pub(crate) fn serve(
        &self,
        root: peerage_content::Cid,
        blocks: Blocks,
        total: u64,
        watcher: Option<Watcher>,
    ) -> ServedRoot {
        ServedRoot::new(&self.0.served, &self.0.net, root, blocks, total, watcher)
    }

    pub(crate) fn next_job(&self) -> JobId {
        JobId(self.0.next_job.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn tell(&self, input: Input) {
        self.0.net.tell(input);
    }

    /// Asks the brain; `None` once it has stopped.
    pub(crate) async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Input) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.tell(question(reply));
        answer.await.ok()
    }

    /// Makes what was done durable to a degree; see [`Store::commit`].
    ///
    /// # Errors
    /// The disk's.
    pub async fn commit(&self, durability: Durability) -> Result<(), WriteError> {
        self.with_store(move |store| store.commit(durability)).await
    }

    /// Notes whom to begin with the next time, takes back what others were
    /// told of us (the local network, the router), says goodbye to everyone,
    /// does what was begun on the disk, makes the store durable and lets go of
    /// the repository. Takes well under a second, unless the router is slow, which
    /// is given a second.
    pub async fn shutdown(&self) {
        for task in self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        let stop = async {
            // While there are peers in the tables.
            drop(timeout(NOTE, remember::note_now(&self.0.net, &self.0.store)).await);
            self.ask(|reply| Input::Stop { reply }).await;
        };
        tokio::join!(self.0.meeting.end(), self.0.ports.close(), stop);
        let brain = self.0.brain.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(brain) = brain {
            drop(brain.await);
        }
        // Nothing of ours writes to the repository once it is another's.
        self.0.pool.close().await;
        let store = self.0.store.clone();
        let synced = tokio::task::spawn_blocking(move || store.close()).await;
        if let Ok(Err(error)) = synced {
            tracing::error!(%error, "the store could not be synced");
        }
        self.0.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Who waits for the store to open should know for what.
fn tell_opening(work: &Opening) {
    match work {
        Opening::WritingAnew { done, packs } => {
            tracing::warn!(done, packs, "an earlier sync failed: the store is being written anew");
        }
        Opening::ReadingPack(pack) => {
            tracing::warn!(pack = %pack.display(), "an index is damaged: all of its pack is read");
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
        if let Some(brain) = self.brain.lock().unwrap_or_else(PoisonError::into_inner).take() {
            brain.abort();
        }
        self.store.stop_upkeep();
        drop(self.store.commit(Durability::Buffered));
    }
}

/// Pings one peer, again and again on one stream.
pub struct Pinger {
    peer: PeerId,
    stream: peerage_transport::Stream,
}

impl Pinger {
    /// Who is measured.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// One round trip.
    ///
    /// # Errors
    /// The peer is gone, or answers wrongly.
    pub async fn ping(&mut self) -> Result<Duration, PingError> {
        Ok(ping::ping(&mut self.stream).await?)
    }
}

/// A root is served, and its getters told of each other, while this lives.
pub(crate) struct ServedRoot {
    root: peerage_content::Cid,
    inbox: mpsc::UnboundedSender<Input>,
    _serving: Serving,
}

impl ServedRoot {
    /// Serves `blocks`, `total` bytes of them.
    pub(crate) fn new(
        served: &ServedRoots,
        net: &Net,
        root: peerage_content::Cid,
        blocks: Blocks,
        total: u64,
        watcher: Option<Watcher>,
    ) -> Self {
        let serving = served.serve(root, blocks);
        net.tell(Input::Serve { root, total, watcher });
        Self { root, inbox: net.inbox.clone(), _serving: serving }
    }
}

impl Drop for ServedRoot {
    fn drop(&mut self) {
        drop(self.inbox.send(Input::Unserve { root: self.root }));
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u64::from_le_bytes(bytes))
}
