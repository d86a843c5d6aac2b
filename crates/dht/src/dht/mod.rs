//! The hub: routes each input to the part that it concerns and collects what
//! they want done.

mod announce;
mod answers;
mod lookups;
mod pace;
mod peers;
mod refresh;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use peerage_base::{Instant, Now, PackedMap, Rng, Timers};
use peerage_identity::{Multiaddr, PeerId};

use crate::key::Key;
use crate::limits::Config;
use crate::lookup::{Lookup, Teller};
use crate::message::{PeerInfo, Request, Response};
use crate::output::{AnnounceId, Failure, LookupId, Mode, Output, RequestId, Timer};
use crate::providers::{Fullest, Providers};
use crate::reach::{Reach, normal};
use crate::table::{BucketHealth, Table};
use crate::values::{Validators, Values};

/// One DHT as a state machine. A peer in both has two of them.
///
/// After every input, drain [`Dht::poll_output`] and look at
/// [`Dht::poll_timeout`]. Time never goes back; an early `handle_timeout`
/// changes nothing. The same seed and inputs give the same outputs.
///
/// Requests of others are answered by the return value of
/// [`Dht::handle_request`], and give no output.
#[derive(Debug)]
pub struct Dht {
    config: Arc<Config>,
    reach: Reach,
    local: PeerInfo,
    /// Addresses of ours as the owner told them, of use here or not.
    listen: Vec<Multiaddr>,
    mode: Mode,
    table: Table,
    /// Peers that are connected.
    contacts: PackedMap<PeerId, peers::Contact>,
    providers: Providers,
    values: Values,
    validators: Validators,
    lookups: PackedMap<LookupId, Box<Lookup>>,
    announcements: BTreeMap<AnnounceId, announce::Announcement>,
    /// In boxes, since a tree keeps room for eleven values also when it is empty.
    requests: BTreeMap<RequestId, Box<Pending>>,
    refresh: refresh::Refresh,
    pace: pace::Pace,
    rng: Rng,
    out: Outbox,
}

/// Outputs for which room is kept; who joins has many at once, and later few.
const QUEUE_KEPT: usize = 4;

/// What both the hub and its parts write to.
#[derive(Debug, Default)]
struct Outbox {
    queue: VecDeque<Output>,
    timers: Timers<Timer>,
    next_id: u64,
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Pending {
    to: PeerInfo,
    request: Request,
    purpose: Purpose,
    /// Since when it is tried; none while the owner has not begun with it.
    tried: Option<Instant>,
    /// The owner thinks little of the peer.
    doubted: bool,
}

/// Why a peer was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// A look-up on its way.
    Search(LookupId),
    /// The same, after the look-up has gone on without it: to know whether the
    /// peer is there.
    Late,
    /// A look-up that stores.
    Store(LookupId),
    /// It is told of many keys.
    Announce(AnnounceId),
    /// To know whether it is there.
    Check,
    /// It has an old value.
    Correct,
}

impl Dht {
    /// A machine that knows nobody, as a client. Many may share one configuration.
    #[must_use]
    pub fn new(config: impl Into<Arc<Config>>, local: PeerId, seed: u64, now: Now) -> Self {
        let config = config.into();
        let key = Key::of_peer(&local);
        let mut dht = Self {
            reach: Reach::new(&config),
            local: PeerInfo { peer: local, addrs: Vec::new() },
            listen: Vec::new(),
            mode: Mode::Client,
            table: Table::new(key, &config),
            contacts: PackedMap::new(),
            providers: Providers::new(key, &config),
            values: Values::new(key, &config),
            validators: Validators::new(&config),
            lookups: PackedMap::new(),
            announcements: BTreeMap::new(),
            requests: BTreeMap::new(),
            refresh: refresh::Refresh::new(&config),
            pace: pace::Pace::default(),
            rng: Rng::new(seed),
            out: Outbox::default(),
            config,
        };
        dht.out.timers.set(Timer::Sweep, now.instant + dht.config.sweep_interval);
        dht.out.timers.set(Timer::Refresh, now.instant + dht.config.refresh_interval);
        dht
    }

