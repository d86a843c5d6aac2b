//! The home router is asked to pass connections on to us; what it grants is
//! told to the brain, which has it tested.

use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use peerage_identity::Multiaddr;
use peerage_transport::portmap::{self, PortMapper};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Net;
use crate::brain::Input;

/// How port mapping goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingStatus {
    /// Where the router says that others reach us; empty as long as nothing is mapped.
    pub external: Vec<Multiaddr>,
    /// Why the last attempt failed, if nothing succeeded since.
    pub failure: Option<portmap::Failure>,
}

/// Ports are mapped as long as somebody wants that.
pub(crate) struct Ports {
    net: Arc<Net>,
    config: Option<portmap::Config>,
    now: Mutex<Wanted>,
    mapper: Place<PortMapper>,
}

#[derive(Default)]
struct Wanted {
    /// How many want it.
    by: usize,
    keeper: Option<Keeper>,
    closed: bool,
}

/// The task that maps whenever that is wanted.
struct Keeper {
    wanted: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// Where the mapper is while there is one.
type Place<M> = Arc<Mutex<Option<M>>>;

/// Ports are mapped while this lives: see [`Peer::map_ports`](crate::Peer::map_ports).
pub struct MappedPorts(Arc<Ports>);

impl Ports {
    /// None are mapped yet; without a configuration none ever are.
    pub(crate) fn new(net: Arc<Net>, config: Option<portmap::Config>) -> Arc<Self> {
        Arc::new(Self { net, config, now: Mutex::default(), mapper: Place::default() })
    }

    /// One more wants it. Within a runtime.
    pub(crate) fn want(self: &Arc<Self>) -> MappedPorts {
        let mut now = lock(&self.now);
        now.by += 1;
        if let Some(config) = self.config.filter(|_| !now.closed) {
            let keeper = now.keeper.get_or_insert_with(|| self.keep(config));
            keeper.wanted.send_replace(true);
        }
        MappedPorts(Arc::clone(self))
    }

    /// The ports are mapped that we listen at, if the router is needed for them.
    fn keep(&self, config: portmap::Config) -> Keeper {
        let (wanted, is_wanted) = watch::channel(false);
        let (local, net) = (Arc::clone(&self.net), Arc::clone(&self.net));
        let start = move || PortMapper::start(config, local.local.mapping_secret(), local.local.listening());
        let tell = move |addrs| net.tell(Input::Mapped { addrs });
        let task = tokio::spawn(keep(is_wanted, start, tell, Arc::clone(&self.mapper)));
        Keeper { wanted, task }
    }

    /// How it goes; `None` if nobody wants it, or it makes no sense.
    pub(crate) fn status(&self) -> Option<MappingStatus> {
        let now = lock(&self.now);
        now.keeper.as_ref().filter(|_| now.by > 0)?;
        // None: it is about to start.
        let (external, failure) = lock(&self.mapper)
            .as_ref()
            .map_or_else(Default::default, |mapper| (mapper.external().borrow().clone(), mapper.failure()));
        Some(MappingStatus { external, failure })
    }

    /// Takes back what was granted, for good. At most a second.
    pub(crate) async fn close(&self) {
        let keeper = {
            let mut now = lock(&self.now);
            now.closed = true;
            now.keeper.take()
        };
        if let Some(Keeper { wanted, task }) = keeper {
            wanted.send_replace(false);
            drop(wanted);
            drop(task.await);
        }
    }
}

impl Drop for MappedPorts {
    fn drop(&mut self) {
        let mut now = lock(&self.0.now);
        now.by -= 1;
        if let Some(keeper) = now.keeper.as_ref().filter(|_| now.by == 0) {
            keeper.wanted.send_replace(false);
        }
    }
}

/// What maps ports until it is closed; for tests also something else.
trait Mapper {
    fn external(&self) -> watch::Receiver<Vec<Multiaddr>>;

    fn close(self) -> impl Future<Output = ()> + Send;
}

impl Mapper for PortMapper {
    fn external(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.external()
    }

