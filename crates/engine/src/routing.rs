//! The DHTs, and who waits for which of their look-ups.
//!
//! A peer is in two DHTs at once, the public one and that of private networks,
//! as deployed peers are. What is looked for is looked for in both, and by the
//! routers of the configuration: one [`Seek`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use peerage_base::{Instant, Now, PackedMap, Rng};
use peerage_content::Cid;
use peerage_dht::sweep::{Sweep, TaskId};
use peerage_dht::{AnnounceId, Dht, End, LookupError, LookupId, Mode, Network, Report, RequestId};
use peerage_identity::{Multiaddr, PeerId};

use crate::limits::{Config, DhtMode};
use crate::output::{DialId, FindId, JobId, RouterQuestion};
use crate::reachability::Reach;

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Who has this block.
    Providers(Cid),
    /// Where this peer is.
    Peer(PeerId),
}

/// News of a look-up that the user asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FindEvent {
    /// How far it is, in one of the DHTs.
    Progress(Network, peerage_dht::Progress),
    /// Peers that have the block, or addresses of the peer; from where.
    Found(Source, Vec<peerage_dht::PeerInfo>),
    /// The routers have said all that they will.
    Routers(RouterReport),
    /// It is over: what each DHT reports, or why it was not asked.
    Finished(BTreeMap<Network, Result<Report, LookupError>>),
}

/// What came of asking the routers of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouterReport {
    /// Those that there are.
    pub asked: usize,
    /// One text for each that was of no use, which names it and says why; not
    /// safe to print.
    pub failures: Vec<String>,
}

impl RouterReport {
    /// Those that answered.
    #[must_use]
    pub fn answered(&self) -> usize {
        self.asked.saturating_sub(self.failures.len())
    }
}

/// Who told of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A DHT.
    Dht(Network),
    /// A router of the configuration.
    Router,
    /// It is connected, or on the local network.
    Known,
}

/// Who waits for a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// A job, for sources.
    Job(JobId),
    /// A job, for the addresses of a provider.
    Whereabouts(JobId, PeerId),
    /// The user.
    Find(FindId),
    /// The sweep of this DHT.
    Sweep(TaskId),
}

/// A request of a DHT, on its way.
#[derive(Debug)]
pub(crate) enum Flight {
    /// The peer is being dialled.
    Dialing { dial: DialId, peer: PeerId, request: Box<peerage_dht::Request> },
    /// It was handed to the shell.
    Asked { peer: PeerId },
}

/// One DHT.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) network: Network,
    pub(crate) dht: Dht,
    pub(crate) flights: BTreeMap<RequestId, Flight>,
    pub(crate) owners: PackedMap<LookupId, Owner>,
    /// It was looking for its first peer when that was last asked.
    pub(crate) bootstrapping: bool,
    /// What we tell others in this DHT that we have.
    pub(crate) sweep: Sweep,
    /// Servers that are being told, for the sweep.
    pub(crate) deliveries: BTreeMap<AnnounceId, TaskId>,
    /// Whose look-ups wait for others to end, the longest waiting first.
    waiting: VecDeque<Owner>,
    /// The same of the sweep, which goes behind.
    sweeping: VecDeque<(TaskId, Bytes)>,
    /// Somebody's addresses could not be looked for, for want of room.
    crowded: bool,
    /// The sweep was told that somebody can be asked.
    pub(crate) online: bool,
    /// There is an address of ours to tell.
    has_addr: bool,
}

impl Side {
    /// Whom a request was sent that waits for an answer.
    pub(crate) fn asked(&self, id: RequestId) -> Option<PeerId> {
        match self.flights.get(&id)? {
            Flight::Asked { peer } => Some(*peer),
            Flight::Dialing { .. } => None,
        }
    }

    /// Who may begin a look-up that had to wait.
    pub(crate) fn next_waiting(&mut self) -> Option<Owner> {
        if self.dht.has_room() { self.waiting.pop_front() } else { None }
    }

    /// Begins a look-up of the sweep as soon as there is room.
    pub(crate) fn find_closest(&mut self, task: TaskId, key: Bytes, now: Now) {
        self.sweeping.push_back((task, key));
        self.sweep_on(now);
    }

