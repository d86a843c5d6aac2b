//! What `up` tells the DHTs of: the pins and announced shares of the
//! repository, as they come and go. What was told, and how far the announcing
//! was, is remembered, so that a restart does not tell all of it again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use peerage_base::UnixTime;
use peerage_content::{Cid, Walk, hash};
use peerage_peer::{Announcing, Cursor, Network, Peer};
use peerage_store::{PinKind, RootEntry, RootKind, Store};
use serde::{Deserialize, Serialize};

use super::find::place_of;
use crate::api::{Event, NoticeKind, Place, Provide};
use crate::backend::Sink;

/// What is remembered of the announcing, in the repository.
const FILE: &str = "announced";

/// Longest such file that is read, in bytes. 64 MiB: a million roots.
const FILE_MAX: u64 = 64 << 20;

/// How often it is written while there is something to write. A judgement: what
/// is lost is told again, which costs little.
const REMEMBER_EVERY: Duration = Duration::from_secs(300);

/// How soon a DAG is looked at again of which a part could not be read.
const RETRY: Duration = Duration::from_secs(600);

/// Announces while it runs.
pub(super) struct Announcer<'a> {
    peer: &'a Peer,
    provide: Provide,
    held: BTreeMap<Cid, Announcing>,
    /// Roots all of whose blocks are held, of those to be announced.
    roots: BTreeSet<Cid>,
    /// Roots that an earlier run told a DHT of.
    known: BTreeMap<Place, BTreeSet<Cid>>,
    told_of_trouble: bool,
}

/// The file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Memory {
    provide: Provide,
    /// Where each DHT's round was: the place, and unix time of its beginning.
    rounds: BTreeMap<Place, (u64, u64)>,
    /// Roots that each DHT was told of, with all that belongs to them.
    roots: BTreeMap<Place, BTreeSet<String>>,
}

impl<'a> Announcer<'a> {
    /// Goes on where an earlier run was.
    pub(super) fn new(peer: &'a Peer, provide: Provide) -> Self {
        let memory = read(&file(peer)).unwrap_or_default();
        for (network, place) in NETWORKS {
            if let Some(&(position, began)) = memory.rounds.get(&place) {
                peer.resume_announcing(network, Cursor { position, began: UnixTime(began) });
            }
        }
        let known = if memory.provide == provide { memory.roots } else { BTreeMap::new() };
        let parsed = |texts: BTreeSet<String>| texts.iter().filter_map(|text| text.parse().ok()).collect();
        let known = known.into_iter().map(|(place, texts)| (place, parsed(texts))).collect();
        let (held, roots) = (BTreeMap::new(), BTreeSet::new());
        Self { peer, provide, held, roots, known, told_of_trouble: false }
    }

    fn is_known(&self, place: Place, root: &Cid) -> bool {
        self.known.get(&place).is_some_and(|roots| roots.contains(root))
    }

    /// Follows the roots of the repository, for ever.
    pub(super) async fn run(&mut self, out: &Sink) {
        let mut changes = self.peer.root_changes();
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + REMEMBER_EVERY, REMEMBER_EVERY);
        loop {
            changes.mark_unchanged();
            let whole = self.follow(out).await;
            let again = tokio::time::sleep(RETRY);
            tokio::pin!(again);
            loop {
                tokio::select! {
                    changed = changes.changed() => match changed {
                        Ok(()) => break,
                        // The peer has stopped.
                        Err(_) => std::future::pending().await,
                    },
                    () = &mut again, if !whole => break,
                    _ = tick.tick() => self.remember().await,
                }
            }
        }
    }

    /// Announces what is to be announced now, and nothing else; false if some
    /// of that could not be listed.
    async fn follow(&mut self, out: &Sink) -> bool {
        let (store, provide) = (self.peer.store().clone(), self.provide);
        let listed = tokio::task::spawn_blocking(move || list(&store, provide)).await;
        let Ok(listed) = listed else { return false };
        let wanted: BTreeSet<Cid> = listed.iter().flat_map(|root| root.blocks.iter().copied()).collect();
        self.held.retain(|cid, _| wanted.contains(cid));
        let mut whole = true;
        self.roots.clear();
        for root in listed {
            whole &= root.whole;
            let known: Vec<Network> = NETWORKS
                .into_iter()
                .filter(|(_, place)| self.is_known(*place, &root.cid))
                .map(|(network, _)| network)
                .collect();
            let mut all = root.whole;
            for cid in root.blocks {
                if self.held.contains_key(&cid) {
                    continue;
                }
                match self.peer.announce(cid, &known).await {
                    Ok(announcing) => drop(self.held.insert(cid, announcing)),
                    Err(error) => {
                        all = false;
                        self.tell_of_trouble(&error.to_string(), out).await;
                    }
                }
            }
            if all {
                self.roots.insert(root.cid);
            }
        }
        whole
    }

    async fn tell_of_trouble(&mut self, error: &str, out: &Sink) {
        if !std::mem::replace(&mut self.told_of_trouble, true) {
            let message = format!("not all is announced: {error}; see --provide");
            out.send(Event::notice(NoticeKind::Announced, message)).await;
        }
    }

    /// Writes down how far it is.
    pub(super) async fn remember(&self) {
        let states = self.peer.announcements().await;
        if states.is_empty() {
            return;
        }
        let roots = states.iter().map(|state| {
            // As long as something waits, it is not known for which root.
            let told = state.online && state.stats.waiting == 0;
            let place = place_of(state.network);
            let kept = self.roots.iter().filter(|root| told || self.is_known(place, root));
            (place, kept.map(ToString::to_string).collect())
        });
        let memory = Memory {
            provide: self.provide,
            rounds: states
                .iter()
                .map(|state| (place_of(state.network), (state.cursor.position, state.cursor.began.0)))
                .collect(),
            roots: roots.collect(),
        };
        if memory.roots.values().all(BTreeSet::is_empty) && !file(self.peer).exists() {
            return;
        }
        let path = file(self.peer);
        let written = tokio::task::spawn_blocking(move || write(&path, &memory)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(%error, "what was announced is not remembered");
        }
    }
}

