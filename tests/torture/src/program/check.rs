//! What is there after a kill: the repository opens, every root that was told is in it
//! with all its blocks, and no file has a name that is not whole.

use std::collections::BTreeSet;
use std::fs;
use std::str::FromStr as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use peerage_base::Rng;
use peerage_content::{Cid, Walk, hash};
use peerage_store::{Config, RepoLock, Store};
use peerage_tests::peer::text;

use super::content::Tree;
use super::operation::Operation;
use super::promises::Listed;
use super::world::World;

/// What was looked at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    /// How long the store took to open.
    pub(super) opened: Duration,
    /// Roots of which all was there, as it must be.
    pub(super) whole: u64,
    /// Roots that nobody promised, or whose files the user changed, of which not all was there.
    pub(super) partial: u64,
    /// Blocks that were read and verified.
    pub(super) blocks: u64,
}

/// Opens the repository and compares it with what was promised.
pub(super) fn repository(world: &mut World<'_>, operation: &Operation) -> Result<Seen> {
    let began = Instant::now();
    let lock = RepoLock::acquire(world.peer.repo(), "peerage-torture")?;
    let (store, report) = Store::open(lock.dir(), Config::default())?;
    let mut seen = Seen { opened: began.elapsed(), ..Seen::default() };
    ensure!(
        report.lost_root_sets.is_empty() && report.journal_copied_to.is_none() && report.damaged_bytes == 0,
        "{report:?}"
    );
    let listed = Listed::of(&store)?;
    world.name_unknown(operation, &listed);
    world.promises.check(&listed)?;
    let whole: BTreeSet<String> = world.promises.whole().into_iter().collect();
    for cid in &listed.roots {
        let (blocks, missing) = read(&store, Cid::from_str(cid)?)?;
        seen.blocks += blocks;
        if whole.contains(cid) {
            let held = || world.promises.held(cid);
            ensure!(missing.is_empty(), "of {cid} are lost {missing:?}, which has{}", held());
            seen.whole += 1;
        } else {
            seen.partial += u64::from(!missing.is_empty());
        }
    }
    Ok(seen)
}

/// Reads and verifies all blocks of a DAG that are here; the CIDs of those that are not.
fn read(store: &Store, root: Cid) -> Result<(u64, Vec<Cid>)> {
    let (mut blocks, mut missing) = (0, Vec::new());
    let (mut walk, mut met) = (Walk::new(root), BTreeSet::new());
    while let Some(visit) = walk.next() {
        if hash::inline(&visit.cid).is_some() || !met.insert(visit.cid) {
            continue;
        }
        match store.read(visit.cid.hash()) {
            Ok(Some(block)) => {
                peerage_content::verify(&visit.cid, &block)
                    .with_context(|| format!("wrong bytes of {}", visit.cid))?;
                walk.enter(&visit, &block)?;
                blocks += 1;
            }
            // Nobody has to hold the block of no bytes.
            Ok(None) if peerage_content::verify(&visit.cid, b"").is_ok() => {}
            Ok(None) => missing.push(visit.cid),
            Err(error) => return Err(error).with_context(|| format!("reading {}", visit.cid)),
        }
    }
    Ok((blocks, missing))
}

/// What the program itself gives back of a root that must be whole is what was put in.
pub(super) fn read_back(world: &World<'_>, rng: &mut Rng) -> Result<()> {
    let whole = world.promises.whole();
    let Some((cid, tree)) = rng.pick(&whole).and_then(|cid| Some((cid, world.promises.content(cid)?))) else {
        return Ok(());
    };
    let to = world.place.path("read back");
    let args = ["get", "--offline", "--no-keep", cid, "-o", text(&to)];
    world.peer.run(&args)?.with_status(0)?.event("done")?;
    tree.check(&to)?;
    Ok(fs::remove_dir_all(to)?)
}

/// Every file at the places to which something is fetched is what it was, or what it is
/// to be; and where a fetch was done, it is the latter.
pub(super) fn destinations(world: &mut World<'_>, operation: &Operation, acknowledged: bool) -> Result<()> {
    for dest in 0..world.dests.len() {
        let path = world.dest_path(dest);
        let nothing = Tree::default();
        let wanted = match operation {
            Operation::Get { offer, dest: of } if *of == dest => &world.offers[*offer].tree,
            _ => &nothing,
        };
        let now = wanted.check_part(&path, &world.dests[dest])?;
        if acknowledged {
            let lacks = wanted.0.iter().find(|(path, data)| now.0.get(*path) != Some(data));
            ensure!(lacks.is_none(), "{} was done, but lacks {lacks:?}", path.display());
        }
        world.dests[dest] = now;
    }
    Ok(())
}

/// A CAR has its name once it is whole.
pub(super) fn exported(world: &World<'_>, operation: &Operation, acknowledged: bool) -> Result<()> {
    let Operation::Export { cid, to } = operation else { return Ok(()) };
    world.remove_left(".exported.car.")?;
    if !to.exists() {
        ensure!(!acknowledged, "{} was exported and is not there", to.display());
        return Ok(());
    }
    let verified =
        world.place.peer("nobody").run(&["car", "verify", text(to)])?.with_status(0)?.event("car")?;
    ensure!(verified["roots"][0] == cid.as_str(), "{verified}");
    Ok(fs::remove_file(to)?)
}

/// `pin ls` by the program itself, which thereby is the first to open the repository
/// after a kill; how long all of it took.
pub(super) fn listed(world: &World<'_>) -> Result<Duration> {
    let began = Instant::now();
    world.peer.run(&["pin", "ls"])?.with_status(0)?;
    Ok(began.elapsed())
}
