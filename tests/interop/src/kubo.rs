//! Kubo 0.22 (go-libp2p 0.29), by way of `kubo/peer.py`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use ed25519_dalek::SigningKey;
use tempfile::TempDir;

use crate::process::{Process, START};
use crate::{path_from_env, text, texts};

/// libp2p's protobuf form of a private Ed25519 key: type 1, then 64 bytes.
const PRIVATE_KEY: [u8; 4] = [0x08, 0x01, 0x12, 0x40];
/// An identity multihash of 36 bytes, of a public Ed25519 key of 32.
const PEER_ID: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

/// What Kubo is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An Ed25519 key; offers Noise only.
    Noise,
    /// The RSA key that the library makes; proposes TLS before Noise.
    RsaTlsFirst,
}

/// A running Kubo with a fresh repository.
#[derive(Debug)]
pub struct Kubo {
    process: Process,
    /// Its peer id.
    pub peer_id: String,
    /// An address of it that ends in its peer id.
    pub addr: String,
    _repo: TempDir,
}

impl Kubo {
    /// Starts one and waits until it listens.
    ///
    /// # Errors
    /// If it is not installed or does not come up.
    pub fn start(kind: Kind) -> Result<Self> {
        let python = path_from_env("PEERAGE_INTEROP_PYTHON")?;
        let repo = TempDir::with_prefix("kubo-")?;
        let mut command = Command::new(python);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("kubo/peer.py")).arg(repo.path());
        match kind {
            Kind::Noise => {
                // The key needs to be a valid one, not a secret one.
                let mut seed = [0; 32];
                crate::data::fill(u64::from(std::process::id()), &mut seed);
                let (peer_id, private_key) = identity(seed);
                command.args(["--identity", &peer_id, &private_key]);
            }
            Kind::RsaTlsFirst => {
                command.args(["--security", "both"]);
            }
        }
        let process = Process::spawn("Kubo", command)?;
        let ready = process.wait_for("ready", START)?;
        let addr = texts(&ready, "addrs")?.remove(0);
        Ok(Self { process, peer_id: text(&ready, "peer_id")?, addr, _repo: repo })
    }

    /// Dials `addr`, which ends in a peer id.
    ///
    /// # Errors
    /// If the dial fails.
    pub fn connect(&mut self, addr: &str) -> Result<()> {
        self.process.ask(&["connect", addr]).map(|_| ())
    }

    /// Where a peer is, by its DHTs.
    ///
    /// # Errors
    /// If nobody knows.
    pub fn find_peer(&mut self, peer_id: &str) -> Result<Vec<String>> {
        texts(&self.process.ask(&["findpeer", peer_id])?, "addrs")
    }

    /// The peers it is connected to.
    ///
    /// # Errors
    /// If the process fails.
    pub fn peers(&mut self) -> Result<Vec<String>> {
        texts(&self.process.ask(&["peers"])?, "peers")
    }

    /// Adds a file or folder and returns its CID, version 0.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn add(&mut self, path: &Path) -> Result<String> {
        let path = path.to_str().context("a UTF-8 path")?;
        text(&self.process.ask(&["add", path])?, "cid")
    }

    /// The CID that adding a file or folder would give, version 0; keeps nothing.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn hash(&mut self, path: &Path) -> Result<String> {
        let path = path.to_str().context("a UTF-8 path")?;
        text(&self.process.ask(&["hash", path])?, "cid")
    }

    /// Fetches and keeps a whole DAG, of whatever codecs.
    ///
    /// # Errors
    /// If a block does not come.
    pub fn pin(&mut self, cid: &str) -> Result<()> {
        self.process.ask(&["pin", cid]).map(|_| ())
    }

    /// Fetches a file or folder to the new path `dest`.
    ///
    /// # Errors
    /// If a block does not come.
    pub fn fetch(&mut self, cid: &str, dest: &Path) -> Result<()> {
        self.process.ask(&["get", cid, dest.to_str().context("a UTF-8 path")?]).map(|_| ())
    }
}

/// The peer id and the private key, as a Kubo configuration spells them, of an
/// Ed25519 seed.
fn identity(seed: [u8; 32]) -> (String, String) {
    let key = SigningKey::from_bytes(&seed);
    let public = key.verifying_key().to_bytes();
    let private = [PRIVATE_KEY.as_slice(), &seed, &public].concat();
    (bs58::encode([PEER_ID.as_slice(), &public].concat()).into_string(), BASE64.encode(&private))
}
