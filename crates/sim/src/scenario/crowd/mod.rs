//! A crowd: one host has a file, and many get it at the same time, by a link that
//! names that host alone. Every uplink is capped. Plays of it differ in who is there
//! and how they behave.

mod bounds;
mod churn;
mod flash;
mod leaving;
mod lines;
mod riders;
mod sources;
mod stage;
#[cfg(test)]
mod tests;

use crate::figures::Figures;
use crate::scenario::Play;
use stage::Size;

/// The fewest getters: fewer are no crowd, and a world has some hosts at least.
pub(super) const LEAST: u32 = 8;

/// All plays; the first is the one that is played if none is named.
pub(super) const PLAYS: &[Play] = &[
    Play {
        name: "flash",
        about: "all begin at once and stay",
        play: |peers, seed| flash::play(Size::whole(peers), seed),
    },
    Play {
        name: "free-riders",
        about: "half of them give nothing; then these alone",
        play: |peers, seed| riders::play(Size::whole(peers), seed),
    },
    Play {
        name: "seeder-leaves",
        about: "the seeder leaves when each block is out once; then at 30 %, and comes back",
        play: |peers, seed| leaving::play(Size::whole(peers), seed),
    },
    Play {
        name: "slow",
        about: "the link names sources at a twentieth of the rate, and some that only promise",
        play: |peers, seed| sources::slow(Size::whole(peers), seed),
    },
    Play {
        name: "lying",
        about: "the link names sources whose blocks are wrong",
        play: |peers, seed| sources::lying(Size::whole(peers), seed),
    },
    Play {
        name: "asymmetric",
        about: "uplinks of 1:8, downlinks four times as fast",
        play: |peers, seed| lines::play(Size::whole(peers), seed),
    },
    Play {
        name: "churn",
        about: "getters leave, and others come",
        play: |peers, seed| churn::play(Size::whole(peers), seed),
    },
];

/// What is played if nothing is said.
pub(super) fn play(peers: u32, seed: u64) -> Figures {
    flash::play(Size::whole(peers), seed)
}
