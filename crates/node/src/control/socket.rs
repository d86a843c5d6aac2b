//! The socket itself: at `control` in the repository, mode 0600, for the
//! same user only.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// Its name in the repository.
const NAME: &str = "control";

/// Longest path that every Unix takes in a socket address, in bytes (macOS: 104 with the NUL).
const ADDRESS_MAX: usize = 103;

/// A path for a socket address, and what must stay open while it is used.
struct Address {
    path: PathBuf,
    _folder: Option<fs::File>,
}

/// The address of the socket in `repo`. Repositories may lie deeper than a
/// socket address is long; Linux reaches them through an open folder.
fn address(repo: &Path) -> io::Result<Address> {
    let path = repo.join(NAME);
    if path.as_os_str().len() <= ADDRESS_MAX {
        return Ok(Address { path, _folder: None });
    }
    if cfg!(target_os = "linux") {
        use std::os::fd::AsRawFd as _;
        let folder = fs::File::open(repo)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}/{NAME}", folder.as_raw_fd()));
        return Ok(Address { path, _folder: Some(folder) });
    }
    let error = format!("the path of the repository is longer than {ADDRESS_MAX} bytes");
    Err(io::Error::new(io::ErrorKind::InvalidInput, error))
}

/// Listens in `repo`, whose lock the caller holds: a socket that is there is
/// left over from a process that was killed.
pub(super) fn listen(repo: &Path) -> io::Result<UnixListener> {
    remove(repo)?;
    let address = address(repo)?;
    let listener = UnixListener::bind(&address.path)?;
    // Nobody else gets this far before, since the folder is 0700.
    fs::set_permissions(repo.join(NAME), fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket, if any.
pub(super) fn remove(repo: &Path) -> io::Result<()> {
    match fs::remove_file(repo.join(NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Connects to the owner of `repo`.
pub(super) async fn connect(repo: &Path) -> io::Result<UnixStream> {
    let address = address(repo)?;
    let stream = UnixStream::connect(&address.path).await?;
    same_user(&stream)?;
    Ok(stream)
}

/// Refuses a process of another user at the other end.
pub(super) fn same_user(stream: &UnixStream) -> io::Result<()> {
    let other = stream.peer_cred()?.uid();
    let ours = rustix::process::geteuid().as_raw();
    if other == ours {
        Ok(())
    } else {
        let error = format!("the process at the control socket belongs to user {other}, not {ours}");
        Err(io::Error::new(io::ErrorKind::PermissionDenied, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn private_and_reachable_however_deep() {
        let temp = tempfile::tempdir().unwrap();
        let shallow = temp.path().join("r");
        for repo in [shallow.clone(), shallow.join("d".repeat(100)).join("e".repeat(100))] {
            fs::create_dir_all(&repo).unwrap();
            if cfg!(target_os = "linux") || repo == shallow {
                drop(listen(&repo).unwrap());
                // What a killed process leaves is replaced.
                let listener = listen(&repo).unwrap();
                let mode = fs::metadata(repo.join(NAME)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
                let client = connect(&repo).await.unwrap();
                let (server, _) = listener.accept().await.unwrap();
                same_user(&server).unwrap();
                drop(client);
                remove(&repo).unwrap();
                remove(&repo).unwrap();
                assert_eq!(connect(&repo).await.unwrap_err().kind(), io::ErrorKind::NotFound);
            }
        }
    }
}
