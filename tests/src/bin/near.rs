//! The program twice, in two network namespaces: what one shares the other
//! gets by its CID, found by mDNS alone. Run by `tests/lan.rs` within
//! `unshare`; needs `ip` and `nsenter` (Debian: iproute2, util-linux).

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, ensure};
use peerage_tests::peer::{field, number, text};
use peerage_tests::{MIB, Place, Process, Sharing, data};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    ip("link set lo up")?;
    let other = Namespace::new()?;
    ip(&format!("link add here type veth peer name there netns {}", other.0.id()))?;
    ip("addr add 10.99.2.1/24 dev here")?;
    ip("link set here up")?;
    for args in ["addr add 10.99.2.2/24 dev there", "link set there up"] {
        let mut command = Command::new("ip");
        command.args(args.split(' '));
        ensure!(other.within(&command).status()?.success(), "`ip {args}` failed in the second namespace");
    }

    let place = Place::new()?;
    let (file, dest) = (place.path("file"), place.path("dest"));
    data::random(&file, 3 * MIB, 1)?;
    // Whom neither names, and no DHT could: there is nothing but mDNS.
    let command = |peer: &str, args: &[&str]| {
        let mut command = place.peer(peer).plain(args);
        command.args(["--json", "--listen", "/ip4/0.0.0.0/tcp/0", "--dht", "off"]).env("PEERAGE_MDNS", "on");
        command
    };
    let share = Sharing::start(command("a", &["share", text(&file)]))?;
    let get = command("b", &["get", &share.cid()?, "-o", text(&dest)]);
    let done = Process::spawn(other.within(&get), "")?.finish()?.with_status(0)?.event("done")?;
    let sharer = field(&share.ready, "peer_id")?;
    ensure!(number(&done["sources"], &sharer)? >= 3 * MIB, "not from {sharer}: {done}");
    data::assert_same(&file, &dest)?;
    share.close()?;
    Ok(())
}

/// Another network namespace, held by a process that waits for nothing.
struct Namespace(Child);

impl Namespace {
    fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Self(command.spawn().context("starting `unshare` (Debian: util-linux)")?);
        // It is in its namespace once it answers.
        holder.0.stdin.as_mut().context("stdin was asked for")?.write_all(b"!")?;
        holder.0.stdout.as_mut().context("stdout was asked for")?.read_exact(&mut [0])?;
        Ok(holder)
    }

    /// The same command, in it.
    fn within(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--net=/proc/{}/ns/net", self.0.id()));
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Failing here means that it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn ip(args: &str) -> Result<()> {
    let status = Command::new("ip").args(args.split(' ')).status();
    let status = status.context("starting `ip` (Debian: iproute2)")?;
    ensure!(status.success(), "`ip {args}` failed: {status}");
    Ok(())
}
