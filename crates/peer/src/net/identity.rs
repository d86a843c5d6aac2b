//! What we say of ourselves: identify's message, and signed records for the
//! swarm, each with the addresses that suit the connection.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use bytes::Bytes;
use peerage_dht::Network;
use peerage_engine::{AutonatVersion as Version, Reach, SWARM_PROTOCOL};
use peerage_exchange::Version as Bitswap;
use peerage_identity::{Keypair, Multiaddr, PeerRecord, Scope};
use peerage_transport::autonat::{v1, v2};
use peerage_transport::{Control, identify, perf, ping};
use tokio::sync::watch;
use tokio::time::timeout;

use super::Net;
use crate::config::Config;

/// Addresses in one message: what deployed peers keep is more, and a message
/// of 4 KiB holds this many with room for the rest.
const ADDRS_MAX: usize = 24;

/// The Bitswaps that we speak, the newest first.
const VERSIONS: [Bitswap; 3] = [Bitswap::V1_2, Bitswap::V1_1, Bitswap::V1_0];

/// What this peer is and where it listens.
#[derive(Clone)]
pub(crate) struct LocalInfo {
    keypair: Keypair,
    agent: String,
    perf: bool,
    /// Private addresses are tested and dialled, for tests.
    private_addresses: bool,
    addrs: Arc<RwLock<Addrs>>,
    /// Where we listen, for those who wait for changes.
    listening: Arc<watch::Sender<Vec<Multiaddr>>>,
    dhts: Arc<Dhts>,
}

/// Where we are.
#[derive(Debug, Default)]
struct Addrs {
    /// Concrete addresses of this machine.
    listen: Vec<Multiaddr>,
    /// Whether others can dial us, and where.
    reach: Reach,
}

impl Addrs {
    /// Those at which we were reached first, as they are sure; without repeats.
    fn all(&self) -> Vec<Multiaddr> {
        let reached = match &self.reach {
            Reach::Public(addrs) => &addrs[..],
            Reach::Private | Reach::Unknown => &[],
        };
        let mut all = reached.to_vec();
        all.extend(self.listen.iter().filter(|addr| !reached.contains(addr)).cloned());
        all
    }
}

/// The DHTs in which we answer.
#[derive(Debug, Default)]
struct Dhts {
    wan: AtomicBool,
    lan: AtomicBool,
}

impl LocalInfo {
    pub(crate) fn new(keypair: Keypair, config: &Config) -> Self {
        Self {
            keypair,
            agent: config.agent.clone(),
            perf: config.perf,
            private_addresses: config.engine.reachability.private_addresses,
            addrs: Arc::default(),
            listening: Arc::new(watch::Sender::new(Vec::new())),
            dhts: Arc::default(),
        }
    }

    /// Says where we listen; false if that is no news.
    pub(crate) fn set_listen(&self, addrs: &[Multiaddr]) -> bool {
        self.addrs.write().unwrap_or_else(PoisonError::into_inner).listen = addrs.to_vec();
        self.listening.send_if_modified(|before| {
            let changed = before != addrs;
            if changed {
                *before = addrs.to_vec();
            }
            changed
        })
    }

    /// Where we listen, now and as it changes.
    pub(crate) fn listening(&self) -> watch::Receiver<Vec<Multiaddr>> {
        self.listening.subscribe()
    }

    /// Says whether others can dial us, and where.
    pub(crate) fn set_reach(&self, reach: Reach) {
        self.addrs.write().unwrap_or_else(PoisonError::into_inner).reach = reach;
    }

    /// Whether we dial those that ask for it, by this AutoNAT. Who listens for
    /// nobody, or on this machine alone, only fetches something and leaves. By
    /// v1 only if others may be able to dial us: that is all that it tells
    /// apart, and our failure would be taken for the asker's.
    pub(crate) fn dials(&self, version: Version) -> bool {
        let addrs = self.addrs.read().unwrap_or_else(PoisonError::into_inner);
        let beyond = |addr: &Multiaddr| self.private_addresses || addr.scope() != Scope::Loopback;
        addrs.listen.iter().any(beyond) && (version == Version::V2 || addrs.reach != Reach::Private)
    }

