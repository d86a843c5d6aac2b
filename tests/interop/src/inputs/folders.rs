//! Folders of one block: names of all kinds, what can be in a folder, trees.

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use super::{Folder, Inputs, Size};
use crate::data;

/// How many trees of any shape.
const TREES: u64 = 60;

/// Deepest of them, in folders below the root.
const TREE_DEPTH: usize = 4;

/// Most entries of a folder of them.
const TREE_ENTRIES: u32 = 9;

/// Folders within folders, one in each.
const DEEP: usize = 60;

/// Names in some order that is not that of their bytes, or that others could
/// take for something else.
const NAMES: &[(&str, &[&str])] = &[
    // In UTF-16 what is beyond the first plane sorts before U+E000 to U+FFFF, in UTF-8 behind it.
    ("names that UTF-16 sorts otherwise", &["\u{ff5e}", "\u{e000}", "😀", "𝒳", "豈", "z", "\u{fffd}x", "𠀀"]),
    (
        "names of many scripts",
        &["größe", "日本語", "русский", "العربية", "עברית", "ไทย", "한국어", "Ελληνικά"],
    ),
    ("names composed and decomposed", &["\u{e9}", "e\u{301}", "\u{c5}", "A\u{30a}", "\u{212b}", "ﬁ", "fi"]),
    ("names that differ in case", &["a", "A", "ab", "Ab", "aB", "AB", "ß", "ẞ", "SS", "ı", "i", "I", "İ"]),
    (
        "names that begin alike",
        &["a", "a ", "a-", "a.b", "aa", "a\u{80}", "a0", "a~", "a_", "a b", "ab", "a-b"],
    ),
    (
        "names with punctuation",
        &["!", "\"", "'", "%20", "%", "#", "?", "*", "a\\b", "~", "$HOME", "&", "+", ":"],
    ),
    ("names with spaces", &[" ", "  ", " a", "a ", " a ", "\u{a0}", "\u{3000}", "\u{2003}a", "a\u{200b}"]),
    ("names with control characters", &["\n", "a\nb", "\t", "\u{1b}[31m", "\u{7f}", "\u{85}", "\r", "\u{1}"]),
    ("names like buckets of a shard", &["00", "0A", "A0", "FF", "ff", "000", "00a", "FF.txt", "7", "B"]),
    (
        "names that a script could stumble over",
        &["__proto__", "constructor", "toString", "length", "null", "-n"],
    ),
    (
        "names that are numbers",
        &["0", "1", "10", "2", "9", "010", "-1", "1.5", "1e3", "18446744073709551616"],
    ),
    ("names with dots", &["...", "..a", "a..", ".a", "a.", "a.b.c", ".a.b", "...."]),
];

pub(super) fn generate(inputs: &mut Inputs<'_>) -> Result<()> {
    for (what, names) in NAMES {
        inputs.folder(what, Size::Any)?.names(names.iter().copied())?;
    }
    contents(inputs)?;
    symlinks(&mut inputs.folder("symlinks", Size::Any)?)?;
    for seed in 0..TREES {
        let mut folder = inputs.folder(&format!("tree {seed}"), Size::Any)?;
        tree(&mut folder, &mut ChaCha8Rng::seed_from_u64(seed), TREE_DEPTH)?;
    }
    Ok(())
}

fn contents(inputs: &mut Inputs<'_>) -> Result<()> {
    inputs.folder("nothing", Size::Any)?;
    inputs.folder("one empty file", Size::Any)?.file("empty", b"")?;
    inputs.folder("one empty folder", Size::Any)?.folder("empty")?;
    inputs.folder("longest names", Size::Any)?.names([
        &*"x".repeat(255),
        &"語".repeat(85),
        &"😀".repeat(63),
    ])?;
    let mut same = inputs.folder("the same again", Size::Any)?;
    for i in 0..200 {
        same.file(&format!("{i}"), b"the same")?;
    }
    let mut executables = inputs.folder("executables", Size::Any)?;
    executables.file("plain", b"#!/bin/sh\n")?;
    executables.executable("executable", b"#!/bin/sh\n")?;
    let mut hidden = inputs.folder("hidden entries", Size::Any)?;
    hidden.names([".file", "file"])?;
    hidden.folder(".folder")?.names([".inside", "inside"])?;
    hidden.folder(".empty")?;
    let mut deep = inputs.folder("deep", Size::Any)?;
    let mut empty = inputs.folder("deep and empty", Size::Any)?;
    for _ in 0..DEEP {
        (deep, empty) = (deep.folder("in")?, empty.folder("in")?);
    }
    deep.file("here", b"at last")?;
    let large = inputs.folder("files of many blocks", Size::Any)?;
    for (i, len) in [1 << 18, (1 << 18) + 1, 1 << 20, (1 << 20) + 1, 3_000_000].into_iter().enumerate() {
        data::file(&large.folder(&format!("{i}"))?.path("file"), len, i as u64)?;
    }
    Ok(())
}

fn symlinks(folder: &mut Folder) -> Result<()> {
    folder.file("file", b"a file")?;
    folder.folder("folder")?.file("inside", b"inside")?;
    let far = format!("/{}", "far/".repeat(500));
    for (name, target) in [
        ("to a file", "file"),
        ("to a folder", "folder"),
        ("to nothing", "nowhere"),
        ("to the root", "/"),
        ("to itself", "to itself"),
        ("to here", "."),
        ("above", "../../.."),
        ("absolute", "/etc/hostname"),
        ("into a folder", "folder//inside/"),
        ("in another script", "größe/😀"),
        (".hidden", "file"),
        ("far", &far),
    ] {
        folder.symlink(name, target)?;
    }
    Ok(())
}

fn tree(folder: &mut Folder, random: &mut ChaCha8Rng, depth: usize) -> Result<()> {
    for i in 0..random.next_u32() % (TREE_ENTRIES + 1) {
        let name = format!("{}{i}", name(random));
        match random.next_u32() % 10 {
            0..3 if depth > 0 => tree(&mut folder.folder(&name)?, random, depth - 1)?,
            3 => folder.symlink(&name, &self::name(random))?,
            4 => folder.executable(&name, name.as_bytes())?,
            5 => data::file(&folder.path(&name), 1 << 18, random.next_u64())?,
            _ => data::file(&folder.path(&name), random.next_u32() as usize % 2000, random.next_u64())?,
        }
    }
    Ok(())
}

/// One to twelve characters.
fn name(random: &mut ChaCha8Rng) -> String {
    const LETTERS: [char; 16] =
        ['a', 'B', 'z', '0', '9', '.', '-', '_', ' ', 'é', 'Ж', '語', '\u{fffd}', '😀', '𠀀', '~'];
    let len = random.next_u32() % 12 + 1;
    (0..len).map(|_| LETTERS[random.next_u32() as usize % LETTERS.len()]).collect()
}
