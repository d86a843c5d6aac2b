//! Patterns of entries that are left out, as in a `.gitignore` at the path that the
//! user named (gitignore(5)): the last that matches counts, `!` takes back, a
//! slash anywhere but at the end ties a pattern to that path.

use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::limits::IGNORE_PATTERNS_MAX;

/// What is left out.
#[derive(Debug, Clone)]
pub struct Ignored(Gitignore);

/// A pattern that cannot be read. Who wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IgnoreError {
    /// No glob.
    #[error("`{}` is no pattern: {why}", peerage_content::name::escape(.pattern))]
    Pattern {
        /// The line.
        pattern: String,
        /// What is wrong with it.
        why: String,
    },
    /// More than anyone writes.
    #[error("more than {IGNORE_PATTERNS_MAX} patterns of what is left out")]
    TooMany,
}

impl Default for Ignored {
    fn default() -> Self {
        Self(Gitignore::empty())
    }
}

impl Ignored {
    /// From the lines of one or several files, and patterns of a command line,
    /// in their order. Empty lines and those that begin with `#` say nothing.
    ///
    /// ```
    /// use peerage_peer::Ignored;
    /// assert!(Ignored::new(["*.o", "!keep.o", "/target"]).is_ok());
    /// assert!(Ignored::new(["a[z-a]"]).is_err());
    /// ```
    ///
    /// # Errors
    /// See [`IgnoreError`].
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self, IgnoreError> {
        let mut builder = GitignoreBuilder::new("");
        for (count, pattern) in patterns.into_iter().enumerate() {
            if count == IGNORE_PATTERNS_MAX {
                return Err(IgnoreError::TooMany);
            }
            let added = builder.add_line(None, pattern);
            added.map_err(|error| wrong(pattern, &error))?;
        }
        builder.build().map(Self).map_err(|error| wrong("", &error))
    }

    /// Whether an entry at `path`, relative to what the user named, is left out.
    pub(super) fn matches(&self, path: &Path, is_folder: bool) -> bool {
        self.0.matched(path, is_folder).is_ignore()
    }
}

fn wrong(pattern: &str, error: &ignore::Error) -> IgnoreError {
    IgnoreError::Pattern { pattern: pattern.to_owned(), why: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_git_reads_them() {
        let lines = "# objects\n*.o\n!keep.o\n\n/target/\ndoc/*.txt\na/**/z\n\\#x";
        let ignored = Ignored::new(lines.lines()).unwrap();
        for (path, is_folder, left_out) in [
            ("x.o", false, true),
            ("deep/down/x.o", false, true),
            ("deep/keep.o", false, false),
            ("target", true, true),
            ("target", false, false),
            ("sub/target", true, false),
            ("doc/a.txt", false, true),
            ("sub/doc/a.txt", false, false),
            ("doc/sub/a.txt", false, false),
            ("a/b/c/z", false, true),
            ("#x", false, true),
            ("# objects", false, false),
        ] {
            assert_eq!(ignored.matches(Path::new(path), is_folder), left_out, "{path}");
        }
    }
}
