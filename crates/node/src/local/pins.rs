//! `pin`.

use peerage_content::name;
use peerage_peer::{Link, Peer, PinOptions};

use super::failure::Fails as _;
use super::get::{failed, sources};
use super::share::whole;
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
        let called = request.name.clone().unwrap_or_default();
        let options = PinOptions { name: &called, rename: request.name.is_some(), recursive: true, announce: link.find };
        if let Err(error) = peer.pin(at, options, sources).await {
            return Err(failed(peer, source, error).await);
        }
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