    /// Says in which DHTs we answer others.
    pub(crate) fn set_dhts(&self, wan: bool, lan: bool) {
        self.dhts.wan.store(wan, Ordering::Relaxed);
        self.dhts.lan.store(lan, Ordering::Relaxed);
    }

    /// Whether we answer others in this DHT.
    pub(crate) fn serves(&self, network: Network) -> bool {
        match network {
            Network::Wan => self.dhts.wan.load(Ordering::Relaxed),
            Network::Lan => self.dhts.lan.load(Ordering::Relaxed),
        }
    }

    /// Concrete addresses of this machine, without `/p2p`.
    pub(crate) fn listen(&self) -> Vec<Multiaddr> {
        self.addrs.read().unwrap_or_else(PoisonError::into_inner).listen.clone()
    }

    /// The same, and before them those at which others have reached us.
    pub(crate) fn addrs(&self) -> Vec<Multiaddr> {
        self.addrs.read().unwrap_or_else(PoisonError::into_inner).all()
    }

    /// The addresses that a peer at `remote` may make use of: a loopback peer
    /// all of them, a private one those of the site, any other the public ones.
    fn addrs_for(&self, remote: Scope) -> Vec<Multiaddr> {
        let fits = |addr: &Multiaddr| match (remote, addr.scope()) {
            (Scope::Loopback, _) => true,
            (Scope::Private | Scope::LinkLocal, Scope::Private | Scope::Public) => true,
            (_, scope) => scope == Scope::Public,
        };
        self.addrs().into_iter().filter(fits).take(ADDRS_MAX).collect()
    }

    /// The identify message for a peer that we see at `observed`.
    pub(crate) fn identify(&self, observed: &Multiaddr) -> identify::Info {
        let listen_addrs = self.addrs_for(observed.scope());
        let record = PeerRecord::seal(&self.keypair, seq(), &listen_addrs);
        identify::Info {
            public_key: Some(self.keypair.public()),
            listen_addrs,
            protocols: self.protocols(),
            observed_addr: Some(observed.clone()),
            protocol_version: Some("ipfs/0.1.0".to_owned()),
            agent_version: Some(self.agent.clone()),
            signed_peer_record: Some(record.into()),
        }
    }

    fn protocols(&self) -> Vec<String> {
        let mut list = vec![identify::PROTOCOL, identify::PUSH_PROTOCOL, ping::PROTOCOL, SWARM_PROTOCOL];
        list.extend(VERSIONS.map(Bitswap::protocol));
        let dhts = [Network::Wan, Network::Lan].into_iter().filter(|network| self.serves(*network));
        list.extend(dhts.map(Network::protocol));
        for (version, protocol) in [(Version::V1, v1::PROTOCOL), (Version::V2, v2::DIAL_PROTOCOL)] {
            list.extend(self.dials(version).then_some(protocol));
        }
        if !self.listen().is_empty() {
            list.push(v2::BACK_PROTOCOL);
        }
        if self.perf {
            list.push(perf::PROTOCOL);
        }
        list.into_iter().map(str::to_owned).collect()
    }

    /// What the router is to know us by: nobody else can make it, and we can again.
    pub(crate) fn mapping_secret(&self) -> [u8; 64] {
        self.keypair.sign(b"peerage port mapping")
    }

    /// A signed record with the addresses of exactly this scope; none without such addresses.
    pub(crate) fn record_for(&self, scope: Scope) -> Option<Bytes> {
        let addrs: Vec<_> =
            self.addrs().into_iter().filter(|addr| addr.scope() == scope).take(ADDRS_MAX).collect();
        (!addrs.is_empty()).then(|| PeerRecord::seal(&self.keypair, seq(), &addrs).into())
    }
}

/// Tells a connected peer what we are now.
pub(crate) async fn push(net: Arc<Net>, control: Control, addr: Multiaddr) {
    let limit = net.limits.answer_timeout;
    let pushed = async {
        let mut stream = control.open(identify::PUSH_PROTOCOL).await.ok()?;
        identify::send(&mut stream, &net.local.identify(&addr)).await.ok()?;
        stream.finish();
        Some(())
    };
    if timeout(limit, pushed).await.ok().flatten().is_none() {
        tracing::debug!(peer = %control.peer(), "does not take what we say of ourselves");
    }
}

/// Later records beat earlier ones: nanoseconds of unix time, as go-libp2p.
fn seq() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
