//! What stood at the destination before: what agrees is used, what differs is
//! an error before anything is written there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, Leaf, Profile, codec, hash};

use super::Export;
use super::error::ExportError;
use super::staging::Staging;

/// Bytes copied at once from a file that is completed.
const COPY: usize = 1 << 20;

/// Whether anything is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Existing {
    present: bool,
}

impl Existing {
    pub(super) fn of(staging: &Staging) -> Self {
        Self { present: staging.parent.symlink_metadata(&staging.name).is_ok() }
    }

    pub(super) fn is_present(self) -> bool {
        self.present
    }

    /// The length of the regular file at `path`; the error is what else is there.
    fn len(self, staging: &Staging, path: &Path) -> Result<Option<u64>, ()> {
        if !self.present {
            return Ok(None);
        }
        match staging.parent.symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(()),
        }
    }

    /// True if a file of that size is there: it may be the very one.
    pub(super) fn may_be_whole(self, staging: &Staging, path: &Path, size: u64) -> bool {
        self.len(staging, path) == Ok(Some(size))
    }

    /// True if nothing is there, or the beginning of the file.
    pub(super) fn may_be_prefix(self, staging: &Staging, path: &Path, size: u64) -> bool {
        match self.len(staging, path) {
            Ok(None) => true,
            Ok(Some(len)) => len < size,
            Err(()) => false,
        }
    }

    /// True if what is at `path` is no folder.
    pub(super) fn conflicts_with_folder(self, staging: &Staging, path: &Path) -> bool {
        self.present && staging.parent.symlink_metadata(path).is_ok_and(|found| !found.is_dir())
    }

    /// Bytes of the file there, if it has so many.
    pub(super) fn read(self, staging: &Staging, path: &Path, offset: u64, len: usize) -> Option<Vec<u8>> {
        self.len(staging, path).ok()??;
        let file = staging.parent.open(path).ok()?.into_std();
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// Begins a staged file with the bytes of the shorter one at the destination.
    pub(super) fn copy_prefix(
        self,
        staging: &Staging,
        path: &Path,
        to: &File,
        size: u64,
    ) -> Result<(), ExportError> {
        let Ok(Some(len)) = self.len(staging, path) else { return Ok(()) };
        let wrong = |source| ExportError::Io { what: "copy", path: staging.parent_path.join(path), source };
        let from = staging.parent.open(path).map_err(wrong)?.into_std();
        let mut bytes = vec![0; COPY];
        let mut at = 0;
        while at < len.min(size) {
            let piece = usize::try_from((len - at).min(COPY as u64)).unwrap_or(COPY);
            from.read_exact_at(&mut bytes[..piece], at).map_err(wrong)?;
            to.write_all_at(&bytes[..piece], at).map_err(wrong)?;
            at += piece as u64;
        }
        Ok(())
    }

    /// A block that reaches into the file at the destination must agree with it.
    pub(super) fn check_overlap(
        self,
        export: &Export,
        path: &Path,
        offset: u64,
        payload: &[u8],
    ) -> Result<(), ExportError> {
        if export.destination.overwrite {
            return Ok(());
        }
        let Ok(Some(len)) = self.len(&export.staging, path) else { return Ok(()) };
        let overlap = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX).min(payload.len());
        let same = overlap == 0
            || self
                .read(&export.staging, path, offset, overlap)
                .is_some_and(|there| there == payload[..overlap]);
        if same { Ok(()) } else { Err(ExportError::Differs(vec![export.display(path)])) }
    }
}

/// The block that `bytes` of a file are, if it has this CID: as they are, or
/// inside the leaf that the common profiles make of them.
pub(super) fn as_block(cid: &Cid, bytes: Vec<u8>) -> Option<Bytes> {
    if cid.codec() == codec::RAW {
        return hash::verify(cid, &bytes).is_ok().then(|| bytes.into());
    }
    let frame = Leaf::frame(&Profile::UNIXFS_V0_2015, bytes.len(), Metadata::default());
    hash::verify_parts(cid.hash(), &[&frame.head, &bytes, &frame.tail]).ok()?;
    Some([&frame.head[..], &bytes, &frame.tail].concat().into())
}
