//! Users' files: in through [`import`], out through [`export`].

pub(crate) mod export;
pub(crate) mod import;
