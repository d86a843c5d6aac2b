//! Users' files: in through [`import`], out through [`export`]. What both refer to
//! in the store is in [`claims`].

/// What a fetch that is not finished has in its staging folder: its lock, which
/// holds the pid of the process that fetches.
const STAGING_LOCK: &str = ".peerage-lock";

/// How the name of a staging folder ends; it begins with a dot.
const STAGING_SUFFIX: &str = ".peerage-part";

pub(crate) mod claims;
pub(crate) mod export;
mod ids;
pub(crate) mod import;
