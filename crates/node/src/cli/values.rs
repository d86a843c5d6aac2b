//! Values of flags that clap does not read by itself.

use std::time::Duration;

use peerage_content::name::escape;
use peerage_identity::Multiaddr;
use peerage_peer::MEMORY_MIN;

/// `--bootstrap none`.
const NONE: &str = "none";

/// A multiaddr, as it was typed.
pub(crate) fn multiaddr(text: &str) -> Result<String, String> {
    match text.parse::<Multiaddr>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => {
            Err(escape(&format!("not a multiaddr ({error}); one looks like /ip4/192.0.2.7/tcp/4001")))
        }
    }
}

/// A multiaddr or `none`; an empty text is none, too.
pub(crate) fn bootstrap(text: &str) -> Result<String, String> {
    if text.is_empty() || text == NONE { Ok(NONE.to_owned()) } else { multiaddr(text) }
}

/// The addresses among what [`bootstrap`] gave.
pub(crate) fn without_none(mut peers: Vec<String>) -> Vec<String> {
    peers.retain(|peer| peer != NONE);
    peers
}

/// The URL of a router, as it was typed.
pub(crate) fn router(text: &str) -> Result<String, String> {
    match peerage_peer::router::Router::new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// `10s`, `1h30m`, `250ms`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "not a duration: write 10s, 5m, 2h or 1h30m".to_owned();
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let millis = match &rest[..letters] {
            "ms" => 1,
            "s" => 1000,
            "" if digits == text.trim().len() => 1000,
            "m" | "min" => 60 * 1000,
            "h" => 3600 * 1000,
            "d" => 24 * 3600 * 1000,
            _ => return Err(wrong()),
        };
        rest = &rest[letters..];
        let part = number.checked_mul(millis).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
    }
    Ok(total)
}

/// Bytes, as `10GB`, `1.5 TiB` or `500000`; none is no size.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size: Result<bytesize::ByteSize, _> = text.trim().parse();
    let bytes = size.map(|size| size.as_u64()).ok().filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "write it as 500MB, 10GB or 1TiB".to_owned())
}

/// Bytes of memory that the program can do with.
pub(crate) fn memory(text: &str) -> Result<u64, String> {
    let bytes = size(text)?;
    if bytes < MEMORY_MIN {
        return Err(format!("{} MiB is the least", MEMORY_MIN >> 20));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("500000", 500_000),
            ("10GB", 10_000_000_000),
            ("10 gb", 10_000_000_000),
            ("1.5G", 1_500_000_000),
            ("2TiB", 2 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "GB", "0", "-1", "10X", "much"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        for (text, millis) in [
            ("0", 0),
            ("10", 10_000),
            ("10s", 10_000),
            ("250ms", 250),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "10x", "1h30", "-1s", "1.5h", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>()) {
            drop(duration(&text));
            drop(multiaddr(&text));
            drop(size(&text));
        }
    }
}
