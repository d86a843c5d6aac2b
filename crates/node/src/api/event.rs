//! What a command says while it runs. As JSON these are the lines of `--json`
//! (README, the commands): fields may be added, those named there stay.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::CarSummary;
use super::limits::Limits;
use super::network::{DhtPeer, Finished, Located, Place, Provided, Status};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Event {
    /// `share` and `up` can be reached.
    Ready {
        peer_id: String,
        /// Concrete and dialable, with the peer id.
        addrs: Vec<String>,
        /// `public`, `private` or `unknown`.
        reachability: String,
        /// The first root's; `share` only, like the two after it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cid: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        shares: Vec<SharedRoot>,
    },
    /// `share` and `up`: what is known of where they can be reached is news.
    Reachable {
        /// All of them, as in `ready`.
        addrs: Vec<String>,
        /// As in `ready`.
        reachability: String,
        /// The first root's, with the addresses of now; `share` only, like the next.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        link: Option<String>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        shares: Vec<SharedRoot>,
    },
    /// `share` and `add` read files. Not printed as JSON: `ready` comes first there.
    Importing {
        bytes: u64,
        /// Once all that there is was found.
        total: Option<u64>,
        /// Read so far.
        #[serde(default)]
        files: u64,
    },
    /// `get`, `pin add` and `verify` go on; at most two a second.
    Progress(Progress),
    /// A look-up goes on, of `find` and the like, or of a `get` that needs someone who has it.
    Searching {
        /// Peers of the DHTs.
        asked: u64,
        message: String,
        /// Peers found that have it, or that are it.
        #[serde(default)]
        found: u64,
        /// Bits of the distance between what is looked for and the closest
        /// peer that answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        closest_bits: Option<u64>,
    },
    /// `find`: someone who has it.
    Provider(Located),
    /// `find-peer`: where the peer is.
    Located(Located),
    /// `provide`: what became of it in one DHT.
    Provided(Provided),
    /// `find`, `find-peer` and `provide`: the look-up is over.
    Finished(Finished),
    /// `peers --dht`.
    DhtPeer(DhtPeer),
    /// `status`.
    Status(Box<Status>),
    /// `limit`: what holds now.
    Limits(Limits),
    /// `share`: servers of this DHT were told of a root, by now.
    Announced {
        cid: String,
        #[serde(default = "unknown_place")]
        network: Place,
    },
    /// `get`: the data is in place.
    Done {
        cid: String,
        path: String,
        bytes: u64,
        seconds: f64,
        /// Verified block bytes of this run, by peer.
        sources: BTreeMap<String, u64>,
        duplicate_bytes: u64,
    },
    /// `share`: bytes went to a peer, or it has everything.
    Served { peer: String, addr: String, bytes: u64, total: Option<u64>, complete: bool },
    /// `share` and `up` ended.
    Closed { sent_bytes: u64, received_bytes: u64 },
    /// `car export`: the file is whole.
    Exported {
        cid: String,
        /// None on stdout.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        blocks: u64,
        /// Of the file.
        bytes: u64,
    },
    /// `car import`: so much of a file is in the repository.
    Imported {
        path: String,
        /// Good ones.
        blocks: u64,
        /// Of these.
        bytes: u64,
        /// Of these, blocks that were not here before.
        new_blocks: u64,
        bad: u64,
        /// Blocks that nobody here can verify; left out like bad ones.
        #[serde(default)]
        unchecked: u64,
        roots: Vec<String>,
    },
    /// `car inspect` and `car verify`.
    Car(Box<CarSummary>),
    /// `add`: a root is pinned.
    Added { path: String, cid: String, size: u64 },
    /// `ls`: an entry of the folder, or the file itself.
    Entry(Entry),
    /// `stat`.
    Stat(Stat),
    /// `cat`: the next bytes. Printed as they are; in base64 with `--json`.
    Data(Data),
    /// `id`.
    Identity { peer_id: String, public_key: String, addrs: Vec<String>, agent: String },
    /// `ping`: one answer.
    Pong { peer_id: String, addr: String, seq: u32, seconds: f64 },
    /// `ping`: one that did not come.
    PingFailed { seq: u32, message: String },
    /// `connect`.
    Connected { peer_id: String, addr: String, agent: Option<String> },
    /// `peers`: a connection.
    Peer(PeerLine),
    /// `pin ls`.
    Pin {
        cid: String,
        #[serde(rename = "type")]
        kind: PinKind,
        name: String,
    },
    /// `pin add`.
    Pinned { cid: String, name: String },
    /// `pin rm`.
    Unpinned { cid: String },
    /// `shares ls`: a kept root.
    Share { path: Option<String>, cid: String, size: u64, why: String, announced: bool },
    /// `shares rm`.
    Unshared { path: Option<String>, cid: String },
    /// `verify` and those of `car`: one thing that is wrong.
    Bad(BadBlock),
    /// `car`: a block may be right, but nobody here can tell.
    Unchecked(BadBlock),
    /// `verify`: the end.
    Verified {
        /// Places that are right, and the bytes of their blocks.
        blocks: u64,
        bytes: u64,
        /// Places that are wrong.
        bad: u64,
        /// Blocks that roots need and nobody has, each counted for each root.
        #[serde(default)]
        missing: u64,
        /// Roots that lack something.
        #[serde(default)]
        incomplete_roots: u64,
    },
    /// `verify --repair FOLDER` goes on; at most two a second.
    Looking {
        /// Files of the folders that were looked at, or pieces that were compared.
        done: u64,
    },
    /// `verify --repair FOLDER`: a file, or a folder of so many, is read at another
    /// place from now on.
    Moved { from: String, path: String, files: u64 },
    /// `verify --repair FOLDER`: the folders were looked through.
    Looked {
        /// Files that were found again.
        found: u64,
        /// Files that are not where they were, nor in the folders.
        lost: u64,
    },
    /// `verify --repair`: the end.
    Repaired { blocks: u64, bytes: u64, missing: u64 },
    /// `gc` goes on; at most two a second.
    Collecting {
        /// `marking`, and then `sweeping`.
        phase: String,
        /// Roots, and then packs.
        done: u64,
        total: u64,
        dead_bytes: u64,
        freed_bytes: u64,
    },
    /// `gc`: the end.
    Collected {
        dry_run: bool,
        /// Bytes of blocks that nothing needs, about.
        dead_bytes: u64,
        /// Bytes of disk that were given back.
        freed_bytes: u64,
        /// Roots whose blocks had to be found again.
        mended_roots: u64,
    },
    /// Something to know that ends nothing; on stderr.
    Notice { kind: NoticeKind, message: String },
    /// Only to be passed over: sent by an owner that is newer than we are.
    #[serde(other)]
    Unknown,
}

