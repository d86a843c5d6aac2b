//! What a machine takes in memory: `cargo run --release -p peerage-dht --example footprint`.
//!
//! Makes many with full tables, as a simulator does, and has each walk a
//! look-up; prints how much the process grew for each. Linux only: it reads
//! `/proc/self/statm`.

use std::error::Error;
use std::sync::Arc;

use peerage_base::{Instant, Now, Rng, UnixTime};
use peerage_dht::{Config, Dht, Mode, Output, PeerInfo, Response};
use peerage_identity::PeerId;

const MACHINES: usize = 1_000;
const SERVERS: usize = 10_000;
const PAGE_BYTES: usize = 4096;
/// Answers that each look-up gets.
const ANSWERS: usize = 12;

const NOW: Now = Now::new(Instant::from_nanos(1_000_000_000), UnixTime(1_700_000_000));

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = Rng::new(1);
    let mut servers = Vec::new();
    for n in 0..SERVERS {
        let addr = |rest| format!("/ip4/{}.{}.1.9/{rest}", 60 + n / 256, n % 256).parse();
        let addrs = vec![addr("tcp/4001")?, addr("udp/4001/quic-v1")?];
        servers.push(PeerInfo { peer: peer(&mut rng)?, addrs });
    }
    let config = Arc::new(Config::default());
    println!("a configuration: {} bytes; a machine itself: {}", size_of::<Config>(), size_of::<Dht>());

    let before = resident()?;
    let mut machines = Vec::with_capacity(MACHINES);
    for seed in 0..MACHINES {
        let mut dht = Dht::new(Arc::clone(&config), peer(&mut rng)?, seed as u64, NOW);
        dht.set_mode(Mode::Server);
        for info in &servers {
            dht.add_known(info, &info.addrs[0], NOW);
        }
        machines.push(dht);
    }
    let peers: usize = machines.iter().map(|dht| dht.stats().table_peers).sum();
    let full = resident()?;
    println!("{} peers in a table: {} KiB each", peers / MACHINES, (full - before) / MACHINES / 1024);

    for dht in &mut machines {
        dht.find_closest(peer(&mut rng)?.as_bytes(), NOW)?;
        for _ in 0..ANSWERS {
            let Some(Output::SendRequest { id, addrs, .. }) = dht.poll_output() else { continue };
            let closer = (0..20).filter_map(|_| rng.pick(&servers).cloned()).collect();
            dht.handle_response(id, &addrs[0], Response::Closest { closer }, NOW);
        }
        while dht.poll_output().is_some() {}
    }
    let walking = resident()?;
    println!("and a look-up: {} KiB each", (walking - before) / MACHINES / 1024);
    Ok(())
}

fn peer(rng: &mut Rng) -> Result<PeerId, peerage_identity::PeerIdError> {
    let mut id = [0; 34];
    id[..2].copy_from_slice(&[0x12, 0x20]);
    rng.fill(&mut id[2..]);
    PeerId::from_bytes(&id)
}

fn resident() -> Result<usize, Box<dyn Error>> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages: usize = statm.split_whitespace().nth(1).ok_or("no second field")?.parse()?;
    Ok(pages * PAGE_BYTES)
}
