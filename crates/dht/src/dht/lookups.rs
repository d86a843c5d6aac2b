//! Look-ups from their beginning to their end: what the owner asks for, the
//! requests that follow, and what answers bring.

use std::collections::BTreeSet;

use bytes::Bytes;
use peerage_base::Now;
use peerage_identity::{Multiaddr, PeerId};

use super::{Dht, Purpose};
use crate::crowd::Crowd;
use crate::key::Key;
use crate::limits::{KEY_MAX, PROVIDERS_ANSWERED, PROVIDERS_TAKEN};
use crate::lookup::{Candidates, Found, Goal, Lookup, Named, Providers, Step, Teller};
use crate::message::{PeerInfo, Record, Request, Response};
use crate::output::{End, Failure, LookupError, LookupId, Mode, Output, RequestId, Timer};
use crate::reach::Group;
use crate::values::{Refused, Sender};

impl Dht {
    /// Looks for the servers closest to a key: a peer id's bytes, a multihash,
    /// or any others. They are in the report.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn find_closest(&mut self, key: &[u8], now: Now) -> Result<LookupId, LookupError> {
        let key = self.check_key(key)?;
        Ok(self.begin(key, Goal::Closest, now))
    }

    /// Looks for the addresses of a peer, which need not be a server. It goes
    /// on after the first were found, since anyone may have told wrong ones:
    /// [`Dht::cancel`] it once the peer is reached.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn find_peer(&mut self, peer: PeerId, now: Now) -> Result<LookupId, LookupError> {
        let key = self.check_key(peer.as_bytes())?;
        let known = self.known(&peer);
        let id = self.open(key, Goal::Peer { peer, told: Vec::new() }, now);
        self.with_lookup(id, |lookup, out| lookup.peer_found(known.map_or_else(Vec::new, |i| i.addrs), out));
        self.drive(id, now);
        Ok(id)
    }

    /// Looks for who has the block with this multihash. It goes on until the
    /// closest have all answered: [`Dht::cancel`] it when there are enough.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn find_providers(&mut self, multihash: &[u8], now: Now) -> Result<LookupId, LookupError> {
        let key = self.check_key(multihash)?;
        let mut stored = self.providers.get(&Key::of(&key), PROVIDERS_ANSWERED, now.unix, &mut self.rng);
        stored.retain(|info| info.peer != self.local.peer);
        self.complete(&mut stored);
        let id = self.open(key, Goal::Providers(Providers::default()), now);
        self.with_lookup(id, |lookup, out| lookup.providers_found(stored, None, out));
        self.drive(id, now);
        Ok(id)
    }

    /// Looks for the best value under a key. Peers that turn out to have an
    /// older one are given it.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn find_value(&mut self, key: &[u8], now: Now) -> Result<LookupId, LookupError> {
        let key = self.check_key(key)?;
        self.validators.knows(&key)?;
        let goal = Goal::Value { quorum: self.config.quorum, found: Found::default() };
        let stored = self.values.get(&key, &self.validators, now).cloned();
        let id = self.open(key, goal, now);
        if let (Some(stored), Some(lookup)) = (stored, self.lookups.get_mut(&id)) {
            lookup.value_found(self.local.peer, stored, &self.validators, &mut self.out.queue);
        }
        self.drive(id, now);
        Ok(id)
    }

    /// Tells the peers closest to a multihash that we have its block. To be
    /// repeated by the owner, well within 48 h (deployed peers: 22 h).
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn provide(&mut self, multihash: &[u8], now: Now) -> Result<LookupId, LookupError> {
        let key = self.check_key(multihash)?;
        let local = self.announced(&key, now)?;
        Ok(self.begin(key, Goal::Provide(local), now))
    }

    /// Stores a value at the peers closest to its key.
    ///
    /// # Errors
    /// See [`LookupError`].
    pub fn put_value(&mut self, key: &[u8], value: Bytes, now: Now) -> Result<LookupId, LookupError> {
        let record = Record { key: self.check_key(key)?, value };
        self.validators.validate(&record, now)?;
        match self.values.put(Sender { peer: self.local.peer, group: None }, &record, &self.validators, now) {
            Err(Refused::Older) => return Err(LookupError::Older),
            // There may be no room here and still be some elsewhere.
            Ok(()) | Err(Refused::Full | Refused::Invalid(_)) => {}
        }
        Ok(self.begin(record.key.clone(), Goal::Put(record), now))
    }

    /// Ends a look-up without a report. What it has stored so far stays.
    pub fn cancel(&mut self, id: LookupId) {
        // The table's own are not the owner's to end.
        if self.lookups.get(&id).is_some_and(|lookup| !lookup.is_internal()) {
            self.close(id);
        }
    }

    /// True if one more look-up may be begun: none is [`LookupError::Busy`].
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.lookups.values().filter(|lookup| !lookup.is_internal()).count() < self.config.lookups_max
    }

    fn check_key(&self, key: &[u8]) -> Result<Bytes, LookupError> {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(LookupError::Key(key.len()));
        }
        if !self.has_room() {
            return Err(LookupError::Busy);
        }
        Ok(Bytes::copy_from_slice(key))
    }

    /// What is told of us; kept here too if others ask us.
    fn announced(&mut self, key: &[u8], now: Now) -> Result<PeerInfo, LookupError> {
        if self.local.addrs.is_empty() {
            return Err(LookupError::NoAddrs);
        }
        if self.mode == Mode::Server {
            self.providers.add(&Key::of(key), &self.local, None, now.unix);
        }
        Ok(self.local.clone())
    }

    pub(super) fn begin(&mut self, key: Bytes, goal: Goal, now: Now) -> LookupId {
        let id = self.open(key, goal, now);
        self.drive(id, now);
        id
    }

    /// A look-up from the closest that we know, which has asked nobody yet.
    fn open(&mut self, key: Bytes, goal: Goal, now: Now) -> LookupId {
        let target = Key::of(&key);
        let mut known = self.table.closest(&target, self.config.bucket_size, None, true);
        known.retain(|info| self.contacts.contains_key(&info.peer) || self.reach.is_askable(&info.addrs));
        if self.table.len() < self.config.refresh_min_peers {
            known.extend(self.refresh.last_resort().cloned());
        }
        if let Goal::Peer { peer, .. } = &goal {
            known.retain(|info| info.peer != *peer);
        }
        known.retain(|info| info.peer != self.local.peer);
        let id = LookupId(self.out.next_id());
        let candidates = Candidates::new(target, known, self.reach, &self.config);
        let lookup = Lookup::new(id, key, goal, candidates, now.instant);
        self.lookups.insert(id, Box::new(lookup));
        self.out.timers.set(Timer::Lookup(id), now.instant + self.config.lookup_timeout);
        id
    }

    /// Does what the look-up wants next.
    fn drive(&mut self, id: LookupId, now: Now) {
        if let Some(step) = self.lookups.get_mut(&id).map(|lookup| lookup.step()) {
            self.perform(id, step, now);
        }
    }

    fn perform(&mut self, id: LookupId, step: Step, now: Now) {
        let (peers, request, purpose) = match step {
            Step::Done(end) => return self.finish(id, end, now),
            Step::Ask(peers, request) => (peers, request, Purpose::Search(id)),
            Step::Store(peers, request) => {
                // Storing has a time of its own: that of its requests.
                self.out.timers.cancel(&Timer::Lookup(id));
                self.let_go(id);
                self.cancel_requests(id);
                (peers, request, Purpose::Store(id))
            }
        };
        let sent: Vec<RequestId> =
            peers.into_iter().map(|info| self.send(info, request.clone(), purpose, now)).collect();
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        lookup.in_flight.extend(sent);
    }

    pub(super) fn search_answered(
        &mut self,
        id: LookupId,
        request: RequestId,
        peer: PeerId,
        teller: Teller,
        response: Response,
        now: Now,
    ) {
        let named = response.closer().iter().filter_map(|info| {
            let key = Key::of_peer(&info.peer);
            Some(Named { info: self.worth_asking(info, &key)?, key })
        });
        let closer = self.diverse(named.collect());
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        lookup.in_flight.remove(&request);
        let sought: Vec<Multiaddr> = response
            .closer()
            .iter()
            .filter(|info| lookup.seeks(&info.peer))
            .flat_map(|info| self.reach.filter(&info.addrs))
            .collect();
        lookup.peer_found(sought, &mut self.out.queue);
        let source = lookup.answered(peer, teller, closer);
        match response {
            // Once of each peer.
            Response::Providers { providers, .. } if source.is_some() => {
                let local = self.local.peer;
                let others = providers.iter().filter(|info| info.peer != local);
                let mut providers: Vec<PeerInfo> = others.map(|info| self.reach.filter_peer(info)).collect();
                // Any of them, so that nobody can fill the look-up alone.
                let crowd = providers.len() > PROVIDERS_TAKEN;
                for place in (0..PROVIDERS_TAKEN).take_while(|_| crowd) {
                    let left = (providers.len() - place) as u64;
                    let other = place + usize::try_from(self.rng.below(left)).unwrap_or(0);
                    providers.swap(place, other);
                }
                providers.truncate(PROVIDERS_TAKEN);
                self.complete(&mut providers);
                self.with_lookup(id, |lookup, out| lookup.providers_found(providers, source, out));
            }
            Response::Value { record: Some(record), .. } => {
                if self.validators.validate(&record, now).is_ok()
                    && let Some(lookup) = self.lookups.get_mut(&id)
                {
                    lookup.value_found(peer, record, &self.validators, &mut self.out.queue);
                }
            }
            _ => {}
        }
        self.tell_progress(id);
        self.drive(id, now);
    }

    /// Of the peers in one answer only so many of one IP group, as go does it.
    fn diverse(&self, mut peers: Vec<Named>) -> Vec<Named> {
        let mut crowd = Crowd::new(self.config.closest_group_max);
        peers.retain(|named| {
            let groups = || named.info.addrs.iter().map(|addr| self.reach.group(addr));
            let full = crowd.is_full_of(groups());
            let own: BTreeSet<Group> = groups().flatten().collect();
            own.into_iter().filter(|_| !full).for_each(|group| crowd.add(Some(group)));
            !full
        });
        peers
    }

    pub(super) fn search_failed(
        &mut self,
        id: LookupId,
        request: RequestId,
        peer: &PeerId,
        failure: Failure,
        now: Now,
    ) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        lookup.failed(request, peer, failure);
        self.tell_progress(id);
        self.drive(id, now);
    }

    /// A look-up does not wait for this request any longer, but takes its answer.
    pub(super) fn late(&mut self, request: RequestId, now: Now) {
        let Some(pending) = self.requests.get(&request) else { return };
        let (Purpose::Search(id), peer) = (pending.purpose, pending.to.peer) else { return };
        if let Some(lookup) = self.lookups.get_mut(&id) {
            lookup.late.insert(request);
            lookup.late(&peer);
            self.drive(id, now);
        }
    }

    pub(super) fn store_ended(&mut self, id: LookupId, request: RequestId, stored: bool, now: Now) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        lookup.in_flight.remove(&request);
        if stored {
            lookup.stored();
        }
        self.drive(id, now);
    }

    pub(super) fn out_of_time(&mut self, id: LookupId, now: Now) {
        if let Some(step) = self.lookups.get_mut(&id).map(|lookup| lookup.out_of_time()) {
            self.perform(id, step, now);
        }
    }

    fn finish(&mut self, id: LookupId, end: End, now: Now) {
        self.let_go(id);
        let Some(lookup) = self.close(id) else { return };
        if end == End::Complete {
            self.table.refreshed(lookup.target(), now.instant);
            let invented = lookup.inventors().map(|peer| Output::Invented { peer });
            self.out.queue.extend(invented);
        }
        if lookup.is_internal() {
            self.refresh_finished(now);
            return;
        }
        if let Some((peers, record)) = lookup.corrections(end, &self.local.peer) {
            for peer in peers {
                let info = self.known(&peer).unwrap_or(PeerInfo { peer, addrs: Vec::new() });
                self.send(info, Request::PutValue { record: record.clone() }, Purpose::Correct, now);
            }
        }
        let report = lookup.report(end, now.instant);
        self.out.queue.push_back(Output::LookupFinished { lookup: id, report });
    }

    fn close(&mut self, id: LookupId) -> Option<Box<Lookup>> {
        self.cancel_requests(id);
        self.out.timers.cancel(&Timer::Lookup(id));
        self.lookups.remove(&id)
    }

    /// A look-up ends without those that are late: whether they are there at
    /// all is found out all the same, or nobody would ever leave the table.
    fn let_go(&mut self, id: LookupId) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        for request in std::mem::take(&mut lookup.late) {
            if let Some(pending) = self.requests.get_mut(&request) {
                pending.purpose = Purpose::Late;
                lookup.in_flight.remove(&request);
            }
        }
    }

    fn cancel_requests(&mut self, id: LookupId) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        for request in std::mem::take(&mut lookup.in_flight) {
            if self.take_request(request).is_some() {
                self.out.queue.push_back(Output::CancelRequest { id: request, silent: false });
            }
        }
    }

    fn tell_progress(&mut self, id: LookupId) {
        if let Some(lookup) = self.lookups.get(&id).filter(|lookup| !lookup.is_internal()) {
            let progress = lookup.progress();
            self.out.queue.push_back(Output::Progress { lookup: id, progress });
        }
    }

    fn with_lookup(
        &mut self,
        id: LookupId,
        change: impl FnOnce(&mut Lookup, &mut std::collections::VecDeque<Output>),
    ) {
        if let Some(lookup) = self.lookups.get_mut(&id) {
            change(lookup, &mut self.out.queue);
        }
    }
}
