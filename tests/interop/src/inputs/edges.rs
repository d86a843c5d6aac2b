//! Folders of the size from which they are sharded, to the byte: one less,
//! the same, one more.

use anyhow::{Context as _, Result};

use super::{Folder, Inputs, Size, long_name};
use crate::profile::{Profile, SHARD_ABOVE};

/// While more bytes than this are missing, another entry is made, of less
/// than 320 bytes; then two that fit.
const LAST_TWO: usize = 540;

/// What an entry is.
#[derive(Clone, Copy)]
enum Kind {
    File(usize),
    Symlink,
    Folder,
}

/// The target of the symlinks.
const TARGET: &str = "somewhere else";

impl Kind {
    /// Bytes of its blocks in [`Profile::V1`]; the other does not measure them.
    fn tsize(self) -> u64 {
        match self {
            Self::File(len) => len as u64,
            // A node whose UnixFS field says the type and the target.
            Self::Symlink => 2 + 4 + TARGET.len() as u64,
            Self::Folder => 4,
        }
    }

    fn make(self, folder: &mut Folder, name: &str) -> Result<()> {
        match self {
            Self::File(len) => folder.file(name, &vec![b'x'; len]),
            Self::Symlink => folder.symlink(name, TARGET),
            Self::Folder => folder.folder(name).map(|_| ()),
        }
    }
}

/// What a folder is filled with: the entry of a number.
type Filling = (&'static str, fn(usize) -> (String, Kind));

const FILLINGS: [Filling; 4] = [
    ("long names", |i| (long_name(i, 250), Kind::File(0))),
    // Of two bytes or one: the size, the length of the name, that of the link.
    ("names of 60 and more", |i| (long_name(i, 60 + i % 180), Kind::File(i % 9 * 25))),
    ("wide names", |i| {
        let first = if i % 2 == 0 { '豈' } else { '😀' };
        (format!("{first}{}{i}", "あ".repeat(75)), Kind::File(i % 3))
    }),
    ("all kinds", |i| {
        let kind = match i % 8 {
            0 => Kind::Symlink,
            1 => Kind::Folder,
            j => Kind::File(100 * j),
        };
        let hidden = if i % 3 == 0 { "." } else { "" };
        (format!("{hidden}{}", long_name(i, 230)), kind)
    }),
];

pub(super) fn generate(inputs: &mut Inputs<'_>) -> Result<()> {
    for profile in Profile::ALL {
        for (what, filling) in FILLINGS {
            for above in [-1, 0, 1] {
                let name = format!("{what} {above:+} {}", profile.name());
                let mut folder = inputs.folder(&name, Size::Edge(profile, above))?;
                fill(&mut folder, profile, SHARD_ABOVE.saturating_add_signed(above as isize), filling)
                    .with_context(|| format!("filling {name}"))?;
            }
        }
    }
    Ok(())
}

/// Fills `folder` until it has `len` bytes, as the profile measures folders.
fn fill(
    folder: &mut Folder,
    profile: Profile,
    len: usize,
    filling: fn(usize) -> (String, Kind),
) -> Result<()> {
    let mut missing = len - profile.folder_len();
    for i in 0.. {
        if missing <= LAST_TWO {
            break;
        }
        let (name, kind) = filling(i);
        missing -= profile.entry_len(&name, kind.tsize());
        kind.make(folder, &name)?;
    }
    let names = |letter: &'static str| (1..=255).map(move |len| letter.repeat(len));
    let last = names("y").find_map(|one| {
        let rest = missing.checked_sub(profile.entry_len(&one, 0))?;
        names("z").find(|other| profile.entry_len(other, 0) == rest).map(|other| (one, other))
    });
    let (one, other) = last.with_context(|| format!("no two names fill {missing} bytes"))?;
    folder.file(&one, b"")?;
    folder.file(&other, b"")
}
