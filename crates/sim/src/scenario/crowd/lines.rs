//! Lines as homes have them: what comes is four times as fast as what goes, and
//! uplinks differ by eight.

use super::stage::{Crowd, SEEDER, Size, UP_KBPS};
use crate::figures::Figures;
use crate::host::HostId;
use crate::scenario::close;

/// Uplinks of getters, as parts of the seeder's, in turn.
const UP_PARTS: [u64; 4] = [4, 2, 1, 8];
const UP_WHOLE: u64 = 4;

/// So many times as fast a downlink is.
const DOWN_TIMES: u64 = 4;

/// Within so many thousandths of the bound the last is done.
const PROMISED: u32 = 1_500;

pub(super) fn play(size: Size, seed: u64) -> Figures {
    let mut figures = Figures::default();
    let mut crowd = Crowd::new(size, size.getters + 1, seed, |host, at| {
        if host != SEEDER {
            at.up_kbps = UP_KBPS * UP_PARTS[host as usize % UP_PARTS.len()] / UP_WHOLE;
        }
        at.down_kbps = at.up_kbps * DOWN_TIMES;
    });
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
