//! What is done: a command of the program, what it may change, and what it has
//! promised once it printed that it is done.

use std::path::PathBuf;

use anyhow::Result;
use peerage_base::Rng;
use peerage_tests::MIB;
use peerage_tests::peer::{field, text};
use serde_json::Value;

use super::content::{Data, Tree};
use super::promises::Chunker;
use super::world::World;

/// Pins and kept roots from which on one is removed more often than not.
const MANY: usize = 12;
/// Bytes of a file that fills a pack sooner.
const LARGE: u64 = 20 * MIB;

/// A command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// `add` of one of the user's folders, in which he worked before.
    Add { folder: usize, copy: bool, name: String, chunker: Chunker },
    /// `share --keep` of one.
    Share { folder: usize },
    /// `get` of what another peer has, to a place where some of it may be.
    Get { offer: usize, dest: usize },
    /// `pin add` of what another peer has.
    Pin { offer: usize, name: String },
    /// `pin rm`.
    Unpin { cid: String },
    /// `shares rm`.
    Unshare { path: PathBuf },
    /// `car import` of what another peer exported.
    Import { offer: usize, name: String },
    /// `car export` of what is here.
    Export { cid: String, to: PathBuf },
    /// `gc`.
    Collect,
    /// `verify`.
    Verify,
    /// `up`.
    Up,
}

impl Operation {
    /// Draws one, and does what the user does before it.
    pub(super) fn draw(world: &mut World<'_>, rng: &mut Rng) -> Result<Self> {
        let name = format!("name {}", rng.below(1_000_000));
        let (pins, places) = (world.promises.pins(), world.promises.places());
        if pins.len() + places.len() > MANY && rng.below(3) > 0 {
            return Ok(match (rng.pick(&pins), rng.pick(&places)) {
                (Some(cid), _) if pins.len() >= places.len() => Self::Unpin { cid: cid.clone() },
                (_, Some(path)) => Self::Unshare { path: path.clone() },
                _ => Self::Collect,
            });
        }
        let (folder, offer) = (pick(rng, world.folders.len()), pick(rng, world.offers.len()));
        let whole = world.promises.whole();
        Ok(match rng.below(100) {
            0..26 => {
                world.work(folder, rng)?;
                let copy = rng.below(2) == 0;
                if copy && rng.below(6) == 0 {
                    world.put_file(folder, Data::of_len(rng, LARGE))?;
                }
                let chunkers = [None, None, Some("size-4000"), Some("buzhash")];
                let chunker = rng.pick(&chunkers).copied().flatten();
                Self::Add { folder, copy, name, chunker }
            }
            26..32 => {
                world.work(folder, rng)?;
                Self::Share { folder }
            }
            32..54 => {
                let dest = pick(rng, world.dests.len());
                if rng.below(2) == 0 {
                    world.renew(offer, rng)?;
                }
                world.prepare_dest(dest, offer, rng)?;
                Self::Get { offer, dest }
            }
            54..62 => Self::Pin { offer, name },
            62..70 => match rng.pick(&pins) {
                Some(cid) => Self::Unpin { cid: cid.clone() },
                None => Self::Collect,
            },
            70..73 => match rng.pick(&places) {
                Some(path) => Self::Unshare { path: path.clone() },
                None => Self::Collect,
            },
            73..80 => Self::Import { offer, name },
            80..84 => match rng.pick(&whole) {
                Some(cid) => Self::Export { cid: cid.clone(), to: world.place.path("exported.car") },
                None => Self::Collect,
            },
            84..93 => Self::Collect,
            93..97 => Self::Verify,
            _ => Self::Up,
        })
    }

