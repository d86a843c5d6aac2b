//! `get`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use peerage_content::name;
use peerage_identity::{Multiaddr, PeerId};
use peerage_peer::{Get, GetEvent, GetOptions, JobProgress, Link, Order, Peer, Sources};

use super::failure::Fails;
use crate::api::{self, Event, Failure, Handle, Kind, NoticeKind, Progress, Transfer, Via};
use crate::backend::{Cancel, Sink};
use crate::meter::Meter;

/// A link, and the peers to ask for it.
pub(super) fn sources(source: &api::Source) -> Result<(Link, Sources), Failure> {
    let link: Link = source
        .link
        .parse()
        .map_err(|error: peerage_peer::LinkError| Failure::new(Kind::BadLink, error.to_string()))?;
    let mut hints = link.providers.clone();
    hints.extend(addresses(&source.from)?);
    if source.offline {
        hints.clear();
    }
    let ask_connected = link.find && !source.offline;
    let find = ask_connected;
    let anchor = Some(link.cid);
    Ok((link, Sources { hints, ask_connected, find, anchor, wait: source.wait }))
}

/// What `--from` names.
pub(super) fn addresses(from: &[String]) -> Result<Vec<Multiaddr>, Failure> {
    let parse =
        |text: &String| text.parse().map_err(|error| Failure::usage(format!("--from {text}: {error}")));
    from.iter().map(parse).collect()
}

/// Why nothing came of a link. Where nobody could even be asked, what to do about that.
pub(super) async fn failed(peer: &Peer, source: &api::Source, error: impl Fails) -> Failure {
    let Some(tried) = error.not_found().filter(|tried| tried.is_of_nobody()) else {
        return error.failure();
    };
    let find = source.link.parse().is_ok_and(|link: Link| link.find);
    let message = if source.offline {
        "not all of it is here (what a shared file held before it changed or went is not); leave out --offline, and \
         others are asked"
    } else if !find {
        "not all of it is here, and nobody else may be asked: this share is not announced (find=no), and its link \
         names no peer; take the whole link, or name a peer with --from"
    } else {
        let answered = tried.routers.as_ref().is_some_and(|routers| routers.answered() > 0);
        match peer.dht_status().await.iter().map(|dht| dht.stats.table_peers).reduce(|a, b| a + b) {
            None | Some(0) if answered => {
                "not found: the router names nobody who has it; if you know a peer, name it with --from"
            }
            None => {
                "not all of it is here, and there is nobody to ask: name a peer with --from, or leave out --dht off"
            }
            Some(0) => {
                "not all of it is here, and there is nobody to ask: name a peer with --from, or one of the DHT to \
                 begin with by --bootstrap"
            }
            Some(_) => "not found: the DHT names nobody who has it; if you know a peer, name it with --from",
        }
    };
    let mut message = message.to_owned();
    for failure in tried.routers.iter().flat_map(|routers| &routers.failures) {
        message.push_str(&format!("; {}", name::escape(failure)));
    }
    Failure::new(Kind::NotFound, message)
}

pub(super) async fn get(peer: &Peer, request: api::Get, out: &Sink, cancel: &Cancel) -> Result<(), Failure> {
    let (link, sources) = sources(&request.source)?;
    let root = if link.path.is_empty() {
        link.cid
    } else {
        let mut query = peer.query(link.cid, sources.clone());
        match query.resolve(link.cid, &link.path).await {
            Ok(root) => root,
            Err(error) => return Err(failed(peer, &request.source, error).await),
        }
    };
    let options = GetOptions {
        sources,
        dest: request.dest.0.clone(),
        folder: request.folder.as_ref().map(Handle::handle),
        overwrite: request.overwrite,
        unsafe_symlinks: request.unsafe_symlinks,
        serve: !request.source.offline,
        order: if request.stream { Order::InOrder } else { Order::RarestFirst },
        keep: request.keep,
    };
    let mut get = peer.get(root, options).await.map_err(|error| error.failure())?;
    let astray = follow(peer, &request.source, &mut get, out).await?;
    if let Some(time) = request.seed_for.filter(|_| !astray) {
        seed(time, cancel).await?;
    }
    Ok(())
}

async fn seed(time: Duration, cancel: &Cancel) -> Result<(), Failure> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = cancel.cancelled() => Err(Failure::interrupted()),
    }
}

