//! A TUN device: the packets that a network namespace sends out come to us, and what
//! we write arrives there. It is gone when it is dropped.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context as _, Result};
use tun_rs::{DeviceBuilder, SyncDevice};

/// Packets that the kernel holds until we read them. Ours is the only queue that
/// should ever drop one: at 100 MB/s and 1,500 bytes a packet this is 150 ms.
pub(crate) const KERNEL_QUEUE: u32 = 10_000;

/// One device.
pub(crate) struct Tun {
    device: SyncDevice,
    name: String,
}

impl Tun {
    /// Makes the device `name` in our own network namespace, from which it can be
    /// moved to another.
    ///
    /// # Errors
    /// Where it is not permitted.
    pub(crate) fn new(name: &str, mtu: u16) -> Result<Self> {
        let make = || {
            let device = DeviceBuilder::new().name(name).mtu(mtu).enable(false).build_sync()?;
            device.set_nonblocking(true)?;
            io::Result::Ok(device)
        };
        let device = make().context(
            "no TUN device can be made here: netlab needs Linux, its `tun` module, and \
             /dev/net/tun to be readable and writable for you",
        )?;
        Ok(Self { device, name: name.to_owned() })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads one packet; none if none is there.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.device.recv(buffer) {
                Ok(len) => return Ok(Some(len)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes one packet. The kernel takes it at once or not at all.
    pub(crate) fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.device.send(packet).map(drop)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