    /// Begins what the sweep waits for; true if there was anything.
    pub(crate) fn sweep_on(&mut self, now: Now) -> bool {
        let mut begun = false;
        while self.dht.has_room()
            && let Some((task, key)) = self.sweeping.pop_front()
        {
            begun = true;
            match self.dht.find_closest(&key, now) {
                Ok(lookup) => drop(self.owners.insert(lookup, Owner::Sweep(task))),
                Err(_) => self.sweep.handle_lookup_failed(task, now),
            }
        }
        begun
    }

    /// True once after there was no room for a look-up of somebody's addresses,
    /// when there is.
    pub(crate) fn is_relieved(&mut self) -> bool {
        self.crowded && self.dht.has_room() && std::mem::take(&mut self.crowded)
    }

    /// True if there is somebody to tell, and an address of ours.
    pub(crate) fn is_online(&self) -> bool {
        self.has_addr && self.dht.stats().table_peers > 0
    }
}

/// What one search does in the DHTs and with the routers.
#[derive(Debug)]
pub(crate) struct Seek {
    pub(crate) goal: Goal,
    pub(crate) began: Instant,
    running: BTreeMap<Network, LookupId>,
    /// DHTs in which it waits for others to end.
    waiting: BTreeSet<Network>,
    /// DHTs in which there is no address of ours to tell, as long as there may
    /// yet be one.
    pub(crate) unaddressed: BTreeSet<Network>,
    /// The peer that is looked for was found.
    pub(crate) found: bool,
    pub(crate) ended: BTreeMap<Network, Result<Report, LookupError>>,
    /// What the routers were asked, and have not answered.
    pub(crate) question: Option<RouterQuestion>,
    /// How far it is, over both.
    progress: BTreeMap<Network, peerage_dht::Progress>,
}

/// What a search is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// To find.
    Find(Target),
    /// To tell that we have this block.
    Provide(Cid),
}

/// How far the look-ups of a job are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeekProgress {
    /// Peers that were asked, of both DHTs.
    pub asked: u32,
    /// Providers found there.
    pub providers: usize,
    /// Bits of the distance between the key and the closest peer that answered.
    pub closest_bits: usize,
}

/// Both DHTs; none of them when that is the user's wish.
#[derive(Debug)]
pub(crate) struct Routing {
    pub(crate) sides: Vec<Side>,
    mode: DhtMode,
    public: bool,
    reach_known: bool,
    listens: bool,
    lookups_waiting: usize,
    next_question: u64,
    pub(crate) questions: BTreeMap<RouterQuestion, Owner>,
}

impl Routing {
    pub(crate) fn new(config: &Config, local: PeerId, seed: u64, now: Now) -> Self {
        let mut rng = Rng::new(seed);
        let routing = &config.routing;
        let mut side = |network: Network, config: &Arc<peerage_dht::Config>| Side {
            network,
            dht: Dht::new(Arc::clone(config), local, rng.next_u64(), now),
            flights: BTreeMap::new(),
            owners: PackedMap::new(),
            bootstrapping: false,
            sweep: Sweep::new(routing.sweep.clone(), rng.next_u64(), now),
            deliveries: BTreeMap::new(),
            waiting: VecDeque::new(),
            sweeping: VecDeque::new(),
            crowded: false,
            online: false,
            has_addr: false,
        };
        let sides = match routing.mode {
            DhtMode::Off => Vec::new(),
            _ => vec![side(Network::Wan, &routing.wan), side(Network::Lan, &routing.lan)],
        };
        Self {
            sides,
            mode: routing.mode,
            public: false,
            reach_known: false,
            listens: false,
            lookups_waiting: config.lookups_waiting,
            next_question: 0,
            questions: BTreeMap::new(),
        }
    }

    pub(crate) fn side(&mut self, network: Network) -> Option<&mut Side> {
        self.sides.iter_mut().find(|side| side.network == network)
    }

    pub(crate) fn dht(&self, network: Network) -> Option<&Dht> {
        self.sides.iter().find(|side| side.network == network).map(|side| &side.dht)
    }

