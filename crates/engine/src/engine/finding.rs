//! Finding peers: for jobs that need sources, and for the user. The DHTs, the
//! routers and the local network are asked at once; nothing waits for another.

use peerage_base::Now;
use peerage_content::Cid;
use peerage_dht::{Network, Output as Dht, PeerInfo};
use peerage_identity::{Multiaddr, PeerId};

use super::{Engine, Timer};
use crate::output::{FindId, JobId, Output, RouterQuestion};
use crate::routing::{FindEvent, Goal, Owner, RouterReport, Side, Source, Target};
use crate::score::Deed;
use crate::search::Origin;

impl Engine {
    /// Looks for a peer, or for who has a block: [`Output::Find`], until it is
    /// over, or until [`cancel_find`](Self::cancel_find).
    pub fn find(&mut self, find: FindId, target: Target, now: Now) {
        self.begin_find(find, Goal::Find(target), now);
        let known = match target {
            Target::Peer(peer) => self.whereabouts(&peer),
            Target::Providers(_) => None,
        };
        if let Some(known) = known {
            self.finds.get_mut(&find).into_iter().for_each(|seek| seek.found = true);
            let event = FindEvent::Found(Source::Known, vec![known]);
            self.outputs.push_back(Output::Find { find, event });
        }
        self.route(now);
    }

    /// Where a peer is of which we know without asking: near, or where we dialled it.
    /// Whoever came to us is not reached where he came from.
    fn whereabouts(&self, peer: &PeerId) -> Option<PeerInfo> {
        let dialled = || Some(vec![self.peers.get(peer)?.dialled()?.clone()]);
        let addrs = self.near.get(peer).cloned().or_else(dialled)?;
        Some(PeerInfo { peer: *peer, addrs })
    }

    /// Tells the DHTs once that we have a block: [`Output::Find`]. While it is
    /// not known whether others can reach us, that is waited for a little.
    pub fn provide_once(&mut self, find: FindId, cid: Cid, now: Now) {
        self.begin_find(find, Goal::Provide(cid), now);
        self.route(now);
    }

    fn begin_find(&mut self, find: FindId, goal: Goal, now: Now) {
        let owner = Owner::Find(find);
        let (seek, ask) = self.routing.seek(goal, owner, &self.config, now);
        self.finds.insert(find, Box::new(seek));
        self.outputs.extend(ask.map(|(ask, target)| Output::AskRouters { ask, target }));
        self.timers.set(Timer::Find(find), now.instant);
    }

    /// Ends a look-up without a word.
    pub fn cancel_find(&mut self, find: FindId, now: Now) {
        if self.finds.remove(&find).is_some() {
            self.timers.cancel(&Timer::Find(find));
            let asks = self.routing.give_up(|owner| *owner == Owner::Find(find));
            self.outputs.extend(asks.into_iter().map(|ask| Output::CancelRouters { ask }));
        }
        self.route(now);
    }

    /// Ends a look-up of the user's if nothing more can come of it.
    pub(super) fn review_find(&mut self, find: FindId, now: Now) {
        let Some(seek) = self.finds.get_mut(&find) else { return };
        if !seek.unaddressed.is_empty() {
            let late = seek.began + self.config.address_patience;
            self.routing.readdress(seek, Owner::Find(find), now.instant >= late, now);
            if !seek.unaddressed.is_empty() {
                return self.timers.set(Timer::Find(find), late);
            }
        }
        if !self.routing.is_over(seek) {
            return;
        }
        // Somebody may still make himself known: anyone, if nobody is near
        // yet, or the very peer that is looked for.
        let heard = seek.began + self.config.near_silence;
        let missing = match seek.goal {
            Goal::Find(Target::Peer(_)) => !seek.found,
            Goal::Find(Target::Providers(_)) | Goal::Provide(_) => seek.found_nobody(Network::Lan),
        };
        if self.config.routing.near && missing && now.instant < heard {
            return self.timers.set(Timer::Find(find), heard);
        }
        let Some(seek) = self.finds.remove(&find) else { return };
        self.timers.cancel(&Timer::Find(find));
        self.outputs.push_back(Output::Find { find, event: FindEvent::Finished(seek.ended) });
    }

