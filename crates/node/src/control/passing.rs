//! Open folders and files beside the bytes of the socket (`SCM_RIGHTS`), with the
//! request that they belong to.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::io::{AsyncRead, AsyncWriteExt as _, Interest, ReadBuf};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::api::HANDLES_MAX;

/// Room for the handles of one message. The system closes what does not fit.
const SPACE: usize = rustix::cmsg_space!(ScmRights(HANDLES_MAX));

/// Reads a socket, and keeps the first handles that come with the bytes.
#[derive(Debug)]
pub(super) struct Receiver {
    half: OwnedReadHalf,
    received: Vec<OwnedFd>,
}

impl Receiver {
    pub(super) fn new(half: OwnedReadHalf) -> Self {
        Self { half, received: Vec::new() }
    }

    /// What came so far.
    pub(super) fn take_handles(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.received)
    }
}

impl AsyncRead for Receiver {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Self { half, received } = &mut *self;
            ready!(half.as_ref().poll_read_ready(cx))?;
            let read = half.as_ref().try_io(Interest::READABLE, || {
                receive(half.as_ref(), buffer.initialize_unfilled(), received)
            });
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => {
                    buffer.advance(read?);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

/// Reads once. Handles beyond those that a request may have are closed.
fn receive(socket: impl AsFd, into: &mut [u8], received: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let read = recvmsg(socket, &mut [IoSliceMut::new(into)], &mut control, flags)?.bytes;
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(handles) = message {
            // All are taken out, so that those that are not kept are closed.
            for handle in handles {
                if received.len() < HANDLES_MAX {
                    received.push(handle);
                }
            }
        }
    }
    Ok(read)
}

/// Writes `bytes`, and `handles` with the first of them: some, and at most [`HANDLES_MAX`].
pub(super) async fn write(to: &mut OwnedWriteHalf, bytes: &[u8], handles: &[impl AsFd]) -> io::Result<()> {
    let handles: Vec<_> = handles.iter().map(AsFd::as_fd).collect();
    let send = || {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&handles)) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let bytes = [IoSlice::new(bytes)];
        Ok(sendmsg(to.as_ref(), &bytes, &mut control, SendFlags::NOSIGNAL)?)
    };
    let sent = to.as_ref().async_io(Interest::WRITABLE, send).await?;
    to.write_all(&bytes[sent..]).await
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use tokio::io::AsyncReadExt as _;
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn a_handle_crosses_with_the_bytes() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (_keep, mut writer) = ours.into_split();
        let mut receiver = Receiver::new(theirs.into_split().0);
        let (mut reads, writes) = std::io::pipe().unwrap();
        write(&mut writer, b"first", &[writes]).await.unwrap();
        writer.write_all(b", second").await.unwrap();
        let mut bytes = [0; 13];
        receiver.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"first, second");
        let handle = receiver.take_handles().pop().unwrap();
        assert!(receiver.take_handles().is_empty());
        assert!(rustix::io::fcntl_getfd(&handle).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
        std::fs::File::from(handle).write_all(b"through it").unwrap();
        let mut text = String::new();
        reads.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through it");
    }

    #[tokio::test]
    async fn more_handles_than_a_request_has_are_closed() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut receiver = Receiver::new(theirs.into_split().0);
        let mut readers = Vec::new();
        // Most at once, and others with bytes that come later.
        for count in [HANDLES_MAX - 1, 3] {
            let (reads, writes): (Vec<_>, Vec<_>) = (0..count).map(|_| std::io::pipe().unwrap()).unzip();
            let handles: Vec<_> = writes.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); SPACE];
            let mut control = SendAncillaryBuffer::new(&mut space);
            assert!(control.push(SendAncillaryMessage::ScmRights(&handles)));
            sendmsg(&ours, &[IoSlice::new(b"x")], &mut control, SendFlags::NOSIGNAL).unwrap();
            readers.extend(reads);
        }
        receiver.read_exact(&mut [0; 2]).await.unwrap();
        // Nobody can write to them any more; the first can still be written to, in their order.
        for reads in &mut readers[HANDLES_MAX..] {
            assert_eq!(reads.read(&mut [0]).unwrap(), 0);
        }
        let handles = receiver.take_handles();
        assert_eq!(handles.len(), HANDLES_MAX);
        for (number, (handle, reads)) in (0..).zip(handles.into_iter().zip(&mut readers)) {
            std::fs::File::from(handle).write_all(&[number]).unwrap();
            let mut read = [0];
            reads.read_exact(&mut read).unwrap();
            assert_eq!(read, [number]);
        }
    }
}
