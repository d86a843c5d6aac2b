//! Names from outside: which ones may become a file, and how any text from
//! outside is printed.
//!
//! A name is one component of a path. What separates components is the
//! platform's affair: a backslash is a letter like others where it separates
//! nothing. Case and normalisation, which make names collide on some file
//! systems, are the business of whoever writes: it sees the folder.

use std::fmt::Write as _;

use crate::limits::NAME_MAX;

/// Why a name may not become a file or folder. The maker of the link or
/// folder is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No name at all.
    #[error("an empty name")]
    Empty,
    /// `.` or `..`.
    #[error("a name that means this folder or the one above")]
    Dots,
    /// `/` inside, or what else separates components here.
    #[error("a name with a path separator")]
    Separator,
    /// NUL or another control character inside.
    #[error("a name with a control character")]
    Control,
    /// More than 255 bytes.
    #[error("a name of more than 255 bytes")]
    TooLong,
    /// Not text.
    #[error("a name that is not UTF-8")]
    NotUtf8,
}

/// Checks that `name` is one component that may be written to disk, here.
///
/// ```
/// use peerage_content::name::{NameError, check};
/// assert_eq!(check("Ünï.txt"), Ok("Ünï.txt"));
/// assert_eq!(check(".."), Err(NameError::Dots));
/// assert_eq!(check("a/../../b"), Err(NameError::Separator));
/// ```
///
/// # Errors
/// See [`NameError`].
pub fn check(name: &str) -> Result<&str, NameError> {
    check_entry(name)?;
    if name.contains(std::path::is_separator) {
        return Err(NameError::Separator);
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(name)
}

/// [`check`] of bytes, which must be UTF-8.
///
/// # Errors
/// See [`NameError`].
pub fn check_bytes(name: &[u8]) -> Result<&str, NameError> {
    check(std::str::from_utf8(name).map_err(|_| NameError::NotUtf8)?)
}

/// What a folder may hold: less strict than [`check`], since a tab is a fine
/// name on the system that it comes from, and in other programs.
///
/// # Errors
/// Empty, dots, `/`, NUL or too long.
pub fn check_entry(name: &str) -> Result<&str, NameError> {
    match name {
        "" => return Err(NameError::Empty),
        "." | ".." => return Err(NameError::Dots),
        _ => {}
    }
    if name.contains('/') {
        return Err(NameError::Separator);
    }
    if name.contains('\0') {
        return Err(NameError::Control);
    }
    if name.len() > NAME_MAX {
        return Err(NameError::TooLong);
    }
    Ok(name)
}

/// Text from outside, safe to print: control characters, escape sequences,
/// characters that reorder or hide text, and the backslash that marks them
/// come out as `\n`, `\u{202e}` and the like.
///
/// ```
/// assert_eq!(peerage_content::name::escape("a\x1b[31m\u{202e}b"), "a\\u{1b}[31m\\u{202e}b");
/// ```
#[must_use]
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() || misleads(c) => {
                write!(out, "\\u{{{:x}}}", u32::from(c)).expect("a String takes all that is written");
            }
            c => out.push(c),
        }
    }
    out
}

/// [`escape`] of bytes that may not be UTF-8; those that are not come out as `\xff`.
#[must_use]
pub fn escape_bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            write!(out, "\\x{byte:02x}").expect("a String takes all that is written");
        }
    }
    out
}

/// Characters that are not what they look like: bidirectional controls,
/// zero-width and invisible ones, line separators, tags, fillers.
const fn misleads(c: char) -> bool {
    matches!(c,
        '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_component_only() {
        for (name, error) in [
            ("", NameError::Empty),
            (".", NameError::Dots),
            ("..", NameError::Dots),
            ("/etc", NameError::Separator),
            ("a/b", NameError::Separator),
            ("a\0", NameError::Control),
            ("a\x1b[2J", NameError::Control),
            ("a\u{9b}2J", NameError::Control),
            ("a\nb", NameError::Control),
        ] {
            assert_eq!(check(name), Err(error), "{name:?}");
        }
        assert_eq!(check(&"ä".repeat(128)), Err(NameError::TooLong));
        assert_eq!(check_bytes(b"\xff"), Err(NameError::NotUtf8));
        assert_eq!(check("a\\b").is_ok(), !std::path::is_separator('\\'));
        assert_eq!(check_entry("a\\\tb"), Ok("a\\\tb"));
        for name in ["...", ".hidden", "a b", "日本語", "ä", &"x".repeat(255)] {
            assert_eq!(check(name), Ok(name));
        }
    }

    #[test]
    fn nothing_reaches_a_terminal_raw() {
        let mut all = String::new();
        for c in (0..=0x10ffff).filter_map(char::from_u32) {
            all.push(c);
        }
        assert!(!escape(&all).chars().any(|c| c.is_control() || misleads(c)));
        assert_eq!(escape("ok näme"), "ok näme");
        assert_eq!(escape("a\\n"), "a\\\\n");
        assert_eq!(escape_bytes(b"a\xffb\x1b"), "a\\xffb\\u{1b}");
    }
}
