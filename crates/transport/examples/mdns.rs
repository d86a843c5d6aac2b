//! Prints who is on the local network, until Ctrl-C.
//!
//! `cargo run -p peerage-transport --example mdns -- /ip4/192.168.1.5/tcp/4001`
//! tells others that a peer is at that address; nobody is.

use peerage_identity::{Keypair, Multiaddr};
use peerage_transport::mdns::{Config, Mdns, News};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let addrs: Vec<Multiaddr> = std::env::args().skip(1).map(|arg| arg.parse()).collect::<Result<_, _>>()?;
    let local = Keypair::generate()?.peer_id();
    println!("we are {local}");
    let (_addrs, told) = watch::channel(addrs);
    let (_mdns, mut news) = Mdns::start(Config::default(), local, told);
    while let Some(item) = news.recv().await {
        match item {
            News::Discovered { peer, addrs } => {
                let addrs: Vec<String> = addrs.iter().map(ToString::to_string).collect();
                println!("{peer} is at {}", addrs.join(", "));
            }
            News::Expired { peer } => println!("{peer} left"),
        }
    }
    Ok(())
}
