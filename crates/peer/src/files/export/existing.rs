//! What stood at the destination before: what agrees is used, what differs is
//! an error before anything is written there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;
use peerage_content::limits::{BLOCK_MADE_MAX, BLOCK_MAX};
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, Leaf, Profile, codec, hash};
use peerage_store::Stat;

use super::staging::Staging;

/// Bytes copied at once from a file that is replaced.
const COPY: u64 = 1 << 20;

/// Whether anything is at the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Existing {
    present: bool,
}

/// What is at a path of the destination.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    File(Standing),
    Folder,
    /// A symlink, or something that cannot be read.
    Other,
}

/// A regular file at the destination, held open while it is compared.
#[derive(Debug)]
pub(super) struct Standing {
    file: File,
    /// As it was when it was opened.
    pub(super) stat: Stat,
}

impl Existing {
    pub(super) fn of(staging: &Staging) -> Self {
        Self { present: staging.parent.symlink_metadata(&staging.name).is_ok() }
    }

    pub(super) fn is_present(self) -> bool {
        self.present
    }

    /// Looks at one path; symlinks are not followed.
    pub(super) fn find(self, staging: &Staging, path: &Path) -> Found {
        if !self.present {
            return Found::Nothing;
        }
        match staging.parent.symlink_metadata(path) {
            Ok(found) if found.is_file() => Standing::open(staging, path).map_or(Found::Other, Found::File),
            Err(error) if is_absent(&error) => Found::Nothing,
            Ok(found) if found.is_dir() => Found::Folder,
            Ok(_) | Err(_) => Found::Other,
        }
    }

    /// True if what is at `path` is no folder.
    pub(super) fn conflicts_with_folder(self, staging: &Staging, path: &Path) -> bool {
        self.present && staging.parent.symlink_metadata(path).is_ok_and(|found| !found.is_dir())
    }
}

/// Nothing there, or a file where a folder would have to be, which is found itself.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

impl Standing {
    fn open(staging: &Staging, path: &Path) -> io::Result<Self> {
        let file = staging.parent.open(path)?.into_std();
        let stat = Stat::of(&file.metadata()?);
        Ok(Self { file, stat })
    }

    /// Bytes of the file, if it has so many, and they can be a block.
    pub(super) fn read(&self, offset: u64, len: u64) -> Option<Vec<u8>> {
        read_piece(&self.file, self.stat.size, offset, len)
    }

    /// The whole file, if it is one block.
    pub(super) fn read_block(&self, cid: &Cid) -> Option<Bytes> {
        as_whole_block(cid, &self.file, self.stat.size)
    }

    /// True if the file, as far as it reaches, has these bytes there.
    pub(super) fn agrees(&self, offset: u64, payload: &[u8]) -> bool {
        let reach = self.stat.size.saturating_sub(offset);
        let len = usize::try_from(reach).unwrap_or(usize::MAX).min(payload.len());
        len == 0 || self.read(offset, len as u64).is_some_and(|there| there == payload[..len])
    }

    /// True if nobody has written to it since it was opened.
    pub(super) fn is_unchanged(&self) -> bool {
        self.file.metadata().is_ok_and(|now| Stat::of(&now) == self.stat)
    }

    /// Copies a range that is known to be right.
    pub(super) fn copy(&self, to: &File, offset: u64, len: u64) -> io::Result<()> {
        let mut at = 0;
        while at < len {
            let bytes = self.read(offset + at, (len - at).min(COPY)).ok_or(io::ErrorKind::UnexpectedEof)?;
            to.write_all_at(&bytes, offset + at)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }
}

/// Bytes of a file of `size` bytes, if it has so many, and not more than a
/// block has: an inner node stands for any number of them, as its maker claims.
pub(super) fn read_piece(file: &File, size: u64, offset: u64, len: u64) -> Option<Vec<u8>> {
    if len > BLOCK_MAX as u64 || offset.checked_add(len)? > size {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

/// The block that a whole file of `size` bytes is, if it has this CID.
pub(super) fn as_whole_block(cid: &Cid, file: &File, size: u64) -> Option<Bytes> {
    let len = Some(size).filter(|size| *size <= BLOCK_MADE_MAX as u64)?;
    as_block(cid, read_piece(file, size, 0, len)?)
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
