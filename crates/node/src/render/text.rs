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

/// Seconds since 1970 as a date and time in UTC (Howard Hinnant's `civil_from_days`).
pub(super) fn date(unix: i64) -> String {
    const DAY: i64 = 86_400;
    let (days, second) = (unix.div_euclid(DAY), unix.rem_euclid(DAY));
    // Days since the first of March of the year 0, in eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
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
    fn dates() {
        for (unix, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (-1, "1969-12-31 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_251_199, "2024-02-29 23:59:59 UTC"),
            (1_709_251_200, "2024-03-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (-62_135_596_800, "0001-01-01 00:00:00 UTC"),
        ] {
            assert_eq!(date(unix), text);
        }
        // Any number may come.
        date(i64::MAX);
        date(i64::MIN);
    }

    #[test]
    fn nothing_drives_the_terminal() {
        assert_eq!(tame("a\\x\n\u{1b}[2J\u{202e}b\r"), "a\\x\n\\u{1b}[2J\\u{202e}b\\r");
    }
}
