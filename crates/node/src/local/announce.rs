//! What `up` tells the DHTs of: the pins and announced shares of the
//! repository, as they come and go. What was told, and how far the announcing
//! was, is remembered, so that a restart does not tell all of it again. And
//! what a `share` announces as long as it runs.
//!
//! Single blocks are handed to the peer; all blocks of a root are listed to it
//! as their turns come (`announce/lister.rs`), however many they are.

mod blocks;
mod lister;
mod unread;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use peerage_base::UnixTime;
use peerage_content::{Cid, hash};
use peerage_peer::{Announcing, Cursor, Network, Peer};
use peerage_store::{PinKind, RootEntry, RootKind, Store};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::find::place_of;
use crate::api::{Event, Failure, Kind, NoticeKind, Place, Provide};
use crate::backend::Sink;

/// What is remembered of the announcing, in the repository.
const FILE: &str = "announced";

/// Longest such file that is read, in bytes. 64 MiB: a million roots.
const FILE_MAX: u64 = 64 << 20;

/// How often it is written while there is something to write. A judgement: what
/// is lost is told again, which costs little.
const REMEMBER_EVERY: Duration = Duration::from_secs(300);

/// Announces while it runs.
pub(super) struct Announcer<'a> {
    peer: &'a Peer,
    provide: Provide,
    held: BTreeMap<Cid, Announcing>,
    whole: Option<Whole>,
    /// Roots of which all is told that is to be.
    roots: BTreeSet<Cid>,
    /// Roots that an earlier run told a DHT of.
    known: BTreeMap<Place, BTreeSet<Cid>>,
    told_of_trouble: bool,
}

/// Roots all of whose blocks are announced.
struct Whole {
    /// For the task that lists them.
    roots: watch::Sender<Vec<RootEntry>>,
    /// For the task that tells of new ones, and what it has told of.
    new: mpsc::UnboundedSender<lister::New>,
    told: mpsc::UnboundedReceiver<lister::Told>,
    /// Those that it was given and has not told of yet.
    telling: BTreeSet<Cid>,
    /// Those of which it could not tell all.
    unread: unread::Unread,
    _tasks: JoinSet<()>,
}

impl Whole {
    fn start(peer: &Peer) -> Self {
        let (roots, listed) = watch::channel(Vec::new());
        let (new, asked) = mpsc::unbounded_channel();
        let (telling, told) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(lister::list(peer.clone(), listed));
        tasks.spawn(lister::tell(peer.clone(), asked, telling));
        let (telling, unread) = (BTreeSet::new(), unread::Unread::default());
        Self { roots, new, told, telling, unread, _tasks: tasks }
    }
}

