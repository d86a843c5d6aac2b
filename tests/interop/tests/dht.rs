//! One DHT of Peerage, Helia and Kubo: each provides, each other one finds
//! that, finds who it is, and fetches by the CID alone.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use peerage_interop::helia::{Dht, Helia};
use peerage_interop::kubo::{Kind, Kubo};
use peerage_interop::peerage::Serving;
use peerage_interop::{Peerage, Profile, data};
use serde_json::Value;

/// How long what was announced may take to be found by others: an announcement
/// goes on beside everything else and tells nobody when it is over.
const SPREAD: Duration = Duration::from_secs(60);

/// Bytes of what each provides: two of its blocks, or one.
const FILE_LEN: usize = 300_000;

/// Tries again until it succeeds, for as long as an announcement may take;
/// returns how long that took.
fn eventually(mut attempt: impl FnMut() -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(began.elapsed()),
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

/// Someone in the DHT.
struct Member {
    name: &'static str,
    peer_id: String,
    /// What it provides, once it does.
    cid: String,
    node: Node,
}

enum Node {
    Ours(Peerage, Option<Serving>),
    Helia(Helia),
    Kubo(Kubo),
}

impl Member {
    /// One of ours; it begins with the peers at `seeds`.
    fn ours(name: &'static str, seeds: &[&str], flags: &[&str]) -> Result<Self> {
        let peer = Peerage::in_dht(seeds, flags)?;
        Ok(Self { name, peer_id: peer.peer_id()?, cid: String::new(), node: Node::Ours(peer, None) })
    }

    fn helia(name: &'static str, helia: Helia) -> Self {
        Self { name, peer_id: helia.peer_id.clone(), cid: String::new(), node: Node::Helia(helia) }
    }

    fn kubo(name: &'static str, kubo: Kubo) -> Self {
        Self { name, peer_id: kubo.peer_id.clone(), cid: String::new(), node: Node::Kubo(kubo) }
    }

    /// Tells the DHT that it has the file: of ours the first says so as it
    /// shares, the others by a command of its own.
    fn provide(&mut self, path: &Path, first: bool) -> Result<()> {
        match &mut self.node {
            Node::Ours(peer, serving) => {
                let share = if first { peer.share_announced(path)? } else { peer.share(path)? };
                self.cid = share.cid()?;
                *serving = Some(share);
                if !first {
                    let cid = self.cid.as_str();
                    eventually(|| {
                        let lines = peer.run(&["provide", cid])?;
                        let stored = lines.iter().filter_map(|line| line["stored"].as_u64()).sum::<u64>();
                        ensure!(stored > 0, "nobody took it: {lines:?}");
                        Ok(())
                    })?;
                }
            }
            Node::Helia(helia) => {
                self.cid = helia.add(path, Profile::V1)?;
                eventually(|| helia.provide(&self.cid))?;
            }
            // It provides what it adds.
            Node::Kubo(kubo) => self.cid = kubo.add(path)?,
        }
        Ok(())
    }

    /// True if it can tell who has something: Kubo's library has no such call
    /// and finds them as it fetches.
    fn can_find(&self) -> bool {
        !matches!(self.node, Node::Kubo(_))
    }

    /// Looks once for who has `cid`: `provider` is to be among them.
    fn find(&mut self, cid: &str, provider: &str) -> Result<()> {
        match &mut self.node {
            Node::Ours(peer, _) => {
                let lines = peer.run(&["find", cid])?;
                ensure!(found(&lines).contains(provider), "{lines:?} names no {provider}");
            }
            Node::Helia(helia) => {
                let peers = helia.find_provider(cid, provider)?;
                ensure!(peers.iter().any(|peer| peer == provider), "{peers:?} has not {provider}");
            }
            Node::Kubo(_) => bail!("it has no such call"),
        }
        Ok(())
    }

    /// Looks once for where a peer is.
    fn find_peer(&mut self, peer_id: &str) -> Result<()> {
        let somewhere = match &mut self.node {
            Node::Ours(peer, _) => found(&peer.run(&["find-peer", peer_id])?).contains(peer_id),
            Node::Helia(helia) => !helia.find_peer(peer_id)?.is_empty(),
            Node::Kubo(kubo) => !kubo.find_peer(peer_id)?.is_empty(),
        };
        ensure!(somewhere, "no address of {peer_id}");
        Ok(())
    }

    fn fetch(&mut self, cid: &str, dest: &Path) -> Result<()> {
        match &mut self.node {
            Node::Ours(peer, _) => peer.get_by_cid(cid, dest).map(drop),
            Node::Helia(helia) => helia.fetch_file(cid, dest),
            Node::Kubo(kubo) => kubo.fetch(cid, dest),
        }
    }
}

/// Three Helias that know each other.
fn helias(dht: Dht) -> Result<Vec<Helia>> {
    let mut helias = (0..3).map(|_| Helia::start_in(dht)).collect::<Result<Vec<_>>>()?;
    let first = helias[0].addr.clone();
    for helia in &mut helias[1..] {
        helia.connect(&first)?;
    }
    for helia in &mut helias {
        helia.wait_for_peers(1)?;
    }
    Ok(helias)
}

/// Everybody provides; then every other one finds, and then fetches.
fn everyone_finds_everyone(title: &str, members: &mut [Member]) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let source = |name: &str| dir.path().join(name);
    for (n, member) in members.iter_mut().enumerate() {
        data::file(&source(member.name), FILE_LEN, 900 + n as u64)?;
        member.provide(&source(member.name), n == 0).with_context(|| format!("{} provides", member.name))?;
    }
    let provided: Vec<_> =
        members.iter().map(|member| (member.name, member.peer_id.clone(), member.cid.clone())).collect();
    // All look-ups first: whoever has fetched something may be a source of it.
    let mut rows = vec![vec![[None; 3]; members.len()]; members.len()];
    for (row, (name, peer_id, cid)) in rows.iter_mut().zip(&provided) {
        for (cell, finder) in row.iter_mut().zip(members.iter_mut()).filter(|(_, other)| other.name != *name)
        {
            let what = format!("{} looks for what {name} provides", finder.name);
            if finder.can_find() {
                cell[0] = Some(eventually(|| finder.find(cid, peer_id)).context(what.clone())?);
            }
            cell[1] = Some(eventually(|| finder.find_peer(peer_id)).context(what)?);
        }
    }
    for (row, (name, _, cid)) in rows.iter_mut().zip(&provided) {
        for (cell, finder) in row.iter_mut().zip(members.iter_mut()).filter(|(_, other)| other.name != *name)
        {
            let copy = source(&format!("{name} by {}", finder.name));
            let began = Instant::now();
            finder.fetch(cid, &copy).with_context(|| format!("{} fetches from {name}", finder.name))?;
            cell[2] = Some(began.elapsed());
            data::assert_same(&source(name), &copy)?;
        }
    }
    let mut matrix = format!("{title}: ms until found / peer found / fetched; a row provides\n{:8}", "");
    matrix.extend(members.iter().map(|finder| format!("{:>14}", finder.name)));
    for (row, (name, ..)) in rows.iter().zip(&provided) {
        matrix.push_str(&format!("\n{name:8}"));
        for cell in row {
            let ms =
                |took: Option<Duration>| took.map_or("-".to_owned(), |took| took.as_millis().to_string());
            matrix.push_str(&format!("{:>14}", cell.map(ms).join("/")));
        }
    }
    // Not by `println!`, which a test that succeeds keeps to itself.
    writeln!(std::io::stderr(), "{matrix}")?;
    Ok(())
}

