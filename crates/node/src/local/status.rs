//! `status` and `peers --dht`: how this peer stands.

use std::ops::ControlFlow;

use peerage_identity::PeerId;
use peerage_peer::{DhtStatus, Key, Mode, Peer};
use peerage_store::RootKind;

use super::find::{LookUp, place_of};
use super::reach::Standing;
use super::share::strings;
use crate::api::{
    Announcements, BucketState, Connections, DhtPeer, DhtState, Event, Failure, Kind, Limits, MappingState,
    MdnsState, NoticeKind, Status, StoreState,
};
use crate::backend::Sink;

const AGENT: &str = concat!("peerage/", env!("CARGO_PKG_VERSION"));

pub(super) async fn status(peer: &Peer, limits: Limits, out: &Sink) -> Result<(), Failure> {
    let peers = peer.peers().await;
    let outbound = peers.iter().filter(|info| info.outbound).count() as u64;
    let totals = peer.totals().await;
    let standing = Standing::of(peer).await;
    let status = Status {
        running: true,
        peer_id: peer.id().to_string(),
        agent: AGENT.to_owned(),
        addrs: strings(&standing.addrs()),
        reachability: standing.reachability().to_owned(),
        mapping: peer.mapping_status().map(|mapping| MappingState {
            external: strings(&mapping.external),
            problem: mapping.failure.map(|failure| failure.to_string()),
        }),
        connections: Connections { inbound: peers.len() as u64 - outbound, outbound },
        dht: peer.dht_status().await.iter().map(dht).collect(),
        mdns: peer.mdns_status().map(|mdns| MdnsState {
            links: mdns.links as u64,
            peers: mdns.peers as u64,
            problem: mdns.trouble,
        }),
        announcements: peer.announcements().await.iter().map(announcing).collect(),
        store: store(peer).await?,
        limits: Some(limits),
        sent_bytes: totals.sent_bytes,
        received_bytes: totals.received_bytes,
    };
    out.send(Event::Status(Box::new(status))).await;
    Ok(())
}

/// Of a repository that nobody runs a peer on.
pub(super) async fn idle(peer: &Peer, out: &Sink) -> Result<(), Failure> {
    let status = Status {
        running: false,
        peer_id: peer.id().to_string(),
        agent: AGENT.to_owned(),
        reachability: "unknown".to_owned(),
        store: store(peer).await?,
        ..Status::default()
    };
    out.send(Event::Status(Box::new(status))).await;
    Ok(())
}

fn dht(status: &DhtStatus) -> DhtState {
    let buckets = status.table.iter().map(|bucket| BucketState {
        bucket: bucket.prefix as u64,
        peers: bucket.peers as u64,
        failing: bucket.failing as u64,
        waiting: bucket.waiting as u64,
    });
    DhtState {
        network: place_of(status.network),
        mode: match status.mode {
            Mode::Server => "server",
            Mode::Client => "client",
        }
        .to_owned(),
        peers: status.stats.table_peers as u64,
        buckets: buckets.collect(),
        provider_records: status.stats.provider_records as u64,
        values: status.stats.values as u64,
        value_bytes: status.stats.value_bytes as u64,
        lookups: status.stats.lookups as u64,
        requests: status.stats.requests as u64,
    }
}

fn announcing(state: &peerage_peer::Announcements) -> Announcements {
    let stats = &state.stats;
    Announcements {
        network: place_of(state.network),
        online: state.online,
        keys: stats.keys as u64,
        // Some are both.
        backlog: stats.waiting.max(stats.overdue.unwrap_or_default()) as u64,
        records: stats.records,
        records_failed: stats.records_failed,
        next_due_seconds: state.due_in.map(|due| due.as_secs_f64()),
    }
}

/// Blocks up to which those are counted that nothing needs. 1,000,000: about a second.
const LOOKED_THROUGH: u64 = 1_000_000;

/// Sizes are read from folders.
async fn store(peer: &Peer) -> Result<StoreState, Failure> {
    let store = peer.store().clone();
    let read = tokio::task::spawn_blocking(move || {
        let sizes = store.sizes();
        let shares = store.roots().iter().filter(|entry| entry.root.kind != RootKind::Pin).count();
        StoreState {
            pins: store.pins().len() as u64,
            shares: shares as u64,
            blocks: sizes.blocks as u64,
            references: sizes.references as u64,
            disk_bytes: sizes.pack_bytes + sizes.root_bytes + 2 * sizes.journal_bytes + sizes.index_bytes,
            max_bytes: sizes.max_bytes,
            dead_bytes: None,
        }
    });
    let mut state = read.await.map_err(|_| Failure::new(Kind::Failed, "the repository was not read"))?;
    if state.blocks + state.references <= LOOKED_THROUGH {
        let counted = peer.collect(true, |_| ControlFlow::Continue(())).await;
        state.dead_bytes = counted.ok().map(|counted| counted.dead_bytes);
    }
    Ok(state)
}

pub(super) async fn dht_peers(peer: &Peer, out: &Sink) -> Result<(), Failure> {
    if peer.dht_status().await.is_empty() {
        out.send(Event::notice(NoticeKind::Other, "this peer is in no DHT (--dht off)")).await;
        return Ok(());
    }
    let mut servers = peer.dht_servers().await;
    if servers.values().all(Vec::is_empty) {
        // A peer that has just started knows whom it may ask, and nobody yet.
        let find = peer.find_peer(peer.id());
        LookUp::new(find, out, "looking for peers of the DHTs").finish().await?;
        servers = peer.dht_servers().await;
    }
    let local = Key::of_peer(&peer.id());
    let bucket = |peer: &PeerId| local.common_prefix(&Key::of_peer(peer));
    let mut told = 0;
    for (network, mut infos) in servers {
        infos.sort_by_key(|info| (bucket(&info.peer), info.peer));
        for info in infos {
            told += 1;
            out.send(Event::DhtPeer(DhtPeer {
                network: place_of(network),
                bucket: bucket(&info.peer) as u64,
                peer_id: info.peer.to_string(),
                addrs: strings(&info.addrs),
            }))
            .await;
        }
    }
    if told == 0 {
        let message = "no server of a DHT is known: name a peer to begin with by --bootstrap";
        out.send(Event::notice(NoticeKind::Other, message)).await;
    }
    Ok(())
}
