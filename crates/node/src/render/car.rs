//! What a CAR holds, for people.

use std::io::{self, Write};

use peerage_content::name::escape;

use super::text::{bytes, plural};
use crate::api::{CarFound, CarKind, CarSummary};

/// Roots that are listed. 20: more than a screen is for programs.
const ROOTS_SHOWN: usize = 20;

/// What of an imported CAR is not kept.
pub(super) fn left_out(bad: u64, unchecked: u64) -> String {
    let kinds = [(bad, "bad"), (unchecked, "unchecked")].into_iter().filter(|(count, _)| *count > 0);
    kinds.map(|(count, kind)| format!(", {count} {kind} left out")).collect()
}

pub(super) fn print_summary(car: &CarSummary, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "file       {}, CARv{}, {} read", escape(&car.path), car.version, bytes(car.file_bytes))?;
    for root in car.roots.iter().take(ROOTS_SHOWN) {
        writeln!(out, "root       {root}")?;
    }
    if car.roots.len() > ROOTS_SHOWN {
        writeln!(out, "           and {} more", car.roots.len() - ROOTS_SHOWN)?;
    }
    if let Some(v2) = &car.v2 {
        let index = match v2.index_offset {
            Some(offset) if v2.fully_indexed => format!("index of all blocks at {offset}"),
            Some(offset) => format!("index at {offset}"),
            None => "no index".to_owned(),
        };
        writeln!(out, "version 2  {} of data at {}, {index}", bytes(v2.data_size), v2.data_offset)?;
    }
    let blocks = plural(car.blocks, "block", "blocks");
    writeln!(out, "blocks     {blocks}, {}, the largest {}", bytes(car.bytes), bytes(car.largest_block))?;
    writeln!(out, "codecs     {}", kinds(&car.codecs))?;
    writeln!(out, "hashes     {}", kinds(&car.hashes))?;
    car.found.as_ref().map_or(Ok(()), |found| print_found(found, out))
}

fn kinds(kinds: &[CarKind]) -> String {
    if kinds.is_empty() {
        return "-".to_owned();
    }
    let kinds = kinds.iter().map(|kind| format!("{} {}", escape(&kind.name), kind.blocks));
    kinds.collect::<Vec<_>>().join(", ")
}

fn print_found(found: &CarFound, out: &mut dyn Write) -> io::Result<()> {
    let hashes = match (found.bad, found.unchecked) {
        (0, 0) => "all blocks match their CIDs".to_owned(),
        (0, _) => "all other blocks match their CIDs".to_owned(),
        (bad, _) => format!("{bad} blocks do not match their CIDs"),
    };
    if found.unchecked > 0 {
        let blocks = plural(found.unchecked, "block", "blocks");
        writeln!(out, "unchecked  {blocks}, whose hash functions are not supported")?;
    }
    writeln!(out, "verified   {hashes}")?;
    let links = match found.missing {
        0 => "all that is linked to is there".to_owned(),
        missing => format!("{missing} blocks that are linked to are not there"),
    };
    writeln!(out, "links      {links}")?;
    if found.repeated > 0 {
        writeln!(out, "repeated   {} are there again", plural(found.repeated, "block", "blocks"))?;
    }
    if found.unreadable > 0 {
        let blocks = plural(found.unreadable, "block", "blocks");
        writeln!(out, "unknown    {blocks} cannot be read as what their codec says")?;
    }
    if found.index_entries > 0 || found.not_indexed > 0 {
        let entries = plural(found.index_entries, "entry", "entries");
        writeln!(
            out,
            "index      {entries}, {} wrong, {} blocks not in it",
            found.index_wrong, found.not_indexed
        )?;
    }
    Ok(())
}
