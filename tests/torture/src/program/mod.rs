//! The program itself, `add`, `get`, `gc` and what else changes a repository, by real
//! processes that are killed at any moment: the one that a command runs in, or the owner
//! that does it for him. After each kill the repository is opened, and everything is
//! compared with what the user was told.
//!
//! A process is told to be done by its last line, so what it printed is what it promised.
//! The moments of the kills are times, so a seed repeats what is done, but not where it
//! is cut.

mod check;
mod content;
mod ending;
mod operation;
mod promises;
mod serving;
mod world;

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use peerage_base::Rng;
use peerage_tests::Place;

use crate::kills::damage;
use ending::{Outcome, Plan, Times};
use operation::Operation;
use world::World;

/// Of a hundred rounds, those that begin with damage.
const DAMAGED: u64 = 12;
/// Of a hundred rounds, those in which the owner dies while another peer fetches from it.
const SERVING: u64 = 6;

/// What many rounds came to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Report {
    /// Rounds that were played.
    pub rounds: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Of those, commands that had said nothing yet.
    pub silent: u64,
    /// Commands that said that they are done, killed or not.
    pub acknowledged: u64,
    /// Fetches that were killed, and then went on with just what was missing.
    pub resumed: u64,
    /// Bytes that these did not fetch again.
    pub spared: u64,
    /// Times that something was damaged.
    pub damaged: u64,
    /// Roots that had to be whole and were, summed over all rounds.
    pub whole: u64,
    /// Roots that need not be whole and were not, likewise.
    pub partial: u64,
    /// Blocks that were read and verified, likewise.
    pub blocks: u64,
    /// The longest time that it took to open the store after a kill.
    pub slowest_open: Duration,
    /// The longest time that `pin ls` took as the first after a kill, from its start to its end.
    pub slowest_list: Duration,
}

/// Plays rounds in a place, where a file `history` tells what was done, and shows how
/// far it is.
///
/// # Errors
/// The first time that the program broke its word, with the number of the round and
/// what was done in it.
pub fn play(place: &Place, rounds: u64, seed: u64, show: &mut dyn FnMut(&Report)) -> Result<Report> {
    let mut rng = Rng::new(seed);
    let mut world = World::new(place, &mut rng)?;
    let (mut times, mut report) = (Times::default(), Report::default());
    let mut unfinished = None;
    let mut history = File::create(place.path("history"))?;
    while report.rounds < rounds {
        let what = format!("seed {seed}, round {}", report.rounds);
        if report.rounds > 0 && rng.below(100) < DAMAGED {
            report.damaged += u64::from(damage(world.peer.repo(), &mut rng)?);
        }
        if rng.below(100) < SERVING {
            report.kills += serving::round(&mut world, &mut rng).with_context(|| what.clone())?;
        }
        let resumes: Option<Operation> = unfinished.take();
        let resuming = resumes.is_some();
        let operation = match resumes {
            Some(operation) => operation,
            None => Operation::draw(&mut world, &mut rng).with_context(|| what.clone())?,
        };
        let plan = match resuming {
            true => Plan::to_the_end(),
            false => Plan::draw(&operation, &times, &mut rng),
        };
        let what = || format!("{what}: {operation:?}, {plan:?}");
        let missing = missing(&world, &operation);
        operation.begin(&mut world);
        let outcome = plan.clone().run(&operation, &mut world, &mut times).with_context(what)?;
        if let Some(missing) = missing.filter(|_| resuming) {
            let fetched = outcome.fetched;
            ensure!(fetched <= missing, "{}: {fetched} bytes came, {missing} were missing", what());
            report.resumed += 1;
            report.spared += size(&world, &operation).saturating_sub(missing);
        }
        writeln!(history, "{}: {outcome:?}", what())?;
        report.note(outcome);
        look(&mut world, &operation, outcome, &mut rng, &mut report).with_context(what)?;
        let again = matches!(operation, Operation::Get { .. }) && !outcome.acknowledged;
        unfinished = Some(operation).filter(|_| again && rng.below(2) == 0);
        report.rounds += 1;
        show(&report);
    }
    Ok(report)
}

/// Compares all that there is.
fn look(
    world: &mut World<'_>,
    operation: &Operation,
    outcome: Outcome,
    rng: &mut Rng,
    report: &mut Report,
) -> Result<()> {
    check::destinations(world, operation, outcome.acknowledged)?;
    check::exported(world, operation, outcome.acknowledged)?;
    let by_program = rng.below(2) == 0;
    if by_program {
        report.slowest_list = report.slowest_list.max(check::listed(world)?);
    }
    let seen = check::repository(world, operation)?;
    if !by_program {
        report.slowest_open = report.slowest_open.max(seen.opened);
    }
    report.whole += seen.whole;
    report.partial += seen.partial;
    report.blocks += seen.blocks;
    check::read_back(world, rng)
}

/// Bytes of blocks that a fetch lacks, at most.
fn missing(world: &World<'_>, operation: &Operation) -> Option<u64> {
    let Operation::Get { offer, dest } = operation else { return None };
    let offer = &world.offers[*offer];
    let staging = world.staging_path(*dest, &offer.cid).join(format!("dest{dest}"));
    Some(offer.nodes + offer.tree.missing(&[world.dest_path(*dest), staging]))
}

/// Bytes of blocks of all that a fetch brings.
fn size(world: &World<'_>, operation: &Operation) -> u64 {
    let Operation::Get { offer, .. } = operation else { return 0 };
    world.offers[*offer].nodes + world.offers[*offer].tree.len()
}

impl Report {
    fn note(&mut self, outcome: Outcome) {
        self.kills += outcome.kills;
        self.silent += u64::from(outcome.silent);
        self.acknowledged += u64::from(outcome.acknowledged);
    }
}
