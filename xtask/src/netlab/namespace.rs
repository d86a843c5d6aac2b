//! A network namespace: a machine of its own, as far as addresses and sockets go. It
//! lives as long as we hold a handle to it, so that it is gone however we end.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::tun::{KERNEL_QUEUE, Tun};
use crate::command::output;

/// What a line joins are two addresses of this network.
const PREFIX: u8 = 24;

/// What is in use in the namespaces unless another is asked for.
const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// One namespace.
pub(crate) struct Namespace {
    handle: File,
    address: Ipv4Addr,
}

impl Namespace {
    /// A new one, with nothing but a loopback device and `tun`, which has `address`.
    ///
    /// # Errors
    /// Where it is not permitted.
    pub(crate) fn new(tun: &Tun, address: Ipv4Addr) -> Result<Self> {
        let mut holder = Holder::spawn()?;
        let path = format!("/proc/{}/ns/net", holder.ready()?);
        let handle = File::open(&path).with_context(|| format!("opening {path}"))?;
        let namespace = Self { handle, address };
        drop(holder);
        must(Command::new("ip").args(["link", "set", "dev", tun.name(), "netns"]).arg(namespace.path()))?;
        let queue = KERNEL_QUEUE.to_string();
        let with_prefix = format!("{address}/{PREFIX}");
        for args in [
            &["link", "set", "dev", "lo", "up"][..],
            // Nothing is sent unless a program sends it: the packets that are lost of a
            // seed should be those of the transfer.
            &["link", "set", "dev", tun.name(), "txqueuelen", &queue, "addrgenmode", "none"],
            &["address", "add", &with_prefix, "dev", tun.name()],
            &["link", "set", "dev", tun.name(), "up"],
        ] {
            must(namespace.command("ip").args(args))?;
        }
        Ok(namespace)
    }

    /// Its address on the line.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// A command that runs in it, and is killed if we end. To be started by a thread
    /// that stays, as that is who the kernel watches.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path()));
        command.args(["--", "setpriv", "--pdeathsig", "KILL", "--"]).arg(program.as_ref());
        command
    }

    /// Has its TCP use this congestion control.
    ///
    /// # Errors
    /// If the kernel has none of that name.
    pub(crate) fn set_congestion(&self, name: &str) -> Result<()> {
        let script = format!("echo \"$1\" > {CONGESTION}");
        must(self.command("sh").args(["-c", &script, "sh", name]))
            .with_context(|| format!("the kernel has no congestion control {name:?} for us"))
            .map(drop)
    }

    /// The congestion control that its TCP uses.
    pub(crate) fn congestion(&self) -> Result<String> {
        Ok(must(self.command("cat").arg(CONGESTION))?.trim().to_owned())
    }

    /// As a path that `ip` and `nsenter` take.
    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.handle.as_raw_fd())
    }
}

/// The process that a namespace begins with; it is ended once we have a handle.
struct Holder(Child);

impl Holder {
    fn spawn() -> Result<Self> {
        let child = Command::new("unshare")
            .args(["--net", "--", "sh", "-c", "echo ready; exec cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("starting `unshare` (Debian: util-linux)")?;
        Ok(Self(child))
    }

    /// Its process id, once it is in a namespace of its own.
    fn ready(&mut self) -> Result<u32> {
        let stdout = self.0.stdout.take().context("stdout was asked for")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(line == "ready\n", "this system does not let us make network namespaces");
        Ok(self.0.id())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// What a command prints, which must be there and succeed.
fn must(command: &mut Command) -> Result<String> {
    output(command)?.context("this needs `ip` (Debian: iproute2), `nsenter` and `setpriv` (util-linux)")
}
