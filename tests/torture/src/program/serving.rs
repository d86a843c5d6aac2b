//! A peer fetches from the owner of the repository, which dies meanwhile: what came is
//! all of it, or has no name.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use peerage_base::Rng;
use peerage_tests::peer::{SLOWDOWN, text};
use peerage_tests::{Process, Sharing};

use super::world::World;

/// How long such a fetch may take; it takes about a third.
const LONGEST: u64 = 300;

/// Returns how many processes were killed.
pub(super) fn round(world: &mut World<'_>, rng: &mut Rng) -> Result<u64> {
    let whole = world.promises.whole();
    let Some((cid, tree)) = rng.pick(&whole).and_then(|cid| Some((cid, world.promises.content(cid)?))) else {
        return Ok(0);
    };
    let owner = Sharing::start(world.peer.command(&["up"]))?;
    let getter = world.place.peer("getter");
    let to = world.place.path("got");
    let from = owner.addr()?;
    let mut command = getter.command(&["get", cid, "--from", &from, "--wait", "0s", "-o", text(&to)]);
    command.env(SLOWDOWN, "5");
    let mut get = Process::spawn(command, "")?;
    get.watch(Duration::from_millis(rng.below(LONGEST)), usize::MAX);
    owner.process.kill()?;
    let ended = get.finish()?;
    if ended.status.success() {
        tree.check(&to)?;
        fs::remove_dir_all(&to)?;
    } else {
        ensure!(!to.exists(), "a part has the name of the whole");
        ended.with_status(3)?.error("not_found")?;
    }
    // The next one begins anew.
    fs::remove_dir_all(getter.repo())?;
    world.remove_left(".got.")?;
    Ok(1)
}
