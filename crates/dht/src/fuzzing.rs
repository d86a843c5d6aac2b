//! The judgement of records of others, as the fuzzer reaches it
//! (`tests/decoders`). Behind the feature `fuzzing`; no part of the crate's interface.

use std::cmp::Ordering;

use peerage_base::Now;

use crate::limits::{Config, Network};
use crate::values::Validators;
use crate::{Record, ValueError};

/// Whether a record may be kept.
///
/// # Errors
/// Why it may not.
pub fn validate(record: &Record, now: Now) -> Result<(), ValueError> {
    validators().validate(record, now)
}

/// Which of two values of a key is better.
#[must_use]
pub fn compare(key: &[u8], left: &[u8], right: &[u8]) -> Ordering {
    validators().compare(key, left, right)
}

fn validators() -> Validators {
    Validators::new(&Config::new(Network::Wan))
}
