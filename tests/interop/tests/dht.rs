//! One DHT of Peerage, Helia and Kubo: each tells what it has, and finds what
//! the others have.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use peerage_interop::helia::{Dht, Helia, Profile};
use peerage_interop::kubo::{Kind, Kubo};
use peerage_interop::{Peerage, data};
use serde_json::Value;

/// How long what was announced may take to be found by others: an announcement
/// goes on beside everything else and tells nobody when it is over.
const SPREAD: Duration = Duration::from_secs(60);

/// Tries again until it succeeds, for as long as an announcement may take.
fn eventually<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if began.elapsed() > SPREAD => return Err(error),
            // Each attempt is a look-up, which takes its time.
            Err(_) => {}
        }
    }
}

/// The peers that `find` or `find-peer` printed.
fn found(lines: &[Value]) -> BTreeSet<String> {
    lines.iter().filter_map(|line| line["peer_id"].as_str()).map(str::to_owned).collect()
}

/// Three Helias that know each other.
fn helias(dht: Dht) -> Result<Vec<Helia>> {
    let mut helias = (0..3).map(|_| Helia::start_in(Some(dht))).collect::<Result<Vec<_>>>()?;
    let first = helias[0].addr.clone();
    for helia in &mut helias[1..] {
        helia.connect(&first)?;
    }
    for helia in &mut helias {
        helia.wait_for_peers(1)?;
    }
    Ok(helias)
}

/// Two of ours and three Helias, with whatever flags ours need.
fn peerage_and_helia(dht: Dht, flags: &[&str]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut helias = helias(dht)?;
    let seeds = [helias[0].addr.clone(), helias[1].addr.clone()];

    // One of ours shares, and tells the DHT; a Helia adds and provides.
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    data::file(&ours, data::FILE_LEN, 900)?;
    data::file(&theirs, data::FILE_LEN, 901)?;
    let sharer = Peerage::in_dht(&[&seeds[0]], flags)?;
    let sharing = sharer.share_announced(&ours)?;
    let (our_cid, our_id) = (sharing.cid()?, sharing.peer_id()?);
    let their_cid = helias[2].add(&theirs, Profile::V1)?;
    eventually(|| helias[2].provide(&their_cid))?;
    let their_id = helias[2].peer_id.clone();

    // Helia finds ours, where it is, and fetches by the CID alone.
    for helia in &mut helias {
        eventually(|| {
            let peers = helia.find_providers(&our_cid)?;
            ensure!(peers.contains(&our_id), "{peers:?} has not {our_id}");
            Ok(())
        })?;
        let addrs = eventually(|| helia.find_peer(&our_id))?;
        ensure!(!addrs.is_empty(), "no address of {our_id}");
    }
    let copy = dir.path().join("ours by Helia");
    helias[1].fetch_file(&our_cid, &copy)?;
    data::assert_same(&ours, &copy)?;

    // A second one of ours finds both, and fetches both, by the CID alone.
    let finder = Peerage::in_dht(&[&seeds[1]], flags)?;
    for (cid, provider, source) in [(&our_cid, &our_id, &ours), (&their_cid, &their_id, &theirs)] {
        for question in [["find", cid], ["find-peer", provider]] {
            eventually(|| {
                let lines = finder.run(&question)?;
                ensure!(found(&lines).contains(provider), "{lines:?} names no {provider}");
                Ok(())
            })?;
        }
        let name = format!("{} by ours", source.file_name().context("a name")?.to_string_lossy());
        let copy = dir.path().join(name);
        finder.get_by_cid(cid, &copy)?;
        data::assert_same(source, &copy)?;
    }
    sharing.leave()
}

#[test]
fn peerage_and_helia_in_the_dht_of_the_local_network() -> Result<()> {
    peerage_and_helia(Dht::Lan, &[])
}

#[test]
fn peerage_and_helia_in_the_public_dht() -> Result<()> {
    // Loopback counts, and we answer without anybody having reached us.
    peerage_and_helia(Dht::Wan, &["--dht-private-addresses", "--dht", "server"])
}

#[test]
fn kubo_among_them() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut helias = helias(Dht::Lan)?;
    let seed = helias[0].addr.clone();
    let mut kubo = Kubo::start(Kind::Noise)?;
    kubo.connect(&seed)?;

    // Ours announces; Kubo finds the peer, and fetches by the CID alone.
    let source = dir.path().join("ours");
    data::file(&source, data::FILE_LEN, 910)?;
    let sharer = Peerage::in_dht(&[&seed], &[])?;
    let sharing = sharer.share_announced(&source)?;
    let id = sharing.peer_id()?;
    let cid = sharing.cid()?;
    eventually(|| {
        let peers = helias[1].find_providers(&cid)?;
        ensure!(peers.contains(&id), "{peers:?} has not {id}");
        Ok(())
    })?;
    // First by the CID alone, before anything else could connect them.
    let copy = dir.path().join("ours by Kubo");
    kubo.fetch(&cid, &copy)?;
    data::assert_same(&source, &copy)?;
    let addrs = eventually(|| kubo.find_peer(&id))?;
    ensure!(!addrs.is_empty(), "Kubo knows no address of {id}");

    // Kubo provides what it adds; ours finds it by the CID alone.
    let source = dir.path().join("kubo's");
    data::file(&source, data::FILE_LEN, 911)?;
    let cid = kubo.add(&source)?;
    let finder = Peerage::in_dht(&[&seed], &[])?;
    eventually(|| {
        let lines = finder.run(&["find", &cid])?;
        ensure!(found(&lines).contains(&kubo.peer_id), "{lines:?} names no {}", kubo.peer_id);
        Ok(())
    })?;
    let copy = dir.path().join("kubo's by ours");
    finder.get_by_cid(&cid, &copy)?;
    data::assert_same(&source, &copy)?;
    sharing.leave()
}
