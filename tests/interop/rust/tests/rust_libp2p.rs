//! rust-libp2p 0.57 against `peerage-transport`: identify, ping and perf, with
//! either side dialling.

use anyhow::{Context as _, Result};
use peerage_identity::Keypair;
use peerage_interop_rust::ours::{self, Ours};
use peerage_interop_rust::theirs::{self, Theirs};
use peerage_interop_rust::within;
use peerage_transport::tcp::Listener;

/// Enough for windows to fill and grow many times.
const BULK: u64 = 24 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn we_dial_them() -> Result<()> {
    let mut theirs = Theirs::start(None).await?;
    let ours = Ours::dial(&theirs.addr.to_string()).await?;
    assert_eq!(ours.control.peer().to_string(), theirs.peer_id.to_string());
    theirs.connected().await?;

    let info = ours.identify().await?;
    assert_eq!(info.agent_version.as_deref(), Some(theirs::AGENT));
    assert!(info.protocols.iter().any(|name| name == "/ipfs/ping/1.0.0"), "{:?}", info.protocols);
    assert!(info.observed_addr.is_some());
    ours.ping().await?;
    ours.perf(BULK, 0).await.context("upload")?;
    ours.perf(0, BULK).await.context("download")?;
    ours.perf(12_345, 54_321).await.context("both")?;
    assert!(theirs.identified().await?.agent_version == ours::AGENT);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn they_dial_us() -> Result<()> {
    let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?)?;
    let keypair = Keypair::generate()?;
    let addr = listener.bound_addr().with_peer(keypair.peer_id()).to_string();
    let accepting = tokio::spawn(async move { Ours::accept(&listener, &keypair).await });
    let mut theirs = Theirs::start(Some(addr.parse()?)).await?;
    let us = theirs.connected().await?;
    let mut ours = within("our upgrade", accepting).await???;
    assert_eq!(ours.control.peer().to_string(), theirs.peer_id.to_string());

    let info = theirs.identified().await?;
    assert_eq!(info.agent_version, ours::AGENT);
    assert_eq!(info.public_key.to_peer_id(), us, "the key in identify is the connection's");
    theirs.pinged().await?;
    for (upload, download) in [(BULK, 0), (0, BULK), (12_345, 54_321)] {
        assert_eq!(theirs.perf(us, upload, download).await?, download);
        let (received, sent) = within("the served run", ours.served.recv()).await?.context("gone")?;
        assert_eq!((received, sent), (upload, download));
    }
    ours.ping().await?;
    Ok(())
}

#[tokio::test]
async fn another_peer_than_we_dialled_is_refused() -> Result<()> {
    let theirs = Theirs::start(None).await?;
    let other = Keypair::generate()?.peer_id();
    let addr = theirs.addr.to_string().replace(&theirs.peer_id.to_string(), &other.to_string());
    assert!(Ours::dial(&addr).await.is_err());
    Ok(())
}
