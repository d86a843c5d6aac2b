//! Free riders: half of the getters give nothing. Those who give come first, but where
//! nobody competes, nobody is refused.

use std::time::Duration;

use super::stage::{Crowd, SEEDER, Size};
use crate::figures::Figures;
use crate::host::HostId;
use crate::hostile::Behaviour;
use crate::scenario::close;

/// When all contributors are done, free riders have so many thousandths of what
/// each contributor has, on average, at the most.
const SHARE: u64 = 500;

/// Within so many thousandths of the bound of contributors alone these are done.
const PROMISED: u32 = 1_200;

/// Free riders alone are done within so many thousandths of their bound.
const ALONE: u32 = 1_100;

pub(super) fn play(size: Size, seed: u64) -> Figures {
    let mut figures = Figures::default();
    // Every second one, so that neither began first.
    let rides = |host: HostId| host != SEEDER && host.is_multiple_of(2);
    let mut crowd = Crowd::new(size, size.getters + 1, seed, |host, at| {
        if rides(host) {
            at.behaviour = Behaviour::FreeRider;
        }
    });
    let (riders, givers): (Vec<HostId>, Vec<HostId>) = (1..=size.getters).partition(|&host| rides(host));
    for host in 1..=size.getters {
        crowd.begin(host, &[SEEDER], None);
    }
    let bounds = crowd.bounds(&[SEEDER], &givers);
    crowd.run_while(bounds.whole_blocks * 20, |crowd| givers.iter().any(|&host| !crowd.has_all(host)));
    let held = riders.iter().map(|&host| crowd.world.held(host) as u64).sum::<u64>();
    let share = held * 1_000 / (crowd.blocks() * riders.len().max(1)) as u64;
    figures.set("riders_got_milli", share);
    figures.promise(share <= SHARE, || format!("free riders had {share} thousandths, not {SHARE}"));
    crowd.run_for(Duration::from_secs(1));
    crowd.tell(&givers, &bounds, PROMISED, &mut figures);
    // They are served when nobody else wants anything.
    let everyone: Vec<HostId> = (1..=size.getters).collect();
    crowd.run_out(&crowd.bounds(&[SEEDER], &everyone));
    let whole = riders.iter().filter(|&&host| crowd.has_all(host)).count();
    figures.promise(whole == riders.len(), || format!("{whole} of {} free riders have it", riders.len()));
    close(&mut figures, &crowd.world);
    alone(size, seed, &mut figures);
    figures
}

/// As many free riders, and the seeder.
fn alone(size: Size, seed: u64, figures: &mut Figures) {
    let mut crowd = Crowd::new(size, size.getters + 1, seed, |host, at| {
        if host != SEEDER {
            at.behaviour = Behaviour::FreeRider;
        }
    });
    let riders: Vec<HostId> = (1..=size.getters / 2).collect();
    for &host in &riders {
        crowd.begin(host, &[SEEDER], None);
    }
    let bounds = crowd.bounds(&[SEEDER], &riders);
    crowd.run_out(&bounds);
    let mut alone = Figures::default();
    crowd.tell(&riders, &bounds, ALONE, &mut alone);
    figures.set("alone_last_us", alone.values["last_us"]);
    figures.set("alone_last_of_fluid_milli", alone.values["last_of_fluid_milli"]);
    figures.failures.extend(alone.failures.into_iter().map(|failure| format!("alone: {failure}")));
    close(figures, &crowd.world);
}
