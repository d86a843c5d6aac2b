//! Two peers in one process: one shares a file, the other fetches it.
//!
//! `cargo run -p peerage-peer --example share_and_get`

use std::error::Error;

use peerage_peer::{AddOptions, Config, GetEvent, GetOptions, Order, Peer, Sources};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("original.bin");
    std::fs::write(&file, vec![7; 20_000_000])?;

    // A peer needs a folder of its own, and an address if others are to reach it.
    let mut config = Config::new(dir.path().join("sharer"));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse()?];
    let sharer = Peer::start(config).await?;
    let getter = Peer::start(Config::new(dir.path().join("getter"))).await?;

    // Nothing is copied: the blocks are read from the file, as long as `share` lives.
    let share = sharer.share(vec![file.clone()], AddOptions::default(), false, |_| {}).await?;
    let root = share.roots()[0].cid;
    println!("{} shares {root}", sharer.id());

    let options = GetOptions {
        sources: Sources { hints: sharer.listen_addrs(), ..Sources::default() },
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
        match event {
            GetEvent::Progress(progress) => {
                println!("{} of {} bytes", progress.fetch.bytes, progress.fetch.total);
            }
            GetEvent::Done(done) => println!("{} in {:?}", done.path.display(), done.took),
        }
    }
    assert_eq!(std::fs::read(&file)?, std::fs::read(dir.path().join("copy.bin"))?);

    drop((get, share));
    getter.shutdown().await;
    sharer.shutdown().await;
    Ok(())
}
