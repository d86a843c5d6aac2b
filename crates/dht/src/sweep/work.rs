//! What is going on: which jobs are begun, what they ask for, and what becomes
//! of their keys.

use super::job::{Class, Target, Told};
use super::keyspace::{Server, position};
use super::schedule::Turn;
use super::*;
use crate::output::End;

/// Jobs, and what they wait for.
#[derive(Debug, Default)]
pub(super) struct Work {
    jobs: BTreeMap<u64, Job>,
    lookups: BTreeMap<TaskId, (u64, Target)>,
    deliveries: BTreeMap<TaskId, Delivery>,
    /// Jobs that know whom to tell and have not begun to tell all.
    telling: BTreeSet<(Class, u64)>,
    next_id: u64,
}

#[derive(Debug)]
struct Delivery {
    job: u64,
    class: Class,
    entries: Vec<u32>,
}

impl Work {
    const fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn of_class(&self, class: Class) -> impl Iterator<Item = &Job> {
        self.jobs.values().filter(move |job| job.class == class)
    }

    /// Where the first unfinished job begins whose turn it was.
    pub(super) fn first_turn(&self) -> Option<u64> {
        self.of_class(Class::Turn).map(Job::first).min()
    }

    pub(super) fn soon_keys(&self) -> usize {
        self.of_class(Class::Soon).map(Job::len).sum()
    }

    pub(super) fn turn_keys(&self) -> usize {
        self.of_class(Class::Turn).map(Job::len).sum()
    }

    fn is_soon(&self, key: &Key) -> bool {
        self.of_class(Class::Soon).any(|job| job.contains(key))
    }

    /// Whether a server was told of a key that is on its way because it is new.
    pub(super) fn soon_told(&self, key: &Key) -> Option<bool> {
        self.of_class(Class::Soon).find_map(|job| job.is_told(key))
    }

    fn told_now(&self, class: Class) -> usize {
        self.deliveries.values().filter(|delivery| delivery.class == class).count()
    }
}

impl Sweep {
    /// Begins what may be begun. After every input.
    pub(super) fn pump(&mut self, now: Now) {
        self.notice_sleep(now);
        self.known.forget_old(now.instant);
        if self.reach.online && !self.reach.stalled {
            while self.begin_soon() {}
            while self.begin_turn(now) {}
        }
        self.deliver(Class::Soon);
        self.deliver(Class::Turn);
        if self.later.is_empty() {
            self.timers.cancel(&Timer::Retry);
        } else if self.timers.deadline(&Timer::Retry).is_none() {
            self.timers.set(Timer::Retry, now.instant + self.retry);
        }
        match self.timers.deadline(&Timer::Turn) {
            Some(turn) if turn.since(now.instant) > self.config.clock_check => {
                self.timers.set(Timer::Clock, now.instant + self.config.clock_check);
            }
            _ => drop(self.timers.cancel(&Timer::Clock)),
        }
    }

    /// What was found before a sleep of the machine is old after it.
    fn notice_sleep(&mut self, now: Now) {
        let calendar = Duration::from_secs(now.unix.0.saturating_sub(self.seen.unix.0));
        let slept = calendar.saturating_sub(now.instant.since(self.seen.instant));
        self.seen = now;
        if slept >= self.config.clock_check {
            self.known.forget_all();
        }
    }

    /// Whether one more job of this class may run. Each leaves room for one of
    /// the other.
    fn has_room(&self, class: Class) -> bool {
        let max = self.config.jobs_max.max(2);
        // Before the first look-up nobody knows how far one reaches.
        let blind = self.known.depth().is_none() && !self.work.lookups.is_empty();
        self.work.jobs.len() < max && self.work.of_class(class).count() + 1 < max && !blind
    }

    /// How many keys, and up to where, one job takes together with the first.
    fn extent(&self, first: &Key, at_least: u32) -> (u64, usize) {
        match self.known.depth() {
            Some(depth) => {
                (Prefix::of(position(first), depth.max(at_least)).last(), self.config.job_keys.max(1))
            }
            None => (position(first), 1),
        }
    }

