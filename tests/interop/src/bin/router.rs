//! A home network, its router, and a host outside, in three network namespaces:
//! the router's is that of this process, which `tests/router.rs` starts in one.
//!
//! `peerage up` at home has its port mapped by the router; the host outside
//! connects through it; its AutoNAT tells `up` that others reach it, and `up`
//! tells so a Helia out there; once `up` has ended, nothing is left of the mapping.

use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use peerage_interop::{Helia, Peerage, text};

/// How long a mapping may take: PCP gives up on silence after some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// The router's address outside. Nothing of these namespaces leads anywhere.
const OUTSIDE: &str = "5.6.7.8";

/// The address of the host outside.
const VISITOR: &str = "5.6.7.9";

/// The chains that miniupnpd adds its rules to.
const CHAINS: &str = "table inet filter {
    chain forward { type filter hook forward priority 0; policy accept; jump miniupnpd; }
    chain miniupnpd { }
    chain prerouting { type nat hook prerouting priority -100; policy accept; jump prerouting_miniupnpd; }
    chain postrouting { type nat hook postrouting priority 100; policy accept; jump postrouting_miniupnpd;
        oifname outside masquerade; }
    chain prerouting_miniupnpd { }
    chain postrouting_miniupnpd { }
}";

/// A process; killed when dropped.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        // Failing here means that it has ended already.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Another network namespace, held by a process that waits for nothing.
struct Namespace {
    holder: Held,
}

impl Namespace {
    fn new() -> Result<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = Held(command.spawn().context("starting `unshare` (Debian: util-linux)")?);
        // It is in its namespace once it answers.
        let (mut stdin, mut stdout) = (holder.0.stdin.take(), holder.0.stdout.take());
        stdin.as_mut().context("stdin was asked for")?.write_all(b"!")?;
        let mut echo = [0];
        std::io::Read::read_exact(stdout.as_mut().context("stdout was asked for")?, &mut echo)?;
        holder.0.stdin = stdin;
        Ok(Self { holder })
    }

    /// What runs a program in it.
    fn within(&self) -> Vec<String> {
        let net = format!("--net=/proc/{}/ns/net", self.holder.0.id());
        vec!["nsenter".to_owned(), net]
    }

    fn run(&self, command: &str) -> Result<()> {
        run(&format!("{} {command}", self.within().join(" ")))
    }

    /// Lays a cable from the router's end `name` to the other, `eth0`.
    fn connect(&self, name: &str, addr: &str, there: &str) -> Result<()> {
        run(&format!("ip link add {name} type veth peer name eth0 netns {}", self.holder.0.id()))?;
        run(&format!("ip addr add {addr}/24 dev {name}"))?;
        run(&format!("ip link set {name} up"))?;
        self.run("ip link set lo up")?;
        self.run(&format!("ip addr add {there}/24 dev eth0"))?;
        self.run("ip link set eth0 up")
    }
}

fn run(command: &str) -> Result<()> {
    let mut words = command.split(' ');
    let status = Command::new(words.next().unwrap_or_default()).args(words).status();
    let status = status.with_context(|| format!("starting `{command}` (Debian: iproute2, util-linux)"))?;
    ensure!(status.success(), "`{command}`: {status}");
    Ok(())
}

/// The router's rules.
fn rules() -> Result<String> {
    let output = Command::new("nft").args(["list", "ruleset"]).output();
    let output = output.context("starting `nft` (Debian: nftables)")?;
    Ok(String::from_utf8(output.stdout)?)
}

fn miniupnpd(speaks: &str, dir: &Path) -> Result<Held> {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn();
    let nft = nft.as_mut().map_err(|error| anyhow::anyhow!("starting `nft` (Debian: nftables): {error}"))?;
    nft.stdin.take().context("stdin was asked for")?.write_all(CHAINS.as_bytes())?;
    ensure!(nft.wait()?.success(), "`nft` refuses the chains");
    let (upnp, pcp) = match speaks {
        "upnp" => ("yes", "no"),
        "pcp" => ("no", "yes"),
        _ => bail!("a router speaks upnp or pcp, not {speaks}"),
    };
    let config = dir.join("miniupnpd.conf");
    let text = format!(
        "ext_ifname=outside\nlistening_ip=home\nport=0\nenable_upnp={upnp}\nenable_natpmp={pcp}\n\
         secure_mode=yes\nuuid=11111111-2222-3333-4444-555555555555\n\
         allow 1024-65535 192.168.77.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
    );
    std::fs::write(&config, text)?;
    let log = std::fs::File::create(dir.join("miniupnpd.log"))?;
    let mut router = Command::new("miniupnpd");
    router.arg("-d").arg("-f").arg(&config).arg("-P").arg(dir.join("pid")).stderr(log);
    Ok(Held(router.spawn().context("starting `miniupnpd` (Debian: miniupnpd-nftables)")?))
}

fn main() -> Result<()> {
    let speaks = std::env::args().nth(1).context("what the router speaks")?;
    let dir = tempfile::tempdir()?;
    run("ip link set lo up")?;
    let (home, outside) = (Namespace::new()?, Namespace::new()?);
    home.connect("home", "192.168.77.1", "192.168.77.2")?;
    home.run("ip route add default via 192.168.77.1")?;
    outside.connect("outside", OUTSIDE, VISITOR)?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    let _router = miniupnpd(&speaks, dir.path())?;

    let peerage = Peerage::within(&home.within())?;
    let up = peerage.up()?;
    let began = Instant::now();
    let external = loop {
        let status = peerage.run(&["status"])?.pop().context("`status` printed nothing")?;
        if let Some(external) = status["mapping"]["external"][0].as_str() {
            break external.to_owned();
        }
        let log = || std::fs::read_to_string(dir.path().join("miniupnpd.log")).unwrap_or_default();
        ensure!(began.elapsed() < PATIENCE, "no mapping: {status}; the router says {}", log());
    };
    let port = external.strip_prefix(&format!("/ip4/{OUTSIDE}/tcp/")).context("not the router's address")?;
    let rule = format!("dport {port} dnat ip to 192.168.77.2:");
    let set = rules()?;
    ensure!(set.contains(&rule), "no rule `{rule}` in {set}");

    // Whoever is outside reaches us there, and tells us so.
    let external = format!("{external}/p2p/{}", up.peer_id()?);
    let visitor = Peerage::within(&outside.within())?;
    let visiting = visitor.up()?;
    let connected = visitor.connect(&external)?;
    ensure!(text(&connected, "peer_id")? == up.peer_id()?, "somebody else answers: {connected}");
    let reached = up.reachable()?;
    ensure!(reached.contains(&external), "reached at {reached:?}, not at {external}");

    // Helia's AutoNAT believes the first who says that it has dialled.
    let mut helia = Helia::start_within(&outside.within(), VISITOR)?;
    helia.connect(&external)?;
    let verified = helia.verified()?;
    ensure!(verified.iter().any(|addr| helia.addr.starts_with(addr)), "{verified:?} without {}", helia.addr);

    // Who dials for AutoNAT has two connections.
    visiting.leave()?;
    up.leave()?;
    let left = rules()?;
    ensure!(!left.contains("dnat"), "the mapping is still there: {left}");
    Ok(())
}
