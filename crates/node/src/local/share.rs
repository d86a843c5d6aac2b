//! `share`, `up` and `shares`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use peerage_content::{Cid, name};
use peerage_identity::{Multiaddr, PeerId};
use peerage_peer::{Added, Heard, Link, Peer, Preserve, Remark};
use peerage_store::{RootEntry, RootKind};

use super::announce::{Announced, Announcer};
use super::failure::Fails as _;
use super::reach::{Following, News, Standing};
use super::{files, open};
use crate::api::{self, Event, Failure, Kind, NoticeKind, SharedRoot};
use crate::backend::{Cancel, Sink};

/// How often the figures of those who fetch are told.
const TICK: Duration = Duration::from_millis(500);

/// Remarks that are told one by one; the rest is a number.
const REMARKS_TOLD: usize = 10;

pub(super) async fn share(
    peer: &Peer,
    request: api::Share,
    heard: &mut Heard,
    out: &Sink,
    cancel: &Cancel,
) -> Result<(), Failure> {
    if request.announce && peer.dht_status().await.is_empty() {
        let message = "--announce tells the DHTs, and this peer is in none (--dht off)";
        return Err(Failure::usage(message));
    }
    let paths: Vec<_> = request.paths.into_iter().map(|path| path.0).collect();
    let options = peerage_peer::AddOptions {
        hidden: true,
        preserve: if request.preserve { Preserve::ALL } else { Preserve::default() },
        announce: request.announce,
        wrap: !request.separate && paths.len() > 1,
        ..peerage_peer::AddOptions::default()
    };
    let adding = peer.share(paths, options, request.keep, files::importing(out));
    let mut share = tokio::select! {
        share = adding => share.map_err(|error| error.failure())?,
        // Nothing is shared yet: this is no orderly end of a share.
        () = cancel.cancelled() => return Err(Failure::interrupted()),
    };
    for root in share.roots() {
        remarks(root, request.preserve, out).await;
    }
    let standing = Standing::of(peer).await;
    let roots = share.roots().to_vec();
    let listed = |standing: &Standing| -> Vec<SharedRoot> {
        let hints = standing.hints();
        roots.iter().map(|root| shared(root, &hints, request.announce)).collect()
    };
    let shares = listed(&standing);
    let total = share.roots().iter().map(|root| root.dag_size).sum::<u64>();
    out.send(Event::Ready {
        peer_id: peer.id().to_string(),
        addrs: strings(&standing.addrs()),
        reachability: standing.reachability().to_owned(),
        cid: shares.first().map(|share| share.cid.clone()),
        link: shares.first().map(|share| share.link.clone()),
        shares,
    })
    .await;
    if let Some(advice) = standing.advice() {
        out.send(Event::notice(NoticeKind::Reachability, advice)).await;
    }
    if request.announce {
        let message = match standing.is_announced() {
            true => {
                "it is being announced: then everybody can find and fetch it, by its link or by its CID alone"
            }
            false => {
                "it is being announced on this network only; the public DHT is told as soon as others have \
                 connected to this computer from there"
            }
        };
        out.send(Event::notice(NoticeKind::Announced, message)).await;
    }
    let mut is_announced = standing.is_announced();
    let mut following = Following::new(standing);
    if share.sends_nothing() {
        let message = "there is nothing to send: the link alone is enough".to_owned();
        out.send(Event::notice(NoticeKind::Other, message)).await;
    }
    let cids = share.roots().iter().filter(|_| request.announce).map(|root| root.cid);
    let mut announced = Announced::begin(peer, cids).await?;
    let roots = share.roots().iter().map(|root| root.cid).collect();
    let mut watch = Watch { fetchers: BTreeMap::new(), roots, total };
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            () = cancel.cancelled() => break,
            _ = tick.tick() => {
                watch.look(peer, out).await;
                open::notices(peer, heard, out).await;
                if let Some(news) = following.look(peer).await {
                    let shares = listed(&news.now);
                    let was = std::mem::replace(&mut is_announced, news.now.is_announced());
                    tell(news, shares, out).await;
                    if request.announce && was && !is_announced {
                        let message = "the public DHT is told nothing of it while nobody there can connect";
                        out.send(Event::notice(NoticeKind::Announced, message)).await;
                    }
                }
                announced.look(out).await;
            }
            Some((root, who, progress)) = share.next_progress() => {
                watch.note(root, who, progress.complete);
                watch.look(peer, out).await;
            }
        }
        if request.once && (share.sends_nothing() || watch.someone_has_all()) {
            break;
        }
    }
    open::notices(peer, heard, out).await;
    closed(peer, out).await;
    Ok(())
}

/// Those who fetch. Bytes sent say nothing about what a peer has: some are
/// sent twice, some roots are fetched in part, and others give, too. Who has
/// everything is what [`peerage_peer::Share::next_progress`] says.
struct Watch {
    fetchers: BTreeMap<PeerId, Fetcher>,
    roots: BTreeSet<Cid>,
    /// Bytes of all blocks of all roots.
    total: u64,
}