    /// Our addresses as others may reach us; those that do not count in this
    /// DHT are left out. Without any, nothing can be provided.
    pub fn set_local_addrs(&mut self, addrs: &[Multiaddr]) {
        self.local.addrs = self.reach.filter(&normal(self.local.peer, addrs).addrs);
        self.listen = addrs.to_vec();
    }

    /// True if there is an address of ours that counts here.
    #[must_use]
    pub fn has_addrs(&self) -> bool {
        !self.local.addrs.is_empty()
    }

    /// Begins or ceases to answer others.
    pub const fn set_mode(&mut self, mode: Mode) {
        self.mode = mode;
    }

    /// Whether others are answered.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// A request was answered over the connection with this remote address.
    pub fn handle_response(&mut self, id: RequestId, via: &Multiaddr, response: Response, now: Now) {
        let Some(pending) = self.take_request(id) else { return };
        if !response.answers(&pending.request) {
            self.request_failed(id, &pending, Failure::Malformed, now);
            return;
        }
        if let Some(tried) = pending.tried {
            self.pace.note(now.instant.since(tried));
        }
        self.peer_answered(&pending.to, via, now);
        match pending.purpose {
            Purpose::Search(lookup) => {
                let teller = Teller { group: self.reach.group(via), doubted: pending.doubted };
                self.search_answered(lookup, id, pending.to.peer, teller, response, now);
            }
            Purpose::Store(lookup) => {
                let confirmed = matches!((&response, &pending.request),
                    (Response::Stored { record }, Request::PutValue { record: sent }) if record == sent);
                self.store_ended(lookup, id, confirmed, now);
            }
            Purpose::Check => self.check_more(now),
            Purpose::Announce(_) | Purpose::Late | Purpose::Correct => {}
        }
    }

    /// The answer that comes now is of a peer of whom the owner thinks little:
    /// sooner than of others is not believed whom it names.
    pub fn handle_doubted(&mut self, id: RequestId) {
        self.requests.get_mut(&id).into_iter().for_each(|pending| pending.doubted = true);
    }

    /// A request that has no answer was written.
    pub fn handle_sent(&mut self, id: RequestId, now: Now) {
        if self.requests.get(&id).is_none_or(|pending| pending.request.is_answered()) {
            return;
        }
        match self.take_request(id).map(|pending| pending.purpose) {
            Some(Purpose::Store(lookup)) => self.store_ended(lookup, id, true, now),
            Some(Purpose::Announce(announcement)) => self.announce_ended(announcement, id, true, now),
            _ => {}
        }
    }

    /// The owner has not begun with a request, as its dials must wait for each
    /// other: if it is given up before [`Dht::handle_begun`], that is not the
    /// peer's failure.
    pub fn handle_postponed(&mut self, id: RequestId) {
        if let Some(pending) = self.requests.get_mut(&id) {
            pending.tried = None;
            self.out.timers.cancel(&Timer::Late(id));
        }
    }

    /// The owner begins with a request that was postponed, whose time begins now.
    pub fn handle_begun(&mut self, id: RequestId, now: Now) {
        if let Some(pending) = self.requests.get_mut(&id).filter(|pending| pending.tried.is_none()) {
            pending.tried = Some(now.instant);
            let purpose = pending.purpose;
            self.set_deadline(id, purpose, now);
        }
    }

