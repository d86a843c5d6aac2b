//! How a command fails: a kind for programs, a message for people, and the
//! one table that says which exit status a kind has (README, the commands).

use std::io;

use serde::{Deserialize, Serialize};

/// What went wrong, in a word that stays the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The command line cannot be what was meant.
    Usage,
    /// The link cannot be read.
    BadLink,
    /// No peer that can be reached has it.
    NotFound,
    /// What came did not match its hash, and no source is left.
    Verification,
    /// The user ended it.
    Interrupted,
    /// The destination exists and differs.
    Exists,
    /// A path does not exist or is not what it should be.
    Path,
    /// Another process has the repository and cannot be asked.
    Owned,
    /// The disk is full, or the quota reached.
    NoSpace,
    /// Reading or writing failed.
    Io,
    /// A peer could not be reached, or answered as another.
    Network,
    /// The data is no file or folder, or breaks a limit.
    Content,
    /// Nobody reads what is printed; never printed itself.
    Unread,
    /// The other process speaks another version of the control protocol.
    Protocol,
    /// Anything else.
    #[serde(other)]
    Failed,
}

impl Kind {
    /// The exit status. 0 is not here: that is no failure.
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::BadLink => 2,
            Self::NotFound => 3,
            Self::Verification => 4,
            Self::Interrupted => 130,
            Self::Exists
            | Self::Path
            | Self::Owned
            | Self::NoSpace
            | Self::Io
            | Self::Network
            | Self::Content
            | Self::Unread
            | Self::Protocol
            | Self::Failed => 1,
        }
    }
}

impl From<&io::Error> for Kind {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace,
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Path,
            _ => Self::Io,
        }
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    /// One sentence or a few lines, naming the path or peer and what to do.
    /// Text from outside in it is escaped by whoever put it there.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What is printed did not reach stdout. A reader that went away has what
    /// it wanted; a disk that is full has not.
    pub(crate) fn unwritten(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(Kind::Unread, "nobody reads on"),
            _ => Self::new(error.into(), format!("cannot write to stdout: {error}")),
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub(crate) fn interrupted() -> Self {
        Self::new(Kind::Interrupted, "interrupted")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses_are_the_contract() {
        let table = [
            (Kind::Usage, "usage", 2),
            (Kind::BadLink, "bad_link", 2),
            (Kind::NotFound, "not_found", 3),
            (Kind::Verification, "verification", 4),
            (Kind::Interrupted, "interrupted", 130),
            (Kind::Exists, "exists", 1),
            (Kind::Path, "path", 1),
            (Kind::Owned, "owned", 1),
            (Kind::NoSpace, "no_space", 1),
            (Kind::Io, "io", 1),
            (Kind::Network, "network", 1),
            (Kind::Content, "content", 1),
            (Kind::Protocol, "protocol", 1),
            (Kind::Failed, "failed", 1),
        ];
        for (kind, name, code) in table {
            assert_eq!(kind.exit_code(), code, "{name}");
            assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{name}\""));
        }
        // A newer owner may know kinds that we do not.
        assert_eq!(serde_json::from_str::<Kind>("\"new\"").unwrap(), Kind::Failed);
    }
}