    async fn close(self) {
        self.close().await;
    }
}

/// Maps whenever that is wanted, until nobody can want it any more. What one
/// mapper takes back, late or twice, would be what the next one was granted,
/// as both are the same to the router: so one ends before the next begins.
async fn keep<M: Mapper + Send>(
    mut wanted: watch::Receiver<bool>,
    start: impl Fn() -> M,
    tell: impl Fn(Vec<Multiaddr>),
    place: Place<M>,
) {
    while wanted.wait_for(|wanted| *wanted).await.is_ok() {
        let mapper = start();
        let external = mapper.external();
        *lock(&place) = Some(mapper);
        let unwanted = async { drop(wanted.wait_for(|wanted| !*wanted).await) };
        tokio::select! {
            () = unwanted => {}
            () = pass_on(external, &tell) => {}
        }
        tell(Vec::new());
        let ended = lock(&place).take();
        if let Some(mapper) = ended {
            mapper.close().await;
        }
    }
}

/// For ever, also if nothing more comes.
async fn pass_on(mut external: watch::Receiver<Vec<Multiaddr>>, tell: &impl Fn(Vec<Multiaddr>)) {
    while external.changed().await.is_ok() {
        let addrs = external.borrow_and_update().clone();
        if !addrs.is_empty() {
            tracing::info!(?addrs, "the router passes connections on to us");
        }
        tell(addrs);
    }
    // It ended by itself.
    tell(Vec::new());
    pending::<()>().await;
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Seen {
        Started,
        Told(Vec<Multiaddr>),
        Ended,
    }

    /// Begins to end at once, and has ended when the test says so.
    struct Fake {
        external: watch::Receiver<Vec<Multiaddr>>,
        end: oneshot::Receiver<()>,
        seen: mpsc::UnboundedSender<Seen>,
    }

    impl Mapper for Fake {
        fn external(&self) -> watch::Receiver<Vec<Multiaddr>> {
            self.external.clone()
        }

        async fn close(self) {
            self.end.await.unwrap();
            self.seen.send(Seen::Ended).unwrap();
        }
    }

    /// Wanted again while the first is being taken back, which may be slow.
    #[tokio::test]
    async fn one_mapper_ends_before_the_next_begins() {
        let (wanting, wanted) = watch::channel(true);
        let (seen, mut log) = mpsc::unbounded_channel();
        let (starts, mut started) = mpsc::unbounded_channel();
        let (told, place) = (seen.clone(), Place::default());
        let start = move || {
            let ((grant, external), (ending, end)) = (watch::channel(Vec::new()), oneshot::channel());
            seen.send(Seen::Started).unwrap();
            starts.send((grant, ending)).unwrap();
            Fake { external, end, seen: seen.clone() }
        };
        let tell = move |addrs| told.send(Seen::Told(addrs)).unwrap();
        let task = tokio::spawn(keep(wanted, start, tell, Arc::clone(&place)));
        let addrs: Vec<Multiaddr> = vec!["/ip4/203.0.113.1/tcp/1".parse().unwrap()];

        let (grant, ending) = started.recv().await.unwrap();
        assert_eq!(log.recv().await, Some(Seen::Started));
        grant.send_replace(addrs.clone());
        assert_eq!(log.recv().await, Some(Seen::Told(addrs.clone())));
        wanting.send_replace(false);
        assert_eq!(log.recv().await, Some(Seen::Told(Vec::new())));
        wanting.send_replace(true);
        // A late word of the first one is nobody's.
        grant.send_replace(addrs.clone());
        tokio::task::yield_now().await;
        assert!(lock(&place).is_none());
        ending.send(()).unwrap();
        for next in [Seen::Ended, Seen::Started] {
            assert_eq!(log.recv().await, Some(next));
        }

        // One that ends by itself is not begun anew all the time.
        let (grant, ending) = started.recv().await.unwrap();
        drop(grant);
        assert_eq!(log.recv().await, Some(Seen::Told(Vec::new())));
        ending.send(()).unwrap();
        wanting.send_replace(false);
        drop(wanting);
        task.await.unwrap();
        let rest: Vec<Seen> = std::iter::from_fn(|| log.try_recv().ok()).collect();
        assert_eq!(rest, [Seen::Told(Vec::new()), Seen::Ended]);
    }
}
