//! A source that corrupts every tenth block: the fetch completes from another
//! source, and without one fails as unverified, with nothing at the destination.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use peerage_base::SharedBudget;
use peerage_content::{Cid, Prefix};
use peerage_exchange::codec::{decode, encode, encode_block_header};
use peerage_exchange::{Outgoing, Presence, Version, WantKind};
use peerage_identity::{Keypair, Multiaddr};
use peerage_peer::{AddOptions, Config, GetError, GetEvent, GetOptions, JobError, Peer, Sources};
use peerage_store::Store;
use peerage_transport::{Control, Role, Stream, identify, tcp::Listener, upgrade};
use peerage_wire::frame::Assembler;
use tokio::sync::Mutex;

const LOOPBACK: &str = "/ip4/127.0.0.1/tcp/0";

/// Every so manyth block is corrupted.
const EVERY: usize = 10;

/// A peer that holds what `store` holds and corrupts every tenth block.
struct Liar {
    store: Store,
    served: AtomicUsize,
}

impl Liar {
    /// Listens; the address names the peer.
    fn start(store: Store) -> Multiaddr {
        let keypair = Keypair::from_seed([7; 32]);
        let listener = Listener::bind(&LOOPBACK.parse().unwrap()).unwrap();
        let addr = listener.bound_addr().with_peer(keypair.peer_id());
        let liar = Arc::new(Self { store, served: AtomicUsize::new(0) });
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (liar, keypair) = (Arc::clone(&liar), keypair.clone());
                tokio::spawn(async move {
                    let (config, budget) =
                        (peerage_transport::Config::default(), SharedBudget::new(32 << 20));
                    let made = upgrade(socket, Role::Listener, &keypair, None, config, budget).await.unwrap();
                    tokio::spawn(made.driver);
                    let answers = Arc::new(Mutex::new(None));
                    let mut incoming = made.incoming;
                    while let Some(stream) = incoming.next().await {
                        let (liar, control) = (Arc::clone(&liar), made.control.clone());
                        tokio::spawn(liar.serve(stream, control, Arc::clone(&answers)));
                    }
                });
            }
        });
        addr
    }

    async fn serve(
        self: Arc<Self>,
        mut stream: Stream,
        control: Control,
        answers: Arc<Mutex<Option<Stream>>>,
    ) {
        let bitswap = Version::V1_2.protocol();
        let known = [identify::PROTOCOL, bitswap];
        let Ok(protocol) = stream.accept(|name| known.into_iter().find(|known| *known == name)).await else {
            return;
        };
        if protocol == identify::PROTOCOL {
            let info = identify::Info { protocols: vec![bitswap.to_owned()], ..identify::Info::default() };
            identify::send(&mut stream, &info).await.unwrap();
            return stream.finish();
        }
        let mut frames = Assembler::new(4 << 20);
        while let Ok(Some(mut chunk)) = stream.read_chunk(64 * 1024).await {
            while let Some(message) = frames.push(&mut chunk).unwrap() {
                for want in decode(message).unwrap().wants {
                    let chunks = match want.kind {
                        WantKind::Block => self.block(&want.cid),
                        WantKind::Have => {
                            let presences = vec![(want.cid, Presence::Have)];
                            vec![encode(&Outgoing { presences, ..Outgoing::default() }, Version::V1_2)]
                        }
                    };
                    let mut answers = answers.lock().await;
                    if answers.is_none() {
                        *answers = control.open(bitswap).await.ok();
                    }
                    let Some(out) = answers.as_mut() else { return };
                    for chunk in chunks {
                        if out.write_chunk(chunk).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn block(&self, cid: &Cid) -> Vec<Bytes> {
        let mut data = self.store.read(cid.hash()).unwrap().unwrap().to_vec();
        if self.served.fetch_add(1, Ordering::Relaxed) % EVERY == EVERY - 1 {
            data[0] ^= 1;
        }
        let len = u32::try_from(data.len()).unwrap();
        vec![encode_block_header(&Prefix::of(cid), len, Version::V1_2), data.into()]
    }
}

async fn start(dir: &Path, name: &str) -> Peer {
    let mut config = Config::new(dir.join(name));
    config.listen = vec![LOOPBACK.parse().unwrap()];
    Peer::start(config).await.unwrap()
}

async fn fetch(peer: &Peer, root: Cid, hints: Vec<Multiaddr>, dest: PathBuf) -> Result<u64, GetError> {
    let sources = Sources { hints, ..Sources::default() };
    let options =
        GetOptions { sources, dest, overwrite: false, unsafe_symlinks: false, serve: false, keep: false };
    let mut get = peer.get(root, options).await?;
    loop {
        if let Some(GetEvent::Done(done)) = get.next_event().await? {
            return Ok(done.progress.fetch.bytes);
        }
    }
}

/// Forty leaves of 256 KiB, each with bytes of its own.
fn content() -> Vec<u8> {
    (0..40u8).flat_map(|leaf| std::iter::repeat_n(leaf, 256 * 1024)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_source_makes_up_for_a_liar() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), content()).unwrap();
    let sharer = start(dir.path(), "sharer").await;
    let options = AddOptions { profile: peerage_content::Profile::UNIXFS_V0_2015, ..AddOptions::default() };
    let share = sharer.share(vec![dir.path().join("file")], options, false, |_| {}).await.unwrap();
    let root = share.roots()[0].cid;
    let liar = Liar::start(sharer.store().clone());
    let getter = start(dir.path(), "getter").await;
    let hints = vec![liar, sharer.listen_addrs()[0].clone()];
    let dest = dir.path().join("out");
    let bytes = fetch(&getter, root, hints, dest.clone()).await.unwrap();
    assert_eq!(bytes, content().len() as u64);
    assert!(std::fs::read(dest).unwrap() == content());
    getter.shutdown().await;
    sharer.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_liar_alone_gives_nothing_a_name() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), content()).unwrap();
    let sharer = start(dir.path(), "sharer").await;
    let options = AddOptions { profile: peerage_content::Profile::UNIXFS_V0_2015, ..AddOptions::default() };
    let share = sharer.share(vec![dir.path().join("file")], options, false, |_| {}).await.unwrap();
    let root = share.roots()[0].cid;
    let liar = Liar::start(sharer.store().clone());
    let liar_id = liar.peer_id().unwrap();
    let getter = start(dir.path(), "getter").await;
    let dest = dir.path().join("out");
    match fetch(&getter, root, vec![liar], dest.clone()).await {
        Err(GetError::Job(JobError::Unverified(liars))) => assert_eq!(liars, [liar_id]),
        other => panic!("{other:?}"),
    }
    assert!(!dest.exists(), "no partial file takes the name of a whole one");
    getter.shutdown().await;
    sharer.shutdown().await;
}
