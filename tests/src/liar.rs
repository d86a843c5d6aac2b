//! A peer that serves a file and corrupts the first of every ten blocks that
//! it sends: what a fetch has to survive, and to tell.
//!
//! It speaks Bitswap 1.2.0 over the real transport, on loopback, and says that
//! it has everything. It is no `Peer`: that one never sends wrong bytes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use peerage_base::SharedBudget;
use peerage_content::{Cid, FileBuilder, Leaf, Prefix, Profile};
use peerage_exchange::codec::{decode, encode, encode_block_header};
use peerage_exchange::{Outgoing, Presence, Version, WantKind};
use peerage_identity::{Keypair, Multiaddr, PeerId};
use peerage_transport::{Control, Role, Stream, identify, tcp::Listener, upgrade};
use peerage_wire::frame::Assembler;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

/// One in so many blocks is corrupted.
const EVERY: usize = 10;

/// Longest message that is read, in bytes.
const MESSAGE_MAX: usize = 4 << 20;

/// Bytes that its connections may hold unread.
const BUDGET: u64 = 32 << 20;

/// It, until it is dropped.
#[derive(Debug)]
pub struct Liar {
    root: Cid,
    peer: PeerId,
    addr: Multiaddr,
    runtime: Option<Runtime>,
}

/// What its connections share.
struct Served {
    blocks: BTreeMap<Cid, Bytes>,
    sent: AtomicUsize,
}

impl Liar {
    /// Serves the file that has these bytes, as `profile` cuts it.
    ///
    /// # Errors
    /// If it cannot listen.
    pub fn start(content: &[u8], profile: &Profile) -> Result<Self> {
        let (root, blocks) = file(content, profile)?;
        let served = Arc::new(Served { blocks, sent: AtomicUsize::new(0) });
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let keypair = Keypair::generate()?;
        let peer = keypair.peer_id();
        let inside = runtime.enter();
        let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse()?)?;
        drop(inside);
        let addr = listener.bound_addr().with_peer(peer);
        runtime.spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&served).connection(socket, keypair.clone()));
            }
        });
        Ok(Self { root, peer, addr, runtime: Some(runtime) })
    }

    /// The file's CID.
    #[must_use]
    pub fn root(&self) -> Cid {
        self.root
    }

    /// Who it is.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where it can be dialled.
    #[must_use]
    pub fn addr(&self) -> &Multiaddr {
        &self.addr
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        // Waiting for its tasks is not allowed where others run.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn file(content: &[u8], profile: &Profile) -> Result<(Cid, BTreeMap<Cid, Bytes>)> {
    let (mut builder, mut blocks) = (FileBuilder::new(profile), BTreeMap::new());
    for payload in content.chunks(profile.chunker.max_len()) {
        let leaf = Leaf::new(profile, payload);
        blocks.insert(leaf.cid, [&leaf.head[..], payload, &leaf.tail[..]].concat().into());
        blocks.extend(builder.push(&leaf).into_iter().map(|node| (node.cid, node.data)));
    }
    let built = builder.finish()?;
    blocks.extend(built.blocks.into_iter().map(|node| (node.cid, node.data)));
    Ok((built.cid, blocks))
}

impl Served {
    async fn connection(self: Arc<Self>, socket: TcpStream, keypair: Keypair) -> Result<()> {
        let (config, budget) = (peerage_transport::Config::default(), SharedBudget::new(BUDGET));
        let mut made = upgrade(socket, Role::Listener, &keypair, None, config, budget).await?;
        tokio::spawn(made.driver);
        let answers = Arc::new(Mutex::new(None));
        while let Some(stream) = made.incoming.next().await {
            tokio::spawn(Arc::clone(&self).stream(stream, made.control.clone(), Arc::clone(&answers)));
        }
        Ok(())
    }

    /// Answers what comes by one stream; the answers go by another.
    async fn stream(
        self: Arc<Self>,
        mut stream: Stream,
        control: Control,
        answers: Arc<Mutex<Option<Stream>>>,
    ) -> Result<()> {
        let bitswap = Version::V1_2.protocol();
        let known = [identify::PROTOCOL, bitswap];
        let protocol = stream.accept(|name| known.into_iter().find(|known| *known == name)).await?;
        if protocol == identify::PROTOCOL {
            let info = identify::Info { protocols: vec![bitswap.to_owned()], ..identify::Info::default() };
            identify::send(&mut stream, &info).await?;
            stream.finish();
            return Ok(());
        }
        let mut frames = Assembler::new(MESSAGE_MAX);
        while let Some(mut chunk) = stream.read_chunk(64 * 1024).await? {
            while let Some(message) = frames.push(&mut chunk)? {
                for want in decode(message)?.wants {
                    let mut answers = answers.lock().await;
                    if answers.is_none() {
                        *answers = Some(control.open(bitswap).await?);
                    }
                    let out = answers.as_mut().context("it was opened above")?;
                    for chunk in self.answer(&want.cid, want.kind)? {
                        out.write_chunk(chunk).await?;
                    }
                }
            }
        }
        Ok(())
    }

    fn answer(&self, cid: &Cid, kind: WantKind) -> Result<Vec<Bytes>> {
        if kind == WantKind::Have {
            let presences = vec![(*cid, Presence::Have)];
            return Ok(vec![encode(&Outgoing { presences, ..Outgoing::default() }, Version::V1_2)]);
        }
        let mut data = self.blocks.get(cid).context("a block of another file")?.to_vec();
        if self.sent.fetch_add(1, Ordering::Relaxed).is_multiple_of(EVERY) {
            data[0] ^= 1;
        }
        let len = u32::try_from(data.len())?;
        Ok(vec![encode_block_header(&Prefix::of(cid), len, Version::V1_2), data.into()])
    }
}
