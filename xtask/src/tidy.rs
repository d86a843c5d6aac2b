//! `cargo xtask tidy`: what each source file owes its reader: an opening `//!`
//! that says what it is, and a length that can be read in one go.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Where sources lie.
const PLACES: &[&str] = &["crates", "xtask", "benches", "tests", "fuzz"];

/// Folders with code that nobody writes or that is not ours.
const SKIPPED: &[&str] = &["target", "generated", ".cache", "node_modules", "corpus", "artifacts"];

/// Lines of a file, tests apart, above which it needs a reason.
const MAX_LINES: usize = 500;

/// Files that may be longer, and why.
const LONG: &[(&str, &str)] = &[];

/// Checks every source file and lists all faults.
pub(crate) fn check(root: &Path) -> Result<()> {
    let mut files = Vec::new();
    for place in PLACES {
        collect(&root.join(place), &mut files)?;
    }
    files.sort();
    let mut faults = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().replace('\\', "/");
        faults.extend(faults_of(&name, &text).into_iter().map(|fault| format!("{name}: {fault}")));
    }
    for (name, _) in LONG.iter().filter(|(name, _)| !root.join(name).is_file()) {
        faults.push(format!("{name}: is listed as long in xtask/src/tidy.rs but is not there"));
    }
    if faults.is_empty() {
        println!("tidy: {} files", files.len());
        return Ok(());
    }
    bail!("untidy files:\n  {}", faults.join("\n  "))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if !SKIPPED.iter().any(|skipped| name == *skipped) {
                collect(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn faults_of(name: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push("does not open with `//!` and what it is".to_owned());
    }
    let lines = lines_without_tests(name, text);
    match LONG.iter().find(|(long, _)| *long == name) {
        None if lines > MAX_LINES => {
            faults.push(format!("{lines} lines without tests, over {MAX_LINES}: split it by concern"));
        }
        Some(_) if lines <= MAX_LINES => {
            faults.push("is short again: take it off the list in xtask/src/tidy.rs".to_owned());
        }
        _ => {}
    }
    faults
}

/// The lines before the test module; none for a file of tests.
fn lines_without_tests(name: &str, text: &str) -> usize {
    if name.split('/').any(|part| part == "tests" || part == "tests.rs") {
        return 0;
    }
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        let then_tests = lines.peek().is_some_and(|(_, next)| next.starts_with("mod tests {"));
        if line == "#[cfg(test)]" && then_tests {
            return number;
        }
    }
    text.lines().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_it_is() {
        assert_eq!(faults_of("crates/a/src/lib.rs", "//! A.\n"), Vec::<String>::new());
        assert_eq!(faults_of("crates/a/src/lib.rs", "use std::fs;\n").len(), 1);
    }

    #[test]
    fn tests_do_not_count() {
        let code = "//! A.\n".to_owned() + &"fn f() {}\n".repeat(MAX_LINES - 1);
        let tests = "#[cfg(test)]\nmod tests {\n".to_owned() + &"// a test\n".repeat(300) + "}\n";
        assert!(faults_of("crates/a/src/b.rs", &(code.clone() + &tests)).is_empty());
        assert_eq!(faults_of("crates/a/src/b.rs", &(code.clone() + "fn f() {}\n" + &tests)).len(), 1);
        assert!(faults_of("crates/a/tests/b.rs", &code.repeat(2)).is_empty());
    }
}
