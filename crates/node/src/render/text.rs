//! Words and numbers for people, and the last guard between text from
//! outside and the terminal.

use std::time::Duration;

use peerage_content::name::escape;

/// `text` with everything escaped that could drive a terminal or mislead a
/// reader, but with its line breaks and backslashes: for messages whose
/// makers escaped what they quote, in case one forgot.
pub(super) fn tame(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut buffer = [0; 4];
    for c in text.chars() {
        match c {
            '\n' | '\\' => out.push(c),
            c => out.push_str(&escape(c.encode_utf8(&mut buffer))),
        }
    }
    out
}

/// A number of bytes in decimal units, as rates and disks are given.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    // In tenths of a unit, so that no rounding gives "1000.0 kB".
    let mut tenths = u128::from(count) * 10 / 1000;
    let mut unit = 0;
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// Bytes a second; nothing if no time went by.
pub(super) fn rate(count: u64, seconds: f64) -> Option<String> {
    if !seconds.is_finite() || seconds < 0.001 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates, it is for display"
    )]
    #[expect(clippy::cast_precision_loss, reason = "it is for display")]
    let each = (count as f64 / seconds) as u64;
    Some(format!("{}/s", bytes(each)))
}

/// A time as one or two units: `0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn seconds(value: f64) -> String {
    let duration = Duration::try_from_secs_f64(value).unwrap_or_default();
    let whole = duration.as_secs();
    match whole {
        0..10 => format!("{}.{} s", whole, duration.subsec_millis() / 100),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A round trip in milliseconds.
pub(super) fn millis(value: f64) -> String {
    format!("{:.1} ms", value * 1000.0)
}

/// `1 peer`, `2 peers`.
pub(super) fn plural(count: u64, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (count, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1_048_576, "1.0 MB"),
            (999_999, "999.9 kB"),
            (1_000_000, "1.0 MB"),
            (4_321_000_000, "4.3 GB"),
            (u64::MAX, "18.4 EB"),
        ] {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(rate(4_000_000, 2.0).as_deref(), Some("2.0 MB/s"));
        assert_eq!(rate(4_000_000, 0.0), None);
    }

    #[test]
    fn times() {
        for (value, text) in
            [(0.0, "0.0 s"), (0.44, "0.4 s"), (12.9, "12 s"), (185.0, "3 min 5 s"), (7801.0, "2 h 10 min")]
        {
            assert_eq!(seconds(value), text);
        }
        assert_eq!(seconds(f64::NAN), "0.0 s");
        assert_eq!(millis(0.001_25), "1.2 ms");
    }

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(tame("a\\x\n\u{1b}[2J\u{202e}b\r"), "a\\x\n\\u{1b}[2J\\u{202e}b\\r");
    }
}