    /// The kind, of which all take about the same time.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Add { copy: true, .. } => "add --copy",
            Self::Add { .. } => "add",
            Self::Share { .. } => "share",
            Self::Get { .. } => "get",
            Self::Pin { .. } => "pin add",
            Self::Unpin { .. } => "pin rm",
            Self::Unshare { .. } => "shares rm",
            Self::Import { .. } => "car import",
            Self::Export { .. } => "car export",
            Self::Collect => "gc",
            Self::Verify => "verify",
            Self::Up => "up",
        }
    }

    /// Whether it goes on until it is ended.
    pub(super) fn stays(&self) -> bool {
        matches!(self, Self::Share { .. } | Self::Up)
    }

    /// The command line.
    pub(super) fn args(&self, world: &World<'_>) -> Vec<String> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        match self {
            Self::Add { folder, copy, name, chunker } => {
                let path = world.folder_path(*folder);
                let mut args = words(&["add", text(&path), "--name", name]);
                args.extend(copy.then(|| "--copy".to_owned()));
                args.extend(chunker.iter().flat_map(|chunker| words(&["--chunker", chunker])));
                args
            }
            Self::Share { folder } => words(&["share", "--keep", text(&world.folder_path(*folder))]),
            Self::Get { offer, dest } => {
                let (offer, path) = (&world.offers[*offer], world.dest_path(*dest));
                words(&["get", &offer.cid, "--from", &world.from, "--overwrite", "-o", text(&path)])
            }
            Self::Pin { offer, name } => {
                words(&["pin", "add", &world.offers[*offer].cid, "--from", &world.from, "--name", name])
            }
            Self::Unpin { cid } => words(&["pin", "rm", cid]),
            Self::Unshare { path } => words(&["shares", "rm", text(path)]),
            Self::Import { offer, name } => {
                words(&["car", "import", text(&world.offers[*offer].car), "--name", name])
            }
            Self::Export { cid, to } => words(&["car", "export", "--offline", cid, "-o", text(to)]),
            Self::Collect => words(&["gc"]),
            Self::Verify => words(&["verify"]),
            Self::Up => words(&["up"]),
        }
    }

    /// From now on it may have been done.
    pub(super) fn begin(&self, world: &mut World<'_>) {
        match self {
            Self::Pin { offer, name } | Self::Import { offer, name } => {
                world.promises.try_pin(&world.offers[*offer].cid, Some(name));
            }
            Self::Unpin { cid } => world.promises.try_pin(cid, None),
            Self::Unshare { path } => world.promises.try_keep(path, None),
            Self::Get { offer, dest } => world.fetch(*dest, *offer),
            // Their CIDs are not known yet: see `World::name_unknown`.
            Self::Add { .. } | Self::Share { .. } => {}
            Self::Export { .. } | Self::Collect | Self::Verify | Self::Up => {}
        }
    }

    /// Takes down what a line of its output promises; true if that is the end of it.
    pub(super) fn acknowledge(&self, line: &Value, world: &mut World<'_>) -> Result<bool> {
        match (self, line["event"].as_str().unwrap_or_default()) {
            (Self::Add { folder, copy, name, chunker }, "added") => {
                let (cid, tree) = (field(line, "cid")?, world.folders[*folder].clone());
                world.promises.name(&cid, &tree, *chunker);
                world.promises.pinned(&cid, Some(name));
                match copy {
                    true => world.promises.copied(tree.data(), *chunker),
                    false => world.promises.lend(&world.folder_path(*folder), &tree, *chunker),
                }
            }
            (Self::Share { folder }, "ready") => {
                let (cid, tree) = (field(line, "cid")?, world.folders[*folder].clone());
                let path = world.folder_path(*folder);
                world.promises.name(&cid, &tree, None);
                world.promises.kept(&path, Some(&cid));
                world.promises.lend(&path, &tree, None);
            }
            (Self::Get { offer, dest }, "done") => {
                let (path, tree) = (world.dest_path(*dest), world.offers[*offer].tree.clone());
                world.promises.kept(&path, Some(&field(line, "cid")?));
                // What of another fetch is there as well is no part of it.
                world.promises.lend(&path, &tree, None);
                world.fetching.remove(&(*dest, world.offers[*offer].cid.clone()));
            }
            (Self::Pin { offer, name } | Self::Import { offer, name }, "pinned") => {
                world.promises.pinned(&world.offers[*offer].cid, Some(name));
                // What it can read from a file of the user's it need not copy.
                let at_hand = world.at_hand();
                let tree: Tree = world.offers[*offer].tree.clone();
                world.promises.copied(tree.data().difference(&at_hand).copied(), None);
            }
            (Self::Unpin { cid }, "unpinned") => world.promises.pinned(cid, None),
            (Self::Unshare { path }, "unshared") => world.promises.kept(path, None),
            (Self::Export { .. }, "exported")
            | (Self::Collect, "collected")
            | (Self::Verify, "verified")
            | (Self::Up, "ready") => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn pick(rng: &mut Rng, len: usize) -> usize {
    usize::try_from(rng.below(len as u64)).unwrap_or(0)
}