const NETWORKS: [(Network, Place); 2] = [(Network::Wan, Place::Wan), (Network::Lan, Place::Lan)];

fn file(peer: &Peer) -> PathBuf {
    peer.store().dir().join(FILE)
}

/// A file that cannot be read says nothing.
fn read(path: &std::path::Path) -> Option<Memory> {
    if fs::metadata(path).ok()?.len() > FILE_MAX {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write(path: &std::path::Path, memory: &Memory) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(memory)?)?;
    fs::rename(new, path)
}

/// A root, and what is announced of it.
struct Listed {
    cid: Cid,
    blocks: Vec<Cid>,
    /// Every block of it could be read.
    whole: bool,
}

/// All that is to be announced. Blocks the thread.
fn list(store: &Store, provide: Provide) -> Vec<Listed> {
    let direct: BTreeSet<Cid> =
        store.pins().into_iter().filter(|pin| pin.kind == PinKind::Direct).map(|pin| pin.cid).collect();
    let mut seen = BTreeSet::new();
    let announced = |entry: &RootEntry| entry.root.keep && entry.root.announce && entry.set.is_some();
    let roots = store.roots().into_iter().filter(announced);
    roots
        .map(|RootEntry { root, .. }| {
            let all = match provide {
                Provide::Roots => false,
                Provide::Pinned => root.kind == RootKind::Pin,
                Provide::All => true,
            };
            if all && !direct.contains(&root.cid) {
                let (blocks, whole) = blocks(store, root.cid, &mut seen);
                Listed { cid: root.cid, blocks, whole }
            } else {
                let blocks = if hash::inline(&root.cid).is_none() { vec![root.cid] } else { Vec::new() };
                Listed { cid: root.cid, blocks, whole: true }
            }
        })
        .collect()
}

/// Every block below a root that was not `seen`, and whether all could be read.
fn blocks(store: &Store, root: Cid, seen: &mut BTreeSet<Cid>) -> (Vec<Cid>, bool) {
    let (mut blocks, mut whole) = (Vec::new(), true);
    let mut walk = Walk::new(root);
    while let Some(visit) = walk.next() {
        if hash::inline(&visit.cid).is_some() || !seen.insert(visit.cid) {
            continue;
        }
        blocks.push(visit.cid);
        if visit.leaf {
            continue;
        }
        let entered = match store.read(visit.cid.hash()) {
            Ok(Some(block)) => walk.enter(&visit, &block).is_ok(),
            _ => false,
        };
        whole &= entered;
    }
    (blocks, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(&path), None);
        let memory = Memory {
            provide: Provide::Pinned,
            rounds: [(Place::Wan, (u64::MAX, 1)), (Place::Lan, (2, 3))].into(),
            roots: [(Place::Wan, ["a".to_owned()].into())].into(),
        };
        write(&path, &memory).unwrap();
        assert_eq!(read(&path), Some(memory));
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path), None);
    }
}
