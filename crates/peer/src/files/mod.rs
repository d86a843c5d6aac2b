//! Users' files: in through [`import`], out through [`export`].

/// What a fetch that is not finished has in its staging folder: its lock, which
/// holds the pid of the process that fetches.
const STAGING_LOCK: &str = ".peerage-lock";

/// How the name of a staging folder ends; it begins with a dot.
const STAGING_SUFFIX: &str = ".peerage-part";

pub(crate) mod export;
pub(crate) mod import;
