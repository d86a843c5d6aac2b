//! `4MB/s` and `22:00-06:00 up=1MB/s`: rates and hours as people write them.

use super::values::size;
use crate::api::{DAY, Hours, RATE_MIN, Rate, RateFlags};

/// A rate, as `4MB/s`, `500kB/s`, `2MiB/s` or `500000` (bytes a second), or `none`.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    let text = text.trim();
    if text == "none" {
        return Ok(Rate(0));
    }
    let bytes = size(text.strip_suffix("/s").unwrap_or(text))
        .map_err(|_| "write it as 4MB/s, 500kB/s, 2MiB/s or none".to_owned())?;
    if bytes < RATE_MIN {
        return Err(format!(
            "{} kB/s is the least: other peers do not wait longer for a block",
            RATE_MIN / 1000
        ));
    }
    Ok(Rate(bytes))
}

/// Hours, as `22:00-06:00 up=none down=1MB/s`; `up-per-peer` and `down-per-peer` are known, too.
pub(crate) fn hours(text: &str) -> Result<Hours, String> {
    let wrong = || "write it as '22:00-06:00 up=1MB/s down=none'".to_owned();
    let mut words = text.split_whitespace();
    let (from, to) = words.next().and_then(|word| word.split_once('-')).ok_or_else(wrong)?;
    let (from, to) = (time(from).ok_or_else(wrong)?, time(to).ok_or_else(wrong)?);
    if from % DAY == to % DAY && (from, to) != (0, DAY) {
        return Err("it begins when it ends; the whole day is 00:00-24:00".to_owned());
    }
    let mut rates = RateFlags::default();
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(wrong)?;
        let place = match name {
            "up" => &mut rates.up,
            "down" => &mut rates.down,
            "up-per-peer" => &mut rates.up_per_peer,
            "down-per-peer" => &mut rates.down_per_peer,
            _ => return Err(wrong()),
        };
        if place.replace(rate(value)?).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    if rates.first().is_none() {
        return Err(wrong());
    }
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Hours { from: from % DAY, to, rates, text })
}

/// Minutes after midnight of `HH:MM`, up to 24:00.
fn time(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| text.len() <= 2 && !text.starts_with('+'));
    let (hours, minutes) = (number(hours)?, number(minutes).filter(|minutes| *minutes < 60)?);
    let time = hours.checked_mul(60)? + minutes;
    (time <= DAY).then_some(time)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rates() {
        for (text, bytes) in [
            ("4MB/s", 4_000_000),
            ("500kB/s", 500_000),
            ("2MiB/s", 2 << 20),
            ("16000", 16_000),
            ("1.5 MB/s", 1_500_000),
            ("none", 0),
        ] {
            assert_eq!(rate(text), Ok(Rate(bytes)), "{text}");
        }
        for wrong in ["", "0", "15kB/s", "4MB/m", "-1MB/s", "fast", "/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn hours_of_a_day() {
        let of = |text| hours(text).map(|hours| (hours.from, hours.to, hours.rates));
        let (up, down) = (Some(Rate(1_000_000)), Some(Rate(0)));
        let both = RateFlags { up, down, ..RateFlags::default() };
        assert_eq!(of("22:00-06:30  up=1MB/s down=none"), Ok((1320, 390, both)));
        let each = RateFlags { up_per_peer: up, down_per_peer: down, ..RateFlags::default() };
        assert_eq!(of("0:00-24:00 up-per-peer=1MB/s down-per-peer=none"), Ok((0, DAY, each)));
        assert_eq!(of("24:00-1:00 up=1MB/s").unwrap().0, 0);
        assert_eq!(hours(" 1:00-2:00   up=none ").unwrap().text, "1:00-2:00 up=none");
        for wrong in [
            "",
            "22:00-06:00",
            "22-6 up=1MB/s",
            "22:00 up=1MB/s",
            "25:00-26:00 up=1MB/s",
            "1:60-2:00 up=1MB/s",
            "5:00-5:00 up=1MB/s",
            "0:00-0:00 up=1MB/s",
            "1:00-2:00 up=1MB/s up=2MB/s",
            "1:00-2:00 sideways=1MB/s",
            "1:00-2:00 up",
            "1:00-2:00 up=1B/s",
        ] {
            assert!(hours(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), near in "[0-9:]{0,6}-[0-9:]{0,6} (up|down)=[0-9]{0,20}[kMG]?B?") {
            for text in [text, near] {
                drop(rate(&text));
                drop(hours(&text));
            }
        }
    }
}
