//! Looking inside a DAG without fetching the rest: single blocks, paths, and
//! files read in order or by range. Folders are listed by `entries.rs`.

use std::ops::Range;

use bytes::Bytes;
use peerage_content::hamt::Misfit;
use peerage_content::node;
use peerage_content::resolve::{Lookup, ResolveError, Step};
use peerage_content::{Cid, DecodeError, FileReader, Node, ReadError, codec, ipld, name};
use peerage_engine::{JobError, JobId, Sources};
use tokio::sync::mpsc;

pub(crate) use crate::ahead::AHEAD;
use crate::ahead::Ahead;
use crate::brain::{Input, JobEvent};
use crate::peer::Peer;

/// Blocks that one path leads through. 8,192: a path in a link has at most 16 KiB,
/// and each component may be a link.
const BLOCKS_ALONG_MAX: usize = 8192;

/// Why a DAG could not be looked into.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The block could not be had.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The peer is stopping.
    #[error("the peer is stopping")]
    Stopped,
    /// A block is no UnixFS.
    #[error("{cid}: {why}")]
    Decode {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        why: DecodeError,
    },
    /// The path does not lead anywhere.
    #[error("{path}: {why}")]
    Path {
        /// As far as it was followed; escaped.
        path: String,
        /// Why not further.
        why: ResolveError,
    },
    /// The path ends at a value inside of a block.
    #[error(
        "{path} is {kind} inside of the node {cid}, not a block of its own: `peerage get {cid}` gets the node"
    )]
    Inside {
        /// The path; escaped.
        path: String,
        /// The block.
        cid: Cid,
        /// What is there.
        kind: ipld::Kind,
    },
    /// The path leads on through what is no folder.
    #[error("{path} is {what}, not a folder")]
    Through {
        /// As far as it was followed; escaped.
        path: String,
        /// What is there; escaped.
        what: String,
    },
    /// The path leads nowhere inside of a block.
    #[error("{}", no_step(path, cid, *why))]
    NoStep {
        /// The path from this block on; escaped, component by component.
        path: Vec<String>,
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        why: ipld::PathError,
    },
    /// The path leads through more blocks than any needs.
    #[error("the path below {0} leads through absurdly many blocks")]
    TooFar(Cid),
    /// The file's blocks contradict each other.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A folder is wanted, and something else is there.
    #[error("{0} is not a folder")]
    NotAFolder(Cid),
    /// Nodes of a folder that do not fit together.
    #[error(transparent)]
    BadShard(#[from] Misfit),
    /// A file is wanted, and something else is there.
    #[error("{0} is not a file")]
    NotAFile(Cid),
}

/// Where a path in a block ends, by what the user wrote.
fn no_step(path: &[String], cid: &Cid, why: ipld::PathError) -> String {
    let before = |component: usize| match path.get(..component) {
        None | Some([]) => format!("the node {cid}"),
        Some(before) => format!("`{}` in the node {cid}", before.join("/")),
    };
    let key = |component: usize| path.get(component).map_or("", String::as_str);
    match why {
        ipld::PathError::NotFound { component } => {
            format!("{} has no `{}`", before(component), key(component))
        }
        ipld::PathError::NotAMap { component, kind } => {
            format!("{} is {kind}, and has no `{}`", before(component), key(component))
        }
        ipld::PathError::Block(error) => format!("the node {cid}: {error}"),
    }
}

/// What is there instead of a folder.
fn no_folder(node: &Node) -> String {
    match node {
        Node::Symlink { target, .. } => format!("a symlink to {}", name::escape_bytes(target)),
        Node::Leaf { .. } | Node::File { .. } => "a file".to_owned(),
        _ => "something else".to_owned(),
    }
}

/// Whether a block is dag-pb that holds no UnixFS.
fn is_bare_dag_pb(cid: &Cid, node: &Result<Node, DecodeError>) -> bool {
    cid.codec() == codec::DAG_PB
        && matches!(node, Err(DecodeError::NoData | DecodeError::UnixFs(_) | DecodeError::MetadataNode))
}

/// A session in which single blocks are asked for. Ends when dropped.
pub struct Query {
    peer: Peer,
    job: JobId,
    events: mpsc::UnboundedReceiver<JobEvent>,
    /// Blocks that were asked for, as bytes: what they mean takes ten times as much.
    ahead: Ahead,
    /// The block that was taken last. Who looked at a root reads on from it, and
    /// some peers do not send a block again for some seconds.
    last: Option<(Cid, Bytes)>,
}

