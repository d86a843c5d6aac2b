//! Peers on loopback in folders that go away.

use std::path::PathBuf;
use std::time::Duration;

use peerage_content::Cid;
use peerage_identity::Multiaddr;
use peerage_peer::{AddOptions, Config, Done, GetError, GetEvent, GetOptions, Order, Peer, Share, Sources};
use tempfile::TempDir;

/// A peer that listens on loopback, and its folder.
pub(crate) struct Host {
    pub(crate) peer: Peer,
    pub(crate) dir: TempDir,
}

/// The configuration of a peer whose repository is in the folder.
pub(crate) fn config_at(dir: &TempDir) -> Config {
    let mut config = Config::new(dir.path().join("repo"));
    config.listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    // On a busy machine the index cache is slow and not lost: what is remembered is in it.
    config.store.index_deadline = Duration::from_secs(600);
    config
}

impl Host {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = config_at(&dir);
        change(&mut config);
        Self { peer: Peer::start(config).await.unwrap(), dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        // Canonical, as shared paths are.
        self.dir.path().canonicalize().unwrap().join(name)
    }

    pub(crate) fn addr(&self) -> Multiaddr {
        self.peer.listen_addrs()[0].clone()
    }

    pub(crate) async fn share(&self, name: &str) -> Share {
        let options = AddOptions { hidden: true, ..AddOptions::default() };
        self.peer.share(vec![self.path(name)], options, false, |_| {}).await.unwrap()
    }

    /// How `name` is fetched from these.
    pub(crate) fn options(&self, name: &str, from: &[Multiaddr]) -> GetOptions {
        GetOptions {
            sources: Sources { hints: from.to_vec(), ..Sources::default() },
            dest: self.path(name),
            folder: None,
            overwrite: false,
            unsafe_symlinks: false,
            order: Order::RarestFirst,
            serve: true,
            keep: false,
        }
    }

    /// Fetches to `name`, to the end.
    pub(crate) async fn get(&self, root: Cid, name: &str, from: &[Multiaddr]) -> Result<Done, GetError> {
        self.get_with(root, name, from, |_| {}).await
    }

    pub(crate) async fn get_with(
        &self,
        root: Cid,
        name: &str,
        from: &[Multiaddr],
        change: impl FnOnce(&mut GetOptions),
    ) -> Result<Done, GetError> {
        let mut options = self.options(name, from);
        change(&mut options);
        let mut get = self.peer.get(root, options).await?;
        loop {
            if let Some(GetEvent::Done(done)) = get.next_event().await? {
                assert!(matches!(get.next_event().await, Ok(None)), "nothing follows");
                return Ok(done);
            }
        }
    }
}

/// Bytes that do not repeat.
pub(crate) fn random(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(len).collect()
}