/// Two of ours and three Helias, with whatever flags ours need, and a Kubo.
fn one_dht(title: &str, dht: Dht, flags: &[&str], kubo: Option<Kubo>) -> Result<()> {
    let helias = helias(dht)?;
    let seeds = [helias[0].addr.clone(), helias[1].addr.clone()];
    let mut members =
        vec![Member::ours("Peerage0", &[&seeds[0]], flags)?, Member::ours("Peerage1", &[&seeds[1]], flags)?];
    let names = ["Helia0", "Helia1", "Helia2"];
    members.extend(names.into_iter().zip(helias).map(|(name, helia)| Member::helia(name, helia)));
    if let Some(mut kubo) = kubo {
        kubo.connect(&seeds[0])?;
        members.push(Member::kubo("Kubo", kubo));
    }
    everyone_finds_everyone(title, &mut members)?;
    for member in members {
        if let Node::Ours(_, Some(serving)) = member.node {
            serving.leave()?;
        }
    }
    Ok(())
}

#[test]
fn everyone_in_the_dht_of_the_local_network() -> Result<()> {
    one_dht("/ipfs/lan/kad/1.0.0", Dht::Lan, &[], Some(Kubo::start(Kind::Noise)?))
}

/// Without Kubo, which keeps loopback addresses out of this one.
#[test]
fn peerage_and_helia_in_the_public_dht() -> Result<()> {
    // Loopback counts, and we answer without anybody having reached us.
    one_dht("/ipfs/kad/1.0.0", Dht::Wan, &["--dht-private-addresses", "--dht", "server"], None)
}

/// As soon as somebody has told it where we are: nothing else has connected them.
#[test]
fn kubo_fetches_by_the_cid_alone_from_who_it_never_met() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut helias = helias(Dht::Lan)?;
    let seed = helias[0].addr.clone();
    let source = dir.path().join("ours");
    data::file(&source, FILE_LEN, 910)?;
    let sharer = Peerage::in_dht(&[&seed], &[])?;
    let sharing = sharer.share_announced(&source)?;
    let (id, cid) = (sharing.peer_id()?, sharing.cid()?);
    eventually(|| {
        let peers = helias[1].find_provider(&cid, &id)?;
        ensure!(peers.contains(&id), "{peers:?} has not {id}");
        Ok(())
    })?;
    let mut kubo = Kubo::start(Kind::Noise)?;
    kubo.connect(&seed)?;
    let copy = dir.path().join("ours by Kubo");
    kubo.fetch(&cid, &copy)?;
    data::assert_same(&source, &copy)?;
    sharing.leave()
}
