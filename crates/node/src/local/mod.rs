//! Requests executed on this process's own peer. One file a group of
//! commands; this one opens the repository and says who does what.

pub(crate) mod announce;
mod car;
mod failure;
mod files;
mod find;
mod gc;
mod get;
mod limits;
mod look;
mod moved;
mod network;
mod open;
mod pace;
mod pins;
mod reach;
mod share;
mod status;
mod verify;

use std::sync::Arc;

use peerage_peer::Peer;

use crate::api::{Failure, Network, Request};
use crate::backend::{Backend, Cancel, Sink};
use crate::execution::{OpenError, Opener, Owned};
use crate::render::Output;
use limits::Limiter;

pub(crate) use car::look as look_at_car;
pub(crate) use files::only_hash;

/// Does what needs no repository, and prints what it says until it ends.
async fn without_repository(
    output: &Output,
    cancel: &Cancel,
    work: impl AsyncFnOnce(Sink) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (out, mut events) = Sink::new();
    let work = work(out);
    let printing = async {
        while let Some(event) = events.recv().await {
            output.push(event).await;
        }
    };
    tokio::select! {
        (result, ()) = async { tokio::join!(work, printing) } => result,
        () = cancel.cancelled() => Err(Failure::interrupted()),
    }
}

/// Opens repositories on this machine.
#[derive(Debug)]
pub(crate) struct Repositories;

/// The peer of a repository that this process owns.
#[derive(Clone)]
pub(crate) struct Local {
    peer: Peer,
    network: Network,
    limiter: Limiter,
    /// Its port, if another program has that.
    taken: Option<u16>,
    /// It was not opened just to say how it stands.
    running: bool,
}

impl Opener for Repositories {
    type Owned = Local;

    async fn open(
        &self,
        repo: &std::path::Path,
        flags: &Network,
        request: &Request,
    ) -> Result<Local, OpenError> {
        let network = open::network(repo, flags)?;
        let (peer, taken) = open::peer(repo, &network, request).await?;
        let limiter = Limiter::new(peer.clone(), network.clone());
        Ok(Local { peer, network, limiter, taken, running: !request.is_about_owner() })
    }
}

impl Owned for Local {
    type Backend = Self;

    fn backend(&self) -> Arc<Self> {
        Arc::new(self.clone())
    }

    fn listen(&self) -> Vec<String> {
        self.peer.bound_addrs().iter().map(ToString::to_string).collect()
    }

    fn network(&self) -> Network {
        self.network.clone()
    }

    async fn close(self) {
        self.peer.shutdown().await;
    }
}

impl Backend for Local {
    async fn run(&self, request: Request, out: Sink, cancel: Cancel) -> Result<(), Failure> {
        let mut heard = self.peer.begin_to_hear();
        open::report(&self.peer, &mut heard, &out).await;
        let peer = &self.peer;
        let until_interrupted = request.runs_until_interrupted();
        if let Some(port) = self.taken.filter(|_| until_interrupted) {
            open::report_taken(port, &out).await;
        }
        if request.needs_network() {
            peer.join();
        }
        // What serves for long asks the router for a way in, which takes its time to give it back.
        let _mapped = until_interrupted.then(|| peer.map_ports());
        let ends_by_itself = cancel.clone();
        let work = async {
            match request {
                Request::Share(share) => share::share(peer, share, &mut heard, &out, &cancel).await,
                Request::Up { provide } => share::up(peer, provide, &mut heard, &out, &cancel).await,
                Request::Get(get) => get::get(peer, get, &out, &cancel).await,
                Request::Shares => share::list(peer, &out).await,
                Request::Unshare(unshare) => share::remove(peer, unshare, &out).await,
                Request::Add(add) => files::add(peer, &add, &out).await,
                Request::Ls(target) => look::ls(peer, target, &out).await,
                Request::Stat(target) => look::stat(peer, target, &out).await,
                Request::Cat(cat) => look::cat(peer, cat, &out).await,
                Request::CarExport(export) => car::export(peer, export, &out).await,
                Request::CarImport(import) => car::import(peer, import, &out).await,
                Request::Id => network::id(peer, &out).await,
                Request::Ping(ping) => network::ping(peer, ping, &out).await,
                Request::Connect { address } => network::connect(peer, &address, &out).await,
                Request::Peers { dht: false } => network::peers(peer, &out).await,
                Request::Peers { dht: true } => status::dht_peers(peer, &out).await,
                Request::Find(find) => find::find(peer, find, &out).await,
                Request::FindPeer { peer: id } => find::find_peer(peer, &id, &out).await,
                Request::Provide { cid } => find::provide(peer, &cid, &out).await,
                Request::Status if self.running => status::status(peer, self.limiter.limits(), &out).await,
                Request::Limit(flags) if self.running => self.limiter.limit(&flags, &out).await,
                Request::Limit(_) => Err(limits::idle()),
                Request::Status => status::idle(peer, &out).await,
                Request::PinAdd(pin) => pins::add(peer, pin, &out).await,
                Request::PinRm(unpin) => pins::remove(peer, unpin, &out).await,
                Request::PinLs(pins) => pins::list(peer, pins, &out).await,
                Request::Verify(request) => verify::verify(peer, request, &out).await,
                Request::Gc { dry_run } => gc::gc(peer, dry_run, &out).await,
            }
        };
        if until_interrupted {
            return work.await;
        }
        let result = tokio::select! {
            result = work => result,
            () = ends_by_itself.cancelled() => Err(Failure::interrupted()),
        };
        // Such as why something is not here any more.
        open::notices(&self.peer, &mut heard, &out).await;
        result
    }
}

#[cfg(test)]
mod tests {
    use peerage_peer::Config;

    use super::*;
    use crate::api::{Event, Provide};
    use crate::backend::Canceller;

    /// Who opened the repository does not matter. This peer listens nowhere, so
    /// that no router is asked.
    #[tokio::test(flavor = "multi_thread")]
    async fn ports_are_mapped_as_long_as_something_serves_for_long() {
        let dir = tempfile::tempdir().unwrap();
        let peer = Peer::start(Config::new(dir.path().join("repo"))).await.unwrap();
        let (network, limiter) = (Network::default(), Limiter::new(peer.clone(), Network::default()));
        let local = Local { peer: peer.clone(), network, limiter, taken: None, running: true };
        let begin = async || {
            let local = local.clone();
            let ((canceller, cancel), (sink, mut events)) = (Canceller::new(), Sink::new());
            let request = Request::Up { provide: Provide::Roots };
            let task = tokio::spawn(async move { local.run(request, sink, cancel).await });
            while !matches!(events.recv().await, Some(Event::Ready { .. })) {}
            (canceller, events, task)
        };
        assert_eq!(peer.mapping_status(), None);
        let (first, mut first_events, first_task) = begin().await;
        let (second, mut second_events, second_task) = begin().await;
        assert!(peer.mapping_status().is_some());
        first.cancel();
        while first_events.recv().await.is_some() {}
        first_task.await.unwrap().unwrap();
        assert!(peer.mapping_status().is_some(), "the other one goes on");
        second.cancel();
        while second_events.recv().await.is_some() {}
        second_task.await.unwrap().unwrap();
        assert_eq!(peer.mapping_status(), None);
        peer.shutdown().await;
    }
}
