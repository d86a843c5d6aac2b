//! What is sent to a peer that asks, as the peer sees it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[expect(dead_code, reason = "here nobody gets, but by hand")]
mod common;

use std::fs;

use common::{Host, random};
use peerage_base::SharedBudget;
use peerage_content::{Chunker, Cid, Profile, codec, hash};
use peerage_exchange::codec::{decode, encode};
use peerage_exchange::{Outgoing, Version, WantEntry, WantKind};
use peerage_identity::Keypair;
use peerage_transport::yamux::GoAwayCode;
use peerage_transport::{Connection, Control, Incoming, Role, Stream, identify, tcp, upgrade};
use peerage_wire::frame::Assembler;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const MIB: usize = 1 << 20;
const BITSWAP: &str = "/ipfs/bitswap/1.2.0";

async fn connect(host: &Host, keypair: &Keypair) -> Connection<TcpStream> {
    let socket = tcp::dial(&host.addr()).await.unwrap();
    let (config, budget) = (peerage_transport::Config::default(), SharedBudget::new(32 << 20));
    upgrade(socket, Role::Dialer, keypair, Some(host.peer.id()), config, budget).await.unwrap()
}

/// Answers identify as one who speaks Bitswap. Streams of Bitswap are handed
/// on, or reset if nobody takes them.
fn introduce(mut incoming: Incoming, bitswap: mpsc::UnboundedSender<Stream>) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Some(mut stream) = incoming.next().await {
            let known = [identify::PROTOCOL, BITSWAP];
            match stream.accept(|name| known.into_iter().find(|known| *known == name)).await {
                Ok(identify::PROTOCOL) => {
                    let protocols = vec![BITSWAP.to_owned()];
                    let info = identify::Info { protocols, ..identify::Info::default() };
                    drop(identify::send(&mut stream, &info).await);
                    stream.finish();
                }
                Ok(_) => drop(bitswap.send(stream)),
                Err(_) => {}
            }
        }
    })
}

/// Waits until the host knows that its peer speaks Bitswap, by so many connections.
async fn known(host: &Host, connections: usize) {
    let is = |peer: &peerage_peer::PeerInfo| peer.stats.is_some() && peer.addrs.len() == connections;
    while !host.peer.peers().await.first().is_some_and(is) {
        tokio::task::yield_now().await;
    }
}

/// Asks for blocks in one message.
async fn ask(control: &Control, wants: impl Iterator<Item = Cid>) {
    let want = |cid| WantEntry { cid, priority: 1, kind: WantKind::Block, send_dont_have: true };
    let message = Outgoing { wants: wants.map(want).collect(), ..Outgoing::default() };
    let mut stream = control.open(BITSWAP).await.unwrap();
    stream.write_chunk(encode(&message, Version::V1_2)).await.unwrap();
    stream.finish();
}

/// Everything that comes on streams of Bitswap, `first` among them.
fn hear(
    first: Option<Stream>,
    mut streams: mpsc::UnboundedReceiver<Stream>,
) -> mpsc::UnboundedReceiver<peerage_exchange::Incoming> {
    let (heard, messages) = mpsc::unbounded_channel();
    let read = move |mut stream: Stream| {
        let heard = heard.clone();
        tokio::spawn(async move {
            let mut frames = Assembler::new(4 << 20);
            while let Ok(Some(mut chunk)) = stream.read_chunk(64 * 1024).await {
                while let Some(message) = frames.push(&mut chunk).unwrap() {
                    drop(heard.send(decode(message).unwrap()));
                }
            }
        })
    };
    first.map(&read);
    tokio::spawn(async move {
        while let Some(stream) = streams.recv().await {
            read(stream);
        }
    });
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_no_more_is_not_sent_to_who_asked_before() {
    let host = Host::start().await;
    let profile = Profile { chunker: Chunker::Size(MIB), ..Profile::default() };
    fs::write(host.path("file"), random(12 * MIB, 3)).unwrap();
    let share = host.share("file").await;
    let leaves = random(12 * MIB, 3)
        .chunks(profile.chunker.max_len())
        .map(|leaf| Cid::new_v1(codec::RAW, hash::digest(hash::SHA2_256, leaf).unwrap()))
        .collect::<Vec<_>>();
    let made = connect(&host, &Keypair::generate().unwrap()).await;
    tokio::spawn(made.driver);
    let (bitswap, mut streams) = mpsc::unbounded_channel();
    introduce(made.incoming, bitswap);
    known(&host, 1).await;
    ask(&made.control, leaves.iter().copied()).await;
    // The first stream is there and not read: some blocks are on their way,
    // the others wait for those.
    let first = streams.recv().await.unwrap();
    drop(share);
    let mut messages = hear(Some(first), streams);
    let (mut blocks, mut denied) = (0, 0);
    while blocks + denied < leaves.len() {
        let message = messages.recv().await.unwrap();
        blocks += message.blocks.len();
        denied += message.presences.len();
    }
    assert!(blocks < leaves.len() && denied > 0, "{blocks} sent, {denied} denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_leaves_the_second() {
    let host = Host::start().await;
    fs::write(host.path("file"), random(4 * MIB, 1)).unwrap();
    let share = host.share("file").await;
    let root = share.roots()[0].cid;
    let leaf = Cid::new_v1(codec::RAW, hash::digest(hash::SHA2_256, &random(4 * MIB, 1)[..MIB]).unwrap());
    let keypair = Keypair::generate().unwrap();
    // The writers are on the first.
    let first = connect(&host, &keypair).await;
    tokio::spawn(first.driver);
    let (bitswap, mut unread) = mpsc::unbounded_channel();
    introduce(first.incoming, bitswap);
    known(&host, 1).await;
    ask(&first.control, std::iter::once(leaf)).await;
    let _unread = unread.recv().await.unwrap();
    let second = connect(&host, &keypair).await;
    tokio::spawn(second.driver);
    let (bitswap, streams) = mpsc::unbounded_channel();
    introduce(second.incoming, bitswap);
    known(&host, 2).await;
    // It ends in the middle of a block.
    first.control.close(GoAwayCode::NORMAL);
    known(&host, 1).await;
    ask(&second.control, std::iter::once(root)).await;
    let mut messages = hear(None, streams);
    let mut blocks = Vec::new();
    while blocks.is_empty() {
        blocks = messages.recv().await.unwrap().blocks;
    }
    assert!(hash::verify(&root, &blocks[0].1).is_ok());
    assert!(second.control.end().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_want_is_answered_before_identify_is() {
    let host = Host::start().await;
    fs::write(host.path("file"), random(MIB, 1)).unwrap();
    let share = host.share("file").await;
    let made = connect(&host, &Keypair::generate().unwrap()).await;
    tokio::spawn(made.driver);
    let (bitswap, streams) = mpsc::unbounded_channel();
    let mut incoming = made.incoming;
    tokio::spawn(async move {
        let mut unanswered = Vec::new();
        while let Some(mut stream) = incoming.next().await {
            match stream
                .accept(|name| [BITSWAP, identify::PROTOCOL].into_iter().find(|known| *known == name))
                .await
            {
                Ok(BITSWAP) => drop(bitswap.send(stream)),
                _ => unanswered.push(stream),
            }
        }
    });
    ask(&made.control, std::iter::once(share.roots()[0].cid)).await;
    let message = hear(None, streams).recv().await.unwrap();
    assert_eq!(message.blocks[0].1, random(MIB, 1));
}
