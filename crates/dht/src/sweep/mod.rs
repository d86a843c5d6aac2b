//! Announcing many keys: a sweep over the keyspace that tells of neighbouring
//! keys together. Sources: go-libp2p-kad-dht `provider` and its design notes;
//! the send side only, nothing on the wire is new.
//!
//! Announcing a key takes a look-up and twenty servers. Neighbouring keys have
//! the same servers, so for many keys one look-up says enough for hundreds,
//! and a server is told of all its keys over one connection. The sweep goes
//! once through the keyspace in an [interval](crate::SweepConfig::interval);
//! each key's turn comes when the clock passes its position, so that the load
//! is even. New keys do not wait for their turn.
//!
//! Turns are of unix time, which goes on while the machine sleeps; timers are
//! not, so the calendar is looked at every few minutes too.
//!
//! Left out on purpose: values (`/ipns`), which have few keys and one look-up
//! each; and which blocks are worth announcing, which is the owner's to say.

mod job;
mod keys;
mod keyspace;
mod output;
mod schedule;
mod waiting;
mod work;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use peerage_base::{Instant, Now, Rng, Timers, UnixTime};

use crate::key::Key;
use crate::limits::SweepConfig;
use crate::output::Report;
use job::Job;
use keys::{KeyMap, Keys, Multihash, Next};
use keyspace::{Known, Prefix};
pub use output::{Output, Stats, SweepError, TaskId, Timer};
pub use schedule::Cursor;
use schedule::Schedule;
use waiting::Waiting;

/// The provide sweep as a state machine.
///
/// After every input, drain [`Sweep::poll_output`] and look at
/// [`Sweep::poll_timeout`]. Time never goes back; an early `handle_timeout`
/// changes nothing. The same seed and inputs give the same outputs.
///
/// It begins offline: see [`Sweep::set_online`].
#[derive(Debug)]
pub struct Sweep {
    config: SweepConfig,
    keys: Keys,
    /// Announced as soon as possible: new ones, and what is tried again.
    soon: Waiting,
    /// What failed.
    later: Waiting,
    /// Of these, and of those on their way again, what somebody was told of.
    thin: BTreeSet<Key>,
    /// Keys of the owner's that failed and had no room in `later`, in this cycle
    /// and in the one before: nobody is told of them before their turn.
    put_off: [usize; 2],
    schedule: Schedule,
    /// When the machine was last driven.
    seen: Now,
    known: Known,
    work: work::Work,
    reach: Reachability,
    retry: Duration,
    rng: Rng,
    out: VecDeque<Output>,
    timers: Timers<Timer>,
    stats: Stats,
}

/// Whether anybody can be asked.
#[derive(Debug)]
struct Reachability {
    online: bool,
    /// A look-up found nobody; nothing is begun for a while.
    stalled: bool,
    /// The next such pause.
    pause: Duration,
}

