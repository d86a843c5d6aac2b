//! Servers of the DHTs, remembered across restarts, so that no bootstrap peer
//! is needed.
//!
//! In the store's cache, which may be lost at any time, rather than in the
//! journal: without them a peer begins as it did the first time. Left out: how
//! far the announcing was, which belongs to whoever remembers what was announced.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use peerage_dht::{Network, PeerInfo};
use peerage_identity::{Multiaddr, PeerId};
use peerage_store::{Store, WriteError};
use tokio::sync::oneshot;

use crate::brain::Input;
use crate::net::Net;

/// How often they are noted. Tables change slowly; a judgement.
const EVERY: Duration = Duration::from_secs(600);

/// The same for the first time, for who is killed soon.
const FIRST: Duration = Duration::from_secs(60);

/// Servers that are kept of each DHT: as many as it begins with
/// (`peerage_dht::Config::bootstrap_max`). With at most 1 KiB each, 128 KiB in all.
const SERVERS: usize = 64;

/// After so long it is as likely that somebody else has the address. A judgement.
const AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Room for addresses of one server, in bytes: a value of the store's tables.
const VALUE_MAX: usize = 1024;

/// Addresses of the servers that were noted of these DHTs, each with `/p2p`,
/// the latest first. Blocks.
pub(crate) fn read(store: &Store, networks: &[Network]) -> Vec<Multiaddr> {
    let mut servers = Vec::new();
    for network in networks {
        let mut known = servers_of(store, *network);
        known.sort_by_key(|(_, server)| Reverse(server.seen));
        servers.extend(known.into_iter().flat_map(|(peer, server)| {
            server.addrs.into_iter().map(move |addr| addr.without_peer().with_peer(peer))
        }));
    }
    servers
}

/// Notes what the DHTs have now, beside what was noted before. Blocks.
fn write(store: &Store, servers: &BTreeMap<Network, Vec<PeerInfo>>) {
    for (network, current) in servers.iter().filter(|(_, current)| !current.is_empty()) {
        if let Err(error) = note(store, *network, current, unix_now()) {
            tracing::warn!(%error, "cannot remember servers of the DHT");
        }
    }
    store.flush_tables();
}

/// Asks the brain and notes what it says. Nothing that was noted is lost if it
/// says nothing.
pub(crate) async fn note_now(net: &Net, store: &Store) {
    let (reply, servers) = oneshot::channel();
    net.tell(Input::Servers { reply });
    let Ok(servers) = servers.await else { return };
    let store = store.clone();
    net.pool.run(move || write(&store, &servers)).await;
}

/// The same, again and again, until it is aborted.
pub(crate) async fn keep_noting(net: Arc<Net>, store: Store) {
    let mut pause = FIRST;
    loop {
        tokio::time::sleep(pause).await;
        note_now(&net, &store).await;
        pause = EVERY;
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// When it was last in a table, in seconds of unix time.
    seen: u64,
    pub(crate) addrs: Vec<Multiaddr>,
}

fn table(network: Network) -> &'static str {
    match network {
        Network::Wan => "servers-wan",
        Network::Lan => "servers-lan",
    }
}

fn servers_of(store: &Store, network: Network) -> Vec<(PeerId, Server)> {
    let oldest = unix_now().saturating_sub(AGE_MAX.as_secs());
    let all = store.table_iter(table(network), 2 * SERVERS);
    let parsed = all.into_iter().filter_map(|(key, value)| {
        Some((PeerId::from_bytes(&key).ok()?, decode(&value).filter(|server| server.seen >= oldest)?))
    });
    parsed.collect()
}