    /// New keys, and what is tried again.
    fn begin_soon(&mut self) -> bool {
        let Some(first) = self.soon.first().filter(|_| self.has_room(Class::Soon)) else {
            return false;
        };
        let (last, max) = self.extent(&first, 0);
        let taken = self.soon.take(last, max, &self.keys.held);
        self.begin(Class::Soon, taken);
        true
    }

    /// Keys whose turn has come.
    fn begin_turn(&mut self, now: Now) -> bool {
        self.schedule.mend(now);
        if !self.has_room(Class::Turn) {
            return false;
        }
        let from = *self.schedule.next();
        match self.keys.next(&from) {
            Next::Key(first) => {
                if !self.is_due(&first, now) {
                    return false;
                }
                let (last, max) = self.extent(&first, self.config.spread);
                let mut taken = self.keys.take(&first, last, max);
                let Some((end, _)) = taken.last() else { return false };
                self.schedule.begun(&first, end, now.instant);
                // What is being announced because it is new is not once more.
                taken.retain(|(key, _)| !self.soon.contains(key) && !self.work.is_soon(key));
                if !taken.is_empty() {
                    self.begin(Class::Turn, taken);
                }
                true
            }
            Next::Ask => {
                if self.is_due(&from, now) {
                    self.list(&from);
                }
                false
            }
            // A cycle is over when its last jobs are.
            Next::End if self.work.first_turn().is_some() => false,
            Next::End => self.end_cycle(),
        }
    }

    fn is_due(&mut self, key: &Key, now: Now) -> bool {
        match self.schedule.turn(key, now) {
            Turn::Now => true,
            Turn::At(at) => {
                self.timers.set(Timer::Turn, at);
                false
            }
        }
    }

    fn list(&mut self, from: &Key) {
        if let Some(listing) = &mut self.keys.listing
            && listing.asked.is_none()
        {
            let from = listing.resume_at(from);
            listing.asked = Some(from);
            self.out.push_back(Output::ListKeys { from, max: self.config.job_keys });
        }
    }

    /// True if there is anything in the next cycle.
    fn end_cycle(&mut self) -> bool {
        if self.keys.held.is_empty() && self.keys.listing.is_none() {
            return false;
        }
        self.keys.rewind();
        self.schedule.wrap();
        self.stats.announced = 0;
        self.put_off = [0, self.put_off[0]];
        self.retry = self.config.retry_min;
        true
    }

    fn begin(&mut self, class: Class, keys: Vec<(Key, Multihash)>) {
        let id = self.work.next_id();
        self.work.jobs.insert(id, Job::new(class, keys));
        self.advance(id);
    }

    /// The next look-up of a job, or on to telling.
    fn advance(&mut self, id: u64) {
        let Some(job) = self.work.jobs.get_mut(&id) else { return };
        let class = job.class;
        if let Some(target) = job.explore(&self.known, &mut self.rng) {
            let task = TaskId(self.work.next_id());
            self.out.push_back(Output::FindClosest { id: task, key: target.wire.clone() });
            self.work.lookups.insert(task, (id, target));
        } else if job.is_over() {
            self.finish(id);
        } else {
            self.work.telling.insert((class, id));
        }
    }

    pub(super) fn lookup_ended(&mut self, id: TaskId, report: Option<&Report>, now: Now) {
        let Some((job, target)) = self.work.lookups.remove(&id) else { return };
        self.stats.lookups += 1;
        let Some(report) = report.filter(|report| !report.closest.is_empty()) else {
            self.stats.lookups_failed += 1;
            self.put_back(job);
            self.stall(now);
            return;
        };
        self.reach.pause = self.config.stall_min;
        let closest = report.closest.iter().zip(&report.groups);
        let servers: Vec<_> = closest.map(|(info, group)| Server::new(info.clone(), *group)).collect();
        let progress = report.progress;
        // Who was late, or never asked, may be closer than any that answered.
        let silent = progress.asked.saturating_sub(progress.answered);
        let whole = report.end == End::Complete && (progress.asked as usize) < self.config.asked_max;
        // Few servers are a small network, or a large one out of reach.
        let out_of_reach = self.known.are_few(&servers) && silent >= progress.answered;
        if whole && !out_of_reach {
            self.known.learn(&target.key, &servers, now.instant);
        } else {
            self.known.learned_nothing();
        }
        if let Some(job) = self.work.jobs.get_mut(&job) {
            job.found(&target.key, self.known.enough(&servers));
        }
        self.advance(job);
    }

