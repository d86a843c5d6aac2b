//! `gc` as people read it.

use std::io::{self, Write};

use super::text::{bytes, plural};

/// Beside the bar.
pub(super) fn collecting_text(phase: &str, freed_bytes: u64) -> String {
    match phase {
        "marking" => "roots: noting what stays".to_owned(),
        _ => format!("packs: {} given back", bytes(freed_bytes)),
    }
}

pub(super) fn print_collected(
    dry_run: bool,
    dead_bytes: u64,
    freed_bytes: u64,
    mended_roots: u64,
    out: &mut dyn Write,
) -> io::Result<()> {
    if mended_roots > 0 {
        writeln!(out, "the blocks of {} were found again", plural(mended_roots, "root", "roots"))?;
    }
    if dry_run {
        return writeln!(out, "{} are of no use: peerage gc gives them back", bytes(dead_bytes));
    }
    let left = dead_bytes.saturating_sub(freed_bytes);
    write!(out, "{} given back", bytes(freed_bytes))?;
    if left > 0 && freed_bytes < dead_bytes {
        // Of a pack of which nearly all lives the rest stays.
        write!(out, "; {} more are not worth rewriting what is beside them", bytes(left))?;
    }
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(dry_run: bool, dead: u64, freed: u64, mended: u64) -> String {
        let mut out = Vec::new();
        print_collected(dry_run, dead, freed, mended, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn says_what_was_given_back_and_what_was_not() {
        assert_eq!(printed(true, 1_500_000, 0, 0), "1.5 MB are of no use: peerage gc gives them back\n");
        assert_eq!(printed(false, 1_500_000, 1_600_000, 0), "1.6 MB given back\n");
        assert_eq!(
            printed(false, 2_000, 0, 1),
            "the blocks of 1 root were found again\n0 B given back; 2.0 kB more are not worth rewriting what \
             is beside them\n"
        );
    }
}