    /// A peer of the local network, and where it is.
    pub fn handle_discovered(&mut self, peer: PeerId, addrs: &[Multiaddr], now: Now) {
        if peer == self.local || addrs.is_empty() {
            return;
        }
        if !self.near.contains_key(&peer) && self.near.len() >= self.config.near_peers {
            return;
        }
        self.near.insert(peer, addrs.to_vec());
        if let Some(side) = self.routing.side(Network::Lan)
            && side.dht.stats().table_peers < self.config.routing.lan.bucket_size
        {
            side.dht.suggest([PeerInfo { peer, addrs: addrs.to_vec() }], now);
        }
        let mut found = Vec::new();
        for (find, seek) in &mut self.finds {
            if seek.goal == Goal::Find(Target::Peer(peer)) {
                seek.found = true;
                found.push(*find);
                let event = FindEvent::Found(Source::Known, vec![PeerInfo { peer, addrs: addrs.to_vec() }]);
                self.outputs.push_back(Output::Find { find: *find, event });
            }
        }
        for find in found {
            self.review_find(find, now);
        }
        for job in self.job_ids() {
            self.learn_near(job, peer, addrs, now);
            self.review(job, now);
        }
        self.route(now);
    }

    /// A peer of the local network has said goodbye, or nothing for long.
    pub fn handle_undiscovered(&mut self, peer: &PeerId) {
        self.near.remove(peer);
        if let Some(side) = self.routing.side(Network::Lan) {
            side.dht.forget(peer);
        }
    }

    /// A new job learns who is near.
    pub(super) fn adopt_near(&mut self, job: JobId, now: Now) {
        for (peer, addrs) in self.near.clone() {
            self.learn_near(job, peer, &addrs, now);
        }
    }

    /// Who may look everywhere asks those who are near; otherwise only those
    /// that the link names.
    fn learn_near(&mut self, job: JobId, peer: PeerId, addrs: &[Multiaddr], now: Now) {
        let Some(entry) = self.jobs.get_mut(&job) else { return };
        let room = entry.search.find && entry.search.learned(Origin::Near) < self.config.neighbours;
        if room || entry.search.names(&peer) {
            entry.search.add(Some(peer), addrs.to_vec(), Origin::Near, now.instant, &self.config);
            self.adopt(job, peer, now);
        }
    }

    /// Has sources of a job looked for as long as it needs any; true while
    /// something may come of that.
    pub(super) fn seek_sources(&mut self, job: JobId, now: Now) -> bool {
        let needed = self.needs_sources(job);
        let Some(entry) = self.jobs.get_mut(&job) else { return false };
        if !entry.search.find {
            return false;
        }
        let served = entry.search.served_until(&self.config).filter(|until| now.instant < *until);
        if !needed || served.is_some() {
            entry.seek_pause = self.config.seek_pause_min;
            entry.next_seek = served.unwrap_or(now.instant);
            entry.cut_short |= entry.seek.is_some();
            self.end_seek(job);
            return false;
        }
        // Whoever began with a block may have been the only one found, and a liar.
        let forsaken = entry.cut_short && entry.search.sources().is_empty();
        if entry.seek.is_none() && (forsaken || entry.next_seek <= now.instant) {
            entry.cut_short = false;
            let goal = Goal::Find(Target::Providers(entry.search.anchor.unwrap_or(entry.root)));
            let (seek, ask) = self.routing.seek(goal, Owner::Job(job), &self.config, now);
            entry.seek = Some(seek);
            entry.looked_for.clear();
            self.outputs.extend(ask.map(|(ask, target)| Output::AskRouters { ask, target }));
        }
        if let Some(seek) = entry.seek.take_if(|seek| self.routing.is_over(seek)) {
            entry.lonely = seek.found_nobody_anywhere();
            entry.next_seek = now.instant + entry.seek_pause;
            entry.seek_pause = (entry.seek_pause * 2).min(self.config.seek_pause_max);
        }
        let mut whereabouts = self.routing.whereabouts(job);
        let mut waits = false;
        for peer in entry.search.whereabouts_unknown().collect::<Vec<_>>() {
            if whereabouts >= self.config.whereabouts {
                break;
            }
            if entry.looked_for.contains(&peer) {
                continue;
            }
            if !self.routing.find_whereabouts(job, peer, now) {
                waits = true;
                break;
            }
            entry.looked_for.insert(peer);
            whereabouts = self.routing.whereabouts(job);
        }
        entry.seek.is_some() || whereabouts > 0 || waits
    }

