//! A flash crowd: all begin at the same moment, and stay to the end.

use super::stage::{Crowd, SEEDER, Size};
use crate::figures::Figures;
use crate::host::HostId;
use crate::scenario::close;

/// Within so many thousandths of the bound the last is done.
const PROMISED: u32 = 1_200;

pub(super) fn play(size: Size, seed: u64) -> Figures {
    let mut figures = Figures::default();
    let mut crowd = Crowd::new(size, size.getters + 1, seed, |_, _| {});
    let getters: Vec<HostId> = (1..=size.getters).collect();
    for &host in &getters {
        crowd.begin(host, &[SEEDER], None);
    }
    let bounds = crowd.bounds(&[SEEDER], &getters);
    crowd.run_out(&bounds);
    crowd.tell(&getters, &bounds, PROMISED, &mut figures);
    close(&mut figures, &crowd.world);
    figures
}
