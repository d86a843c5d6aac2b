//! What the journal records: trees, files, pins, roots and unfinished downloads.
//! Format 1, which had no roots of files, is read as well.

use std::path::{Path, PathBuf};

use peerage_content::Cid;

use crate::codec::{Reader, put_bytes, put_varint};
use crate::config::{MAX_JOURNAL_RECORD, MAX_NOTE_BYTES, MAX_PATH_BYTES};
use crate::stat::{Stat, path_bytes, path_from};

/// Highest id that is believed: they are counted up from 1, and one a nanosecond
/// would take 146 years to get here.
const ID_MAX: u64 = 1 << 62;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);
    };
}
id!(
    /// A folder, or a single file, of the user's that blocks refer to.
    TreeId
);
id!(
    /// A file of a tree. Never given twice in a repository.
    FileId
);
id!(
    /// A root that may be served.
    RootId
);
id!(
    /// A download that has not ended.
    DownloadId
);

/// A file as it was when its blocks were known to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// What the system said of it.
    pub stat: Stat,
    /// The root of its DAG. Only if any change since the first of its bytes
    /// was read shows in the stat: see [`Store::is_settled`](crate::Store::is_settled).
    pub root: Option<Cid>,
}

/// What nobody has a root for.
impl From<Stat> for Seen {
    fn from(stat: Stat) -> Self {
        Self { stat, root: None }
    }
}

/// How much a pin keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PinKind {
    /// The block and all below it.
    Recursive = 1,
    /// The one block.
    Direct = 2,
}

/// What the user asked to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// As the user's command printed it.
    pub cid: Cid,
    /// How much it keeps.
    pub kind: PinKind,
    /// Free text, at most 4,096 bytes.
    pub name: String,
}

/// Why a root is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RootKind {
    /// `share`: while it runs, or with `--keep` for `up`.
    Shared = 1,
    /// What `get` fetched.
    Kept = 2,
    /// A pin's.
    Pin = 3,
}

/// A DAG that may be served, apart from the set of its blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Its CID.
    pub cid: Cid,
    /// Why it is served.
    pub kind: RootKind,
    /// Where it is on the user's disk, absolute.
    pub path: Option<PathBuf>,
    /// The default name that its link carries, at most 4,096 bytes.
    pub name: String,
    /// Whether it may be put on the DHT.
    pub announce: bool,
    /// Whether it outlives the command that added it.
    pub keep: bool,
    /// Content bytes.
    pub size: u64,
    /// The tree that its references lead to.
    pub tree: Option<TreeId>,
    /// Unix time of its addition, seconds.
    pub added: u64,
}

/// A download that has not ended, as a hint for resuming: what is staged is hashed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// The root.
    pub cid: Cid,
    /// What it will be called, absolute.
    pub dest: PathBuf,
    /// Where it is written, absolute.
    pub staging: PathBuf,
    /// The tree of what is staged.
    pub tree: Option<TreeId>,
    /// Whatever else the caller needs, at most 4,096 bytes.
    pub note: Vec<u8>,
}

/// One record of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    /// Ids below this may have been given.
    IdsReserved(u64),
    TreeAdded(TreeId, PathBuf),
    TreeRemoved(TreeId),
    FileAdded(FileId, TreeId, PathBuf, Option<Seen>),
    FileSeen(FileId, Seen),
    FileRemoved(FileId),
    PinAdded(Pin),
    PinRemoved(Cid, PinKind),
    RootAdded(RootId, Root),
    RootRemoved(RootId),
    DownloadStarted(DownloadId, Download),
    DownloadEnded(DownloadId),
    /// A location that holds the wrong bytes: pack, offset, key.
    LocationDropped(u32, u32, u64),
}

fn put_path(out: &mut Vec<u8>, path: &Path) {
    put_bytes(out, path_bytes(path));
}

fn put_cid(out: &mut Vec<u8>, cid: &Cid) {
    put_bytes(out, &cid.to_bytes());
}

/// The last of a record: a root goes to its end, so that it needs no length.
fn put_seen(out: &mut Vec<u8>, Seen { stat, root }: &Seen) {
    // Times as they are: varints of nanoseconds would be longer.
    put_varint(out, stat.device);
    put_varint(out, stat.inode);
    put_varint(out, stat.size);
    out.extend_from_slice(&stat.mtime.to_le_bytes());
    out.extend_from_slice(&stat.ctime.to_le_bytes());
    if let Some(root) = root {
        out.extend_from_slice(&root.to_bytes());
    }
}

