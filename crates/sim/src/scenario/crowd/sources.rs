//! A link that names more than the seeder: sources that are slow, that promise and do
//! not keep it, and that lie. Nobody waits for them for long.

use super::stage::{Crowd, SEEDER, Size, UP_KBPS};
use crate::figures::Figures;
use crate::host::{Host, HostId};
use crate::hostile::Behaviour;
use crate::scenario::close;

/// Of so many getters there is one slow source, and one that only promises.
const GETTERS_EACH: u32 = 8;

/// So many times slower than the others they are.
const SLOWER: u64 = 20;

/// Within so many thousandths of the bound the last is done, beside slow sources.
const PROMISED_SLOW: u32 = 1_500;

/// The same beside liars.
const PROMISED_LYING: u32 = 1_300;

/// Wrong blocks of one source, after which it is asked no more: two more than
/// `peerage_exchange::limits::BAD_BLOCKS_MAX`, for those on their way by then.
const WRONG_EACH: u64 = 5;

pub(super) fn slow(size: Size, seed: u64) -> Figures {
    let each = (size.getters / GETTERS_EACH).max(1);
    let (mut crowd, bad, getters) = begin(size, 2 * each, seed, |nth, at| {
        if nth < each {
            at.up_kbps = UP_KBPS / SLOWER;
        } else {
            at.behaviour = Behaviour::Promiser;
        }
    });
    let mut figures = Figures::default();
    let seeds: Vec<HostId> = bad.iter().copied().chain([SEEDER]).collect();
    let bounds = crowd.bounds(&seeds, &getters);
    crowd.run_out(&bounds);
    crowd.tell(&getters, &bounds, PROMISED_SLOW, &mut figures);
    close(&mut figures, &crowd.world);
    figures
}

pub(super) fn lying(size: Size, seed: u64) -> Figures {
    let each = (size.getters / GETTERS_EACH).max(1);
    let (mut crowd, bad, getters) = begin(size, each, seed, |_, at| at.behaviour = Behaviour::Corrupter(1));
    let mut figures = Figures::default();
    let bounds = crowd.bounds(&[SEEDER], &getters);
    crowd.run_out(&bounds);
    crowd.tell(&getters, &bounds, PROMISED_LYING, &mut figures);
    let liars: Vec<_> = bad.iter().map(|&host| crowd.world.host(host).peer).collect();
    let (mut wrong, mut most, mut of_liars) = (0, 0, 0);
    for fetch in &crowd.fetches {
        let Some(Ok(progress)) = crowd.outcome(fetch) else { continue };
        wrong += progress.wrong.values().sum::<u64>();
        most = most.max(progress.wrong.values().copied().max().unwrap_or(0));
        of_liars += liars.iter().filter_map(|liar| progress.received.get(liar)).sum::<u64>();
        let blamed = progress.wrong.keys().filter(|peer| !liars.contains(peer)).count();
        figures.promise(blamed == 0, || format!("host {} blamed {blamed} who did not lie", fetch.host));
    }
    figures.set("wrong_blocks", wrong);
    figures.set("wrong_blocks_of_one_most", most);
    figures.promise(wrong > 0, || "nobody was sent a wrong block".to_owned());
    figures.promise(most <= WRONG_EACH, || format!("{most} wrong blocks of one source were taken"));
    figures.promise(of_liars == 0, || format!("{of_liars} bytes of liars were used"));
    let linked = |host: &HostId| bad.iter().any(|&liar| crowd.world.host(*host).link(liar).is_some());
    let linked = getters.iter().filter(|host| linked(host)).count();
    figures.promise(linked == 0, || format!("{linked} are still connected to a liar"));
    close(&mut figures, &crowd.world);
    figures
}

/// A crowd whose link names the seeder and `bad` more that have everything; who these
/// are, and the getters.
fn begin(
    size: Size,
    bad: u32,
    seed: u64,
    cast: impl Fn(u32, &mut Host),
) -> (Crowd, Vec<HostId>, Vec<HostId>) {
    let named: Vec<HostId> = (1..=bad).collect();
    let getters: Vec<HostId> = (bad + 1..=bad + size.getters).collect();
    let mut crowd = Crowd::new(size, size.getters + bad + 1, seed, |host, at| {
        if named.contains(&host) {
            cast(host - 1, at);
        }
    });
    for &host in &named {
        crowd.seed(host);
    }
    let link: Vec<HostId> = [SEEDER].into_iter().chain(named.iter().copied()).collect();
    for &host in &getters {
        crowd.begin(host, &link, None);
    }
    (crowd, named, getters)
}