/// Tells how it goes; true at the end if the path does not lead to what came.
async fn follow(peer: &Peer, source: &api::Source, get: &mut Get, out: &Sink) -> Result<bool, Failure> {
    let (mut named, mut speeds) = (BTreeSet::new(), Speeds::default());
    loop {
        let event = match get.next_event().await {
            Ok(event) => event,
            Err(error) => return Err(failed(peer, source, error).await),
        };
        match event {
            Some(GetEvent::Progress(progress)) => {
                name_liars(&progress, &mut named, out).await;
                if progress.sources == 0 && progress.fetch.bytes == 0 {
                    out.send(searching(&progress)).await;
                    continue;
                }
                let event = speeds.progress(peer, &progress).await;
                out.send(Event::Progress(event)).await;
            }
            Some(GetEvent::Done(done)) => {
                name_liars(&done.progress, &mut named, out).await;
                for path in &done.unsafe_links {
                    let path = name::escape(&path.to_string_lossy());
                    let message = format!(
                        "{path} is a link that leaves the destination and was not made; see --unsafe-symlinks"
                    );
                    out.send(Event::notice(NoticeKind::Skipped, message)).await;
                }
                if done.astray {
                    let path = name::escape(&done.path.to_string_lossy());
                    let message = format!(
                        "all of it is in the folder that was named, but the path {path} does not lead there \
                         (any more), so it is not kept or served: share it from where it is"
                    );
                    out.send(Event::notice(NoticeKind::Changed, message)).await;
                }
                let sources = &done.progress.received;
                out.send(Event::Done {
                    cid: done.cid.to_string(),
                    path: done.path.to_string_lossy().into_owned(),
                    bytes: done.progress.fetch.bytes,
                    seconds: done.took.as_secs_f64(),
                    sources: sources.iter().map(|(peer, bytes)| (peer.to_string(), *bytes)).collect(),
                    duplicate_bytes: done.progress.duplicates,
                })
                .await;
                return Ok(done.astray);
            }
            None => return Ok(false),
        }
    }
}

/// How far the look-ups for sources are.
fn searching(progress: &JobProgress) -> Event {
    let seek = progress.seek.unwrap_or_default();
    Event::Searching {
        asked: u64::from(seek.asked),
        message: "looking for someone who has it".to_owned(),
        found: seek.providers as u64,
        closest_bits: (seek.asked > 0).then_some(seek.closest_bits as u64),
    }
}

/// Says who sends wrong blocks, each once.
async fn name_liars(progress: &JobProgress, named: &mut BTreeSet<PeerId>, out: &Sink) {
    for peer in progress.wrong.keys() {
        if named.insert(*peer) {
            let message = format!("{peer} sent data that was wrong; it was dropped and is asked of others");
            out.send(Event::notice(NoticeKind::Peer, message)).await;
        }
    }
}

/// How fast the content and each source are.
#[derive(Default)]
struct Speeds {
    content: Meter,
    sources: BTreeMap<PeerId, Meter>,
}

impl Speeds {
    /// How far it is, now.
    async fn progress(&mut self, peer: &Peer, progress: &JobProgress) -> Progress {
        let (now, fetch) = (Instant::now(), &progress.fetch);
        self.content.count(fetch.bytes, now);
        let total = (fetch.total > 0).then_some(fetch.total);
        let left = total.and_then(|total| self.content.left(total));
        Progress {
            bytes: fetch.bytes,
            total,
            sources: progress.sources as u64,
            via: self.via(peer, progress, now).await,
            transfer: Some(Transfer {
                rate: self.content.rate(),
                seconds_left: left
                    .map(|left| left.as_millis().div_ceil(1000))
                    .and_then(|left| u64::try_from(left).ok()),
                blocks: progress.blocks,
                duplicate_bytes: progress.duplicates,
            }),
        }
    }

    async fn via(&mut self, peer: &Peer, progress: &JobProgress, now: Instant) -> Vec<Via> {
        if progress.received.is_empty() {
            return Vec::new();
        }
        let peers = peer.peers().await;
        let addr =
            |id: &PeerId| peers.iter().find(|info| info.peer == *id).and_then(|info| info.addrs.first());
        let mut all = Vec::new();
        for (id, bytes) in &progress.received {
            let meter = self.sources.entry(*id).or_default();
            meter.count(*bytes, now);
            if let Some(addr) = addr(id) {
                let (peer, addr) = (id.to_string(), addr.to_string());
                all.push(Via { peer, addr, bytes: *bytes, rate: meter.rate() });
            }
        }
        all
    }
}
