//! Errors of the peer as failures of commands: the kind says the exit status.

use peerage_content::ipld::PathError;
use peerage_identity::keyfile::KeyFileError;
use peerage_peer::{
    AddError, CarExportError, DialError, ExportError, GetError, ImportError, JobError, NotFound, PinError,
    PingError, QueryError, StartError,
};
use peerage_store::{LockError, OpenError, ReadError, WriteError};

use crate::api::{Failure, Kind};

/// An error that has a kind.
pub(super) trait Fails: ToString {
    fn kind(&self) -> Kind;

    fn failure(&self) -> Failure {
        Failure::new(self.kind(), self.to_string())
    }

    /// What was tried, if nobody who can be reached has it.
    fn not_found(&self) -> Option<&NotFound> {
        None
    }
}

impl Fails for JobError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotFound(_) => Kind::NotFound,
            Self::Unverified(_) => Kind::Verification,
            Self::Unwantable { .. } => Kind::BadLink,
            Self::Malformed { .. } | Self::BadShard { .. } | Self::TooDeep { .. } | Self::Name { .. } => {
                Kind::Content
            }
            _ => Kind::Failed,
        }
    }

    fn not_found(&self) -> Option<&NotFound> {
        match self {
            Self::NotFound(tried) => Some(tried),
            _ => None,
        }
    }
}

impl Fails for WriteError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io(error) => error.into(),
            _ => Kind::Failed,
        }
    }
}

impl Fails for ExportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Io { source, .. } => source.into(),
            Self::Differs(_) | Self::Folder(_) | Self::FolderInTheWay(_) | Self::Changed(_) => Kind::Exists,
            Self::NoFolder(_) => Kind::Path,
            Self::Busy { .. } => Kind::Owned,
            Self::NoSpace { .. } => Kind::NoSpace,
            Self::Collision(_) | Self::UnsafeRoot { .. } => Kind::Content,
            Self::Store(error) => error.kind(),
            Self::Unread(ReadError::Io(error)) => error.into(),
            Self::Gone => Kind::Failed,
        }
    }
}

impl Fails for GetError {
    fn kind(&self) -> Kind {
        match self {
            Self::Job(error) => error.kind(),
            Self::Export(error) => error.kind(),
            Self::Stopped => Kind::Interrupted,
        }
    }

    fn not_found(&self) -> Option<&NotFound> {
        match self {
            Self::Job(error) => error.not_found(),
            _ => None,
        }
    }
}

impl Fails for QueryError {
    fn kind(&self) -> Kind {
        match self {
            Self::Job(error) => error.kind(),
            Self::Path { .. }
            | Self::Through { .. }
            | Self::NoStep { why: PathError::NotFound { .. } | PathError::NotAMap { .. }, .. } => {
                Kind::NotFound
            }
            Self::Stopped => Kind::Interrupted,
            _ => Kind::Content,
        }
    }

    fn not_found(&self) -> Option<&NotFound> {
        match self {
            Self::Job(error) => error.not_found(),
            _ => None,
        }
    }
}

impl Fails for AddError {
    fn kind(&self) -> Kind {
        match self {
            Self::Import(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Stopped => Kind::Interrupted,
        }
    }
}

impl Fails for ImportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Store(error) => error.kind(),
            Self::Cancelled => Kind::Interrupted,
            Self::WorkerLost => Kind::Failed,
            Self::SameName { .. } | Self::Twice { .. } | Self::Profile(_) => Kind::Usage,
            _ => Kind::Path,
        }
    }
}

impl Fails for PinError {
    fn kind(&self) -> Kind {
        match self {
            Self::Query(error) => error.kind(),
            Self::Walk(_) => Kind::Content,
            Self::Store(error) => error.kind(),
        }
    }

    fn not_found(&self) -> Option<&NotFound> {
        match self {
            Self::Query(error) => error.not_found(),
            _ => None,
        }
    }
}

impl Fails for CarExportError {
    fn kind(&self) -> Kind {
        match self {
            Self::Query(error) => error.kind(),
            Self::Walk(_) => Kind::Content,
            Self::Store(error) => error.kind(),
        }
    }

    fn not_found(&self) -> Option<&NotFound> {
        match self {
            Self::Query(error) => error.not_found(),
            _ => None,
        }
    }
}

impl Fails for DialError {
    fn kind(&self) -> Kind {
        Kind::Network
    }
}

impl Fails for PingError {
    fn kind(&self) -> Kind {
        Kind::Network
    }
}

impl Fails for StartError {
    fn kind(&self) -> Kind {
        match self {
            Self::Listen(_) => Kind::Network,
            Self::Lock(LockError::Held(_)) => Kind::Owned,
            Self::Lock(LockError::Io { source, .. })
            | Self::Key(KeyFileError::Io { source, .. })
            | Self::Store(OpenError::Io { source, .. })
            | Self::Io(source) => source.into(),
            Self::Key(_) => Kind::Path,
            Self::Store(OpenError::TooNew { .. }) => Kind::Failed,
        }
    }
}
