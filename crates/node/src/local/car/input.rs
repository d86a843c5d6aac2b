//! The CARs that a command reads. Whatever is no regular file was opened by the
//! command itself: its path may mean something else here, and opening may wait
//! for somebody at the other end.

use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use peerage_content::name;

use crate::api::{CarFile, Failure, Handle, Kind};

/// A CAR, and what it is called. `handles` came along with the request, in the
/// order of its files.
pub(super) async fn open(
    file: &CarFile,
    handles: &mut impl Iterator<Item = Handle>,
) -> Result<(String, File), Failure> {
    let unreadable = |path: &str, error: &io::Error| {
        Failure::new(Kind::from(error), format!("cannot read {}: {error}", name::escape(path)))
    };
    let mut handle = || handles.next().ok_or_else(|| Failure::usage("no CAR came with the request"));
    let (shown, opened) = match file {
        CarFile::Path(path) => {
            let shown = path.0.to_string_lossy().into_owned();
            let path = path.0.clone();
            // A disk may be slow, or gone.
            let opened = tokio::task::spawn_blocking(move || regular(&path)).await;
            (shown, opened.unwrap_or_else(|_| Err(io::Error::other("opening it did not finish"))))
        }
        CarFile::Opened(path) => (path.0.to_string_lossy().into_owned(), written_to(&handle()?).await),
        CarFile::Stdin => ("-".to_owned(), handle()?.handle().try_clone().map(File::from)),
    };
    let opened = opened.map_err(|error| unreadable(&shown, &error))?;
    Ok((shown, opened))
}

/// Opens a regular file, and waits for nobody.
fn regular(path: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        Ok(file)
    } else if kind.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Err(io::Error::other("it is no regular file any more"))
    }
}

/// A FIFO once somebody has written to it, or closed it; the others at once.
async fn written_to(handle: &Handle) -> io::Result<File> {
    let file = File::from(handle.handle().try_clone()?);
    if !std::os::unix::fs::FileTypeExt::is_fifo(&file.metadata()?.file_type()) {
        return Ok(file);
    }
    let pipe = tokio::net::unix::pipe::Receiver::from_file(file)?;
    pipe.readable().await?;
    pipe.into_blocking_fd().map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::PathText;
    use std::io::{Read as _, Write as _};
    use std::task::Poll;

    #[tokio::test]
    async fn what_became_a_pipe_is_refused_and_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let open =
            async |path: &Path| open(&CarFile::Path(PathText(path.into())), &mut std::iter::empty()).await;
        let failure = open(&path).await.unwrap_err();
        assert!(failure.message.contains("no regular file"), "{failure}");
        assert_eq!(open(&dir.path().join("nothing")).await.unwrap_err().kind, Kind::Path);
        assert!(open(dir.path()).await.is_err());
    }

    #[tokio::test]
    async fn a_pipe_is_read_once_somebody_writes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        // Opening waits for nobody, nor does whoever else uses this thread.
        let handle = Handle::unless_regular(&path).unwrap().unwrap();
        let file = CarFile::Opened(PathText(path.clone()));
        let mut handles = std::iter::once(handle);
        let opening = open(&file, &mut handles);
        tokio::pin!(opening);
        let polled = std::future::poll_fn(|cx| Poll::Ready(opening.as_mut().poll(cx))).await;
        assert!(polled.is_pending());
        let mut writer = File::options().write(true).open(&path).unwrap();
        writer.write_all(b"written").unwrap();
        let (_, mut read) = opening.await.unwrap();
        drop(writer);
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "written");
    }
}