    /// There is nobody to ask: what a job has waits.
    fn put_back(&mut self, id: u64) {
        let Some(job) = self.work.jobs.remove(&id) else { return };
        if job.class == Class::Turn {
            let next = position(self.schedule.next());
            self.schedule.move_to(job.first().min(next));
            self.keys.rewind();
            return;
        }
        // Also if others have taken their places meanwhile: they are few.
        for (key, wire, _) in job.into_results() {
            self.soon.put(key, &wire, &self.keys);
        }
    }

    fn stall(&mut self, now: Now) {
        self.reach.stalled = true;
        self.timers.set(Timer::Stall, now.instant + self.reach.pause);
        self.reach.pause = (self.reach.pause * 2).min(self.config.stall_max);
    }

    /// There is somebody to ask, perhaps again.
    pub(super) fn resume_work(&mut self, now: Now) {
        self.reach.stalled = false;
        self.reach.pause = self.config.stall_min;
        self.timers.cancel(&Timer::Stall);
        self.pump(now);
    }

    /// Has servers told, as many at once as may be.
    fn deliver(&mut self, class: Class) {
        let mut free = self.config.servers_max.max(1).saturating_sub(self.work.told_now(class));
        let telling: Vec<u64> =
            self.work.telling.range((class, 0)..=(class, u64::MAX)).map(|&(_, id)| id).collect();
        for id in telling {
            while free > 0 {
                let batch = self.work.jobs.get_mut(&id).and_then(Job::next_batch);
                let Some(batch) = batch else {
                    self.work.telling.remove(&(class, id));
                    break;
                };
                free -= 1;
                let task = TaskId(self.work.next_id());
                self.work.deliveries.insert(task, Delivery { job: id, class, entries: batch.entries });
                self.out.push_back(Output::Announce { id: task, peer: batch.peer, multihashes: batch.keys });
            }
        }
    }

    pub(super) fn delivery_ended(&mut self, id: TaskId, told: usize) {
        let Some(delivery) = self.work.deliveries.remove(&id) else { return };
        let told = told.min(delivery.entries.len());
        self.stats.records += told as u64;
        self.stats.records_failed += (delivery.entries.len() - told) as u64;
        if let Some(job) = self.work.jobs.get_mut(&delivery.job) {
            job.in_flight -= 1;
            job.told(&delivery.entries[..told]);
            if job.is_over() {
                self.finish(delivery.job);
            }
        }
    }

    /// All servers were told, or could not be.
    fn finish(&mut self, id: u64) {
        let Some(job) = self.work.jobs.remove(&id) else { return };
        self.work.telling.remove(&(job.class, id));
        self.stats.regions += 1;
        let turn = job.class == Class::Turn;
        for (key, wire, told) in job.into_results() {
            // Also if it was to be told of again because it is thin.
            self.thin.remove(&key);
            if told == Told::Enough {
                self.stats.announced += u64::from(turn);
                self.later.remove(&key);
                continue;
            }
            self.stats.keys_failed += 1;
            let held = self.keys.held.contains_key(&key);
            if !held && self.later.listed() >= self.config.waiting_max && !self.later.contains(&key) {
                self.put_off[0] += usize::from(told == Told::Nobody);
                continue;
            }
            self.later.put(key, &wire, &self.keys);
            if told == Told::Some && self.later.contains(&key) {
                self.thin.insert(key);
            }
        }
        if self.later.is_empty() && self.soon.is_empty() {
            self.retry = self.config.retry_min;
        }
    }
}