impl Fact {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut start = |tag: u8, id: u64| {
            out.push(tag);
            put_varint(&mut out, id);
        };
        match self {
            Self::IdsReserved(next) => start(1, *next),
            Self::TreeAdded(id, base) => {
                start(2, id.0);
                put_path(&mut out, base);
            }
            Self::TreeRemoved(id) => start(3, id.0),
            Self::FileAdded(id, tree, path, seen) => {
                start(4, id.0);
                put_varint(&mut out, tree.0);
                put_path(&mut out, path);
                if let Some(seen) = seen {
                    put_seen(&mut out, seen);
                }
            }
            Self::FileSeen(id, seen) => {
                start(5, id.0);
                put_seen(&mut out, seen);
            }
            Self::FileRemoved(id) => start(6, id.0),
            Self::PinAdded(pin) => {
                start(7, pin.kind as u64);
                put_cid(&mut out, &pin.cid);
                put_bytes(&mut out, pin.name.as_bytes());
            }
            Self::PinRemoved(cid, kind) => {
                start(8, *kind as u64);
                put_cid(&mut out, cid);
            }
            Self::RootAdded(id, root) => {
                start(9, id.0);
                put_root(&mut out, root);
            }
            Self::RootRemoved(id) => start(10, id.0),
            Self::DownloadStarted(id, download) => {
                start(11, id.0);
                put_cid(&mut out, &download.cid);
                put_path(&mut out, &download.dest);
                put_path(&mut out, &download.staging);
                put_varint(&mut out, download.tree.map_or(0, |tree| tree.0 + 1));
                put_bytes(&mut out, &download.note);
            }
            Self::DownloadEnded(id) => start(12, id.0),
            Self::LocationDropped(pack, offset, key) => {
                start(13, u64::from(*pack));
                put_varint(&mut out, u64::from(*offset));
                out.extend_from_slice(&key.to_le_bytes());
            }
        }
        out
    }

    /// The fact of these bytes; `None` for one that is damaged or unknown.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let tag = reader.u8()?;
        let id = reader.varint()?;
        // Of those that are given: after a higher one there would be none to give.
        if matches!(tag, 1 | 2 | 4 | 9 | 11) && id > ID_MAX {
            return None;
        }
        let r = &mut reader;
        let fact = match tag {
            1 => Self::IdsReserved(id),
            2 => Self::TreeAdded(TreeId(id), path(r)?),
            3 => Self::TreeRemoved(TreeId(id)),
            4 => {
                let (tree, path) = (TreeId(r.varint()?), path(r)?);
                let seen = if r.0.is_empty() { None } else { Some(seen(r)?) };
                Self::FileAdded(FileId(id), tree, path, seen)
            }
            5 => Self::FileSeen(FileId(id), seen(r)?),
            6 => Self::FileRemoved(FileId(id)),
            7 => Self::PinAdded(Pin { kind: pin_kind(id)?, cid: cid(r)?, name: text(r)? }),
            8 => Self::PinRemoved(cid(r)?, pin_kind(id)?),
            9 => Self::RootAdded(RootId(id), root(r)?),
            10 => Self::RootRemoved(RootId(id)),
            11 => Self::DownloadStarted(
                DownloadId(id),
                Download {
                    cid: cid(r)?,
                    dest: path(r)?,
                    staging: path(r)?,
                    tree: r.varint()?.checked_sub(1).map(TreeId),
                    note: r.bytes(MAX_NOTE_BYTES)?.to_vec(),
                },
            ),
            12 => Self::DownloadEnded(DownloadId(id)),
            13 => Self::LocationDropped(u32::try_from(id).ok()?, u32::try_from(r.varint()?).ok()?, r.u64()?),
            _ => return None,
        };
        reader.end()?;
        Some(fact)
    }
}

fn put_root(out: &mut Vec<u8>, root: &Root) {
    put_cid(out, &root.cid);
    out.push(root.kind as u8);
    out.push(u8::from(root.announce) | u8::from(root.keep) << 1 | u8::from(root.path.is_some()) << 2);
    put_path(out, root.path.as_deref().unwrap_or(Path::new("")));
    put_bytes(out, root.name.as_bytes());
    put_varint(out, root.size);
    put_varint(out, root.tree.map_or(0, |tree| tree.0 + 1));
    put_varint(out, root.added);
}

