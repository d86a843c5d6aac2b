//! `verify` as people read it.

use std::io::{self, Write};

use peerage_content::name::escape;

use super::text::{bytes, plural, tame};
use crate::api::{BadBlock, Event};

/// Bad blocks of one file that are named one by one. 3: a file that was deleted may
/// have thousands, and `--json` names them all.
const NAMED_OF_A_FILE: u64 = 3;

/// Bad blocks as they are printed: of a file the first ones, and how many more.
#[derive(Debug, Default)]
pub(super) struct Bads {
    path: Option<String>,
    named: u64,
    more: u64,
}

impl Bads {
    pub(super) fn print(&mut self, bad: &BadBlock, out: &mut dyn Write) -> io::Result<()> {
        // What has a place of its own in a file is named with it.
        let path = bad.path.as_ref().filter(|_| bad.offset.is_none());
        if path.is_none() || path != self.path.as_ref() {
            self.end(out)?;
            self.path = path.cloned();
        }
        if self.named >= NAMED_OF_A_FILE {
            self.more += 1;
            return Ok(());
        }
        self.named += u64::from(path.is_some());
        print_one("bad", bad, out)
    }

    /// Something else is printed next.
    pub(super) fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Self { path, more, .. } = std::mem::take(self);
        match (path, more) {
            (_, 0) | (None, _) => Ok(()),
            (Some(path), 1) => writeln!(out, "     and one more block of {}", escape(&path)),
            (Some(path), more) => writeln!(out, "     and {more} more blocks of {}", escape(&path)),
        }
    }
}

/// A block that is wrong, or of which nobody here knows.
pub(super) fn print_one(what: &str, block: &BadBlock, out: &mut dyn Write) -> io::Result<()> {
    let path = block.path.as_deref().map(escape).unwrap_or_default();
    let of = if block.cid.is_empty() || path.is_empty() { "" } else { " of " };
    writeln!(out, "{what}: {}{of}{path}: {}", block.cid, tame(&block.problem))?;
    if !block.needed_by.is_empty() {
        let roots: Vec<String> = block.needed_by.iter().map(|root| escape(root)).collect();
        writeln!(out, "     needed by {}", roots.join(", "))?;
    }
    Ok(())
}

/// Beside the bar.
pub(super) fn looking_text(done: u64) -> String {
    format!("looking for files that were moved: {done} looked at")
}

/// The events of the command's ends.
pub(super) fn print(event: &Event, out: &mut dyn Write) -> io::Result<()> {
    match event {
        Event::Moved { from, path, files } => {
            let files = if *files == 1 { String::new() } else { format!(" ({files} files)") };
            writeln!(out, "found: {}\n   was {}{files}", escape(path), escape(from))
        }
        Event::Looked { found, lost } => {
            let lost = match lost {
                0 => "nothing is missing".to_owned(),
                lost => format!("{} are not there", plural(*lost, "file", "files")),
            };
            writeln!(out, "{} found again, {lost}", plural(*found, "file", "files"))
        }
        Event::Verified { blocks, bytes: size, bad, missing, incomplete_roots } => {
            let blocks = plural(*blocks, "block", "blocks");
            let mut verdict = match bad {
                0 => "all match their hashes".to_owned(),
                1 => "1 does not match".to_owned(),
                _ => format!("{bad} do not match"),
            };
            if *incomplete_roots > 0 {
                let roots = plural(*incomplete_roots, "pin or share", "pins and shares");
                let missing = plural(*missing, "block", "blocks");
                verdict += &format!("; {roots} lack {missing}");
            }
            writeln!(out, "{blocks}, {}: {verdict}", bytes(*size))
        }
        Event::Repaired { blocks, bytes: size, missing } => {
            let blocks = plural(*blocks, "block", "blocks");
            let left = match missing {
                0 => "nothing".to_owned(),
                missing => plural(*missing, "block", "blocks"),
            };
            writeln!(out, "{blocks}, {} fetched; {left} still missing", bytes(*size))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bad(cid: &str, path: Option<&str>) -> BadBlock {
        BadBlock {
            cid: cid.into(),
            path: path.map(Into::into),
            problem: "changed".into(),
            offset: None,
            needed_by: vec!["holiday".to_owned()],
        }
    }

    fn printed(work: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        work(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_bad_block_names_its_file_and_what_needs_it() {
        let text = printed(|out| {
            let mut bads = Bads::default();
            bads.print(&bad("bafy", Some("/a")), out)?;
            // Of an index no block is named.
            bads.print(&bad("", Some("/b")), out)?;
            bads.end(out)?;
            print_one("unchecked", &BadBlock { needed_by: Vec::new(), ..bad("bafk", Some("/c")) }, out)?;
            let end = Event::Verified { blocks: 2, bytes: 10, bad: 1, missing: 3, incomplete_roots: 1 };
            print(&end, out)
        });
        assert_eq!(
            text,
            "bad: bafy of /a: changed\n     needed by holiday\nbad: /b: changed\n     needed by holiday\n\
             unchecked: bafk of /c: changed\n\
             2 blocks, 10 B: 1 does not match; 1 pin or share lack 3 blocks\n"
        );
    }

    #[test]
    fn of_a_file_with_many_the_first_are_named_and_the_others_counted() {
        let text = printed(|out| {
            let mut bads = Bads::default();
            for _ in 0..5 {
                bads.print(&bad("x", Some("/a")), out)?;
            }
            for _ in 0..4 {
                bads.print(&bad("y", Some("/b")), out)?;
            }
            // What is in no file, or has a place in one, is always named.
            for _ in 0..4 {
                bads.print(&bad("z", None), out)?;
                bads.print(&BadBlock { offset: Some(7), ..bad("z", Some("/c")) }, out)?;
            }
            bads.end(out)
        });
        let lines: Vec<&str> = text.lines().filter(|line| !line.contains("needed by")).collect();
        let (a, b) = ("bad: x of /a: changed", "bad: y of /b: changed");
        let (z, c) = ("bad: z: changed", "bad: z of /c: changed");
        let (more_a, more_b) = ("     and 2 more blocks of /a", "     and one more block of /b");
        assert_eq!(lines, [a, a, a, more_a, b, b, b, more_b, z, c, z, c, z, c, z, c]);
    }

    #[test]
    fn what_was_found_again_is_told_with_where_it_was() {
        let moved = |files| Event::Moved { from: "/a".into(), path: "/b".into(), files };
        assert_eq!(printed(|out| print(&moved(1), out)), "found: /b\n   was /a\n");
        assert_eq!(printed(|out| print(&moved(7), out)), "found: /b\n   was /a (7 files)\n");
        let looked = |found, lost| printed(|out| print(&Event::Looked { found, lost }, out));
        assert_eq!(looked(3, 0), "3 files found again, nothing is missing\n");
        assert_eq!(looked(0, 2), "0 files found again, 2 files are not there\n");
    }
}