impl Peer {
    /// Opens a session for blocks below `root`, from these sources.
    #[must_use]
    pub fn query(&self, root: Cid, sources: Sources) -> Query {
        let (sender, events) = mpsc::unbounded_channel();
        let job = self.next_job();
        self.tell(Input::OpenQuery { job, root, sources, events: sender });
        Query { peer: self.clone(), job, events, ahead: Ahead::default(), last: None }
    }
}

impl Query {
    /// Asks for a block that will be needed, without waiting for it, if there is room
    /// for it until then.
    pub(crate) fn ask(&mut self, cid: Cid) {
        if !self.is_last(&cid) && self.ahead.may_ask(cid) {
            self.peer.tell(Input::Query { job: self.job, cid });
        }
    }

    /// A block that may have been asked for is not needed after all.
    pub(crate) fn skip(&mut self, cid: &Cid) {
        self.ahead.skip(cid);
    }

    /// A block that was asked for, if it is here already.
    pub(crate) fn early(&mut self, cid: &Cid) -> Option<Bytes> {
        self.ahead.take(cid)
    }

    fn is_last(&self, cid: &Cid) -> bool {
        self.last.as_ref().is_some_and(|(last, _)| last == cid)
    }

    /// A block: from the store, or from the sources.
    ///
    /// # Errors
    /// Nobody has it.
    pub async fn block(&mut self, cid: Cid) -> Result<Bytes, QueryError> {
        if let Some((_, data)) = self.last.as_ref().filter(|_| self.is_last(&cid)) {
            return Ok(data.clone());
        }
        if self.ahead.must_ask(cid) {
            self.peer.tell(Input::Query { job: self.job, cid });
        }
        loop {
            if let Some(data) = self.ahead.take(&cid) {
                self.last = Some((cid, data.clone()));
                return Ok(data);
            }
            match self.events.recv().await {
                Some(JobEvent::Block(came, data)) => self.ahead.came(came, data),
                Some(JobEvent::Failed(error)) => return Err(error.into()),
                Some(JobEvent::Finished(_) | JobEvent::Broken(_)) => {}
                None => return Err(QueryError::Stopped),
            }
        }
    }

    /// What a block is.
    ///
    /// # Errors
    /// Nobody has it, or it is nothing that can be read.
    pub async fn node(&mut self, cid: Cid) -> Result<(Node, Bytes), QueryError> {
        let data = self.block(cid).await?;
        let node = node::decode(&cid, &data).map_err(|why| QueryError::Decode { cid, why })?;
        Ok((node, data))
    }

    /// Follows `path` from `root`: through folders by the names of entries, through
    /// nodes of other codecs by keys, numbers of items, and links.
    ///
    /// # Errors
    /// A component that is not there, or leads through a file; a path that ends
    /// inside of a block.
    pub async fn resolve(&mut self, root: Cid, path: &[String]) -> Result<Cid, QueryError> {
        let (mut at, mut done) = (root, 0);
        for _ in 0..BLOCKS_ALONG_MAX {
            let Some(rest) = path.get(done..).filter(|rest| !rest.is_empty()) else { return Ok(at) };
            let shown = |upto: usize| name::escape(&path[..upto].join("/"));
            let data = self.block(at).await?;
            let node = node::decode(&at, &data);
            let is_other = matches!(node, Ok(Node::Opaque { .. })) || is_bare_dag_pb(&at, &node);
            if is_other {
                match ipld::step(at.codec(), &data, rest) {
                    Ok(ipld::Step::Link { cid, used }) => (at, done) = (cid, done + used),
                    Ok(ipld::Step::Inside(kind)) => {
                        return Err(QueryError::Inside { path: shown(path.len()), cid: at, kind });
                    }
                    Err(why) => {
                        let path = rest.iter().map(|component| name::escape(component)).collect();
                        return Err(QueryError::NoStep { path, cid: at, why });
                    }
                }
                continue;
            }
            let node = node.map_err(|why| QueryError::Decode { cid: at, why })?;
            if !matches!(node, Node::Directory { .. } | Node::Shard { .. }) {
                let path = if done == 0 { at.to_string() } else { shown(done) };
                return Err(QueryError::Through { path, what: no_folder(&node) });
            }
            at = self.entry(node, &rest[0], shown(done + 1)).await?;
            done += 1;
        }
        Err(QueryError::TooFar(root))
    }

    /// The entry of a folder, whose root block is `node`.
    async fn entry(&mut self, mut node: Node, name: &str, shown: String) -> Result<Cid, QueryError> {
        let mut lookup = Lookup::new(name);
        loop {
            match lookup.step(&node).map_err(|why| QueryError::Path { path: shown.clone(), why })? {
                Step::Found(entry) => return Ok(entry.cid),
                Step::Descend(shard) => node = self.node(shard).await?.0,
            }
        }
    }