#[derive(Default)]
struct Fetcher {
    addr: String,
    sent: u64,
    /// The roots of which it has everything.
    complete: BTreeSet<Cid>,
    told: Option<(u64, bool)>,
}

impl Fetcher {
    /// It was told that it has everything, which is told once.
    fn settled(&self) -> bool {
        matches!(self.told, Some((_, true)))
    }
}

impl Watch {
    /// It became known how much of a root a peer has.
    fn note(&mut self, root: Cid, who: PeerId, complete: bool) {
        let fetcher = self.fetchers.entry(who).or_default();
        if complete {
            fetcher.complete.insert(root);
        }
    }

    /// Tells what is new.
    async fn look(&mut self, peer: &Peer, out: &Sink) {
        for info in peer.peers().await {
            let sent = info.stats.map_or(0, |stats| stats.sent_bytes);
            if sent > 0 || self.fetchers.contains_key(&info.peer) {
                let fetcher = self.fetchers.entry(info.peer).or_default();
                fetcher.sent = sent.max(fetcher.sent);
                fetcher.addr = info.addrs.first().map(ToString::to_string).unwrap_or_default();
            }
        }
        // Some are gone by now.
        for (who, fetcher) in self.fetchers.iter_mut().filter(|(_, fetcher)| !fetcher.settled()) {
            fetcher.sent = peer.stats(*who).await.sent_bytes.max(fetcher.sent);
        }
        for (who, fetcher) in &mut self.fetchers {
            let complete = fetcher.complete.is_superset(&self.roots);
            let now = Some((fetcher.sent, complete));
            if fetcher.settled() || fetcher.told == now || fetcher.sent == 0 && !complete {
                continue;
            }
            fetcher.told = now;
            out.send(Event::Served {
                peer: who.to_string(),
                addr: fetcher.addr.clone(),
                bytes: fetcher.sent,
                total: Some(self.total),
                complete,
            })
            .await;
        }
    }

    fn someone_has_all(&self) -> bool {
        self.fetchers.values().any(|fetcher| fetcher.complete.is_superset(&self.roots))
    }
}

pub(super) async fn up(
    peer: &Peer,
    provide: api::Provide,
    heard: &mut Heard,
    out: &Sink,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let served = peer.serve_kept();
    let standing = Standing::of(peer).await;
    out.send(Event::Ready {
        peer_id: peer.id().to_string(),
        addrs: strings(&standing.addrs()),
        reachability: standing.reachability().to_owned(),
        cid: None,
        link: None,
        shares: Vec::new(),
    })
    .await;
    let mut following = Following::new(standing);
    let mut announcer = Announcer::new(peer, provide);
    let mut tick = tokio::time::interval(TICK);
    {
        let announcing = announcer.run(out);
        tokio::pin!(announcing);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                _ = tick.tick() => {
                    open::notices(peer, heard, out).await;
                    if let Some(news) = following.look(peer).await {
                        tell(news, Vec::new(), out).await;
                    }
                }
                () = &mut announcing => break,
            }
        }
    }
    announcer.remember().await;
    drop((announcer, served));
    closed(peer, out).await;
    Ok(())
}

async fn closed(peer: &Peer, out: &Sink) {
    let totals = peer.totals().await;
    out.send(Event::Closed { sent_bytes: totals.sent_bytes, received_bytes: totals.received_bytes }).await;
}

pub(super) async fn list(peer: &Peer, out: &Sink) -> Result<(), Failure> {
    for entry in peer.shares() {
        let root = entry.root;
        let why = match root.kind {
            RootKind::Shared => "shared",
            RootKind::Kept => "fetched",
            RootKind::Pin => "pinned",
        };
        out.send(Event::Share {
            path: root.path.map(|path| path.to_string_lossy().into_owned()),
            cid: root.cid.to_string(),
            size: root.size,
            why: why.to_owned(),
            announced: root.keep && root.announce,
        })
        .await;
    }
    Ok(())
}

pub(super) async fn remove(peer: &Peer, request: api::Unshare, out: &Sink) -> Result<(), Failure> {
    for target in request.targets {
        let link: Option<Link> = target.parse().ok();
        let is_at = |entry: &RootEntry| entry.root.path.as_deref() == Some(Path::new(&target));
        let found = peer.shares().into_iter().filter(|entry| {
            let named = link.as_ref().is_some_and(|link| link.cid.hash() == entry.root.cid.hash());
            entry.root.kind != RootKind::Pin && (named || is_at(entry))
        });
        let found: Vec<_> = found.collect();
        if let Some(link) = link.filter(|_| found.iter().all(|entry| !is_at(entry))) {
            whole(&link)?;
        }
        if found.is_empty() {
            let message =
                format!("{} is not among the kept shares; see `peerage shares`", name::escape(&target));
            return Err(Failure::new(Kind::Failed, message));
        }
        for entry in found {
            peer.forget(entry.id).await.map_err(|error| error.failure())?;
            out.send(Event::Unshared {
                path: entry.root.path.map(|path| path.to_string_lossy().into_owned()),
                cid: entry.root.cid.to_string(),
            })
            .await;
        }
    }
    Ok(())
}