/// Of an owner that is older than we are.
fn unknown_place() -> Place {
    Place::Unknown
}

impl Event {
    /// Whether a newer one replaces it, so that a slow reader may miss it.
    pub(crate) const fn is_progress(&self) -> bool {
        match self {
            Self::Importing { .. }
            | Self::Progress { .. }
            | Self::Searching { .. }
            | Self::Collecting { .. } => true,
            Self::Served { complete, .. } => !*complete,
            _ => false,
        }
    }

    /// Memory that it takes in a queue, in bytes, roughly.
    pub(crate) const fn weight(&self) -> usize {
        match self {
            Self::Data(Data { bytes }) => 256 + bytes.len(),
            _ => 1024,
        }
    }

    pub(crate) fn notice(kind: NoticeKind, message: impl Into<String>) -> Self {
        Self::Notice { kind, message: message.into() }
    }
}

/// One root of a share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedRoot {
    pub(crate) path: String,
    pub(crate) cid: String,
    pub(crate) link: String,
    pub(crate) size: u64,
    /// Whether everybody may find it.
    #[serde(default)]
    pub(crate) announced: bool,
}

/// How far something is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// Content bytes in place.
    pub(crate) bytes: u64,
    /// All content bytes, as far as known.
    pub(crate) total: Option<u64>,
    /// Peers that deliver.
    pub(crate) sources: u64,
    /// The same peers, and how they are reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) via: Vec<Via>,
    /// `get` only, like the rest: what of it is news to those who watch a transfer.
    #[serde(default, flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) transfer: Option<Transfer>,
}

/// How a transfer goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    /// Content bytes a second of late; null before that means anything.
    pub(crate) rate: Option<u64>,
    /// At that rate; null while nobody can say.
    pub(crate) seconds_left: Option<u64>,
    /// Blocks that came and were what was asked for.
    pub(crate) blocks: u64,
    /// Bytes of blocks that came more than once.
    pub(crate) duplicate_bytes: u64,
}

/// A source of a `get`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Via {
    pub(crate) peer: String,
    pub(crate) addr: String,
    pub(crate) bytes: u64,
    /// Block bytes a second of late; none before that means anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<u64>,
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// As stored: not safe to print. `None` is what the link itself leads to, if it has
    /// no name there.
    pub(crate) name: Option<String>,
    pub(crate) cid: String,
    #[serde(rename = "type")]
    pub(crate) kind: EntryKind,
    /// Content bytes, where known without fetching more.
    pub(crate) size: Option<u64>,
    /// A symlink's target, as stored: not safe to print.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
}

/// What `stat` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stat {
    pub(crate) cid: String,
    #[serde(rename = "type")]
    pub(crate) kind: EntryKind,
    /// Of the block, in the words of the multicodec table.
    #[serde(default)]
    pub(crate) codec: String,
    /// Content bytes of a file, or of a symlink's target; of a node its block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<u64>,
    /// Bytes of the blocks from the root down, repetitions counted again, as the DAG says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dag_size: Option<u64>,
    /// Of a folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) entries: Option<u64>,
    /// Of a node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) links: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mtime: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryKind {
    File,
    Directory,
    Symlink,
    /// A node of another codec than files have, such as dag-cbor.
    Node,
    /// Not known without fetching its block.
    #[default]
    Unknown,
}

