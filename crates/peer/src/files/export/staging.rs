//! The staging entry: a folder beside the destination, locked, in which
//! everything has its final name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use peerage_content::Cid;
use peerage_store::{Download, DownloadId, FileId, Store, TreeId};
use rustix::fs::{FlockOperation, flock, fstatvfs};

use super::error::ExportError;

/// Holds the pid of the process that fetches, and its lock.
const LOCK: &str = ".peerage-lock";

/// Bytes of the destination's name that the staging entry's name keeps.
const NAME_KEPT: usize = 200;

/// Characters of the CID in the name of the staging entry.
const CID_KEPT: usize = 8;

/// The staging entry of one fetch.
pub(super) struct Staging {
    /// The folder of the destination.
    pub(super) parent: Dir,
    pub(super) parent_path: PathBuf,
    /// The destination's own name.
    pub(super) name: String,
    /// The staging folder.
    pub(super) dir: Dir,
    pub(super) entry: String,
    pub(super) tree: TreeId,
    pub(super) download: DownloadId,
    /// Files that an earlier run has registered.
    known: Mutex<HashMap<PathBuf, FileId>>,
    pub(super) resumed: bool,
    /// Held until the end; also a handle on the file system.
    pub(super) lock: File,
}

impl Staging {
    pub(super) fn open(store: &Store, root: &Cid, dest: &Path) -> Result<Self, ExportError> {
        let wrong = |what| move |source| ExportError::Io { what, path: dest.to_path_buf(), source };
        let (Some(parent_path), Some(name)) =
            (dest.parent(), dest.file_name().and_then(|name| name.to_str()))
        else {
            return Err(wrong("write to")(io::ErrorKind::InvalidInput.into()));
        };
        let parent =
            Dir::open_ambient_dir(parent_path, ambient_authority()).map_err(wrong("open the folder of"))?;
        let entry = entry_name(name, root);
        let resumed = parent.is_dir(&entry);
        if !resumed {
            parent.create_dir(&entry).map_err(wrong("write beside"))?;
        }
        let dir = parent.open_dir(&entry).map_err(wrong("open the staging folder of"))?;
        let lock = lock(&dir).map_err(wrong("lock the staging folder of"))?;
        let lock = lock.map_err(|pid| ExportError::Busy { path: dest.to_path_buf(), pid })?;
        let staging_path = parent_path.join(&entry);
        let earlier = store
            .downloads()
            .into_iter()
            .find(|(_, known)| known.staging == staging_path && known.cid == *root);
        let (download, tree) = match earlier {
            Some((id, Download { tree: Some(tree), .. })) if resumed => (id, tree),
            earlier => {
                if let Some((id, _)) = earlier {
                    store.end_download(id)?;
                }
                let tree = store.add_tree(&staging_path)?;
                let download = Download {
                    cid: *root,
                    dest: dest.to_path_buf(),
                    staging: staging_path,
                    tree: Some(tree),
                    note: Vec::new(),
                };
                (store.start_download(&download)?, tree)
            }
        };
        let known = store.files_of(tree).into_iter().map(|file| (file.path, file.id)).collect();
        Ok(Self {
            parent,
            parent_path: parent_path.to_path_buf(),
            name: name.to_owned(),
            dir,
            entry,
            tree,
            download,
            known: Mutex::new(known),
            resumed,
            lock,
        })
    }

    /// The store's name for a staged file.
    pub(super) fn file_id(&self, store: &Store, path: &Path) -> Result<FileId, ExportError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(path).copied();
        match known {
            Some(id) => Ok(id),
            None => Ok(store.add_file(self.tree, path, None)?),
        }
    }

    /// Bytes of a file that an earlier run staged.
    pub(super) fn read_staged(&self, path: &Path, offset: u64, len: usize) -> Option<Vec<u8>> {
        if !self.resumed {
            return None;
        }
        let file = self.dir.open(path).ok()?.into_std();
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    }

    /// Whether `needed` bytes fit, as far as that can be known before.
    pub(super) fn check_space(&self, needed: u64) -> Result<(), ExportError> {
        // What an earlier run staged takes no further room, and is not told apart.
        if self.resumed {
            return Ok(());
        }
        let Ok(stat) = fstatvfs(&self.dir) else { return Ok(()) };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed > free.saturating_add(self.written(&stat)) {
            return Err(ExportError::NoSpace { path: self.parent_path.clone(), needed, free });
        }
        Ok(())
    }

    /// An upper bound of what this run has written, which `needed` counts too:
    /// the caller counts from the start, so nothing is taken off here.
    fn written(&self, _stat: &rustix::fs::StatVfs) -> u64 {
        0
    }

    /// Removes the lock and the empty folder.
    pub(super) fn remove(&self) -> io::Result<()> {
        self.dir.remove_file(LOCK)?;
        self.parent.remove_dir_all(&self.entry)
    }
}

fn entry_name(name: &str, root: &Cid) -> String {
    let mut kept = NAME_KEPT.min(name.len());
    while !name.is_char_boundary(kept) {
        kept -= 1;
    }
    let cid = root.to_string();
    let tail = &cid[cid.len().saturating_sub(CID_KEPT)..];
    format!(".{}.{tail}.peerage-part", &name[..kept])
}

/// The lock, or the pid of whoever has it.
fn lock(dir: &Dir) -> io::Result<Result<File, u32>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = dir.open_with(LOCK, &options)?.into_std();
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        file.read_to_string(&mut pid)?;
        return Ok(Err(pid.trim().parse().unwrap_or(0)));
    }
    file.set_len(0)?;
    file.write_all(format!("{}\n", std::process::id()).as_bytes())?;
    Ok(Ok(file))
}
