//! `ls`, `stat` and `cat`: looking inside without fetching the rest.

use peerage_content::{Cid, Node, codec, ipld, name, node};
use peerage_peer::{Peer, Query};

use super::failure::Fails as _;
use super::get::{failed, sources};
use crate::api::{self, Data, Entry, EntryKind, Event, Failure, Kind, Stat};
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

/// The block that a path leads to.
enum Root {
    /// A file, folder or symlink.
    UnixFs(Node),
    /// A node of another kind, and the links in it by their paths.
    Node(Vec<(String, Cid)>),
}

/// The block that the path leads to, and its length in bytes.
async fn root(peer: &Peer, source: &api::Source, query: &mut Query, at: Cid) -> Result<(Root, u64), Failure> {
    let block = match query.block(at).await {
        Ok(block) => block,
        Err(error) => return Err(failed(peer, source, error).await),
    };
    let len = block.len() as u64;
    match node::decode(&at, &block) {
        Ok(Node::Opaque { codec }) if !has_links(codec) => Ok((Root::Node(Vec::new()), len)),
        Ok(Node::Opaque { .. }) => links(&at, &block).map(|links| (Root::Node(links), len)),
        Ok(node) => Ok((Root::UnixFs(node), len)),
        // dag-pb that is no UnixFS has links all the same.
        Err(error) => match links(&at, &block) {
            Ok(links) => Ok((Root::Node(links), len)),
            Err(_) => Err(Failure::new(Kind::Content, format!("{at}: {error}"))),
        },
    }
}

/// Whether links can be read in blocks of this codec.
const fn has_links(codec: u64) -> bool {
    matches!(codec, codec::DAG_PB | codec::DAG_CBOR | codec::DAG_JSON)
}

fn links(at: &Cid, block: &[u8]) -> Result<Vec<(String, Cid)>, Failure> {
    let links = ipld::named_links(at.codec(), block);
    links.map_err(|error| Failure::new(Kind::Content, format!("{at}: {error}")))
}

pub(super) async fn ls(peer: &Peer, target: api::StatTarget, out: &Sink) -> Result<(), Failure> {
    let (mut query, at, _) = look(peer, &target.source).await?;
    let found: Vec<(String, Cid, Option<u64>)> = match root(peer, &target.source, &mut query, at).await?.0 {
        Root::Node(links) => links.into_iter().map(|(path, cid)| (path, cid, None)).collect(),
        Root::UnixFs(Node::Directory { .. } | Node::Shard { .. }) => {
            let list = query.list(at).await.map_err(|error| error.failure())?;
            list.into_iter().map(|entry| (entry.name, entry.cid, Some(entry.tsize))).collect()
        }
        Root::UnixFs(node) => {
            out.send(Event::Entry(entry(None, at, Some(&node), None))).await;
            return Ok(());
        }
    };
    let mut opened = 0;
    for (name, cid, tsize) in found {
        let mut node = None;
        if cid.codec() == codec::DAG_PB && opened < OPENED_MAX {
            opened += 1;
            // One that cannot be had, or read, is listed all the same.
            node = query.node(cid).await.ok().map(|(node, _)| node);
        }
        out.send(Event::Entry(entry(Some(name), cid, node.as_ref(), tsize))).await;
    }
    Ok(())
}

fn entry(name: Option<String>, cid: Cid, node: Option<&Node>, tsize: Option<u64>) -> Entry {
    // A raw block is a file, and its size is that of its only block.
    let raw = cid.codec() == codec::RAW;
    let kind = match node {
        Some(node) => kind_of(node),
        None if raw => EntryKind::File,
        None if cid.codec() != codec::DAG_PB => EntryKind::Node,
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
        Node::Opaque { .. } => EntryKind::Node,
    }
}

pub(super) async fn stat(peer: &Peer, target: api::StatTarget, out: &Sink) -> Result<(), Failure> {
    let (mut query, at, _) = look(peer, &target.source).await?;
    let (root, own) = root(peer, &target.source, &mut query, at).await?;
    let node = match root {
        Root::UnixFs(node) => node,
        Root::Node(links) => {
            out.send(Event::Stat(Stat {
                cid: at.to_string(),
                kind: EntryKind::Node,
                size: Some(own),
                codec: codec_name(at.codec()),
                links: Some(links.len() as u64),
                ..Stat::default()
            }))
            .await;
            return Ok(());
        }
    };
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
    out.send(Event::Stat(Stat {
        cid: at.to_string(),
        kind: kind_of(&node),
        codec: codec_name(at.codec()),
        size: node.file_size().or(target.as_ref().map(|target| target.len() as u64)),
        dag_size,
        entries,
        links: None,
        mode: metadata.mode,
        mtime: metadata.mtime.map(|time| time.seconds),
        target,
    }))
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
    let (root, _) = root(peer, &request.source, &mut query, at).await?;
    if !matches!(&root, Root::UnixFs(node) if kind_of(node) == EntryKind::File) {
        let called = name::escape(&called.unwrap_or_else(|| at.to_string()));
        let what = if matches!(root, Root::Node(_)) {
            format!("is a {} node, not a file; `peerage get` gets its block", codec_name(at.codec()))
        } else {
            "is not a file; see `peerage ls`".to_owned()
        };
        return Err(Failure::new(Kind::Content, format!("{called} {what}")));
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
