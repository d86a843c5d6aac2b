//! Floats as text (ECMA-262 `Number::toString`, and a point or an exponent
//! always): the shortest digits that read back as the same float, with an
//! exponent from 1e21 up and below 1e-6.
//!
//! Of two such texts that are equally near, ECMAScript and Go take the one with
//! an even last digit, the standard library the greater. A CID hangs on it.

/// The text of a finite float.
pub(super) fn text(value: f64) -> String {
    let (mut digits, exponent) = parts(&format!("{:e}", value.abs()));
    if let Some(even) = even(value.abs(), &digits) {
        digits = even;
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let len = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if !(-6..21).contains(&exponent) {
        let (first, rest) = digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{sign}{first}{point}{rest}e{exponent:+}");
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", zeros(-1 - exponent));
    }
    digits.push_str(&zeros(exponent + 2 - len));
    let (whole, fraction) = digits.split_at(usize::try_from(exponent + 1).unwrap_or(0));
    format!("{sign}{whole}.{fraction}")
}

/// The digits, and the power of ten of the first, of a number such as `1.25e-7`.
fn parts(text: &str) -> (String, i32) {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    (digits.replace('.', ""), exponent.parse().unwrap_or(0))
}

/// The digits below `digits`, if they end in an even one and are as near to
/// `value`, and read back as it, too.
fn even(value: f64, digits: &str) -> Option<String> {
    let odd = digits.bytes().last().is_some_and(|digit| digit % 2 == 1);
    let next = |count: usize| parts(&format!("{value:.count$e}")).0;
    // One more digit says at once that most floats are nearer to one text.
    if !odd || !next(digits.len()).ends_with('5') {
        return None;
    }
    // No float has more than 767 digits: these are all.
    let (exact, exponent) = parts(&format!("{value:.767e}"));
    let (below, rest) = exact.split_at(digits.len());
    let middle = rest.trim_end_matches('0') == "5" && below < digits;
    let (first, others) = below.split_at(1);
    let reads_back = format!("{first}.{others}e{exponent}").parse() == Ok(value);
    (middle && reads_back).then(|| below.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_points_are_where_ecmascript_has_them() {
        for (value, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-120.0, "-120.0"),
            (12.5, "12.5"),
            (123_456_789_012_345_680_000.0, "123456789012345680000.0"),
            (1e20, "100000000000000000000.0"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (0.1, "0.1"),
            (0.000_001, "0.000001"),
            (0.000_000_999, "9.99e-7"),
            (1e-7, "1e-7"),
            (-5e-324, "-5e-324"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (9_007_199_254_740_993.0, "9007199254740992.0"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn the_last_digit_is_even_where_two_are_as_near() {
        for (exact, expected) in [
            ("0.00104999542236328125", "0.0010499954223632812"),
            ("-0.00146961212158203125", "-0.0014696121215820312"),
            // Only nearly in the middle, so the nearer one, odd or not.
            ("0.3000000000000000444", "0.30000000000000004"),
            ("0.7000000000000000666", "0.7000000000000001"),
        ] {
            assert_eq!(text(exact.parse().unwrap()), expected);
        }
    }
}
