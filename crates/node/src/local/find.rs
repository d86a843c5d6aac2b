//! `find`, `find-peer` and `provide`: look-ups in the DHTs and of the routers.

use std::collections::BTreeMap;
use std::time::Duration;

use peerage_content::{Cid, name};
use peerage_identity::{Multiaddr, PeerId};
use peerage_peer::{
    End, Find, FindEvent, FindProgress, FoundPeer, Link, LookupError, Network, Peer, RouterReport, Source,
};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::share::{strings, whole};
use crate::api::{self, Event, Failure, Finished, Kind, Located, LookupReport, NoticeKind, Place, Provided};
use crate::backend::Sink;

/// How long a look-up runs before its progress is told: most are over by then.
const PROGRESS_AFTER: Duration = Duration::from_secs(1);

/// How often it is told then.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// Most addresses of a found peer that are remembered, to tell no news twice.
const ADDRS_TOLD: usize = 64;

/// A look-up, and what it came to so far.
pub(super) struct LookUp<'a> {
    find: Find,
    out: &'a Sink,
    /// What is looked for, in words.
    goal: &'static str,
    began: Instant,
    tick: Interval,
    progress: BTreeMap<Place, FindProgress>,
    routers: Option<LookupReport>,
    /// Peers that were told, and how many addresses of them.
    found: BTreeMap<PeerId, usize>,
}

/// What the user is to hear of.
enum News {
    Found(Place, Vec<FoundPeer>),
    Finished(BTreeMap<Place, LookupReport>),
}

