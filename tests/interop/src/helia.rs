//! Helia 7 (js-libp2p 3), by way of `helia/peer.mjs`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{Process, START};
use crate::profile::Profile;
use crate::{path_from_env, text, texts};

/// The DHT that a Helia is a server of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dht {
    /// `/ipfs/kad/1.0.0`.
    Wan,
    /// `/ipfs/lan/kad/1.0.0`.
    Lan,
}

impl Dht {
    fn word(self) -> &'static str {
        match self {
            Self::Wan => "wan",
            Self::Lan => "lan",
        }
    }
}

/// What Helia says of an input without keeping it.
#[derive(Debug, Clone)]
pub struct Hashed {
    /// The CID of its root.
    pub cid: String,
    /// The UnixFS type of its root in Helia's words, or `raw`.
    pub kind: String,
}

/// A running Helia, its blocks in memory.
#[derive(Debug)]
pub struct Helia {
    process: Process,
    /// Its peer id.
    pub peer_id: String,
    /// An address of it that ends in its peer id.
    pub addr: String,
}

impl Helia {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// If it is not installed or does not come up.
    pub fn start() -> Result<Self> {
        Self::launch(&[], &[])
    }

    /// Starts one that is also a server of a DHT.
    ///
    /// # Errors
    /// As [`Helia::start`].
    pub fn start_in(dht: Dht) -> Result<Self> {
        Self::launch(&[], &[dht.word()])
    }

    /// Starts one that speaks AutoNAT v1 and listens at the address `ip` of
    /// another network namespace, which `within` runs programs in.
    ///
    /// # Errors
    /// As [`Helia::start`].
    pub fn start_within(within: &[String], ip: &str) -> Result<Self> {
        Self::launch(within, &["autonat", ip])
    }

    fn launch(within: &[String], args: &[&str]) -> Result<Self> {
        let script = path_from_env("PEERAGE_INTEROP_HELIA")?.join("peer.mjs");
        let mut words = within.iter().map(String::as_str).chain(["node"]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg(script).args(args);
        let process = Process::spawn("Helia", command)?;
        let ready = process.wait_for("ready", START)?;
        let addr = texts(&ready, "addrs")?.remove(0);
        Ok(Self { process, peer_id: text(&ready, "peer_id")?, addr })
    }

    /// Dials `addr` and returns what was negotiated.
    ///
    /// # Errors
    /// If the dial fails.
    pub fn connect(&mut self, addr: &str) -> Result<Value> {
        self.process.ask(&["connect", addr])
    }

    /// What a connected peer tells of itself.
    ///
    /// # Errors
    /// If it is not connected or the exchange fails.
    pub fn identify(&mut self, peer_id: &str) -> Result<Value> {
        self.process.ask(&["identify", peer_id])
    }

    /// Pings a peer by id or address.
    ///
    /// # Errors
    /// If no answer comes.
    pub fn ping(&mut self, peer: &str) -> Result<()> {
        self.process.ask(&["ping", peer]).map(|_| ())
    }

    /// Tells its DHT that it has a block.
    ///
    /// # Errors
    /// If nobody takes the word.
    pub fn provide(&mut self, cid: &str) -> Result<()> {
        self.process.ask(&["provide", cid]).map(|_| ())
    }

    /// Who has a block, by its DHT; it ends with `provider`, if that is found.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn find_provider(&mut self, cid: &str, provider: &str) -> Result<Vec<String>> {
        texts(&self.process.ask(&["findprovs", cid, provider])?, "peers")
    }

    /// Where a peer is, by its DHT.
    ///
    /// # Errors
    /// If nobody knows.
    pub fn find_peer(&mut self, peer_id: &str) -> Result<Vec<String>> {
        texts(&self.process.ask(&["findpeer", peer_id])?, "addrs")
    }

    /// Waits until so many are in its routing table.
    ///
    /// # Errors
    /// If they do not come.
    pub fn wait_for_peers(&mut self, count: usize) -> Result<()> {
        self.process.ask(&["dhtpeers", &count.to_string()])?;
        Ok(())
    }

    /// Waits until it believes that others reach it, and returns where.
    ///
    /// # Errors
    /// If nobody whom it asked has dialled it.
    pub fn verified(&mut self) -> Result<Vec<String>> {
        texts(&self.process.ask(&["verified"])?, "addrs")
    }

    /// Adds a file or folder and returns its CID.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn add(&mut self, path: &Path, profile: Profile) -> Result<String> {
        let verb = if path.is_dir() { "adddir" } else { "add" };
        text(&self.process.ask(&[verb, utf8(path)?, &profile.layout()])?, "cid")
    }

    /// What adding each entry of `folder` would give, by its name; keeps nothing.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn hash_each(&mut self, folder: &Path, profile: Profile) -> Result<BTreeMap<String, Hashed>> {
        let answer = self.process.ask(&["cids", utf8(folder)?, &profile.layout()])?;
        let found = answer["found"].as_object().context("no object `found`")?;
        let hashed = |(name, entry): (&String, &Value)| {
            Ok((name.clone(), Hashed { cid: text(entry, "cid")?, kind: text(entry, "type")? }))
        };
        found.iter().map(hashed).collect()
    }

    /// Makes a node of `codec`, `dag-cbor` or `dag-json`, from its DAG-JSON;
    /// returns its CID.
    ///
    /// # Errors
    /// If `node` is no DAG-JSON.
    pub fn put(&mut self, codec: &str, node: &Value) -> Result<String> {
        text(&self.process.ask(&["put", codec, &node.to_string()])?, "cid")
    }

    /// Fetches a node of dag-cbor or dag-json; returns its DAG-JSON.
    ///
    /// # Errors
    /// If the block does not come.
    pub fn node(&mut self, cid: &str) -> Result<Value> {
        let node = text(&self.process.ask(&["node", cid])?, "data")?;
        serde_json::from_str(&node).with_context(|| format!("{cid} is {node}"))
    }

    /// Fetches one block to the new path `dest`.
    ///
    /// # Errors
    /// If it does not come.
    pub fn fetch_block(&mut self, cid: &str, dest: &Path) -> Result<()> {
        self.process.ask(&["block", cid, utf8(dest)?]).map(|_| ())
    }

    /// Writes a DAG to the new CAR file `dest`.
    ///
    /// # Errors
    /// If a block is missing.
    pub fn export_car(&mut self, cid: &str, dest: &Path) -> Result<()> {
        self.process.ask(&["carexport", cid, utf8(dest)?]).map(|_| ())
    }

    /// Takes in a CAR file; returns the roots that it names.
    ///
    /// # Errors
    /// If it is none.
    pub fn import_car(&mut self, path: &Path) -> Result<Vec<String>> {
        texts(&self.process.ask(&["carimport", utf8(path)?])?, "roots")
    }

    /// Fetches a file to the new path `dest`.
    ///
    /// # Errors
    /// If a block does not come.
    pub fn fetch_file(&mut self, cid: &str, dest: &Path) -> Result<()> {
        self.process.ask(&["get", cid, utf8(dest)?]).map(|_| ())
    }

    /// Fetches a folder to the new path `dest`.
    ///
    /// # Errors
    /// If a block does not come.
    pub fn fetch_folder(&mut self, cid: &str, dest: &Path) -> Result<()> {
        self.process.ask(&["getdir", cid, utf8(dest)?]).map(|_| ())
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is no UTF-8", path.display()))
}