    /// Stops looking for sources.
    pub(super) fn end_seek(&mut self, job: JobId) {
        if let Some(entry) = self.jobs.get_mut(&job) {
            entry.seek = None;
        }
        let ours = |owner: &Owner| matches!(owner, Owner::Job(of) | Owner::Whereabouts(of, _) if *of == job);
        let asks = self.routing.give_up(ours);
        self.outputs.extend(asks.into_iter().map(|ask| Output::CancelRouters { ask }));
    }

    /// A router named peers.
    pub fn handle_router_answer(&mut self, ask: RouterQuestion, peers: Vec<PeerInfo>, now: Now) {
        if let Some(owner) = self.routing.questions.get(&ask).copied() {
            self.found(owner, Source::Router, peers, now);
        }
        self.route(now);
    }

    /// The routers have said all that they will.
    pub fn handle_router_done(&mut self, ask: RouterQuestion, report: RouterReport, now: Now) {
        match self.routing.questions.remove(&ask) {
            Some(Owner::Find(find)) => {
                if let Some(seek) = self.finds.get_mut(&find) {
                    seek.question = None;
                    self.outputs.push_back(Output::Find { find, event: FindEvent::Routers(report) });
                }
                self.review_find(find, now);
            }
            Some(Owner::Job(job) | Owner::Whereabouts(job, _)) => {
                if let Some(entry) = self.jobs.get_mut(&job) {
                    entry.search.handle_routers(report);
                    if let Some(seek) = &mut entry.seek {
                        seek.question = None;
                    }
                }
                self.review(job, now);
            }
            Some(Owner::Sweep(_)) | None => {}
        }
        self.route(now);
    }

    /// Peers were found for someone.
    fn found(&mut self, owner: Owner, source: Source, peers: Vec<PeerInfo>, now: Now) {
        match owner {
            Owner::Find(find) => {
                if let Some(seek) = self.finds.get_mut(&find) {
                    seek.found |= match seek.goal {
                        Goal::Find(Target::Peer(peer)) => {
                            peers.iter().any(|info| info.peer == peer && !info.addrs.is_empty())
                        }
                        Goal::Find(Target::Providers(_)) | Goal::Provide(_) => true,
                    };
                }
                let event = FindEvent::Found(source, peers);
                self.outputs.push_back(Output::Find { find, event });
            }
            // It asks for no more than who is closest.
            Owner::Sweep(_) => {}
            Owner::Job(job) | Owner::Whereabouts(job, _) => {
                for info in peers {
                    if info.peer == self.local {
                        continue;
                    }
                    let Some(entry) = self.jobs.get_mut(&job) else { return };
                    entry.search.add(Some(info.peer), info.addrs, Origin::Routing, now.instant, &self.config);
                    self.adopt(job, info.peer, now);
                }
                self.review(job, now);
            }
        }
    }

    /// Does what the DHTs want done; true if there was anything.
    pub(super) fn route_dhts(&mut self, now: Now) -> bool {
        let mut moved = false;
        for network in [Network::Wan, Network::Lan] {
            while let Some(output) = self.routing.side(network).and_then(|side| side.dht.poll_output()) {
                moved = true;
                self.route_dht(network, output, now);
                if let Some(side) = self.routing.side(network) {
                    side.bootstrapping |= side.dht.is_bootstrapping();
                }
            }
            moved |= self.begin_waiting(network, now);
            let Some(side) = self.routing.side(network) else { continue };
            let waits = std::mem::replace(&mut side.bootstrapping, side.dht.is_bootstrapping());
            if waits && !side.bootstrapping {
                moved = true;
                self.review_all(now);
            }
        }
        moved
    }

    /// Begins look-ups that had to wait for others to end; true if there were any.
    fn begin_waiting(&mut self, network: Network, now: Now) -> bool {
        let mut moved = false;
        while let Some(owner) = self.routing.side(network).and_then(Side::next_waiting) {
            moved = true;
            let seek = match owner {
                Owner::Find(find) => self.finds.get_mut(&find).map(Box::as_mut),
                Owner::Job(job) => self.jobs.get_mut(&job).and_then(|entry| entry.seek.as_mut()),
                Owner::Whereabouts(..) | Owner::Sweep(_) => None,
            };
            if let Some(seek) = seek {
                self.routing.go_on(seek, owner, network, now);
            }
        }
        let Some(side) = self.routing.side(network) else { return moved };
        moved |= side.sweep_on(now);
        if side.is_relieved() {
            moved = true;
            self.review_all(now);
        }
        moved
    }

