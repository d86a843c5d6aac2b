//! `ls`, `stat` and `cat`: looking inside without fetching the rest.

use bytes::Bytes;
use peerage_content::{Cid, DecodeError, Node, codec, dagpb, ipld, name, node};
use peerage_peer::{Entries, Peer, Query, QueryError};

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

/// The block that the path leads to, and its bytes.
async fn root(
    peer: &Peer,
    source: &api::Source,
    query: &mut Query,
    at: Cid,
) -> Result<(Root, Bytes), Failure> {
    let block = match query.block(at).await {
        Ok(block) => block,
        Err(error) => return Err(failed(peer, source, error).await),
    };
    Ok((read(&at, &block)?, block))
}

fn read(at: &Cid, block: &[u8]) -> Result<Root, Failure> {
    match node::decode(at, block) {
        Ok(Node::Opaque { codec }) if !has_links(codec) => Ok(Root::Node(Vec::new())),
        Ok(Node::Opaque { .. }) => links(at, block).map(Root::Node),
        Ok(node) => Ok(Root::UnixFs(node)),
        // dag-pb that is no UnixFS has links all the same. What is UnixFS and malformed is
        // no folder of links that a path could lead through.
        Err(DecodeError::NoData | DecodeError::UnixFs(_) | DecodeError::MetadataNode) => {
            links(at, block).map(Root::Node)
        }
        Err(error @ DecodeError::Name { .. }) => {
            let message = format!("{at}: {error}: no path leads to it, and `peerage get` would not write it");
            Err(Failure::new(Kind::Content, message))
        }
        Err(error) => Err(Failure::new(Kind::Content, format!("{at}: {error}"))),
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

/// Bytes of the blocks from this one down, repetitions counted again, as its maker says:
/// what Kubo calls the cumulative size.
fn dag_size(at: &Cid, block: &[u8]) -> Option<u64> {
    let own = block.len() as u64;
    match at.codec() {
        codec::RAW => Some(own),
        codec::DAG_PB => {
            let links = dagpb::decode(block).ok()?.links;
            Some(links.iter().filter_map(|link| link.tsize).fold(own, u64::saturating_add))
        }
        _ => None,
    }
}

pub(super) async fn ls(peer: &Peer, target: api::StatTarget, out: &Sink) -> Result<(), Failure> {
    let source = &target.source;
    let (mut query, at, called) = look(peer, source).await?;
    let mut opened = 0;
    match root(peer, source, &mut query, at).await?.0 {
        Root::Node(links) => {
            for (path, cid) in links {
                let node = open(&mut query, cid, &mut opened).await;
                out.send(Event::Entry(entry(Some(path), cid, node.as_ref(), None))).await;
            }
        }
        Root::UnixFs(Node::Directory { .. } | Node::Shard { .. }) => {
            let mut entries = Entries::new(at);
            loop {
                let found = match query.next_entry(&mut entries).await {
                    Ok(Some(found)) => found,
                    Ok(None) => break,
                    Err(error) => return Err(failed(peer, source, error).await),
                };
                let node = open(&mut query, found.cid, &mut opened).await;
                let tsize = Some(found.tsize);
                out.send(Event::Entry(entry(Some(found.name), found.cid, node.as_ref(), tsize))).await;
            }
        }
        Root::UnixFs(node) => out.send(Event::Entry(entry(called, at, Some(&node), None))).await,
    }
    Ok(())
}

/// What an entry is, if that is worth asking for.
async fn open(query: &mut Query, cid: Cid, opened: &mut usize) -> Option<Node> {
    if cid.codec() != codec::DAG_PB || *opened >= OPENED_MAX {
        return None;
    }
    *opened += 1;
    // One that cannot be had, or read, is listed all the same.
    query.node(cid).await.ok().map(|(node, _)| node)
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
    let (root, block) = root(peer, &target.source, &mut query, at).await?;
    let dag_size = dag_size(&at, &block);
    let node = match root {
        Root::UnixFs(node) => node,
        Root::Node(links) => {
            out.send(Event::Stat(Stat {
                cid: at.to_string(),
                kind: EntryKind::Node,
                size: Some(block.len() as u64),
                dag_size,
                codec: codec_name(at.codec()),
                links: Some(links.len() as u64),
                ..Stat::default()
            }))
            .await;
            return Ok(());
        }
    };
    let entries = match kind_of(&node) {
        EntryKind::Directory => match count(&mut query, at).await {
            Ok(entries) => Some(entries),
            Err(error) => return Err(failed(peer, &target.source, error).await),
        },
        _ => None,
    };
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

async fn count(query: &mut Query, folder: Cid) -> Result<u64, QueryError> {
    let (mut entries, mut count) = (Entries::new(folder), 0);
    while query.next_entry(&mut entries).await?.is_some() {
        count += 1;
    }
    Ok(count)
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
        let what = match &root {
            Root::Node(_) => {
                format!("is a {} node, not a file; `peerage get` gets its block", codec_name(at.codec()))
            }
            Root::UnixFs(Node::Symlink { target, .. }) => {
                format!("is a symlink to {}, not a file", name::escape_bytes(target))
            }
            Root::UnixFs(_) => "is a folder, not a file; see `peerage ls`".to_owned(),
        };
        return Err(Failure::new(Kind::Content, format!("{called} {what}")));
    }
    let end = request.length.map_or(u64::MAX, |length| request.offset.saturating_add(length));
    let mut reading = query.read(at, request.offset..end);
    loop {
        let bytes = match reading.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(()),
            Err(error) => return Err(failed(peer, &request.source, error).await),
        };
        for piece in bytes.chunks(PIECE) {
            out.send(Event::Data(Data { bytes: piece.to_vec() })).await;
        }
    }
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

#[cfg(test)]
mod tests {
    use peerage_content::dagpb::{Link, PbNode};
    use peerage_content::{Leaf, Profile};

    use super::*;

    /// A dag-pb node of two links, and its CID.
    fn block(data: &[u8], names: [&str; 2]) -> (Cid, Vec<u8>) {
        let leaf = Leaf::new(&Profile::default(), b"x").cid;
        let links = names.map(|name| Link { cid: leaf, name: Some(name.as_bytes()), tsize: Some(1000) });
        let block = dagpb::encode(&PbNode { links: links.to_vec(), data: Some(data) });
        (Cid::new_v1(codec::DAG_PB, *Leaf::new(&Profile::default(), &block).cid.hash()), block)
    }

    const FOLDER: &[u8] = &[8, 1];

    #[test]
    fn a_folder_with_a_name_that_cannot_be_is_no_list_of_links() {
        let (cid, good) = block(FOLDER, ["a", "b"]);
        assert!(matches!(read(&cid, &good), Ok(Root::UnixFs(Node::Directory { .. }))));
        let (cid, bad) = block(FOLDER, ["a", "b/\u{1b}c"]);
        let Err(failure) = read(&cid, &bad) else { panic!("it was read") };
        assert_eq!(failure.kind, Kind::Content);
        assert!(
            failure.message.contains("\"b/\\u{1b}c\"") && failure.message.contains("no path"),
            "{failure}"
        );
        // What is no UnixFS at all has links with paths of their own.
        let (cid, other) = block(b"", ["a", "b"]);
        let Ok(Root::Node(links)) = read(&cid, &other) else { panic!("no links") };
        assert_eq!(links.len(), 2);
    }

    #[test]
    fn the_size_of_a_dag_is_its_root_and_what_the_links_say() {
        let (cid, folder) = block(FOLDER, ["a", "b"]);
        assert_eq!(dag_size(&cid, &folder), Some(folder.len() as u64 + 2000));
        let leaf = Leaf::new(&Profile::default(), b"x").cid;
        assert_eq!(dag_size(&leaf, b"x"), Some(1));
    }
}