impl Sweep {
    /// A sweep of no keys, whose first cycle begins now.
    #[must_use]
    pub fn new(config: SweepConfig, seed: u64, now: Now) -> Self {
        Self {
            keys: Keys::new(config.listed),
            soon: Waiting::default(),
            later: Waiting::default(),
            thin: BTreeSet::new(),
            put_off: [0; 2],
            schedule: Schedule::new(config.interval, config.catch_up, now),
            seen: now,
            known: Known::new(config.replication.max(1), config.closest_group_max, config.reuse_for),
            work: work::Work::default(),
            reach: Reachability { online: false, stalled: false, pause: config.stall_min },
            retry: config.retry_min,
            rng: Rng::new(seed),
            out: VecDeque::new(),
            timers: Timers::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// A new key: it is announced at once, and from then on in its turn. Says
    /// whether it was new.
    ///
    /// # Errors
    /// See [`SweepError`].
    pub fn announce(&mut self, multihash: &[u8], now: Now) -> Result<bool, SweepError> {
        let (key, hash) = self.admit(multihash)?;
        let new = self.keys.held.insert(key, hash).is_none();
        if self.soon.contains(&key) {
            return Ok(new);
        }
        // One that failed is tried again now, not when its time comes.
        let failed = self.later.remove(&key);
        if new || failed {
            self.soon.insert_held(key);
        }
        self.pump(now);
        Ok(new)
    }

    /// Whether [`Sweep::announce`] would take a key now.
    ///
    /// # Errors
    /// See [`SweepError`].
    pub fn check(&self, multihash: &[u8]) -> Result<(), SweepError> {
        self.admit(multihash).map(drop)
    }

    /// The owner's set has a new key, which it lists from now on: it is
    /// announced at once, and not held here beyond that.
    ///
    /// # Errors
    /// [`SweepError::Full`] as long as too many wait: to be tried again.
    pub fn announce_listed(&mut self, multihash: &[u8], now: Now) -> Result<(), SweepError> {
        let hash = Multihash::new(multihash).ok_or(SweepError::Multihash(multihash.len()))?;
        let key = Key::of(multihash);
        if self.soon.contains(&key) {
            return Ok(());
        }
        if self.soon.listed() >= self.config.waiting_max {
            return Err(SweepError::Full);
        }
        if let Some(listing) = &mut self.keys.listing {
            // Twice what one answer adds.
            listing.note(key, hash.clone(), self.schedule.next(), 2 * self.config.job_keys);
        }
        self.later.remove(&key);
        self.soon.insert_listed(key, hash);
        self.pump(now);
        Ok(())
    }

    /// How many keys of its own the owner lists, beside those that are held: it
    /// is asked for them by [`Output::ListKeys`], again if they are others now.
    /// None: it lists none, and is not asked.
    pub fn set_listed(&mut self, listed: Option<usize>, now: Now) {
        self.keys.listing = listed.map(|_| keys::Listing::default());
        self.keys.listed = listed.unwrap_or(0);
        self.pump(now);
    }

    /// A key that was announced before, in an earlier run: its turn comes.
    /// Nothing to do for keys that are the owner's. Says whether it was new.
    ///
    /// # Errors
    /// See [`SweepError`].
    pub fn insert(&mut self, multihash: &[u8], now: Now) -> Result<bool, SweepError> {
        let (key, hash) = self.admit(multihash)?;
        let new = self.keys.held.insert(key, hash).is_none();
        self.pump(now);
        Ok(new)
    }

    /// A key is announced no more. What servers were told they forget
    /// themselves. Says whether it was known.
    pub fn remove(&mut self, multihash: &[u8]) -> bool {
        let key = Key::of(multihash);
        let waited = self.soon.remove(&key) | self.later.remove(&key);
        self.thin.remove(&key);
        let ahead = self.keys.listing.as_mut().and_then(|listing| listing.remove(&key));
        self.keys.held.remove(&key).is_some() | ahead.is_some() | waited
    }

    fn admit(&self, multihash: &[u8]) -> Result<(Key, Multihash), SweepError> {
        let hash = Multihash::new(multihash).ok_or(SweepError::Multihash(multihash.len()))?;
        let key = Key::of(multihash);
        let held = &self.keys.held;
        if held.len() >= self.config.keys_max && !held.contains_key(&key) {
            return Err(SweepError::Full);
        }
        Ok((key, hash))
    }

    /// Whether servers have a key that is held here: one was told of it since it
    /// was new, or by an earlier run, and it does not wait to be told again.
    #[must_use]
    pub fn is_told(&self, multihash: &[u8]) -> bool {
        let key = Key::of(multihash);
        if let Some(told) = self.work.soon_told(&key) {
            return told;
        }
        let waits = self.soon.contains(&key) || self.later.contains(&key);
        !waits && self.keys.held.contains_key(&key)
    }

    /// Whether there is anybody to ask, and an address of ours to tell: from
    /// the DHT's first peer on. What became due meanwhile follows at
    /// [`SweepConfig::catch_up`] times the usual pace.
    pub fn set_online(&mut self, online: bool, now: Now) {
        self.reach.online = online;
        if online {
            self.resume_work(now);
        }
    }

    /// Where the sweep is, to be stored now and then.
    #[must_use]
    pub fn cursor(&self) -> Cursor {
        let next = keyspace::position(self.schedule.next());
        let position = self.work.first_turn().map_or(next, |first| first.min(next));
        Cursor { position, began: self.schedule.began() }
    }

    /// Goes on where an earlier run was. To be called before anything is begun.
    pub fn resume(&mut self, cursor: Cursor, now: Now) {
        self.schedule.resume(cursor);
        self.keys.rewind();
        self.pump(now);
    }

    /// A look-up of [`Output::FindClosest`] is over.
    pub fn handle_closest(&mut self, id: TaskId, report: &Report, now: Now) {
        self.lookup_ended(id, Some(report), now);
        self.pump(now);
    }

    /// A look-up of [`Output::FindClosest`] could not be begun.
    pub fn handle_lookup_failed(&mut self, id: TaskId, now: Now) {
        self.lookup_ended(id, None, now);
        self.pump(now);
    }

    /// A server was told of the first `told` of the multihashes of
    /// [`Output::Announce`], and not of the others.
    pub fn handle_announced(&mut self, id: TaskId, told: usize, now: Now) {
        self.delivery_ended(id, told);
        self.pump(now);
    }

    /// The answer to [`Output::ListKeys`]: fewer multihashes than were asked
    /// for mean that there are no more. An answer to another question is
    /// ignored; multihashes that no DHT takes are left out.
    pub fn handle_keys(&mut self, from: Key, multihashes: &[Bytes], now: Now) {
        let Some(listing) = &mut self.keys.listing else { return };
        if listing.asked != Some(from) {
            return;
        }
        listing.asked = None;
        let complete = multihashes.len() < self.config.job_keys;
        let read = multihashes.iter().take(self.config.job_keys);
        let keys = read.filter_map(|bytes| Some((Key::of(bytes), Multihash::new(bytes)?)));
        listing.extend(from, keys, complete);
        self.pump(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`Sweep::handle_timeout`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Timer)> {
        self.timers.next()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.pop_due(now.instant) {
            match timer {
                Timer::Turn | Timer::Clock => {}
                Timer::Stall => self.reach.stalled = false,
                Timer::Retry => {
                    self.soon.append(&mut self.later);
                    self.retry = (self.retry * 2).min(self.config.retry_max);
                }
            }
            self.pump(now);
        }
    }

    /// How it stands. Counts the keys that are overdue, one by one.
    #[must_use]
    pub fn stats(&self, now: Now) -> Stats {
        let overdue = match self.keys.listing {
            None => Some(self.overdue(&self.keys.held, now.unix)),
            Some(_) => None,
        };
        let lag = match self.keys.next(self.schedule.next()) {
            Next::Key(key) => self.schedule.lag(&key, now.unix),
            Next::Ask => self.schedule.lag(self.schedule.next(), now.unix),
            Next::End => Duration::ZERO,
        };
        let put_off = self.put_off.iter().sum::<usize>();
        Stats {
            lag,
            keys: self.keys.held.len() + self.keys.listed,
            overdue,
            waiting: (self.soon.len() + self.later.len() + self.work.soon_keys() + put_off)
                .saturating_sub(self.thin.len()),
            put_off,
            thin: self.thin.len(),
            next_due: self.timers.deadline(&Timer::Turn),
            ..self.stats
        }
    }

    fn overdue(&self, map: &KeyMap, now: UnixTime) -> usize {
        let until = self.schedule.due_until(now);
        let due = |key: &Key| keyspace::position(key) < until;
        let waiting = map.range(self.schedule.next()..).take_while(|(key, _)| due(key)).count();
        waiting + self.work.turn_keys()
    }
}
