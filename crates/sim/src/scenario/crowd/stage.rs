//! What all plays of a crowd have in common: hosts with equal lines, one file, who
//! gets it since when, and what is said of that in the end.

use std::collections::BTreeSet;
use std::num::NonZeroU64;
use std::time::Duration;

use peerage_base::Instant;
use peerage_content::{Cid, Multihash};
use peerage_engine::{Config, JobError, JobId, JobProgress};

use super::bounds::{Bounds, Lines};
use crate::figures::{Figures, micros};
use crate::host::{Host, HostId};
use crate::hostile::Behaviour;
use crate::scenario::fetch::ended;
use crate::world::{BOOTSTRAP, CACHED, Setup, World};

/// A file of 256 MiB, in blocks of the size that `share` makes.
const LEAVES: u32 = 256;
pub(super) const LEAF: u32 = 1 << 20;

/// 8 MB/s, in kilobits a second; and what the downlink takes, as many times that.
pub(super) const UP_KBPS: u64 = 64_000;
const DOWN_TIMES: u64 = 10;

/// The host that has the file in the beginning.
pub(super) const SEEDER: HostId = 0;

/// How often it is looked what has changed.
const TICK: Duration = Duration::from_millis(20);
/// Whoever is not done in so many times the bound never will be.
const PATIENCE: u32 = 20;

/// How large a play is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Those that want the file.
    pub(super) getters: u32,
    /// Its blocks.
    pub(super) leaves: u32,
}

impl Size {
    pub(super) const fn whole(getters: u32) -> Self {
        Self { getters, leaves: LEAVES }
    }

    pub(super) const fn bytes(self) -> u64 {
        self.leaves as u64 * LEAF as u64
    }
}

/// A fetch of somebody.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fetch {
    pub(super) host: HostId,
    job: JobId,
    began: Instant,
    ended: Option<Instant>,
}

/// A world with a file, and who gets it.
#[derive(Debug)]
pub(super) struct Crowd {
    pub(super) world: World,
    pub(super) size: Size,
    root: Cid,
    hashes: BTreeSet<Multihash>,
    pub(super) fetches: Vec<Fetch>,
}

impl Crowd {
    /// So many hosts, the seeder among them. `cast` may give a host another line, which
    /// its peer is told as by `--max-up`, or another behaviour.
    pub(super) fn new(size: Size, hosts: u32, seed: u64, cast: impl Fn(HostId, &mut Host)) -> Self {
        // Those that everyone knows are there in every world.
        let hosts = hosts.max(BOOTSTRAP);
        let setup = Setup { blocks: true, loss_times: 0, ..Setup::new(hosts, seed) };
        let mut world = World::new(setup, Config::default());
        for host in 0..hosts {
            let at = world.host_mut(host);
            (at.up_kbps, at.down_kbps) = (UP_KBPS, DOWN_TIMES * UP_KBPS);
            cast(host, at);
            let rate = NonZeroU64::new(at.up_kbps * 1_000 / 8);
            world.act(host, |node, now| node.engine.limit_sending(rate, now));
        }
        world.run_for(Duration::from_secs(5));
        let (root, hashes) = world.add_file(size.leaves, LEAF);
        let mut crowd = Self { world, size, root, hashes, fetches: Vec::new() };
        crowd.seed(SEEDER);
        crowd
    }

    /// Gives a host the file; it serves it.
    pub(super) fn seed(&mut self, host: HostId) {
        self.world.share(host, self.root, &self.hashes, CACHED);
    }

    /// A host begins to get the file by a link that names `from` alone.
    pub(super) fn begin(&mut self, host: HostId, from: &[HostId], wait: Option<Duration>) {
        let before = self.fetches.iter().filter(|fetch| fetch.host == host).count();
        let job = JobId(before as u64 + 1);
        self.fetches.push(Fetch { host, job, began: self.world.now, ended: None });
        self.world.fetch_from(host, job, self.root, from, wait);
    }

    /// Lets time pass while `go_on`; false if that is so for longer than `most`.
    pub(super) fn run_while(&mut self, most: Duration, mut go_on: impl FnMut(&Self) -> bool) -> bool {
        let until = self.world.now + most;
        while go_on(self) {
            if self.world.now >= until {
                return false;
            }
            self.world.run_for(TICK);
            let now = self.world.now;
            for fetch in self.fetches.iter_mut().filter(|fetch| fetch.ended.is_none()) {
                fetch.ended = ended(&self.world, fetch.host, fetch.job).map(|_| now);
            }
        }
        true
    }

    /// Lets so much time pass.
    pub(super) fn run_for(&mut self, span: Duration) {
        self.run_while(span, |_| true);
    }