    /// Where others reach us: `listen` are the addresses of this machine, of
    /// which `reach` says whether those that should be seen from everywhere are.
    pub(crate) fn set_addrs(&mut self, listen: &[Multiaddr], reach: &Reach) {
        self.listens = !listen.is_empty();
        self.public = matches!(reach, Reach::Public(_));
        self.reach_known = !matches!(reach, Reach::Unknown);
        for side in &mut self.sides {
            let addrs: Vec<Multiaddr> = match (side.network, reach) {
                (Network::Wan, Reach::Public(addrs)) => addrs.clone(),
                // Nobody would reach us there.
                (Network::Wan, Reach::Private) => Vec::new(),
                (Network::Wan, Reach::Unknown) | (Network::Lan, _) => listen.to_vec(),
            };
            side.dht.set_local_addrs(&addrs);
            side.has_addr = side.dht.has_addrs();
        }
    }

    /// Has each DHT answer, or not, as things are. What is served after that, as (WAN, LAN).
    pub(crate) fn apply_mode(&mut self) -> (bool, bool) {
        let serves = |network: Network| match (self.mode, network) {
            (DhtMode::Off | DhtMode::Client, _) => false,
            (DhtMode::Server, _) => self.listens,
            (DhtMode::Auto, Network::Wan) => self.listens && self.public,
            (DhtMode::Auto, Network::Lan) => self.listens,
        };
        let (wan, lan) = (serves(Network::Wan), serves(Network::Lan));
        for side in &mut self.sides {
            let serves = if side.network == Network::Wan { wan } else { lan };
            side.dht.set_mode(if serves { Mode::Server } else { Mode::Client });
        }
        (wan, lan)
    }

    /// Begins what a search does in one DHT, unless that is under way. If there
    /// are too many, it waits for one of them to end.
    pub(crate) fn begin(&mut self, seek: &mut Seek, owner: Owner, network: Network, now: Now) {
        let most = self.lookups_waiting;
        let known = seek.running.contains_key(&network) || seek.waiting.contains(&network);
        let Some(side) = self.side(network).filter(|_| !known) else { return };
        let lookup = match seek.goal {
            Goal::Find(Target::Providers(cid)) => side.dht.find_providers(&cid.hash().to_bytes(), now),
            Goal::Find(Target::Peer(peer)) => side.dht.find_peer(peer, now),
            Goal::Provide(cid) => side.dht.provide(&cid.hash().to_bytes(), now),
        };
        match lookup {
            Ok(lookup) => {
                side.owners.insert(lookup, owner);
                seek.ended.remove(&network);
                seek.running.insert(network, lookup);
            }
            Err(LookupError::Busy) if side.waiting.len() < most => {
                side.waiting.push_back(owner);
                seek.ended.remove(&network);
                seek.waiting.insert(network);
            }
            Err(LookupError::NoAddrs) if self.may_have_addrs(network) => {
                seek.unaddressed.insert(network);
            }
            Err(error) => drop(seek.ended.insert(network, Err(error))),
        }
    }

    /// True if it is not known yet whether we can be reached from where there
    /// is somebody to tell of it.
    fn may_have_addrs(&self, network: Network) -> bool {
        let somebody = |dht: &Dht| dht.stats().table_peers > 0 || dht.is_bootstrapping();
        network == Network::Wan && !self.reach_known && self.dht(network).is_some_and(somebody)
    }

    /// Begins what waits for an address of ours; with `late` it waits no longer.
    pub(crate) fn readdress(&mut self, seek: &mut Seek, owner: Owner, late: bool, now: Now) {
        for network in std::mem::take(&mut seek.unaddressed) {
            self.begin(seek, owner, network, now);
            if late && seek.unaddressed.remove(&network) {
                seek.ended.insert(network, Err(LookupError::NoAddrs));
            }
        }
    }

    /// Begins what had to wait.
    pub(crate) fn go_on(&mut self, seek: &mut Seek, owner: Owner, network: Network, now: Now) {
        if seek.waiting.remove(&network) {
            self.begin(seek, owner, network, now);
        }
    }

