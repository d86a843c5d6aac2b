//! `pin`.

use peerage_content::name;
use peerage_peer::{Link, Peer};

use super::failure::Fails as _;
use super::get::sources;
use super::share::whole;
use crate::api::{self, Event, Failure, Kind, PinKind};
use crate::backend::Sink;

pub(super) async fn add(peer: &Peer, request: api::Pin, out: &Sink) -> Result<(), Failure> {
    for source in &request.sources {
        let (link, sources) = sources(source)?;
        let mut query = peer.query(link.cid, sources.clone());
        let at = query.resolve(link.cid, &link.path).await.map_err(|error| error.failure())?;
        drop(query);
        let called = request.name.clone().unwrap_or_default();
        peer.pin(at, &called, true, sources).await.map_err(|error| error.failure())?;
        out.send(Event::Pinned { cid: at.to_string(), name: called }).await;
    }
    Ok(())
}

pub(super) async fn remove(peer: &Peer, request: api::Unpin, out: &Sink) -> Result<(), Failure> {
    for text in &request.cids {
        let link: Link = text
            .parse()
            .map_err(|error: peerage_peer::LinkError| Failure::new(Kind::BadLink, error.to_string()))?;
        whole(&link)?;
        if !peer.unpin(&link.cid).await.map_err(|error| error.failure())? {
            let message = format!("{} is not pinned; see `peerage pin ls`", name::escape(text));
            return Err(Failure::new(Kind::Failed, message));
        }
        out.send(Event::Unpinned { cid: link.cid.to_string() }).await;
    }
    Ok(())
}

pub(super) async fn list(peer: &Peer, out: &Sink) -> Result<(), Failure> {
    for pin in peer.pins() {
        let kind = match pin.kind {
            peerage_store::PinKind::Recursive => PinKind::Recursive,
            peerage_store::PinKind::Direct => PinKind::Direct,
        };
        out.send(Event::Pin { cid: pin.cid.to_string(), kind, name: pin.name }).await;
    }
    Ok(())
}