    /// A request came to nothing.
    pub fn handle_request_failed(&mut self, id: RequestId, failure: Failure, now: Now) {
        if let Some(pending) = self.take_request(id) {
            self.request_failed(id, &pending, failure, now);
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.out.queue.pop_front();
        if output.is_none() && self.out.queue.capacity() > QUEUE_KEPT {
            self.out.queue = VecDeque::new();
        }
        output
    }

    /// When to call [`Dht::handle_timeout`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.out.timers.next()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.out.timers.pop_due(now.instant) {
            match timer {
                Timer::Request(id) => {
                    if let Some(pending) = self.take_request(id) {
                        let silent = pending.tried.is_some();
                        self.out.queue.push_back(Output::CancelRequest { id, silent });
                        let failure = match pending.tried {
                            Some(_) => Failure::Unreachable,
                            None => Failure::NotTried,
                        };
                        self.request_failed(id, &pending, failure, now);
                    }
                }
                Timer::Late(id) => self.late(id, now),
                Timer::Lookup(id) => self.out_of_time(id, now),
                Timer::Refresh => self.begin_refresh(now),
                Timer::Sweep => {
                    self.providers.sweep(now.unix);
                    self.values.sweep(now.unix);
                    self.out.timers.set(Timer::Sweep, now.instant + self.config.sweep_interval);
                }
            }
        }
    }

    /// The servers in the table, by bucket: worth remembering for
    /// [`Dht::bootstrap`] after a restart.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerInfo> {
        self.table.peers().collect()
    }

    /// True if the peer is in the table.
    #[must_use]
    pub fn is_in_table(&self, peer: &PeerId) -> bool {
        self.table.contains(peer)
    }

    /// True if we keep for others that `provider` has this block; for
    /// simulators and tests, which know whom that should have been told.
    #[must_use]
    pub fn keeps_provider(&self, multihash: &[u8], provider: &PeerId, now: Now) -> bool {
        self.providers.holds(&Key::of(multihash), provider, now.unix)
    }

    /// How near the provider records come to their bounds. Goes through all of them.
    #[must_use]
    pub fn fullest_providers(&self) -> Fullest {
        self.providers.fullest()
    }

    /// The state of the table, bucket by bucket.
    #[must_use]
    pub fn table_health(&self) -> Vec<BucketHealth> {
        self.table.health()
    }

    /// How much is held now.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            table_peers: self.table.len(),
            contacts: self.contacts.len(),
            provider_records: self.providers.len(),
            values: self.values.len(),
            value_bytes: self.values.bytes(),
            lookups: self.lookups.len(),
            announcements: self.announcements.len(),
            requests: self.requests.len(),
        }
    }

    /// Sends a request; its deadline begins now.
    fn send(&mut self, to: PeerInfo, request: Request, purpose: Purpose, now: Now) -> RequestId {
        let id = RequestId(self.out.next_id());
        self.out.queue.push_back(Output::SendRequest {
            id,
            peer: to.peer,
            addrs: to.addrs.clone(),
            request: request.clone(),
        });
        self.set_deadline(id, purpose, now);
        let pending = Pending { to, request, purpose, tried: Some(now.instant), doubted: false };
        self.requests.insert(id, Box::new(pending));
        id
    }

    fn set_deadline(&mut self, id: RequestId, purpose: Purpose, now: Now) {
        self.out.timers.set(Timer::Request(id), now.instant + self.config.request_timeout);
        let patience = self.pace.patience(&self.config);
        if matches!(purpose, Purpose::Search(_)) && patience < self.config.request_timeout {
            self.out.timers.set(Timer::Late(id), now.instant + patience);
        }
    }

    fn take_request(&mut self, id: RequestId) -> Option<Box<Pending>> {
        self.out.timers.cancel(&Timer::Request(id));
        self.out.timers.cancel(&Timer::Late(id));
        self.requests.remove(&id)
    }

    fn request_failed(&mut self, id: RequestId, pending: &Pending, failure: Failure, now: Now) {
        self.peer_failed(&pending.to.peer, failure, now);
        match pending.purpose {
            Purpose::Search(lookup) => self.search_failed(lookup, id, &pending.to.peer, failure, now),
            Purpose::Store(lookup) => self.store_ended(lookup, id, false, now),
            Purpose::Announce(announcement) => self.announce_ended(announcement, id, false, now),
            Purpose::Check => self.check_more(now),
            Purpose::Late | Purpose::Correct => {}
        }
    }
}

impl Outbox {
    const fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

/// How much a machine holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Servers in the table.
    pub table_peers: usize,
    /// Connected peers that are known.
    pub contacts: usize,
    /// Provider records kept for others.
    pub provider_records: usize,
    /// Values kept for others.
    pub values: usize,
    /// Bytes of their keys and values.
    pub value_bytes: usize,
    /// Look-ups that run, the table's own included.
    pub lookups: usize,
    /// Servers that are being told of many blocks.
    pub announcements: usize,
    /// Requests that wait for an answer.
    pub requests: usize,
}
