//! How a command ends: by itself, or killed at some moment; alone, or while the owner
//! of the repository does it, who may be the one that is killed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use peerage_base::Rng;
use peerage_tests::peer::SLOWDOWN;
use peerage_tests::{Ended, Process, Sharing};
use serde_json::Value;

use super::operation::Operation;
use super::world::World;

/// How long a command takes, until one has ended.
const FIRST: Duration = Duration::from_millis(150);
/// Lines after which nobody counts: `verify` may say many.
const LINES: usize = 4;

/// Who is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Victim {
    Nobody,
    Command,
    Owner,
    /// The owner, and then the command, which goes on alone.
    Both,
}

/// How a command is to end.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Whether another process owns the repository.
    attached: bool,
    pub(super) victim: Victim,
    /// The kill comes after so much time, or so many lines, whatever is first.
    after: Duration,
    lines: usize,
    /// The second one, after the first.
    again: Duration,
    /// How many times slower the workers are, so that kills hit their midst.
    slowdown: Option<&'static str>,
}

/// What a command came to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcome {
    /// Processes that were killed.
    pub(super) kills: u64,
    /// It said nothing before.
    pub(super) silent: bool,
    /// It said that it is done.
    pub(super) acknowledged: bool,
    /// Bytes that it had from others.
    pub(super) fetched: u64,
}

/// How long commands take, by their kind, who does them, and how slow he is.
#[derive(Debug, Default)]
pub(super) struct Times(BTreeMap<Slot, Duration>);

type Slot = (&'static str, bool, Option<&'static str>);

impl Times {
    fn of(&self, slot: Slot) -> Duration {
        self.0.get(&slot).copied().unwrap_or(FIRST)
    }

    /// One ended by itself after so long, or did not within it.
    fn learn(&mut self, slot: Slot, took: Duration, ended: bool) {
        let known = self.of(slot);
        let now = if ended { (known * 3 + took) / 4 } else { known.max((known + took) / 2) };
        self.0.insert(slot, now);
    }
}

impl Plan {
    pub(super) fn draw(operation: &Operation, times: &Times, rng: &mut Rng) -> Self {
        let attached = *operation != Operation::Up && rng.below(10) < 3;
        let victim = match rng.below(10) {
            0..2 => Victim::Nobody,
            2..6 if attached => Victim::Owner,
            6..8 if attached => Victim::Both,
            _ => Victim::Command,
        };
        let slowdown = [None, None, Some("3"), Some("20")][usize::try_from(rng.below(4)).unwrap_or(0)];
        let expected = times.of((operation.kind(), attached, slowdown));
        let within = |rng: &mut Rng, most: Duration| {
            Duration::from_micros(rng.below(u64::try_from(most.as_micros()).unwrap_or(u64::MAX)))
        };
        // Some while the repository is being opened.
        let (after, lines) = match rng.below(12) {
            // While the repository is being opened.
            0..2 => (within(rng, expected / 6), LINES),
            // Just when it has said that it is done, which nothing may take back.
            2..5 => (expected * 10, 1),
            _ => (within(rng, expected), LINES),
        };
        Self { attached, victim, after, lines, again: within(rng, expected), slowdown }
    }

    /// Of one that goes on from where it was killed, alone and to its end.
    pub(super) const fn to_the_end() -> Self {
        let (after, again) = (Duration::ZERO, Duration::ZERO);
        Self { attached: false, victim: Victim::Nobody, after, lines: LINES, again, slowdown: None }
    }

    /// Runs the command, and takes down what it promised.
    pub(super) fn run(
        self,
        operation: &Operation,
        world: &mut World<'_>,
        times: &mut Times,
    ) -> Result<Outcome> {
        let args = operation.args(world);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let slowed = |mut command: std::process::Command| {
            if let Some(slowdown) = self.slowdown {
                command.env(SLOWDOWN, slowdown);
            }
            command
        };
        let mut owner = match self.attached {
            true => Some(Sharing::start(slowed(world.peer.command(&["up"])))?),
            false => None,
        };
        let command = if self.attached {
            let mut command = world.peer.plain(&args);
            command.arg("--json");
            command
        } else {
            slowed(world.peer.command(&args))
        };
        let began = Instant::now();
        let mut process = Process::spawn(command, "")?;
        let mut outcome = Outcome::default();
        let mut said = Vec::new();
        if self.victim != Victim::Nobody {
            said = process.watch(self.after, self.lines);
            outcome.silent = said.is_empty();
        }
        if matches!(self.victim, Victim::Owner | Victim::Both)
            && let Some(owner) = owner.take()
        {
            owner.process.kill()?;
            outcome.kills += 1;
        }
        let killed = matches!(self.victim, Victim::Command | Victim::Both);
        let ended = if killed {
            if self.victim == Victim::Both {
                said.extend(process.watch(self.again, LINES));
            }
            let ended = process.kill()?;
            outcome.kills += u64::from(ended.status.code().is_none());
            ended
        } else {
            if operation.stays() {
                // It says so once, whoever serves.
                if !said.iter().any(|line| is_ready(line)) {
                    said.push(process.wait_for("ready")?.to_string());
                }
                process.interrupt()?;
            }
            process.finish()?
        };
        let took = began.elapsed();
        said.extend(ended.lines.iter().cloned());
        for line in &said {
            // The last one may be cut in two: what it says was not told.
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            outcome.acknowledged |= operation.acknowledge(&line, world)?;
            outcome.fetched += fetched(&line);
        }
        if let Some(status) = ended.status.code() {
            self.check_end(operation, status, outcome, ended).context("it ended by itself")?;
        }
        if !matches!(self.victim, Victim::Owner | Victim::Both) {
            let slot = (operation.kind(), self.attached, self.slowdown);
            times.learn(slot, took, outcome.acknowledged && !operation.stays());
        }
        if let Some(owner) = owner {
            owner.close().context("the owner, whose client was killed or ended")?;
        }
        Ok(outcome)
    }

    /// One that nobody killed does what it is told; but one that goes on after its owner
    /// was killed may find it done already.
    fn check_end(&self, operation: &Operation, status: i32, outcome: Outcome, ended: Ended) -> Result<()> {
        let went_on = matches!(self.victim, Victim::Owner | Victim::Both);
        let may_be_done = matches!(
            operation,
            Operation::Unpin { .. } | Operation::Unshare { .. } | Operation::Export { .. }
        );
        match (operation, status) {
            (_, 0) => {
                ensure!(
                    outcome.acknowledged,
                    "status 0, but it did not say that it is done: {:?}",
                    ended.lines
                );
                Ok(())
            }
            // Files of the user's that are no longer what they were.
            (Operation::Verify, 4) => Ok(()),
            (_, 1 | 3) if went_on && may_be_done => Ok(()),
            // Interrupted while it reads the files once more, to serve them by itself.
            (Operation::Share { .. }, 130) if went_on => Ok(()),
            _ => ended.with_status(0).map(drop),
        }
    }
}

/// Bytes of blocks that `get` says it had from others.
fn fetched(line: &Value) -> u64 {
    let sources = line["sources"].as_object().filter(|_| line["event"] == "done");
    sources.into_iter().flat_map(|sources| sources.values()).filter_map(Value::as_u64).sum()
}

fn is_ready(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok_and(|line| line["event"] == "ready")
}
