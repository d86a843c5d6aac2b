//! `pin`.

use std::collections::BTreeSet;
use std::time::Duration;

use peerage_content::{Cid, name};
use peerage_peer::{Link, Peer, PinOptions, Sources};

use super::failure::Fails as _;
use super::get::{failed, sources};
use crate::api::{self, Event, Failure, Kind, NoticeKind, PinKind};
use crate::backend::Sink;

pub(super) async fn add(peer: &Peer, request: api::Pin, out: &Sink) -> Result<(), Failure> {
    for source in &request.sources {
        let (link, sources) = sources(source)?;
        let mut query = peer.query(link.cid, sources.clone());
        let at = match query.resolve(link.cid, &link.path).await {
            Ok(at) => at,
            Err(error) => return Err(failed(peer, source, error).await),
        };
        drop(query);
        // A link names its root, not what is below it.
        let of_link = link.name.clone().filter(|_| link.path.is_empty());
        let rename = request.name.is_some();
        let called = request.name.clone().or(of_link).unwrap_or_default();
        let options = PinOptions { name: &called, rename, recursive: true, announce: link.find };
        let called = match peer.pin(at, options, sources).await {
            Ok(called) => called,
            Err(error) => return Err(failed(peer, source, error).await),
        };
        out.send(Event::Pinned { cid: at.to_string(), name: called }).await;
        if !link.find {
            let message = format!(
                "{at} is served but not announced: its link is for those only who have it (find=no); to have \
                 everybody find it, pin it by its CID alone"
            );
            out.send(Event::notice(NoticeKind::Announced, message)).await;
        }
    }
    Ok(())
}

pub(super) async fn remove(peer: &Peer, request: api::Unpin, out: &Sink) -> Result<(), Failure> {
    for text in &request.cids {
        let cid = pinned(peer, text).await?;
        if !peer.unpin(&cid).await.map_err(|error| error.failure())? {
            return Err(not_pinned(text, &cid));
        }
        out.send(Event::Unpinned { cid: cid.to_string() }).await;
    }
    Ok(())
}

pub(super) async fn list(peer: &Peer, request: api::Pins, out: &Sink) -> Result<(), Failure> {
    let all = peer.pins();
    if all.is_empty() && request.cids.is_empty() {
        out.send(Event::notice(NoticeKind::Other, "nothing is pinned")).await;
    }
    let mut chosen = BTreeSet::new();
    for text in &request.cids {
        let cid = pinned(peer, text).await?;
        if !all.iter().any(|pin| pin.cid.hash() == cid.hash()) {
            return Err(not_pinned(text, &cid));
        }
        chosen.insert(*cid.hash());
    }
    for pin in all {
        if !request.cids.is_empty() && !chosen.contains(pin.cid.hash()) {
            continue;
        }
        let kind = match pin.kind {
            peerage_store::PinKind::Recursive => PinKind::Recursive,
            peerage_store::PinKind::Direct => PinKind::Direct,
        };
        out.send(Event::Pin { cid: pin.cid.to_string(), kind, name: pin.name }).await;
    }
    Ok(())
}

/// The CID that a link to a pin names. A path in it is followed through what is here:
/// of what is pinned all is.
async fn pinned(peer: &Peer, text: &str) -> Result<Cid, Failure> {
    let link: Link = text
        .parse()
        .map_err(|error: peerage_peer::LinkError| Failure::new(Kind::BadLink, error.to_string()))?;
    if link.path.is_empty() {
        return Ok(link.cid);
    }
    let nobody = Sources { wait: Some(Duration::ZERO), ..Sources::default() };
    let found = peer.query(link.cid, nobody).resolve(link.cid, &link.path).await;
    found.map_err(|error| match error.not_found() {
        Some(_) => {
            let text = name::escape(text);
            let message = format!(
                "{text} cannot be followed in what is here; name the CID that `peerage pin ls` prints"
            );
            Failure::new(Kind::Failed, message)
        }
        None => error.failure(),
    })
}

fn not_pinned(text: &str, cid: &Cid) -> Failure {
    let (shown, cid) = (name::escape(text), cid.to_string());
    let resolved = if shown.contains(&cid) { String::new() } else { format!(" ({cid})") };
    Failure::new(Kind::Failed, format!("{shown}{resolved} is not pinned; see `peerage pin ls`"))
}
