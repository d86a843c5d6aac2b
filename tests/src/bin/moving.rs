//! A peer whose network changes while it runs: the program, in a network
//! namespace of its own, gets an address and loses it again. Shows that a
//! connected peer is told (identify push), and that mDNS follows. Run by
//! `tests/lan.rs` within `unshare`; needs `ip` (Debian: iproute2).

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use peerage_base::SharedBudget;
use peerage_identity::{Keypair, Multiaddr};
use peerage_tests::{Place, Sharing};
use peerage_transport::mdns::{self, Mdns, News};
use peerage_transport::{Incoming, Role, identify, tcp, upgrade};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::timeout;

/// A hang is a failure.
const DEADLINE: Duration = Duration::from_secs(30);

/// The address that comes and goes.
const NEW: &str = "10.99.1.1";

/// Bytes that a connection may hold unread.
const BUDGET: u64 = 1 << 20;

fn main() -> ExitCode {
    let result = Runtime::new().context("starting tokio").and_then(|runtime| {
        runtime.block_on(async { timeout(DEADLINE, run()).await.context("nothing came")? })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    ip("link set lo up")?;
    ip("link add here type veth peer name there")?;
    for end in ["here", "there"] {
        ip(&format!("link set {end} up"))?;
    }
    let place = Place::new()?;
    let mut up = place.peer("a").plain(&["up", "--json", "--listen", "/ip4/0.0.0.0/tcp/0"]);
    up.env("PEERAGE_MDNS", "on");
    let up = Sharing::start(up)?;
    let loopback: Multiaddr = up.addr()?.parse()?;
    let told = up.ready["addrs"].as_array().map_or(0, Vec::len);
    ensure!(told == 1 && loopback.to_string().starts_with("/ip4/127.0.0.1/"), "{}", up.ready);
    let peer = loopback.peer_id().context("an address without its peer")?;
    let port = loopback.to_tcp_addr().context("no TCP")?.port();
    let new: Multiaddr = format!("/ip4/{NEW}/tcp/{port}").parse()?;

    let config = peerage_transport::Config::default();
    let socket = tcp::dial(&loopback.without_peer()).await?;
    let keypair = Keypair::generate()?;
    let made = upgrade(socket, Role::Dialer, &keypair, Some(peer), config, SharedBudget::new(BUDGET)).await?;
    tokio::spawn(made.driver);
    let mut incoming = made.incoming;

    ip(&format!("addr add {NEW}/24 dev here"))?;
    pushed(&mut incoming, |addrs| addrs.contains(&new)).await?;
    let (_ours, told) = watch::channel(vec![format!("/ip4/{NEW}/tcp/4003").parse()?]);
    let (mdns, mut news) = Mdns::start(mdns::Config::default(), Keypair::generate()?.peer_id(), told);
    loop {
        match news.recv().await.context("mDNS ended")? {
            News::Discovered { peer: found, addrs } if found == peer => {
                ensure!(addrs == [new.clone()], "it is said to be at {addrs:?}");
                break;
            }
            News::Discovered { .. } => {}
            News::Expired { peer } => bail!("{peer} expired"),
        }
    }
    ip(&format!("addr del {NEW}/24 dev here"))?;
    pushed(&mut incoming, |addrs| !addrs.contains(&new)).await?;
    mdns.close().await;
    tokio::task::spawn_blocking(|| up.close()).await??;
    Ok(())
}

/// Answers nothing but identify pushes, until one has addresses that suit.
async fn pushed(incoming: &mut Incoming, suits: impl Fn(&[Multiaddr]) -> bool) -> Result<()> {
    while let Some(mut stream) = incoming.next().await {
        let known = |name: &str| (name == identify::PUSH_PROTOCOL).then_some(identify::PUSH_PROTOCOL);
        if stream.accept(known).await.is_err() {
            continue;
        }
        let info = identify::receive(&mut stream, DEADLINE).await?;
        if suits(&info.listen_addrs) {
            return Ok(());
        }
    }
    bail!("the connection ended")
}

fn ip(args: &str) -> Result<()> {
    let status = Command::new("ip").args(args.split(' ')).status();
    let status = status.context("starting `ip` (Debian: iproute2)")?;
    ensure!(status.success(), "`ip {args}` failed: {status}");
    Ok(())
}
