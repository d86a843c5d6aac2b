//! Getters leave, with and without a word, and others come in their place. Who stays
//! is done as if nobody had left, but for what went with those.

use super::stage::{Crowd, SEEDER, Size};
use crate::figures::Figures;
use crate::host::HostId;
use crate::scenario::close;

/// One in so many of those who begin leaves in mid-transfer, and as many come.
const ONE_LEAVES: u32 = 2;

/// Comings and goings are spread over so many hundredths of the bound.
const OVER_PERCENT: u32 = 80;

/// Within so many thousandths of the bound each of those who stay is done, from when
/// it began.
const PROMISED: u32 = 1_500;

pub(super) fn play(size: Size, seed: u64) -> Figures {
    let mut figures = Figures::default();
    let changes = size.getters / ONE_LEAVES;
    let mut crowd = Crowd::new(size, size.getters + changes + 1, seed, |_, _| {});
    let first: Vec<HostId> = (1..=size.getters).collect();
    for &host in &first {
        crowd.begin(host, &[SEEDER], None);
    }
    let bounds = crowd.bounds(&[SEEDER], &first);
    let pause = bounds.whole_blocks * OVER_PERCENT / 100 / (changes + 1);
    let (mut left, mut came) = (Vec::new(), Vec::new());
    for nth in 0..changes {
        crowd.run_for(pause);
        let (gone, comes) = (first[(nth * ONE_LEAVES) as usize], size.getters + 1 + nth);
        figures.promise(!crowd.has_all(gone), || format!("host {gone} had all before it left"));
        crowd.world.stop(gone, nth.is_multiple_of(2));
        crowd.fetches.retain(|fetch| fetch.host != gone);
        left.push(gone);
        crowd.begin(comes, &[SEEDER], None);
        came.push(comes);
    }
    crowd.run_out(&bounds);
    let stay: Vec<HostId> = first.into_iter().filter(|host| !left.contains(host)).chain(came).collect();
    figures.set("left", left.len() as u64);
    crowd.tell(&stay, &bounds, PROMISED, &mut figures);
    close(&mut figures, &crowd.world);
    figures
}
