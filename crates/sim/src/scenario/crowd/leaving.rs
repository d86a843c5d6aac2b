//! The seeder leaves before anybody is done: once when each block is out, and all get
//! the rest of each other; once when much of it is nowhere else. Then some give up and
//! say so, those who were told to wait do, and all finish when it comes back.

use std::time::Duration;

use peerage_engine::JobError;

use super::stage::{Crowd, SEEDER, Size, promise_within};
use crate::figures::{Figures, micros};
use crate::host::HostId;
use crate::scenario::close;

/// The seeder leaves the second time when so many of a hundred blocks are out.
const LEAVES_AT_PERCENT: usize = 30;

/// It stays away for so long: longer than who waits for nobody searches after the
/// last source was lost (`search_after_loss` of `peerage_engine::Config`, 60 s, after up
/// to 45 s until a connection without a word counts as lost).
const AWAY: Duration = Duration::from_secs(180);

/// How long every second getter was told to wait: longer than that.
const WAIT: Duration = Duration::from_secs(900);

/// Within so many thousandths of the bound the last is done, the first time.
const PROMISED: u32 = 1_300;

/// The same after the seeder has come back, from then on.
const PROMISED_AFTER: u32 = 1_300;

pub(super) fn play(size: Size, seed: u64) -> Figures {
    let mut figures = Figures::default();
    when_all_is_out(size, seed, &mut figures);
    early(size, seed, &mut figures);
    figures
}

fn begin(size: Size, seed: u64, wait: impl Fn(HostId) -> Option<Duration>) -> (Crowd, Vec<HostId>) {
    let mut crowd = Crowd::new(size, size.getters + 1, seed, |_, _| {});
    let getters: Vec<HostId> = (1..=size.getters).collect();
    for &host in &getters {
        crowd.begin(host, &[SEEDER], wait(host));
    }
    (crowd, getters)
}

fn when_all_is_out(size: Size, seed: u64, figures: &mut Figures) {
    let (mut crowd, getters) = begin(size, seed, |_| None);
    let bounds = crowd.bounds(&[SEEDER], &getters);
    crowd.run_while(bounds.whole_blocks * 20, |crowd| crowd.out(&getters) < crowd.blocks());
    let done = getters.iter().filter(|&&host| crowd.has_all(host)).count();
    figures.promise(done == 0, || format!("{done} had all before the seeder left"));
    let held: usize = getters.iter().map(|&host| crowd.world.held(host)).sum();
    figures.set("out_held_milli", (held * 1_000 / (crowd.blocks() * getters.len())) as u64);
    crowd.world.stop(SEEDER, true);
    crowd.run_out(&bounds);
    crowd.tell(&getters, &bounds, PROMISED, figures);
    close(figures, &crowd.world);
}

fn early(size: Size, seed: u64, figures: &mut Figures) {
    let waits = |host: HostId| host.is_multiple_of(2);
    let (mut crowd, getters) = begin(size, seed, |host| waits(host).then_some(WAIT));
    let bounds = crowd.bounds(&[SEEDER], &getters);
    let enough = crowd.blocks() * LEAVES_AT_PERCENT / 100;
    crowd.run_while(bounds.whole_blocks * 20, |crowd| crowd.out(&getters) < enough);
    crowd.world.stop(SEEDER, true);
    let left = crowd.world.now;
    // Blocks that were on their way still come.
    crowd.run_for(bounds.whole_blocks);
    let out = crowd.out(&getters);
    let held = |crowd: &Crowd| getters.iter().map(|&host| crowd.world.held(host)).collect::<Vec<_>>();
    let before = held(&crowd);
    let without = before.iter().filter(|&&held| held < out).count();
    figures.promise(without == 0, || format!("{without} have not all that others have"));
    crowd.run_while(AWAY, |crowd| crowd.world.now.since(left) < AWAY);
    let (mut said, mut silent, mut waiting) = (0, 0, 0);
    for fetch in &crowd.fetches {
        match crowd.outcome(fetch) {
            Some(Err(JobError::NotFound(error))) if error.partly && !waits(fetch.host) => said += 1,
            None if waits(fetch.host) => waiting += 1,
            other => {
                silent += 1;
                figures.failures.push(format!("host {}: {other:?}", fetch.host));
            }
        }
    }
    figures.set("early_gave_up", said);
    figures.set("early_waited", waiting);
    figures.set("early_neither", silent);
    let kept = held(&crowd).iter().zip(&before).all(|(now, before)| now >= before);
    figures.promise(kept, || "somebody has less than before".to_owned());
    crowd.world.restart(SEEDER, true);
    crowd.seed(SEEDER);
    let back = crowd.world.now;
    for &host in getters.iter().filter(|&&host| !waits(host)) {
        crowd.begin(host, &[SEEDER], None);
    }
    crowd.run_out(&bounds);
    let whole = getters.iter().filter(|&&host| crowd.has_all(host)).count();
    figures.promise(whole == getters.len(), || format!("{whole} of {} have it in the end", getters.len()));
    let after = crowd.world.now.since(back);
    figures.set("early_after_us", micros(after));
    promise_within(figures, PROMISED_AFTER, &bounds, after);
    close(figures, &crowd.world);
}
