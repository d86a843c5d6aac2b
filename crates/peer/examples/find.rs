//! Three peers in one process: one shares a file and announces it, another
//! fetches it knowing nothing but its CID. Both know the third.
//!
//! `cargo run -p peerage-peer --example find`

use std::error::Error;
use std::path::PathBuf;

use peerage_peer::{AddOptions, Config, FindEvent, GetEvent, GetOptions, Network, Order, Peer, Sources};

/// On this machine alone; for the public network listen elsewhere, and begin
/// with `peerage_peer::public_peers()`.
fn config(repo: PathBuf) -> Result<Config, Box<dyn Error>> {
    let mut config = Config::new(repo);
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    Ok(config)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("original.bin");
    std::fs::write(&file, vec![7; 2_000_000])?;

    let known = Peer::start(config(dir.path().join("known"))?).await?;
    let mut with_seed = config(dir.path().join("sharer"))?;
    with_seed.seeds = known.listen_addrs();
    let sharer = Peer::start(with_seed).await?;
    let share = sharer.share(vec![file.clone()], AddOptions::default(), false, |_| {}).await?;
    let root = share.roots()[0].cid;

    // Once, to the end; `Peer::announce` does it again and again.
    let mut provide = sharer.provide(root);
    while let Some(event) = provide.next().await {
        if let FindEvent::Finished(reports) = event {
            println!("told {:?}", reports[&Network::Lan].as_ref().map(|report| report.stored));
        }
    }

    let mut with_seed = config(dir.path().join("getter"))?;
    with_seed.seeds = known.listen_addrs();
    let getter = Peer::start(with_seed).await?;
    let options = GetOptions {
        // No address at all: whoever has it is looked for.
        sources: Sources { find: true, ..Sources::default() },
        dest: dir.path().join("copy.bin"),
        folder: None,
        overwrite: false,
        unsafe_symlinks: false,
        order: Order::RarestFirst,
        serve: true,
        keep: false,
    };
    let mut get = getter.get(root, options).await?;
    while let Some(event) = get.next_event().await? {
        if let GetEvent::Done(done) = event {
            println!("{} from {:?}", done.path.display(), done.progress.received.keys());
        }
    }
    assert_eq!(std::fs::read(&file)?, std::fs::read(dir.path().join("copy.bin"))?);
    println!("others can dial us: {:?}", getter.reachability().await.reach);

    drop((get, share));
    for peer in [getter, sharer, known] {
        peer.shutdown().await;
    }
    Ok(())
}