/// Refuses a link to something below a root: only roots are kept and pinned.
pub(super) fn whole(link: &Link) -> Result<(), Failure> {
    if link.path.is_empty() {
        return Ok(());
    }
    let path = name::escape(&link.path.join("/"));
    Err(Failure::usage(format!("{path} is below a root: name the root's CID alone, as it is listed")))
}

/// Tells where this peer is by now, and the links that lead there.
async fn tell(news: News, shares: Vec<SharedRoot>, out: &Sink) {
    let News { now, message, more, event } = news;
    if let Some(mut message) = message {
        for share in shares.iter().filter(|_| more) {
            // The link is in URL characters only; a path is anything.
            message.push_str(&format!("\n\n  peerage get \"{}\"\n", share.link));
        }
        out.send(Event::notice(NoticeKind::Reachability, message)).await;
    }
    if event {
        out.send(Event::Reachable {
            addrs: strings(&now.addrs()),
            reachability: now.reachability().to_owned(),
            link: shares.first().map(|share| share.link.clone()),
            shares,
        })
        .await;
    }
}

fn shared(root: &Added, hints: &[Multiaddr], announced: bool) -> SharedRoot {
    let mut link = Link::new(root.cid);
    if let Some(name) = &root.name {
        link.set_name(name);
    }
    link.find = announced;
    link.providers = hints.to_vec();
    SharedRoot {
        path: root.paths.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(" "),
        cid: root.cid.to_string(),
        link: link.to_string(),
        size: root.size,
        announced,
    }
}

pub(super) fn strings(addrs: &[Multiaddr]) -> Vec<String> {
    addrs.iter().map(ToString::to_string).collect()
}

/// What was left out, and what others may not be able to write.
pub(super) async fn remarks(root: &Added, preserve: bool, out: &Sink) {
    let listed = root.remarks.listed.iter().filter(|(_, remark)| !matches!(remark, Remark::Hidden));
    for (path, remark) in listed.take(REMARKS_TOLD) {
        let message = format!("{}: {remark}", name::escape(&path.to_string_lossy()));
        let kind = match remark {
            Remark::Unwritable(_) | Remark::Backslash => NoticeKind::Other,
            _ => NoticeKind::Skipped,
        };
        out.send(Event::notice(kind, message)).await;
    }
    if root.remarks.more > 0 {
        let message = format!("and {} more entries like these", root.remarks.more);
        out.send(Event::notice(NoticeKind::Skipped, message)).await;
    }
    if root.remarks.hidden > 0 {
        let message = format!("hidden entries left out: {}; see --hidden", root.remarks.hidden);
        out.send(Event::notice(NoticeKind::Skipped, message)).await;
    }
    if root.remarks.ignored > 0 {
        let message = format!("entries that match a pattern left out: {}", root.remarks.ignored);
        out.send(Event::notice(NoticeKind::Skipped, message)).await;
    }
    if root.executables > 0 && !preserve {
        let message =
            format!("executable files: {}; that they are is not kept, see --preserve", root.executables);
        out.send(Event::notice(NoticeKind::Other, message)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use peerage_peer::Config;

    use super::*;
    use crate::api::PathText;
    use crate::backend::Canceller;

    /// A peer to which loopback is the world.
    async fn start(repo: PathBuf) -> Peer {
        let mut config = Config::new(repo);
        config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
        config.engine.reachability.private_addresses = true;
        config.engine.reachability.probe_gap = Duration::ZERO;
        Peer::start(config).await.unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_share_tells_when_others_have_reached_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "something").unwrap();
        let (peer, other) = (start(dir.path().join("a")).await, start(dir.path().join("b")).await);
        let request = api::Share {
            paths: vec![PathText(file)],
            announce: false,
            keep: false,
            once: false,
            separate: false,
            preserve: false,
        };
        let (sink, mut events) = Sink::new();
        let (canceller, cancel) = Canceller::new();
        let sharing = async {
            let result = share(&peer, request, &mut peer.begin_to_hear(), &sink, &cancel).await;
            drop(sink);
            result
        };
        let watching = async {
            let mut first = None;
            let mut notices = Vec::new();
            while let Some(event) = events.recv().await {
                match event {
                    Event::Ready { reachability, link, .. } => {
                        assert_eq!(reachability, "private");
                        first = link;
                        peer.connect(&other.listen_addrs()[0]).await.unwrap();
                    }
                    Event::Reachable { addrs, reachability, link, shares } => {
                        assert_eq!(reachability, "public");
                        assert_eq!(addrs, strings(&peer.listen_addrs()));
                        // It leads to the same place.
                        assert_eq!((&link, shares.len()), (&first, 1));
                        canceller.cancel();
                    }
                    Event::Notice { message, .. } => notices.push(message),
                    _ => {}
                }
            }
            notices
        };
        let (result, notices) = tokio::join!(sharing, watching);
        result.unwrap();
        assert!(notices.iter().any(|said| said.contains("on this computer only")), "{notices:?}");
        assert!(notices.iter().any(|said| said.contains("from everywhere")), "{notices:?}");
    }
}
