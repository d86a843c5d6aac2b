//! Peers on a network of their own: two network namespaces, joined by a pair
//! of virtual Ethernet interfaces, with a peer's mDNS in each. Shows that they
//! find each other by real packets, that a second one on the same machine is
//! found, and that who leaves is missed. Run by `tests/lan.rs` within
//! `unshare`; needs `ip` (Debian: iproute2).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use peerage_identity::{Multiaddr, PeerId};
use peerage_transport::mdns::{Config, Mdns, News};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// A hang is a failure.
const DEADLINE: Duration = Duration::from_secs(30);
/// The argument of the process in the second namespace.
const OTHER: &str = "other";

fn main() -> ExitCode {
    let other = std::env::args().nth(1).is_some_and(|arg| arg == OTHER);
    let result = Runtime::new().context("starting tokio").and_then(|runtime| {
        let run = async { if other { second().await } else { first().await } };
        runtime.block_on(async { timeout(DEADLINE, run).await.context("nothing came")? })
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error:#}", if other { "second namespace" } else { "first namespace" });
            ExitCode::FAILURE
        }
    }
}

/// In the first namespace, which was made for us.
async fn first() -> Result<()> {
    ip("link set lo up")?;
    // No network yet: it starts all the same, and is silent.
    let (addrs, told) = watch::channel(vec!["/ip4/127.0.0.1/tcp/4001".parse()?]);
    let (mdns, mut news) = Mdns::start(Config::default(), peer(1)?, told);

    let mut other = Command::new("unshare")
        .arg("--net")
        .arg(std::env::current_exe()?)
        .arg(OTHER)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting `unshare` (Debian: util-linux)")?;
    let mut input = other.stdin.take().context("no stdin")?;
    let mut output = BufReader::new(other.stdout.take().context("no stdout")?).lines();
    ensure!(output.next().transpose()?.as_deref() == Some("inside"), "the second namespace did not come");
    ensure!(mdns.status().links == 0, "it speaks on loopback: {:?}", mdns.status());
    ip(&format!("link add here type veth peer name there netns {}", other.id()))?;
    ip("addr add 10.99.0.1/24 dev here")?;
    ip("link set here up")?;
    writeln!(input, "go")?;

    // There is a network: told by our own addresses.
    let ours: Multiaddr = "/ip4/10.99.0.1/tcp/4001".parse()?;
    addrs.send(vec!["/ip4/127.0.0.1/tcp/4001".parse()?, ours.clone()])?;
    expect(&mut news, peer(2)?, "/ip4/10.99.0.2/tcp/4002").await?;
    ensure!(mdns.status().trouble.is_none() && mdns.status().links > 0, "{:?}", mdns.status());
    ensure!(output.next().transpose()?.as_deref() == Some("found"), "the other did not find us");

    // A second peer of this machine, with the same port of mDNS.
    let (_more, told) = watch::channel(vec!["/ip4/10.99.0.1/tcp/4003".parse()?]);
    let (neighbour, mut its_news) = Mdns::start(Config::default(), peer(3)?, told);
    expect(&mut news, peer(3)?, "/ip4/10.99.0.1/tcp/4003").await?;
    // The second namespace knows it as well before it ends.
    ensure!(output.next().transpose()?.as_deref() == Some("found both"), "the other did not find both");

    expect(&mut its_news, peer(2)?, "/ip4/10.99.0.2/tcp/4002").await?;

    // Both leave, and are missed at once.
    neighbour.close().await;
    expect_gone(&mut news, peer(3)?).await?;
    drop(input);
    expect_gone(&mut news, peer(2)?).await?;
    ensure!(other.wait()?.success(), "the second namespace failed");
    mdns.close().await;
    Ok(())
}

/// In the second namespace: `there` is its only network.
async fn second() -> Result<()> {
    println!("inside");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    ensure!(line == "go\n", "nobody needs us");
    ip("addr add 10.99.0.2/24 dev there")?;
    ip("link set there up")?;
    let (_addrs, told) = watch::channel(vec!["/ip4/10.99.0.2/tcp/4002".parse()?]);
    let (mdns, mut news) = Mdns::start(Config::default(), peer(2)?, told);
    expect(&mut news, peer(1)?, "/ip4/10.99.0.1/tcp/4001").await?;
    println!("found");
    expect(&mut news, peer(3)?, "/ip4/10.99.0.1/tcp/4003").await?;
    println!("found both");
    // Until the first one has no more use for us.
    let wait = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    wait.await??;
    mdns.close().await;
    Ok(())
}

async fn expect(news: &mut mpsc::Receiver<News>, who: PeerId, at: &str) -> Result<()> {
    let at: Multiaddr = at.parse()?;
    loop {
        match news.recv().await.context("the news ended")? {
            News::Discovered { peer, addrs } if peer == who => {
                ensure!(addrs == [at], "{peer} is said to be at {addrs:?}");
                return Ok(());
            }
            News::Discovered { .. } => {}
            News::Expired { peer } => bail!("{peer} expired"),
        }
    }
}

async fn expect_gone(news: &mut mpsc::Receiver<News>, who: PeerId) -> Result<()> {
    while let Some(item) = news.recv().await {
        if item == (News::Expired { peer: who }) {
            return Ok(());
        }
    }
    bail!("the news ended")
}

/// The peer whose Ed25519 key is `n`, over and over.
fn peer(n: u8) -> Result<PeerId> {
    Ok(PeerId::from_bytes(&[&[0, 36, 8, 1, 18, 32][..], &[n; 32]].concat())?)
}

fn ip(args: &str) -> Result<()> {
    let status = Command::new("ip").args(args.split(' ')).status();
    let status = status.context("starting `ip` (Debian: iproute2)")?;
    ensure!(status.success(), "`ip {args}` failed: {status}");
    Ok(())
}
