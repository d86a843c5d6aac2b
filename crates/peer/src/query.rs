//! Looking inside a DAG without fetching the rest: single blocks, paths,
//! listings, and files read in order or by range.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use peerage_content::node::{Bucket, Entry};
use peerage_content::resolve::{Lookup, ResolveError, Step};
use peerage_content::{Cid, DecodeError, FileReader, Node, ReadError};
use peerage_engine::{JobError, JobId, Sources};
use tokio::sync::mpsc;

use crate::brain::{Input, JobEvent};
use crate::peer::Peer;

/// Blocks asked for ahead of the one that is read.
pub(crate) const AHEAD: usize = 16;

/// Shards of one folder that are listed: 1,024 x 256 entries and more.
const SHARDS_MAX: usize = 16_384;

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
    /// The file's blocks contradict each other.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A folder is wanted, and something else is there.
    #[error("{0} is not a folder")]
    NotAFolder(Cid),
    /// A file is wanted, and something else is there.
    #[error("{0} is not a file")]
    NotAFile(Cid),
    /// More shards than any folder needs.
    #[error("{0} is a folder of absurdly many shards")]
    TooWide(Cid),
}

/// A session in which single blocks are asked for. Ends when dropped.
pub struct Query {
    peer: Peer,
    job: JobId,
    events: mpsc::UnboundedReceiver<JobEvent>,
    /// Blocks that came before they were needed.
    early: BTreeMap<Cid, (Bytes, Result<Node, DecodeError>)>,
    asked: BTreeMap<Cid, ()>,
}

impl Peer {
    /// Opens a session for blocks below `root`, from these sources.
    #[must_use]
    pub fn query(&self, root: Cid, sources: Sources) -> Query {
        let (sender, events) = mpsc::unbounded_channel();
        let job = self.next_job();
        self.tell(Input::OpenQuery { job, root, sources, events: sender });
        Query { peer: self.clone(), job, events, early: BTreeMap::new(), asked: BTreeMap::new() }
    }
}

impl Query {
    /// Asks for a block without waiting for it.
    pub(crate) fn ask(&mut self, cid: Cid) {
        if !self.early.contains_key(&cid) && self.asked.insert(cid, ()).is_none() {
            self.peer.tell(Input::Query { job: self.job, cid });
        }
    }

    /// A block: from the store, or from the sources.
    ///
    /// # Errors
    /// Nobody has it.
    pub async fn block(&mut self, cid: Cid) -> Result<Bytes, QueryError> {
        Ok(self.fetched(cid).await?.0)
    }

    /// What a block is.
    ///
    /// # Errors
    /// Nobody has it, or it is nothing that can be read.
    pub async fn node(&mut self, cid: Cid) -> Result<(Node, Bytes), QueryError> {
        let (data, node) = self.fetched(cid).await?;
        Ok((node.map_err(|why| QueryError::Decode { cid, why })?, data))
    }

    async fn fetched(&mut self, cid: Cid) -> Result<(Bytes, Result<Node, DecodeError>), QueryError> {
        self.ask(cid);
        loop {
            if let Some(found) = self.early.remove(&cid) {
                return Ok(found);
            }
            match self.events.recv().await {
                Some(JobEvent::Block(came, data, node)) => {
                    self.asked.remove(&came);
                    self.early.insert(came, (data, (*node).clone()));
                }
                Some(JobEvent::Failed(error)) => return Err(error.into()),
                Some(JobEvent::Finished(_) | JobEvent::Broken(_)) => {}
                None => return Err(QueryError::Stopped),
            }
        }
    }

    /// Follows `path` from `root`.
    ///
    /// # Errors
    /// A component that is not there, or leads through a file.
    pub async fn resolve(&mut self, root: Cid, path: &[String]) -> Result<Cid, QueryError> {
        let mut at = root;
        for (depth, name) in path.iter().enumerate() {
            let lookup = Lookup::new(name);
            let wrong = |why| QueryError::Path {
                path: peerage_content::name::escape(&path[..=depth].join("/")),
                why,
            };
            let mut lookup = lookup;
            loop {
                let (node, _) = self.node(at).await?;
                match lookup.step(&node).map_err(wrong)? {
                    Step::Found(entry) => {
                        at = entry.cid;
                        break;
                    }
                    Step::Descend(shard) => at = shard,
                }
            }
        }
        Ok(at)
    }

    /// All entries of a folder, sorted by name.
    ///
    /// # Errors
    /// Not a folder, or parts of it cannot be had.
    pub async fn list(&mut self, folder: Cid) -> Result<Vec<Entry>, QueryError> {
        let mut entries = Vec::new();
        let mut shards = vec![folder];
        let mut seen = 0;
        while let Some(cid) = shards.pop() {
            seen += 1;
            if seen > SHARDS_MAX {
                return Err(QueryError::TooWide(folder));
            }
            match self.node(cid).await?.0 {
                Node::Directory { entries: found, .. } if cid == folder => entries.extend(found),
                Node::Shard { entries: buckets, .. } => {
                    for bucket in buckets {
                        match bucket.value {
                            Bucket::Value(entry) => entries.push(entry),
                            Bucket::Sub(shard, _) => shards.push(shard),
                        }
                    }
                    shards
                        .iter()
                        .rev()
                        .take(AHEAD)
                        .copied()
                        .collect::<Vec<_>>()
                        .into_iter()
                        .for_each(|cid| self.ask(cid));
                }
                _ => return Err(QueryError::NotAFolder(cid)),
            }
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
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
