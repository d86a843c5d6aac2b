//! A file that takes its name when it is whole, and of which nothing is left if it
//! never is, however the command ends.
//!
//! On Linux it has no name until then (open(2), `O_TMPFILE`), so that not even a
//! kill leaves something. Where the file system knows no such files, it has a hidden
//! name beside the final one. That name is the command's, not that of the thread
//! which writes: a command that is given up takes it away at once, whatever the
//! thread waits for, since the program may end before a slow disk answers. The data
//! goes when the thread lets go of the file, or with the process.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempPath;

/// What stands in for the name. Dropped, nothing is left.
#[derive(Debug)]
pub(super) struct Part {
    now: Now,
    dest: PathBuf,
}

#[derive(Debug)]
enum Now {
    /// Another handle of it.
    #[cfg(target_os = "linux")]
    Unnamed(File),
    Named(TempPath),
}

impl Part {
    /// A file that can become `dest`, readable by whom the umask allows.
    pub(super) fn create(dest: &Path) -> io::Result<(File, Self)> {
        #[cfg(target_os = "linux")]
        if let Some(file) = unnamed(dest) {
            let now = Now::Unnamed(file.try_clone()?);
            return Ok((file, Self { now, dest: dest.to_path_buf() }));
        }
        Self::named(dest)
    }

    fn named(dest: &Path) -> io::Result<(File, Self)> {
        let (folder, called) = split(dest).ok_or(io::ErrorKind::IsADirectory)?;
        let prefix = format!(".{}.", called.to_string_lossy());
        let mut builder = tempfile::Builder::new();
        builder.prefix(&prefix).suffix(".peerage-part");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let (file, path) = builder.tempfile_in(folder)?.into_parts();
        Ok((file, Self { now: Now::Named(path), dest: dest.to_path_buf() }))
    }

    /// Gives the file its name; an error if something else has it.
    pub(super) fn finish(self) -> io::Result<()> {
        match self.now {
            #[cfg(target_os = "linux")]
            Now::Unnamed(file) => {
                use rustix::fs::{AtFlags, CWD, linkat};
                Ok(linkat(CWD, handle(&file), CWD, &self.dest, AtFlags::SYMLINK_FOLLOW)?)
            }
            Now::Named(path) => Ok(path.persist_noclobber(&self.dest)?),
        }
    }
}

fn split(dest: &Path) -> Option<(&Path, &std::ffi::OsStr)> {
    dest.parent().zip(dest.file_name())
}

/// None if the file system or the system cannot do it. What else may be wrong the
/// other way says better.
#[cfg(target_os = "linux")]
fn unnamed(dest: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let file = File::from(open(split(dest)?.0, flags, Mode::from_raw_mode(0o666)).ok()?);
    // Without this path it could not be given a name.
    handle(&file).exists().then_some(file)
}

/// A path by which this process finds the file, name or none.
#[cfg(target_os = "linux")]
fn handle(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd as _;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    type Create = fn(&Path) -> io::Result<(File, Part)>;

    fn names(folder: &Path) -> Vec<String> {
        let entries = folder.read_dir().unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn only_a_whole_file_has_its_name_and_it_replaces_nothing() {
        for create in [Part::create as Create, Part::named] {
            let dir = tempfile::tempdir().unwrap();
            let dest = dir.path().join("x.car");
            // Whoever writes may still hold it.
            let (mut held, part) = create(&dest).unwrap();
            held.write_all(b"half").unwrap();
            drop(part);
            assert_eq!(names(dir.path()), [""; 0]);
            let (mut file, part) = create(&dest).unwrap();
            file.write_all(b"whole").unwrap();
            part.finish().unwrap();
            assert_eq!(names(dir.path()), ["x.car"]);
            let (_file, part) = create(&dest).unwrap();
            assert_eq!(part.finish().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(names(dir.path()), ["x.car"]);
            assert_eq!(std::fs::read(&dest).unwrap(), b"whole");
        }
    }

    #[cfg(unix)]
    #[test]
    fn both_ways_give_the_same_permissions() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let mode =
            |create: Create| create(&dir.path().join("x")).unwrap().0.metadata().unwrap().permissions();
        assert_eq!(mode(Part::create).mode(), mode(Part::named).mode());
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_of_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let error = Part::create(&dir.path().join("no/x")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
