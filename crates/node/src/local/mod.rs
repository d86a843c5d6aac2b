//! Requests executed on this process's own peer.

use std::path::Path;
use std::sync::Arc;

use crate::api::{Add, Failure, Kind, Network, Request};
use crate::backend::{Backend, Cancel, Sink};
use crate::execution::{OpenError, Opener, Owned};
use crate::render::Output;

/// Opens repositories on this machine.
#[derive(Debug)]
pub(crate) struct Repositories;

/// The peer of a repository that this process owns.
#[derive(Debug)]
pub(crate) struct Local;

impl Opener for Repositories {
    type Owned = Local;

    async fn open(&self, _repo: &Path, _network: &Network, _required: bool) -> Result<Local, OpenError> {
        Err(OpenError::Failed(Failure::new(Kind::Failed, "this build has no peer in it")))
    }
}

impl Owned for Local {
    type Backend = Self;

    fn backend(&self) -> Arc<Self> {
        Arc::new(Self)
    }

    fn listen(&self) -> Vec<String> {
        Vec::new()
    }

    async fn close(self) {}
}

impl Backend for Local {
    async fn run(&self, _request: Request, _out: Sink, _cancel: Cancel) -> Result<(), Failure> {
        Err(Failure::new(Kind::Failed, "this build has no peer in it"))
    }
}

/// `add --only-hash`: CIDs without a repository.
pub(crate) async fn only_hash(_add: Add, _output: &Output, _cancel: &Cancel) -> Result<(), Failure> {
    Err(Failure::new(Kind::Failed, "this build has no peer in it"))
}