/// How a pin holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PinKind {
    Recursive,
    Direct,
}

/// A connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PeerLine {
    pub(crate) peer_id: String,
    pub(crate) addr: String,
    /// `inbound` or `outbound`.
    pub(crate) direction: String,
    pub(crate) agent: Option<String>,
    pub(crate) rtt_seconds: Option<f64>,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
    /// What it did to us lately, from -100 to 100.
    #[serde(default)]
    pub(crate) score: i32,
}

/// What `verify` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BadBlock {
    pub(crate) cid: String,
    pub(crate) path: Option<String>,
    pub(crate) problem: String,
    /// Where it begins in that file, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    /// Names or CIDs of roots that need it, at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) needed_by: Vec<String>,
}

/// What a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NoticeKind {
    /// A shared or kept path is no longer what it was.
    Changed,
    /// Entries were left out.
    Skipped,
    /// The link looks cut.
    LinkCut,
    /// Who can reach us.
    Reachability,
    /// What others can find.
    Announced,
    /// Another process owned the repository and ended.
    TookOver,
    /// The index was rebuilt, or the like.
    Store,
    /// A peer did something wrong.
    Peer,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// Bytes of a file; base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Data {
    #[serde(with = "base64")]
    pub(crate) bytes: Vec<u8>,
}

mod base64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&data_encoding::BASE64.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        data_encoding::BASE64.decode(text.as_bytes()).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_contract() {
        let line = |event: &Event| serde_json::to_string(event).unwrap();
        let done = Event::Done {
            cid: "b".into(),
            path: "/p".into(),
            bytes: 1,
            seconds: 0.5,
            sources: [("12D3".to_owned(), 1)].into(),
            duplicate_bytes: 0,
        };
        assert_eq!(
            line(&done),
            r#"{"event":"done","cid":"b","path":"/p","bytes":1,"seconds":0.5,"sources":{"12D3":1},"duplicate_bytes":0}"#
        );
        let ready = Event::Ready {
            peer_id: "12D3".into(),
            addrs: vec!["/ip4/127.0.0.1/tcp/1/p2p/12D3".into()],
            reachability: "unknown".into(),
            cid: None,
            link: None,
            shares: vec![],
        };
        assert_eq!(
            line(&ready),
            r#"{"event":"ready","peer_id":"12D3","addrs":["/ip4/127.0.0.1/tcp/1/p2p/12D3"],"reachability":"unknown"}"#
        );
        let reachable = Event::Reachable {
            addrs: vec!["/ip4/5.6.7.8/tcp/1/p2p/12D3".into()],
            reachability: "public".into(),
            link: Some("ipfs://b".into()),
            shares: vec![],
        };
        assert_eq!(
            line(&reachable),
            r#"{"event":"reachable","addrs":["/ip4/5.6.7.8/tcp/1/p2p/12D3"],"reachability":"public","link":"ipfs://b"}"#
        );
        let mut progress = Progress { bytes: 1, total: Some(2), sources: 3, ..Progress::default() };
        assert_eq!(
            line(&Event::Progress(progress.clone())),
            r#"{"event":"progress","bytes":1,"total":2,"sources":3}"#
        );
        progress.transfer =
            Some(Transfer { rate: Some(4), seconds_left: None, blocks: 5, duplicate_bytes: 6 });
        let text = line(&Event::Progress(progress.clone()));
        assert_eq!(
            text,
            r#"{"event":"progress","bytes":1,"total":2,"sources":3,"rate":4,"seconds_left":null,"blocks":5,"duplicate_bytes":6}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), Event::Progress(progress));
        let added = Event::Added { path: "/p".into(), cid: "b".into(), size: 7 };
        assert_eq!(line(&added), r#"{"event":"added","path":"/p","cid":"b","size":7}"#);
        let closed = Event::Closed { sent_bytes: 1, received_bytes: 2 };
        assert_eq!(line(&closed), r#"{"event":"closed","sent_bytes":1,"received_bytes":2}"#);
        let pin = Event::Pin { cid: "b".into(), kind: PinKind::Recursive, name: String::new() };
        assert_eq!(line(&pin), r#"{"event":"pin","cid":"b","type":"recursive","name":""}"#);
    }

    #[test]
    fn bytes_travel_as_they_are() {
        let data = Event::Data(Data { bytes: (0..=255).collect() });
        let json = serde_json::to_string(&data).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), data);
    }

    #[test]
    fn an_event_of_a_newer_owner_is_passed_over() {
        let event: Event = serde_json::from_str(r#"{"event":"sung","song":1}"#).unwrap();
        assert_eq!(event, Event::Unknown);
    }
}