/// Puts those in that are in the table, and takes the oldest out.
fn note(store: &Store, network: Network, current: &[PeerInfo], now: u64) -> Result<(), WriteError> {
    let mut known: BTreeMap<PeerId, Server> = servers_of(store, network).into_iter().collect();
    let stored: Vec<Vec<u8>> =
        store.table_iter(table(network), 2 * SERVERS).into_iter().map(|(key, _)| key).collect();
    for info in current {
        if !info.addrs.is_empty() {
            known.insert(info.peer, Server { seen: now, addrs: info.addrs.clone() });
        }
    }
    let mut order: Vec<(PeerId, Server)> = known.into_iter().collect();
    // Among equals any, so that nobody can choose an id that stays.
    let any = RandomState::new();
    order.sort_by_key(|(peer, server)| (Reverse(server.seen), any.hash_one(peer)));
    order.truncate(SERVERS);
    for key in stored {
        if !order.iter().any(|(peer, _)| peer.as_bytes() == &key[..]) {
            store.table_remove(table(network), &key);
        }
    }
    for (peer, server) in order.iter().filter(|(_, server)| server.seen == now) {
        store.table_put(table(network), peer.as_bytes(), &encode(server))?;
    }
    Ok(())
}

/// Eight bytes of time, then each address with its length in front, as many as fit.
pub(crate) fn encode(server: &Server) -> Vec<u8> {
    let mut out = server.seen.to_le_bytes().to_vec();
    for addr in &server.addrs {
        let bytes = addr.without_peer().to_bytes();
        let Ok(len) = u16::try_from(bytes.len()) else { continue };
        if out.len() + 2 + bytes.len() > VALUE_MAX {
            break;
        }
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&bytes);
    }
    out
}

pub(crate) fn decode(value: &[u8]) -> Option<Server> {
    let (seen, mut rest) = value.split_first_chunk::<8>()?;
    let mut addrs = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<2>() {
        let (addr, after) = after.split_at_checked(u16::from_le_bytes(*len).into())?;
        addrs.push(Multiaddr::from_bytes(addr).ok()?);
        rest = after;
    }
    (rest.is_empty() && !addrs.is_empty()).then(|| Server { seen: u64::from_le_bytes(*seen), addrs })
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(number: u8) -> PeerInfo {
        let peer = peerage_identity::Keypair::from_seed([number; 32]).peer_id();
        PeerInfo { peer, addrs: vec![format!("/ip4/8.8.8.{number}/tcp/4001").parse().unwrap()] }
    }

    fn all(store: &Store) -> Vec<Multiaddr> {
        read(store, &[Network::Wan, Network::Lan])
    }

    #[test]
    fn the_latest_servers_come_back_and_the_oldest_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), peerage_store::Config::default()).unwrap();
        let now = unix_now();
        let old: Vec<PeerInfo> = (0..64).map(info).collect();
        note(&store, Network::Wan, &old, now - 10).unwrap();
        assert_eq!(all(&store).len(), SERVERS);
        assert!(read(&store, &[Network::Lan]).is_empty());
        // Some are still there, and some are new.
        let new: Vec<PeerInfo> = (60..80).map(info).collect();
        note(&store, Network::Wan, &new, now).unwrap();
        let kept = all(&store);
        assert_eq!(kept.len(), SERVERS);
        let newest: Vec<PeerId> = kept[..20].iter().filter_map(Multiaddr::peer_id).collect();
        assert!(new.iter().all(|info| newest.contains(&info.peer)), "{kept:?}");
        // Nothing new takes nothing away; what is too old is gone.
        write(&store, &BTreeMap::from([(Network::Wan, Vec::new())]));
        assert_eq!(all(&store), kept);
        let outdated: Vec<PeerInfo> = (100..104).map(info).collect();
        note(&store, Network::Lan, &outdated, now - AGE_MAX.as_secs() - 1).unwrap();
        assert_eq!(all(&store), kept);
    }

    #[test]
    fn a_value_holds_what_fits_and_nothing_else_is_read() {
        let addr: Multiaddr = format!("/dns4/{}/tcp/4001", "a".repeat(200)).parse().unwrap();
        let server = Server { seen: 7, addrs: vec![addr; 10] };
        let bytes = encode(&server);
        assert!(bytes.len() <= VALUE_MAX);
        let back = decode(&bytes).unwrap();
        assert!((1..10).contains(&back.addrs.len()) && back.seen == 7);
        for end in 0..bytes.len() {
            if let Some(part) = decode(&bytes[..end]) {
                assert!(part.addrs.len() < back.addrs.len(), "cut at {end}");
            }
        }
    }
}