    /// Reads bytes of a file in order; [`Reading::next`] gives them piece by piece.
    #[must_use]
    pub fn read(&mut self, file: Cid, range: Range<u64>) -> Reading<'_> {
        Reading { query: self, reader: FileReader::new(file, range) }
    }
}

impl Drop for Query {
    fn drop(&mut self) {
        self.peer.tell(Input::Cancel { job: self.job });
    }
}

/// A file that is being read.
pub struct Reading<'a> {
    query: &'a mut Query,
    reader: FileReader,
}

impl Reading<'_> {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// A block cannot be had, or the file is malformed.
    pub async fn next(&mut self) -> Result<Option<Bytes>, QueryError> {
        while let Some(cid) = self.reader.need() {
            for ahead in self.reader.ahead(AHEAD) {
                self.query.ask(ahead);
            }
            let data = self.query.block(cid).await?;
            if let Some(piece) = self.reader.supply(&data)?
                && !piece.range.is_empty()
            {
                return Ok(Some(data.slice(piece.range)));
            }
        }
        Ok(None)
    }

    /// Bytes of the whole file, once its root has come.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.reader.size()
    }
}

#[cfg(test)]
mod tests {
    use peerage_content::unixfs::Metadata;
    use peerage_content::{DirectoryBuilder, Leaf, Profile, Walk, symlink};

    use super::*;
    use crate::config::Config;

    /// Folders in folders, each of which begins with the one below it: a walk is at
    /// the end of them when it has used nothing of what lies beside them.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_walk_to_the_bottom_of_a_deep_dag_holds_little() {
        let dir = tempfile::tempdir().unwrap();
        let peer = Peer::start(Config::new(dir.path().join("repo"))).await.unwrap();
        let (profile, mut root, mut blocks) = (Profile::default(), None, 0);
        for level in 0..60 {
            let mut folder = DirectoryBuilder::new(&profile);
            root.iter().for_each(|below| folder.add("0", *below, 1).unwrap());
            for number in 1..16 {
                let content = format!("{level} {number}");
                let leaf = Leaf::new(&profile, content.as_bytes());
                peer.store().put_block(leaf.cid.hash(), content.as_bytes()).unwrap();
                folder.add(&format!("{number:02}"), leaf.cid, 1).unwrap();
            }
            let folder = folder.finish().unwrap().blocks.pop().unwrap();
            peer.store().put_block(folder.cid.hash(), &folder.data).unwrap();
            root = Some(folder.cid);
            blocks += 16;
        }
        let mut query = peer.query(root.unwrap(), Sources::default());
        let mut walk = Walk::new(root.unwrap());
        while let Some(visit) = walk.next() {
            query.ask(visit.cid);
            walk.ahead(AHEAD).for_each(|cid| query.ask(cid));
            let block = query.block(visit.cid).await.unwrap();
            walk.enter(&visit, &block).unwrap();
            blocks -= 1;
            let (held, _) = query.ahead.held();
            assert!(held < 10 * AHEAD, "{held} blocks are held");
        }
        assert_eq!((blocks, query.ahead.held()), (0, (0, 0)));
    }

    #[test]
    fn a_path_that_ends_says_where_and_at_what() {
        let cid = symlink(&Profile::default(), b"there", Metadata::default()).unwrap().cid;
        let path = ["child", "nope"].map(str::to_owned).to_vec();
        let message = |why| QueryError::NoStep { path: path.clone(), cid, why }.to_string();
        let missing = |component| message(ipld::PathError::NotFound { component });
        assert_eq!(missing(1), format!("`child` in the node {cid} has no `nope`"));
        assert_eq!(missing(0), format!("the node {cid} has no `child`"));
        let inside = message(ipld::PathError::NotAMap { component: 1, kind: ipld::Kind::Integer });
        assert!(inside.starts_with(&format!("`child` in the node {cid} is ")), "{inside}");
        assert!(inside.ends_with(", and has no `nope`"), "{inside}");
    }

    #[test]
    fn what_is_no_folder_is_told_as_what_it_is() {
        let target = bytes::Bytes::from_static(b"a\n\xff");
        let link = Node::Symlink { target, metadata: Metadata::default() };
        assert_eq!(no_folder(&link), "a symlink to a\\n\\xff");
        let leaf = Node::Leaf { data: 0..0, metadata: Metadata::default() };
        assert_eq!(no_folder(&leaf), "a file");
    }
}