impl<'a> LookUp<'a> {
    pub(super) fn new(find: Find, out: &'a Sink, goal: &'static str) -> Self {
        let began = Instant::now();
        let mut tick = tokio::time::interval_at(began + PROGRESS_AFTER, PROGRESS_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (progress, found) = (BTreeMap::new(), BTreeMap::new());
        Self { find, out, goal, began, tick, progress, routers: None, found }
    }

    /// The next news; progress is told in between.
    async fn next(&mut self) -> Result<News, Failure> {
        loop {
            tokio::select! {
                event = self.find.next() => match event {
                    Some(FindEvent::Progress(network, progress)) => {
                        self.progress.insert(place_of(network), progress);
                    }
                    Some(FindEvent::Routers(report)) => {
                        self.routers = Some(routers(&report, self.began.elapsed()));
                    }
                    Some(FindEvent::Found(source, peers)) => return Ok(News::Found(place(source), peers)),
                    Some(FindEvent::Finished(reports)) => {
                        let line = |(network, report)| (place_of(network), reported(report));
                        return Ok(News::Finished(reports.into_iter().map(line).collect()));
                    }
                    None => return Err(Failure::new(Kind::Failed, "the peer is stopping")),
                },
                _ = self.tick.tick() => self.tell_progress().await,
            }
        }
    }

    /// Runs to the end, for what the peer learns by it. Progress is told.
    pub(super) async fn finish(mut self) -> Result<Finished, Failure> {
        loop {
            if let News::Finished(reports) = self.next().await? {
                return Ok(self.finished(Some(reports)));
            }
        }
    }

    async fn tell_progress(&self) {
        let sum = |of: fn(&FindProgress) -> u64| self.progress.values().map(of).sum();
        let closest =
            self.progress.values().filter(|one| one.answered > 0).map(|one| one.closest_bits as u64);
        self.out
            .send(Event::Searching {
                asked: sum(|one| u64::from(one.asked)),
                message: self.goal.to_owned(),
                found: self.found.len() as u64,
                closest_bits: closest.min(),
            })
            .await;
    }

    /// Those of `peers` that are new, or whose first address is.
    fn new_ones(&mut self, source: Place, peers: Vec<FoundPeer>) -> Vec<Located> {
        let mut new = Vec::new();
        for info in peers {
            let addrs = info.addrs.len().min(ADDRS_TOLD);
            let told = self.found.insert(info.peer, addrs);
            if told.is_none() || told == Some(0) && addrs > 0 {
                new.push(Located { peer_id: info.peer.to_string(), addrs: complete(&info), source });
            }
        }
        new
    }

    /// The figures of the end. Without reports it was ended early.
    fn finished(&self, reports: Option<BTreeMap<Place, LookupReport>>) -> Finished {
        let seconds = self.began.elapsed().as_secs_f64();
        let early = || {
            let line = |(place, progress): (&Place, &FindProgress)| {
                let report = LookupReport { end: "limit".to_owned(), seconds, ..figures(progress) };
                (*place, report)
            };
            self.progress.iter().map(line).collect()
        };
        let mut networks: BTreeMap<_, _> = reports.unwrap_or_else(early);
        networks.extend(self.routers.clone().map(|report| (Place::Router, report)));
        Finished { found: self.found.len() as u64, seconds, networks }
    }
}

/// The place of a DHT.
pub(super) const fn place_of(network: Network) -> Place {
    match network {
        Network::Wan => Place::Wan,
        Network::Lan => Place::Lan,
    }
}

/// Who told.
const fn place(source: Source) -> Place {
    match source {
        Source::Dht(network) => place_of(network),
        Source::Router => Place::Router,
        Source::Known => Place::Local,
    }
}

fn figures(progress: &FindProgress) -> LookupReport {
    LookupReport {
        asked: u64::from(progress.asked),
        answered: u64::from(progress.answered),
        failed: u64::from(progress.failed),
        closest_bits: progress.closest_bits as u64,
        ..LookupReport::default()
    }
}

fn reported(report: Result<peerage_peer::Report, LookupError>) -> LookupReport {
    match report {
        Ok(report) => LookupReport {
            end: match report.end {
                End::Complete => "complete",
                End::Unanswered => "unanswered",
                End::Quorum => "quorum",
                End::OutOfTime => "out_of_time",
                End::NoPeers => "no_peers",
            }
            .to_owned(),
            hops: u64::from(report.hops),
            seconds: report.took.as_secs_f64(),
            ..figures(&report.progress)
        },
        Err(error) => LookupReport {
            end: "refused".to_owned(),
            problem: Some(error.to_string()),
            ..LookupReport::default()
        },
    }
}

/// All routers as one.
fn routers(report: &RouterReport, took: Duration) -> LookupReport {
    let failed = report.failures.len() as u64;
    LookupReport {
        end: if report.answered() > 0 { "complete" } else { "refused" }.to_owned(),
        asked: report.asked as u64,
        answered: report.answered() as u64,
        failed,
        seconds: took.as_secs_f64(),
        problem: (failed > 0).then(|| report.failures.join("; ")),
        ..LookupReport::default()
    }
}

/// Addresses with the id of their peer, as they are dialled.
fn complete(info: &FoundPeer) -> Vec<String> {
    let with_id = |addr: &Multiaddr| {
        if addr.peer_id() == Some(info.peer) { addr.clone() } else { addr.clone().with_peer(info.peer) }
    };
    info.addrs.iter().map(|addr| with_id(addr).to_string()).collect()
}

/// Why somebody could not be asked, if that is so.
fn nobody(finished: &Finished) -> String {
    let routers = finished.networks.get(&Place::Router);
    let mut text = String::new();
    if let Some(problem) = routers.and_then(|report| report.problem.as_deref()) {
        text.push_str(&format!("; {}", name::escape(problem)));
    }
    if finished.networks.keys().all(|place| *place == Place::Router) {
        text.push_str("; the DHT is off (--dht off)");
    } else if finished.asked() == 0 && routers.is_none_or(|report| report.answered == 0) {
        text.push_str("; there was nobody to ask: name a peer to begin with by --bootstrap");
    }
    text
}

fn asked(finished: &Finished) -> String {
    let routers = finished.networks.get(&Place::Router).map_or(0, |report| report.answered);
    match finished.asked() {
        0 if routers > 0 => " (a router was asked)".to_owned(),
        0 => String::new(),
        1 => " (1 peer asked)".to_owned(),
        count => format!(" ({count} peers asked)"),
    }
}

fn root(text: &str) -> Result<Cid, Failure> {
    let link: Link = text
        .parse()
        .map_err(|error: peerage_peer::LinkError| Failure::new(Kind::BadLink, error.to_string()))?;
    whole(&link)?;
    Ok(link.cid)
}

pub(super) async fn find(peer: &Peer, request: api::Find, out: &Sink) -> Result<(), Failure> {
    let cid = root(&request.cid)?;
    let limit = request.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut look_up = LookUp::new(peer.find_providers(cid), out, "looking for who has it");
    let reports = loop {
        match look_up.next().await? {
            News::Found(source, peers) => {
                for provider in look_up.new_ones(source, peers).into_iter() {
                    out.send(Event::Provider(provider)).await;
                }
                if look_up.found.len() >= limit {
                    break None;
                }
            }
            News::Finished(reports) => break Some(reports),
        }
    };
    let finished = look_up.finished(reports);
    out.send(Event::Finished(finished.clone())).await;
    if finished.found > 0 {
        return Ok(());
    }
    let (who, here) = match is_held(peer, cid).await? {
        true => ("nobody else", "; this repository has it"),
        false => ("nobody", ""),
    };
    let message = format!("{who} was found who has {cid}{}{here}{}", asked(&finished), nobody(&finished));
    Err(Failure::new(Kind::NotFound, message))
}

/// Ends with the first addresses: whoever knows them knows them from the peer.
pub(super) async fn find_peer(peer: &Peer, text: &str, out: &Sink) -> Result<(), Failure> {
    let id: PeerId =
        text.parse().map_err(|_| Failure::usage(format!("`{}` is no peer id", name::escape(text))))?;
    if id == peer.id() {
        let (peer_id, addrs) = (id.to_string(), strings(&peer.listen_addrs()));
        out.send(Event::Located(Located { peer_id, addrs, source: Place::Local })).await;
        return Ok(());
    }
    let mut look_up = LookUp::new(peer.find_peer(id), out, "looking for the peer");
    let mut located = false;
    let reports = loop {
        match look_up.next().await? {
            News::Found(source, mut peers) => {
                peers.retain(|info| info.peer == id && !info.addrs.is_empty());
                for peer in look_up.new_ones(source, peers) {
                    located = true;
                    out.send(Event::Located(peer)).await;
                }
                if located {
                    break None;
                }
            }
            News::Finished(reports) => break Some(reports),
        }
    };
    let finished = look_up.finished(reports);
    out.send(Event::Finished(finished.clone())).await;
    if located {
        return Ok(());
    }
    let message = format!("no address of {id} was found{}{}", asked(&finished), nobody(&finished));
    Err(Failure::new(Kind::NotFound, message))
}

pub(super) async fn provide(peer: &Peer, text: &str, out: &Sink) -> Result<(), Failure> {
    let cid = root(text)?;
    if peerage_content::hash::inline(&cid).is_some() {
        return Err(Failure::usage(format!("{cid} holds its own bytes: nobody needs to find it")));
    }
    if !is_held(peer, cid).await? {
        let message = format!("{cid} is not here: fetch it, or add or share its file, first");
        return Err(Failure::new(Kind::Failed, message));
    }
    let mut look_up = LookUp::new(peer.provide(cid), out, "looking for who is to remember it");
    let mut stored = BTreeMap::new();
    let reports = loop {
        tokio::select! {
            // The reports say at how many it is stored, which the summary does not.
            event = look_up.find.next() => match event {
                Some(FindEvent::Progress(network, progress)) => {
                    look_up.progress.insert(place_of(network), progress);
                }
                Some(FindEvent::Found(..) | FindEvent::Routers(_)) => {}
                Some(FindEvent::Finished(reports)) => break reports,
                None => return Err(Failure::new(Kind::Failed, "the peer is stopping")),
            },
            _ = look_up.tick.tick() => look_up.tell_progress().await,
        }
    };
    for (network, report) in &reports {
        let (count, problem) = match report {
            Ok(report) if report.stored > 0 => (u64::from(report.stored), None),
            Ok(report) if report.end == End::NoPeers => (0, Some("nobody to tell".to_owned())),
            Ok(_) => (0, Some("nobody took it".to_owned())),
            Err(error) => (0, Some(error.to_string())),
        };
        let network = place_of(*network);
        stored.insert(network, (count, report.clone().err()));
        out.send(Event::Provided(Provided { cid: cid.to_string(), network, stored: count, problem })).await;
    }
    let reports = reports.into_iter().map(|(network, report)| (place_of(network), reported(report)));
    let finished = look_up.finished(Some(reports.collect()));
    out.send(Event::Finished(finished.clone())).await;
    if stored.values().any(|(count, _)| *count > 0) {
        if !on_disk(peer, move |peer| peer.serves(&cid)).await? {
            let message = "others can fetch it only while `peerage share` serves it, or `peerage up` does, \
                           as it does what is pinned or kept";
            out.send(Event::notice(NoticeKind::Reachability, message)).await;
        }
        return Ok(());
    }
    let without = stored.values().all(|(_, error)| *error == Some(LookupError::NoAddrs));
    let message = if without && !stored.is_empty() {
        "there is no address of this peer that others could be told: see --listen".to_owned()
    } else {
        format!("no server of a DHT was told{}", nobody(&finished))
    };
    Err(Failure::new(Kind::Network, message))
}

/// Whether a block is in the repository.
async fn is_held(peer: &Peer, cid: Cid) -> Result<bool, Failure> {
    let len = on_disk(peer, move |peer| peer.store().len_of(cid.hash())).await?;
    Ok(len.map_err(|error| Failure::new(Kind::Io, error.to_string()))?.is_some())
}

/// Asks the repository something that it reads the disk for.
async fn on_disk<T: Send + 'static>(
    peer: &Peer,
    question: impl FnOnce(&Peer) -> T + Send + 'static,
) -> Result<T, Failure> {
    let peer = peer.clone();
    let answer = tokio::task::spawn_blocking(move || question(&peer)).await;
    answer.map_err(|_| Failure::new(Kind::Failed, "the repository was not read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_their_peer_once() {
        let id: PeerId = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA".parse().unwrap();
        let bare = "/ip4/192.0.2.1/tcp/1";
        let whole = format!("{bare}/p2p/{id}");
        let addrs = vec![bare.parse().unwrap(), whole.parse().unwrap()];
        assert_eq!(complete(&FoundPeer { peer: id, addrs }), [whole.clone(), whole]);
    }

    #[test]
    fn why_nobody_was_asked() {
        let mut finished = Finished { found: 0, seconds: 0.0, networks: BTreeMap::new() };
        assert!(nobody(&finished).contains("--dht"));
        finished.networks.insert(Place::Wan, reported(Err(LookupError::NoAddrs)));
        assert!(nobody(&finished).contains("--bootstrap") && asked(&finished).is_empty());
        finished.networks.insert(Place::Lan, LookupReport { asked: 2, ..LookupReport::default() });
        assert_eq!((nobody(&finished).as_str(), asked(&finished).as_str()), ("", " (2 peers asked)"));
    }

    #[test]
    fn what_routers_came_to() {
        let failures = vec!["http://a: \u{1b}broke off".to_owned()];
        let mut finished = Finished { found: 0, seconds: 0.0, networks: BTreeMap::new() };
        let none = routers(&RouterReport { asked: 1, failures: failures.clone() }, Duration::ZERO);
        finished.networks.insert(Place::Router, none);
        let text = nobody(&finished);
        assert!(text.contains(r"http://a: \u{1b}broke off") && text.contains("--dht off"), "{text}");
        // A router is no peer.
        assert_eq!((finished.asked(), asked(&finished).as_str()), (0, ""));
        finished.networks.insert(Place::Lan, reported(Err(LookupError::NoAddrs)));
        assert!(nobody(&finished).contains("--bootstrap"));
        let one = routers(&RouterReport { asked: 2, failures }, Duration::ZERO);
        assert_eq!((one.end.as_str(), one.answered, one.failed), ("complete", 1, 1));
        finished.networks.insert(Place::Router, one);
        assert!(!nobody(&finished).contains("--bootstrap") && asked(&finished).contains("router"));
    }
}