/// The file.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
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
        let whole = (provide != Provide::Roots).then(|| Whole::start(peer));
        let (held, roots) = (BTreeMap::new(), BTreeSet::new());
        Self { peer, provide, held, whole, roots, known, told_of_trouble: false }
    }

    fn is_known(&self, place: Place, root: &Cid) -> bool {
        self.known.get(&place).is_some_and(|roots| roots.contains(root))
    }

    /// The DHTs that an earlier run told of it.
    fn knowing(&self, root: &Cid) -> Vec<Network> {
        let knowing = NETWORKS.into_iter().filter(|(_, place)| self.is_known(*place, root));
        knowing.map(|(network, _)| network).collect()
    }

    /// Follows the roots of the repository, for ever.
    pub(super) async fn run(&mut self, out: &Sink) {
        let mut changes = self.peer.root_changes();
        let mut tick = tokio::time::interval_at(Instant::now() + REMEMBER_EVERY, REMEMBER_EVERY);
        loop {
            changes.mark_unchanged();
            let looked = Instant::now();
            self.follow(looked, out).await;
            loop {
                let again = self.whole.as_ref().and_then(|whole| whole.unread.next(looked));
                tokio::select! {
                    changed = changes.changed() => match changed {
                        Ok(()) => break,
                        // The peer has stopped.
                        Err(_) => std::future::pending().await,
                    },
                    told = self.told() => self.note(told),
                    () = at(again) => break,
                    _ = tick.tick() => self.remember().await,
                }
            }
        }
    }

    /// The next root of which was told.
    async fn told(&mut self) -> lister::Told {
        if let Some(whole) = &mut self.whole
            && let Some(told) = whole.told.recv().await
        {
            return told;
        }
        std::future::pending().await
    }

    /// What came of telling of a root, unless it is gone by now.
    fn note(&mut self, told: lister::Told) {
        let Some(whole) = &mut self.whole else { return };
        whole.telling.remove(&told.cid);
        let listed = whole.roots.borrow();
        let same = listed.iter().filter(|entry| entry.root.cid == told.cid);
        let Some(id) = same.map(|entry| entry.id).max_by_key(|id| *id == told.root) else { return };
        drop(listed);
        match told.partly {
            None => {
                whole.unread.remove(told.root);
                self.roots.insert(told.cid);
            }
            Some(blocks) if id == told.root => whole.unread.put(id, blocks, Instant::now()),
            // It was removed and added again: its blocks may be others.
            Some(_) => whole.unread.put(id, blocks::Met::default(), Instant::now()),
        }
    }

    /// Announces what is to be announced now, and nothing else.
    async fn follow(&mut self, now: Instant, out: &Sink) {
        let (singles, roots) = list(self.peer.store(), self.provide);
        self.held.retain(|cid, _| singles.contains(cid));
        let listed: BTreeSet<Cid> = roots.iter().map(|root| root.root.cid).collect();
        self.roots.retain(|cid| singles.contains(cid) || listed.contains(cid));
        for cid in singles {
            if self.held.contains_key(&cid) {
                continue;
            }
            match self.peer.announce(cid, &self.knowing(&cid)).await {
                Ok(announcing) => {
                    self.held.insert(cid, announcing);
                    self.roots.insert(cid);
                }
                Err(error) => self.tell_of_trouble(&error.to_string(), out).await,
            }
        }
        self.follow_whole(roots, now);
    }

    /// Has the blocks of these roots listed, and those of new ones told.
    fn follow_whole(&mut self, roots: Vec<RootEntry>, now: Instant) {
        let Some(whole) = &self.whole else { return };
        let new = roots.iter().filter(|root| {
            let cid = root.root.cid;
            !whole.telling.contains(&cid) && !self.roots.contains(&cid) && !whole.unread.waits(root.id, now)
        });
        let new: Vec<(RootEntry, Vec<Network>)> =
            new.map(|root| (root.clone(), self.knowing(&root.root.cid))).collect();
        let Some(whole) = &mut self.whole else { return };
        whole.unread.retain(&roots.iter().map(|root| root.id).collect());
        // First, or what is told now would not be known to be listed.
        whole.roots.send_if_modified(|before| {
            let ids = |roots: &[RootEntry]| roots.iter().map(|root| root.id).collect::<Vec<_>>();
            let changed = ids(before) != ids(&roots);
            *before = roots;
            changed
        });
        for (root, known) in new {
            let cid = root.root.cid;
            if known.len() == NETWORKS.len() {
                self.roots.insert(cid);
                continue;
            }
            let before = whole.unread.begin(root.id);
            if whole.new.send(lister::New { root, known, before }).is_ok() {
                whole.telling.insert(cid);
            }
        }
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

/// Roots that are announced while this lives, and where that was said.
pub(super) struct Announced {
    roots: Vec<(Announcing, Cid, BTreeSet<Place>)>,
}

impl Announced {
    /// Begins to announce them.
    pub(super) async fn begin(peer: &Peer, cids: impl Iterator<Item = Cid>) -> Result<Self, Failure> {
        let mut roots = Vec::new();
        for cid in cids {
            let announcing = peer.announce(cid, &[]).await;
            let announcing = announcing.map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
            roots.push((announcing, cid, BTreeSet::new()));
        }
        Ok(Self { roots })
    }

    /// Says of each root and DHT once that it was told.
    pub(super) async fn look(&mut self, out: &Sink) {
        for (announcing, cid, said) in &mut self.roots {
            if said.len() == NETWORKS.len() {
                continue;
            }
            for network in announcing.told().await.into_iter().map(place_of) {
                if said.insert(network) {
                    out.send(Event::Announced { cid: cid.to_string(), network }).await;
                }
            }
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
    parse(&fs::read(path).ok()?)
}

/// Reads what such a file holds.
pub(crate) fn parse(bytes: &[u8]) -> Option<Memory> {
    serde_json::from_slice(bytes).ok()
}

fn write(path: &std::path::Path, memory: &Memory) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(memory)?)?;
    fs::rename(new, path)
}

/// At that time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What is to be announced: single blocks, and roots with all of theirs.
fn list(store: &Store, provide: Provide) -> (BTreeSet<Cid>, Vec<RootEntry>) {
    let pins = store.pins().into_iter();
    let direct: BTreeSet<Cid> = pins.filter(|pin| pin.kind == PinKind::Direct).map(|pin| pin.cid).collect();
    let announced = |entry: &RootEntry| entry.root.keep && entry.root.announce && entry.set.is_some();
    let roots = store.roots().into_iter().filter(announced);
    let (whole, singles): (Vec<_>, Vec<_>) = roots.partition(|RootEntry { root, .. }| {
        let all = match provide {
            Provide::Roots => false,
            Provide::Pinned => root.kind == RootKind::Pin,
            Provide::All => true,
        };
        all && !direct.contains(&root.cid)
    });
    let singles = singles.into_iter().map(|entry| entry.root.cid);
    (singles.filter(|cid| hash::inline(cid).is_none()).collect(), whole)
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