    fn route_dht(&mut self, network: Network, output: Dht, now: Now) {
        match output {
            Dht::SendRequest { id, peer, addrs, request } => {
                self.send_request(network, id, peer, &addrs, request, now);
            }
            Dht::CancelRequest { id, silent } => self.cancel_request(network, id, silent, now),
            Dht::Invented { peer } => self.score_deed(&peer, Deed::Invented, now),
            Dht::Progress { lookup, progress } => match self.owner(network, lookup) {
                Some(Owner::Find(find)) => {
                    let event = FindEvent::Progress(network, progress);
                    self.outputs.push_back(Output::Find { find, event });
                }
                Some(Owner::Job(job)) => {
                    if let Some(seek) = self.jobs.get_mut(&job).and_then(|entry| entry.seek.as_mut()) {
                        seek.handle_progress(network, progress);
                    }
                }
                Some(Owner::Whereabouts(..) | Owner::Sweep(_)) | None => {}
            },
            Dht::ProvidersFound { lookup, providers, again } => {
                let Some(owner) = self.owner(network, lookup) else { return };
                if let Owner::Job(job) = owner
                    && let Some(entry) = self.jobs.get_mut(&job)
                {
                    again.iter().for_each(|peer| entry.search.handle_named_again(peer));
                }
                if !providers.is_empty() {
                    self.found(owner, Source::Dht(network), providers, now);
                }
            }
            Dht::PeerFound { lookup, info } => {
                if let Some(owner) = self.owner(network, lookup) {
                    self.found(owner, Source::Dht(network), vec![info], now);
                }
            }
            Dht::LookupFinished { lookup, report } => {
                let owner = self.routing.side(network).and_then(|side| side.owners.remove(&lookup));
                match owner {
                    Some(Owner::Find(find)) => {
                        if let Some(seek) = self.finds.get_mut(&find) {
                            seek.handle_finished(network, report);
                        }
                        self.review_find(find, now);
                    }
                    Some(Owner::Job(job)) => {
                        if let Some(seek) = self.jobs.get_mut(&job).and_then(|entry| entry.seek.as_mut()) {
                            seek.handle_finished(network, report);
                        }
                        self.review(job, now);
                    }
                    Some(Owner::Whereabouts(job, _)) => self.review(job, now),
                    Some(Owner::Sweep(task)) => {
                        if let Some(side) = self.routing.side(network) {
                            side.sweep.handle_closest(task, &report, now);
                        }
                    }
                    None => {}
                }
            }
            Dht::Announced { id, told } => {
                if let Some(side) = self.routing.side(network)
                    && let Some(task) = side.deliveries.remove(&id)
                {
                    side.sweep.handle_announced(task, told, now);
                }
            }
            Dht::PeerAdded { .. } => self.seek_again(network, now),
            // Nobody looks for values yet.
            Dht::ValueFound { .. } | Dht::PeerRemoved { .. } => {}
        }
    }

    fn owner(&mut self, network: Network, lookup: peerage_dht::LookupId) -> Option<Owner> {
        self.routing.side(network)?.owners.get(&lookup).copied()
    }

    /// A DHT has one more peer: whoever found nobody there asks it.
    fn seek_again(&mut self, network: Network, now: Now) {
        for job in self.job_ids() {
            let Some(entry) = self.jobs.get_mut(&job) else { continue };
            match &mut entry.seek {
                Some(seek) if seek.found_nobody(network) => {
                    self.routing.begin(seek, Owner::Job(job), network, now);
                }
                // It had given up for a while for want of anyone to ask.
                None if entry.lonely && entry.search.is_fruitless() => {
                    entry.lonely = false;
                    entry.next_seek = now.instant;
                    self.timers.set(Timer::Review(job), now.instant);
                }
                _ => {}
            }
        }
        let mut finds = std::mem::take(&mut self.finds);
        for (find, seek) in finds.iter_mut().filter(|(_, seek)| seek.found_nobody(network)) {
            self.routing.begin(seek, Owner::Find(*find), network, now);
        }
        self.finds = finds;
    }

    /// A DHT has its first peer, or gave up on finding one: who waited looks again.
    fn review_all(&mut self, now: Now) {
        for job in self.job_ids() {
            self.review(job, now);
        }
        for find in self.finds.keys().copied().collect::<Vec<_>>() {
            self.review_find(find, now);
        }
    }
}