fn root(r: &mut Reader<'_>) -> Option<Root> {
    let cid = cid(r)?;
    let kind = match r.u8()? {
        1 => RootKind::Shared,
        2 => RootKind::Kept,
        3 => RootKind::Pin,
        _ => return None,
    };
    let flags = r.u8()?;
    let path = path(r)?;
    Some(Root {
        cid,
        kind,
        path: (flags & 4 != 0).then_some(path),
        name: text(r)?,
        announce: flags & 1 != 0,
        keep: flags & 2 != 0,
        size: r.varint()?,
        tree: r.varint()?.checked_sub(1).map(TreeId),
        added: r.varint()?,
    })
}

fn pin_kind(value: u64) -> Option<PinKind> {
    match value {
        1 => Some(PinKind::Recursive),
        2 => Some(PinKind::Direct),
        _ => None,
    }
}

fn path(r: &mut Reader<'_>) -> Option<PathBuf> {
    Some(path_from(r.bytes(MAX_PATH_BYTES)?.to_vec()))
}

fn text(r: &mut Reader<'_>) -> Option<String> {
    String::from_utf8(r.bytes(MAX_PATH_BYTES)?.to_vec()).ok()
}

fn cid(r: &mut Reader<'_>) -> Option<Cid> {
    Cid::try_from(r.bytes(MAX_JOURNAL_RECORD)?).ok()
}

fn seen(r: &mut Reader<'_>) -> Option<Seen> {
    let stat = Stat {
        device: r.varint()?,
        inode: r.varint()?,
        size: r.varint()?,
        mtime: i64::from_le_bytes(r.array()?),
        ctime: i64::from_le_bytes(r.array()?),
    };
    let rest = r.take(r.0.len())?;
    let root = if rest.is_empty() { None } else { Some(Cid::try_from(rest).ok()?) };
    Some(Seen { stat, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat() -> Stat {
        Stat { device: 2050, inode: 9_000_000, size: 4096, mtime: 1 << 60, ctime: -5 }
    }

    #[test]
    fn a_file_of_one_raw_leaf_costs_its_multihash() {
        let digest = peerage_content::Multihash::wrap(0x12, &[7; 32]).unwrap();
        let fact = |root| Fact::FileSeen(FileId(70_000), Seen { stat: stat(), root });
        let [without, with] = [None, Some(Cid::new_v1(0x55, digest))].map(fact);
        assert_eq!(with.encode().len(), without.encode().len() + 2 + 34, "version, codec, multihash");
        for fact in [without, with] {
            assert_eq!(Fact::decode(&fact.encode()), Some(fact));
        }
    }

    #[test]
    fn an_id_that_none_could_follow_is_damage() {
        let tree = |id| Fact::TreeAdded(TreeId(id), PathBuf::from("/a"));
        for fact in [Fact::IdsReserved(u64::MAX), tree(u64::MAX), tree(ID_MAX + 1)] {
            assert_eq!(Fact::decode(&fact.encode()), None, "{fact:?}");
        }
        // The removal of nothing, which a rewritten journal may begin with.
        for fact in [Fact::FileRemoved(FileId(u64::MAX)), tree(ID_MAX), Fact::IdsReserved(ID_MAX)] {
            assert_eq!(Fact::decode(&fact.encode()), Some(fact));
        }
    }

    #[test]
    fn records_of_format_1_are_read() {
        let stat = stat();
        let mut bytes = vec![4, 9, 3, 1, b'a'];
        for number in [stat.device, stat.inode, stat.size] {
            put_varint(&mut bytes, number);
        }
        bytes.extend_from_slice(&[stat.mtime.to_le_bytes(), stat.ctime.to_le_bytes()].concat());
        let seen = Some(Seen { stat, root: None });
        let fact = Fact::FileAdded(FileId(9), TreeId(3), PathBuf::from("a"), seen);
        assert_eq!(Fact::decode(&bytes), Some(fact));
        bytes.push(1);
        assert_eq!(Fact::decode(&bytes), None, "a root that is cut");
    }
}