    /// Begins a search everywhere. What the routers are to be asked is returned.
    pub(crate) fn seek(
        &mut self,
        goal: Goal,
        owner: Owner,
        config: &Config,
        now: Now,
    ) -> (Seek, Option<(RouterQuestion, Target)>) {
        let mut seek = Seek {
            goal,
            began: now.instant,
            running: BTreeMap::new(),
            waiting: BTreeSet::new(),
            unaddressed: BTreeSet::new(),
            found: false,
            ended: BTreeMap::new(),
            question: None,
            progress: BTreeMap::new(),
        };
        for network in [Network::Wan, Network::Lan] {
            self.begin(&mut seek, owner, network, now);
        }
        let ask = match goal {
            Goal::Find(target) if config.routing.routers => {
                let ask = RouterQuestion(self.next_question);
                self.next_question += 1;
                self.questions.insert(ask, owner);
                seek.question = Some(ask);
                Some((ask, target))
            }
            _ => None,
        };
        (seek, ask)
    }

    /// Gives up all that `whose` waits for; the questions to routers that are
    /// to be given up are returned.
    pub(crate) fn give_up(&mut self, whose: impl Fn(&Owner) -> bool) -> Vec<RouterQuestion> {
        for side in &mut self.sides {
            side.waiting.retain(|owner| !whose(owner));
            let lookups: Vec<LookupId> =
                side.owners.iter().filter(|(_, owner)| whose(owner)).map(|(id, _)| *id).collect();
            for lookup in lookups {
                side.owners.remove(&lookup);
                side.dht.cancel(lookup);
            }
        }
        let asks: Vec<RouterQuestion> =
            self.questions.iter().filter(|(_, owner)| whose(owner)).map(|(ask, _)| *ask).collect();
        self.questions.retain(|_, owner| !whose(owner));
        asks
    }

    /// Looks for where a provider is that a DHT named without an address; false
    /// if there is no room for that now.
    pub(crate) fn find_whereabouts(&mut self, job: JobId, peer: PeerId, now: Now) -> bool {
        if self.sides.iter().any(|side| !side.dht.has_room()) {
            self.sides.iter_mut().for_each(|side| side.crowded |= !side.dht.has_room());
            return false;
        }
        for side in &mut self.sides {
            if let Ok(lookup) = side.dht.find_peer(peer, now) {
                side.owners.insert(lookup, Owner::Whereabouts(job, peer));
            }
        }
        true
    }

    /// Look-ups for the addresses of providers of a job that are under way.
    pub(crate) fn whereabouts(&self, job: JobId) -> usize {
        let owners = self.sides.iter().flat_map(|side| side.owners.values());
        owners.filter(|owner| matches!(owner, Owner::Whereabouts(of, _) if *of == job)).count()
    }

    /// True if nothing of a search is under way, and nothing may yet begin:
    /// while a DHT looks for its first peer, all wait for that.
    pub(crate) fn is_over(&self, seek: &Seek) -> bool {
        let waits = |side: &Side| {
            let nobody = seek
                .ended
                .get(&side.network)
                .is_none_or(|ended| matches!(ended, Ok(report) if report.end == End::NoPeers));
            nobody && side.dht.is_bootstrapping()
        };
        let idle = seek.running.is_empty() && seek.waiting.is_empty() && seek.unaddressed.is_empty();
        idle && seek.question.is_none() && !self.sides.iter().any(waits)
    }
}

impl Seek {
    /// One of its look-ups is over.
    pub(crate) fn handle_finished(&mut self, network: Network, report: Report) {
        self.running.remove(&network);
        self.ended.insert(network, Ok(report));
    }

    pub(crate) fn handle_progress(&mut self, network: Network, progress: peerage_dht::Progress) {
        self.progress.insert(network, progress);
    }

    /// True if there was nobody to ask in that DHT.
    pub(crate) fn found_nobody(&self, network: Network) -> bool {
        matches!(self.ended.get(&network), Some(Ok(report)) if report.end == End::NoPeers)
    }

    /// True if there was nobody to ask in any of the DHTs.
    pub(crate) fn found_nobody_anywhere(&self) -> bool {
        self.ended.keys().all(|network| self.found_nobody(*network))
    }

    pub(crate) fn progress(&self) -> SeekProgress {
        let each = self.progress.values();
        each.fold(SeekProgress { closest_bits: 256, ..SeekProgress::default() }, |sum, one| SeekProgress {
            asked: sum.asked + one.asked,
            providers: sum.providers + one.providers,
            closest_bits: sum.closest_bits.min(one.closest_bits),
        })
    }
}
