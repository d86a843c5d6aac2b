//! Files and folders whose CIDs are compared with those that others compute:
//! sizes around every boundary of chunks and nodes, names and trees of all
//! kinds, folders around the size from which they are sharded. The same in
//! every run.
//!
//! Left out on purpose: names that are not UTF-8, sockets and devices, which
//! we do not add; symlinks as inputs of their own, which we follow.

mod edges;
mod files;
mod folders;
mod shards;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::profile::Profile;

/// A file or folder that is there.
#[derive(Debug, Clone)]
pub struct Input {
    /// Where it is.
    pub path: PathBuf,
    /// What is special about its size.
    pub size: Size,
}

/// The size of a folder, if a test relies on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Nothing special.
    Any,
    /// So many bytes above the threshold of this profile, or below.
    Edge(Profile, i32),
    /// Above the threshold of both profiles by its sub-folders alone, none of
    /// which is empty.
    Subfolders,
}

impl Input {
    /// Its name, which says what it is.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Fills `folder`, which is empty, with inputs.
///
/// # Errors
/// If they cannot be written.
pub fn generate(folder: &Path) -> Result<Vec<Input>> {
    let mut inputs = Inputs { folder, made: Vec::new() };
    files::generate(&mut inputs)?;
    folders::generate(&mut inputs)?;
    edges::generate(&mut inputs)?;
    shards::generate(&mut inputs)?;
    Ok(inputs.made)
}

/// Fills `folder`, which is empty, with files around the size that a node of
/// [`Profile::V1`] has room for, 1 GiB. They have holes, and take little space.
///
/// # Errors
/// If they cannot be written.
pub fn generate_huge(folder: &Path) -> Result<Vec<Input>> {
    let mut inputs = Inputs { folder, made: Vec::new() };
    files::huge(&mut inputs)?;
    Ok(inputs.made)
}

/// Makes a folder that is sharded in both profiles.
///
/// # Errors
/// If it cannot be written.
pub fn sharded(path: &Path) -> Result<()> {
    shards::large(&mut Folder::new(path.to_owned())?)
}

/// The inputs so far.
struct Inputs<'a> {
    folder: &'a Path,
    made: Vec<Input>,
}

impl Inputs<'_> {
    /// Where the next one goes.
    fn path(&mut self, name: &str, size: Size) -> PathBuf {
        let path = self.folder.join(name);
        self.made.push(Input { path: path.clone(), size });
        path
    }

    /// The next one, if it is a file.
    fn file(&mut self, name: &str) -> PathBuf {
        self.path(name, Size::Any)
    }

    /// The next one, if it is a folder.
    fn folder(&mut self, name: &str, size: Size) -> Result<Folder> {
        Folder::new(self.path(name, size))
    }
}

/// A folder that is being filled.
struct Folder {
    path: PathBuf,
    /// A file of each content. Another one is a link to it: thousands of files
    /// would take some file systems half a minute.
    contents: BTreeMap<Vec<u8>, PathBuf>,
}

impl Folder {
    fn new(path: PathBuf) -> Result<Self> {
        fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self { path, contents: BTreeMap::new() })
    }

    /// Where the entry `name` is, or will be.
    fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn file(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let made = match self.contents.get(bytes) {
            Some(same) => fs::hard_link(same, &path),
            None => fs::write(&path, bytes),
        };
        made.with_context(|| format!("making {}", path.display()))?;
        self.contents.entry(bytes.to_vec()).or_insert(path);
        Ok(())
    }

    fn executable(&self, name: &str, bytes: &[u8]) -> Result<()> {
        fs::write(self.path(name), bytes)?;
        Ok(fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755))?)
    }

    fn symlink(&self, name: &str, target: &str) -> Result<()> {
        symlink(target, self.path(name)).with_context(|| format!("making the symlink {name:?}"))
    }

    fn folder(&self, name: &str) -> Result<Self> {
        Self::new(self.path(name))
    }

    /// A small file of each name, which is its content as well.
    fn names<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
        names.into_iter().try_for_each(|name| self.file(name, name.as_bytes()))
    }
}

/// A name of `len` bytes that begins with `number`.
fn long_name(number: usize, len: usize) -> String {
    format!("{number:06}{:-<1$}", "", len - 6)
}