    /// Lets time pass until all fetches have ended, or for many times the bound.
    pub(super) fn run_out(&mut self, bounds: &Bounds) -> bool {
        self.run_while(bounds.whole_blocks * PATIENCE, |crowd| crowd.fetches.iter().any(Fetch::goes_on))
    }

    /// How a fetch ended.
    pub(super) fn outcome(&self, fetch: &Fetch) -> Option<&Result<JobProgress, JobError>> {
        ended(&self.world, fetch.host, fetch.job)
    }

    /// Whether a host has all of it.
    pub(super) fn has_all(&self, host: HostId) -> bool {
        self.world.holds(host, &self.hashes)
    }

    /// Blocks that at least one of these has.
    pub(super) fn out(&self, hosts: &[HostId]) -> usize {
        let held = |hash: &&Multihash| hosts.iter().any(|&host| self.world.has(host, hash));
        self.hashes.iter().filter(held).count()
    }

    /// Blocks that there are, and the node that names them.
    pub(super) fn blocks(&self) -> usize {
        self.hashes.len()
    }

    /// The lines of those that have it and those that get it, as far as they give.
    pub(super) fn lines(&self, seeds: &[HostId], getters: &[HostId]) -> Lines {
        let up = |host: HostId| {
            let at = self.world.host(host);
            if at.behaviour == Behaviour::Honest { at.up_kbps } else { 0 }
        };
        let down = |host: HostId| self.world.host(host).down_kbps;
        Lines {
            seeds: seeds.iter().map(|&host| up(host)).collect(),
            getters: getters.iter().map(|&host| (up(host), down(host))).collect(),
        }
    }

    /// The bounds for those.
    pub(super) fn bounds(&self, seeds: &[HostId], getters: &[HostId]) -> Bounds {
        self.lines(seeds, getters).bounds(self.size.leaves, LEAF)
    }

    /// Says when all of these were done, beside the bounds, what came twice and of how
    /// many sources; promises that each has all, the last within so many thousandths of
    /// the bound of whole blocks.
    pub(super) fn tell(&self, hosts: &[HostId], bounds: &Bounds, within: u32, figures: &mut Figures) {
        let whole = hosts.iter().filter(|&&host| self.has_all(host)).count();
        figures.promise(whole == hosts.len(), || format!("{whole} of {} have it", hosts.len()));
        let (mut took, mut duplicates, mut sources) = (Vec::new(), 0, Vec::new());
        for fetch in self.fetches.iter().filter(|fetch| hosts.contains(&fetch.host)) {
            let Some((Ok(progress), end)) = self.outcome(fetch).zip(fetch.ended) else { continue };
            took.push(micros(end.since(fetch.began)));
            duplicates += progress.duplicates;
            sources.push(progress.received.len() as u64);
        }
        let done = took.len();
        figures.promise(done == hosts.len(), || format!("{done} of {} are done", hosts.len()));
        let last = took.iter().copied().max().unwrap_or(u64::MAX);
        promise_within(figures, within, bounds, Duration::from_micros(last));
        let of = |bound: Duration| last.saturating_mul(1_000) / micros(bound).max(1);
        figures.set("bound_fluid_us", micros(bounds.fluid));
        figures.set("bound_whole_blocks_us", micros(bounds.whole_blocks));
        figures.set("last_us", last);
        figures.set("last_of_fluid_milli", of(bounds.fluid));
        figures.set("last_of_whole_blocks_milli", of(bounds.whole_blocks));
        figures.spread("took", "_us", took);
        let sent = self.world.host(SEEDER).shelf.as_ref().map_or(0, |shelf| shelf.sent);
        figures.set("seeder_sent_milli", sent * 1_000 / self.size.bytes());
        figures.share("duplicates", duplicates, self.size.bytes() * hosts.len() as u64);
        figures.spread("sources", "", sources);
    }
}

impl Fetch {
    /// It has not ended, or nobody has looked since.
    pub(super) const fn goes_on(&self) -> bool {
        self.ended.is_none()
    }
}

/// What a crowd may take beside its share of the bound: connections, word of each
/// other, and the first blocks, from which on everyone has something to give.
const BEGINNING: Duration = Duration::from_secs(4);

/// Promises that the last of a play was done within so many thousandths of the bound,
/// and [`BEGINNING`].
pub(super) fn promise_within(figures: &mut Figures, thousandths: u32, bounds: &Bounds, last: Duration) {
    let most = bounds.whole_blocks * thousandths / 1_000 + BEGINNING;
    figures.raise("promised_us", micros(most), false);
    figures.promise(last <= most, || format!("the last took {last:?}, not {most:?}"));
}
