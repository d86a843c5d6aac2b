//! CAR files: written from DAGs, read into the repository, and looked at.
//!
//! - [`export`]: a DAG as a CARv1, from the store or from other peers.
//! - [`import`]: blocks of a CAR into the store, each verified.
//! - [`check`]: what a CAR holds, and whether it is whole; needs no repository.
//!   [`fault`]: what it finds; [`links`], [`marks`]: what it compares.
//! - [`read`]: the way of a file through reader and workers, for the two.
//!
//! All of it takes the same memory for any size of file.

pub(crate) mod check;
pub(crate) mod export;
pub(crate) mod fault;
pub(crate) mod import;
mod links;
mod marks;
pub(crate) mod read;
