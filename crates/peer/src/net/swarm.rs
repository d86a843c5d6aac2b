//! `/peerage/swarm/1.0.0` on the wire: one request and one answer a stream.

use std::sync::Arc;

use bytes::Bytes;
use peerage_content::{Cid, cid_text};
use peerage_engine::{Record, SWARM_PROTOCOL, Share};
use peerage_identity::{PeerId, PeerRecord, Scope};
use peerage_transport::{Control, Stream};
use peerage_wire::frame::{self, Assembler};
use peerage_wire::{Message, swarm};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Net;
use crate::brain::Input;

/// Largest message: 20 records of at most 1 KiB, in bytes.
const MESSAGE_MAX: usize = 32 * 1024;

/// Largest record that is passed on, in bytes.
const RECORD_MAX: usize = 1024;

/// Most records in an answer; the engine gives at most 20.
const RECORDS_MAX: usize = 20;

/// What the brain answers to a request.
pub(crate) struct Answer {
    pub(crate) records: Vec<Bytes>,
    pub(crate) share: Option<Share>,
}

/// A request as it came, checked.
pub(crate) struct Request {
    pub(crate) root: Cid,
    pub(crate) record: Option<Bytes>,
    pub(crate) share: Share,
}

/// Asks a connected peer about a root, and to list us.
pub(crate) async fn ask(net: Arc<Net>, control: Control, scope: Scope, root: Cid, share: Share) {
    let asked = timeout(net.limits.answer_timeout, exchange(&net, &control, scope, root, share)).await;
    // The engine waits for it: a failure is an answer without records.
    let records = asked.ok().flatten().unwrap_or_default();
    net.tell(Input::SwarmAnswered { peer: control.peer(), root, records });
}

async fn exchange(
    net: &Net,
    control: &Control,
    scope: Scope,
    root: Cid,
    share: Share,
) -> Option<Vec<Record>> {
    let mut stream = control.open(SWARM_PROTOCOL).await.ok()?;
    let record = net.local.record_for(scope).unwrap_or_default();
    let request = swarm::Request { root: root.to_bytes().into(), record, progress: Some(progress(share)) };
    stream.write_chunk(frame::encode(&request)).await.ok()?;
    stream.finish();
    parse_response(read_one(&mut stream).await?, scope)
}

/// The records of an answer that may travel in this scope.
pub(crate) fn parse_response(message: Bytes, scope: Scope) -> Option<Vec<Record>> {
    let records = swarm::Response::decode(message).ok()?.records.into_iter().take(RECORDS_MAX);
    Some(records.filter_map(|envelope| checked(envelope, scope)).collect())
}

/// Answers a peer's request.
pub(super) async fn serve(net: Arc<Net>, peer: PeerId, scope: Scope, mut stream: Stream) {
    let limit = net.limits.answer_timeout;
    let Ok(Some(request)) = timeout(limit, read_request(&mut stream, peer, scope)).await else { return };
    let (reply, answer) = oneshot::channel();
    net.tell(Input::SwarmRequested { peer, scope, request, reply });
    let Ok(answer) = answer.await else { return };
    let response = swarm::Response { records: answer.records, progress: answer.share.map(progress) };
    if let Ok(Ok(())) = timeout(limit, stream.write_chunk(frame::encode(&response))).await {
        stream.finish();
    }
}

async fn read_request(stream: &mut Stream, peer: PeerId, scope: Scope) -> Option<Request> {
    parse_request(read_one(stream).await?, peer, scope)
}

/// What `peer` asks over a connection of this scope.
pub(crate) fn parse_request(message: Bytes, peer: PeerId, scope: Scope) -> Option<Request> {
    let request = swarm::Request::decode(message).ok()?;
    let root = cid_text::from_bytes(&request.root).ok()?;
    // A record that does not speak for the sender, or not in this scope, is no record.
    let record = Some(request.record).filter(|record| !record.is_empty());
    let record = record.and_then(|record| checked(record, scope)).filter(|record| record.peer == peer);
    let said = request.progress.unwrap_or_default();
    let share = Share { held: said.held, total: said.total, complete: said.complete };
    Some(Request { root, record: record.map(|record| record.envelope), share })
}

async fn read_one(stream: &mut Stream) -> Option<Bytes> {
    let mut frames = Assembler::new(MESSAGE_MAX);
    loop {
        let mut chunk = stream.read_chunk(MESSAGE_MAX).await.ok()??;
        if let Some(message) = frames.push(&mut chunk).ok()? {
            return Some(message);
        }
    }
}

/// A record whose signature holds, with the addresses that may travel in this scope.
fn checked(envelope: Bytes, scope: Scope) -> Option<Record> {
    if envelope.len() > RECORD_MAX {
        return None;
    }
    let record = PeerRecord::open(&envelope).ok()?;
    let addrs: Vec<_> = record.addrs.into_iter().filter(|addr| addr.scope() == scope).collect();
    let addrs = addrs.into_iter().map(|addr| addr.without_peer()).collect::<Vec<_>>();
    (!addrs.is_empty()).then_some(Record { peer: record.peer_id, addrs, envelope })
}

fn progress(share: Share) -> swarm::Progress {
    swarm::Progress { held: share.held, total: share.total, complete: share.complete }
}
