//! `ls`, `stat` and `cat`: looking inside without fetching the rest.

use peerage_content::{Cid, Node, codec, name};
use peerage_peer::{Peer, Query};

use super::failure::Fails as _;
use super::get::{failed, sources};
use crate::api::{self, Data, Entry, EntryKind, Event, Failure, Kind};
use crate::backend::Sink;

/// Bytes in one event of `cat`: what the queue of events is sized for.
pub(super) const PIECE: usize = 64 * 1024;

/// Entries of a folder whose root block `ls` fetches, to say what they are;
/// raw blocks say it by their CID. 256: more than a screen, and at most some
/// MiB where every entry is a small file of another program's default profile.
const OPENED_MAX: usize = 256;

/// Opens a session on a link and follows its path.
async fn look(peer: &Peer, source: &api::Source) -> Result<(Query, Cid, Option<String>), Failure> {
    let (link, sources) = sources(source)?;
    let mut query = peer.query(link.cid, sources);
    let at = match query.resolve(link.cid, &link.path).await {
        Ok(at) => at,
        Err(error) => return Err(failed(peer, source, error).await),
    };
    Ok((query, at, link.path.last().cloned().or(link.name)))
}

/// The block that the path leads to, and its length in bytes.
async fn root(peer: &Peer, source: &api::Source, query: &mut Query, at: Cid) -> Result<(Node, u64), Failure> {
    match query.node(at).await {
        Ok((node, data)) => Ok((node, data.len() as u64)),
        Err(error) => Err(failed(peer, source, error).await),
    }
}

pub(super) async fn ls(peer: &Peer, target: api::StatTarget, out: &Sink) -> Result<(), Failure> {
    let (mut query, at, _) = look(peer, &target.source).await?;
    let (node, _) = root(peer, &target.source, &mut query, at).await?;
    if !matches!(node, Node::Directory { .. } | Node::Shard { .. }) {
        out.send(Event::Entry(entry(None, at, Some(&node), None))).await;
        return Ok(());
    }
    let mut opened = 0;
    for found in query.list(at).await.map_err(|error| error.failure())? {
        let mut node = None;
        if found.cid.codec() != codec::RAW && opened < OPENED_MAX {
            opened += 1;
            // One that cannot be had, or read, is listed all the same.
            node = query.node(found.cid).await.ok().map(|(node, _)| node);
        }
        out.send(Event::Entry(entry(Some(found.name), found.cid, node.as_ref(), Some(found.tsize)))).await;
    }
    Ok(())
}

fn entry(name: Option<String>, cid: Cid, node: Option<&Node>, tsize: Option<u64>) -> Entry {
    // A raw block is a file, and its size is that of its only block.
    let raw = cid.codec() == codec::RAW;
    let kind = match node {
        Some(node) => kind_of(node),
        None if raw => EntryKind::File,
        None => EntryKind::Unknown,
    };
    let size = node.and_then(Node::file_size).or(tsize.filter(|_| raw));
    let target = node.and_then(target_of);
    Entry { name, cid: cid.to_string(), kind, size, target }
}

fn kind_of(node: &Node) -> EntryKind {
    match node {
        Node::Leaf { .. } | Node::File { .. } => EntryKind::File,
        Node::Directory { .. } | Node::Shard { .. } => EntryKind::Directory,
        Node::Symlink { .. } => EntryKind::Symlink,
        Node::Opaque { .. } => EntryKind::Unknown,
    }
}

pub(super) async fn stat(peer: &Peer, target: api::StatTarget, out: &Sink) -> Result<(), Failure> {
    let (mut query, at, _) = look(peer, &target.source).await?;
    let (node, own) = root(peer, &target.source, &mut query, at).await?;
    let (mut entries, mut dag_size) = (None, None);
    match kind_of(&node) {
        EntryKind::Directory => {
            let list = query.list(at).await.map_err(|error| error.failure())?;
            entries = Some(list.len() as u64);
            // Of a sharded folder, the shards themselves are not known here.
            dag_size = matches!(node, Node::Directory { .. })
                .then(|| list.iter().map(|entry| entry.tsize).fold(own, u64::saturating_add));
        }
        _ if !matches!(node, Node::File { .. }) => dag_size = Some(own),
        _ => {}
    }
    let target = target_of(&node);
    let metadata = node.metadata();
    out.send(Event::Stat {
        cid: at.to_string(),
        kind: kind_of(&node),
        size: node.file_size().or(target.as_ref().map(|target| target.len() as u64)),
        dag_size,
        entries,
        mode: metadata.mode,
        mtime: metadata.mtime.map(|time| time.seconds),
        target,
    })
    .await;
    Ok(())
}

/// Where a symlink leads. What is no text in it cannot be in JSON either.
fn target_of(node: &Node) -> Option<String> {
    match node {
        Node::Symlink { target, .. } => Some(String::from_utf8_lossy(target).into_owned()),
        _ => None,
    }
}

pub(super) async fn cat(peer: &Peer, request: api::Cat, out: &Sink) -> Result<(), Failure> {
    let (mut query, at, called) = look(peer, &request.source).await?;
    let (node, _) = root(peer, &request.source, &mut query, at).await?;
    if kind_of(&node) != EntryKind::File {
        let called = name::escape(&called.unwrap_or_else(|| at.to_string()));
        return Err(Failure::new(Kind::Content, format!("{called} is not a file; see `peerage ls`")));
    }
    let end = request.length.map_or(u64::MAX, |length| request.offset.saturating_add(length));
    let mut reading = query.read(at, request.offset..end);
    while let Some(bytes) = reading.next().await.map_err(|error| error.failure())? {
        for piece in bytes.chunks(PIECE) {
            out.send(Event::Data(Data { bytes: piece.to_vec() })).await;
        }
    }
    Ok(())
}

/// A codec in the words of the multicodec table, or its number.
pub(super) fn codec_name(code: u64) -> String {
    let name = match code {
        codec::RAW => "raw",
        codec::DAG_PB => "dag-pb",
        codec::DAG_CBOR => "dag-cbor",
        codec::DAG_JSON => "dag-json",
        codec::LIBP2P_KEY => "libp2p-key",
        other => return format!("0x{other:x}"),
    };
    name.to_owned()
}
