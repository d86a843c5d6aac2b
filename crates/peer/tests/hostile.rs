//! What others may send, name or do to their files: each gets an error that
//! names it, and nothing else is harmed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::time::Duration;

use bytes::Bytes;
use common::{Host, random};
use peerage_base::SharedBudget;
use peerage_content::dagpb::{self, Link, PbNode};
use peerage_content::unixfs::{Data, Kind, Metadata};
use peerage_content::{Block, Cid, Prefix, Profile, codec, hash};
use peerage_exchange::Version;
use peerage_exchange::codec::encode_blocks;
use peerage_identity::{Keypair, PeerId};
use peerage_peer::{GetError, JobError};
use peerage_store::Durability;
use peerage_transport::{Connection, Role, tcp, upgrade};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;
const BITSWAP: &str = "/ipfs/bitswap/1.2.0";

fn block(codec: u64, data: Vec<u8>) -> Block {
    Block { cid: Cid::new_v1(codec, hash::digest(hash::SHA2_256, &data).unwrap()), data: data.into() }
}

/// What someone does to a file that is shared.
type Change = fn(&std::path::Path);

/// A folder as its maker likes it.
fn folder(entries: &[(&[u8], Cid)]) -> Block {
    let data = Data::new(Kind::Directory).encode();
    let links = entries.iter().map(|(name, cid)| Link { cid: *cid, name: Some(name), tsize: Some(9) });
    block(codec::DAG_PB, dagpb::encode(&PbNode { links: links.collect(), data: Some(&data) }))
}

/// Puts blocks made by hand into the store and has them served under `root`.
async fn serve(host: &Host, root: Cid, blocks: &[Block]) {
    for block in blocks {
        host.peer.store().put_block(block.cid.hash(), &block.data).unwrap();
    }
    let set = host.peer.store().root_set_builder();
    for block in blocks {
        set.insert(block.cid.hash()).unwrap();
    }
    let root = peerage_store::Root {
        cid: root,
        kind: peerage_store::RootKind::Shared,
        path: None,
        name: String::new(),
        announce: false,
        keep: true,
        size: 0,
        tree: None,
        added: 0,
    };
    host.peer.store().add_root(&root, &set).unwrap();
    host.peer.store().commit(Durability::Buffered).unwrap();
    std::mem::forget(host.peer.serve_kept());
}

/// Whether a whole fetch from `host` still works.
async fn assert_serves(host: &Host) {
    let getter = Host::start().await;
    fs::write(host.path("proof"), b"proof").unwrap();
    let share = host.share("proof").await;
    getter.get(share.roots()[0].cid, "proof", &[host.addr()]).await.unwrap();
    assert_eq!(fs::read(getter.path("proof")).unwrap(), b"proof");
}

fn raw(host: &Host) -> std::net::TcpStream {
    std::net::TcpStream::connect(host.addr().to_tcp_addr().unwrap()).unwrap()
}

/// A connection with `host` by someone who speaks as he likes.
async fn stranger(host: &Host) -> (Connection<TcpStream>, PeerId) {
    let keypair = Keypair::generate().unwrap();
    let socket = tcp::dial(&host.addr()).await.unwrap();
    let (config, budget) = (peerage_transport::Config::default(), SharedBudget::new(32 << 20));
    let made = upgrade(socket, Role::Dialer, &keypair, Some(host.peer.id()), config, budget).await.unwrap();
    (made, keypair.peer_id())
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_and_silence_instead_of_a_handshake_end_alone() {
    let limit = Duration::from_millis(300);
    let host = Host::with(|config| config.transport.handshake_timeout = limit).await;
    let (mut garbage, mut half) = (raw(&host), raw(&host));
    garbage.write_all(&random(4096, 1)).unwrap();
    half.write_all(b"\x13/multistream").unwrap();
    assert_serves(&host).await;
    // Both are hung up on; what came before that does not matter.
    let ended = tokio::task::spawn_blocking(move || {
        let mut rest = Vec::new();
        drop(garbage.read_to_end(&mut rest));
        drop(half.read_to_end(&mut rest));
    });
    ended.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_answers_as_another_peer_is_named() {
    let (host, getter) = (Host::start().await, Host::start().await);
    fs::write(host.path("file"), b"x").unwrap();
    let root = host.share("file").await.roots()[0].cid;
    let other = Keypair::generate().unwrap().peer_id();
    let addr = host.addr().without_peer().with_peer(other);
    let error = getter.get(root, "copy", std::slice::from_ref(&addr)).await.unwrap_err();
    let GetError::Job(JobError::NotFound(found)) = error else { panic!("{error}") };
    assert_eq!(found.unreachable.len(), 1);
    assert_eq!(found.unreachable[0].0.without_peer(), addr.without_peer());
    assert!(!found.unreachable[0].1.is_empty());
    assert!(!getter.path("copy").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_message_costs_its_stream() {
    let host = Host::start().await;
    let (made, _) = stranger(&host).await;
    let driver = tokio::spawn(made.driver);
    let mut stream = made.control.open(BITSWAP).await.unwrap();
    // 16 MiB, as a varint.
    stream.write_chunk(Bytes::from_static(&[0x80, 0x80, 0x80, 0x08])).await.unwrap();
    let read = async {
        loop {
            match stream.read_chunk(1024).await {
                Ok(Some(_)) => {}
                // The host ends its own side of such streams at once.
                Ok(None) => match stream.write_chunk(Bytes::from(vec![0; MIB])).await {
                    Ok(()) => {}
                    Err(error) => return error,
                },
                Err(error) => return error,
            }
        }
    };
    read.await;
    assert!(made.control.end().is_none(), "the connection goes on");
    assert_serves(&host).await;
    drop(made.control);
    driver.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_stall_half_sent_take_nothing_from_others() {
    const PIECE: usize = 64 * 1024;
    let getter = Host::with(|config| {
        config.limits.inbound = 4 << 20;
        config.limits.message_grace = Duration::from_secs(3600);
    });
    let (host, getter) = (Host::start().await, getter.await);
    let (made, _) = stranger(&getter).await;
    let driver = tokio::spawn(made.driver);
    // Opened now: a busy getter refuses one more while so many are negotiated.
    let mut ping = made.control.open(peerage_transport::ping::PROTOCOL).await.unwrap();
    peerage_transport::ping::ping(&mut ping).await.unwrap();
    let mut stalled = Vec::new();
    for _ in 0..70 {
        let mut stream = made.control.open(BITSWAP).await.unwrap();
        // 64 KiB as a varint, and a byte less than that.
        let message = [&[0x80, 0x80, 0x04][..], &vec![0; PIECE - 1]].concat();
        // Some are reset, perhaps before all of it is written.
        drop(stream.write_chunk(message.into()).await);
        stalled.push(stream);
    }
    for stream in &mut stalled {
        drop(stream.drained().await);
    }
    peerage_transport::ping::ping(&mut ping).await.unwrap();
    // Everything has arrived, and the budget is full or nearly so.
    let data = random(6 * MIB, 3);
    fs::write(host.path("file"), &data).unwrap();
    let share = host.share("file").await;
    let from = [host.addr()];
    let get = getter.get(share.roots()[0].cid, "copy", &from);
    tokio::time::timeout(Duration::from_secs(240), get).await.unwrap().unwrap();
    assert!(fs::read(getter.path("copy")).unwrap() == data);
    drop(stalled);
    driver.abort();
}

/// Sends blocks, each in a message of its own, and waits for the end of the
/// connection. Says what it speaks, and whether it has said all of it.
async fn send_until_closed(host: &Host, blocks: impl IntoIterator<Item = Vec<u8>>, says_all: bool) {
    let (made, _) = stranger(host).await;
    let driver = tokio::spawn(made.driver);
    // It has to be known as a peer that speaks Bitswap.
    let mut incoming = made.incoming;
    let identify = tokio::spawn(async move {
        let mut unfinished = Vec::new();
        while let Some(mut stream) = incoming.next().await {
            let known = |name: &str| (name == peerage_transport::identify::PROTOCOL).then_some(());
            if stream.accept(known).await.is_ok() {
                let info = peerage_transport::identify::Info {
                    protocols: vec![BITSWAP.to_owned()],
                    ..peerage_transport::identify::Info::default()
                };
                if says_all {
                    drop(peerage_transport::identify::send(&mut stream, &info).await);
                } else {
                    drop(stream.write_chunk(peerage_transport::identify::encode(&info)).await);
                    unfinished.push(stream);
                }
            }
        }
    });
    let mut stream = made.control.open(BITSWAP).await.unwrap();
    'sending: for data in blocks {
        let cid = block(codec::RAW, data.clone()).cid;
        let message = encode_blocks(&[(Prefix::of(&cid), data.into())], Version::V1_2);
        while stream.write_chunk(message.clone()).await.is_err() {
            // A busy host resets a stream of which too much is unread; the connection goes on.
            let Ok(again) = made.control.open(BITSWAP).await else { break 'sending };
            stream = again;
        }
    }
    made.control.ended().await;
    drop(driver.await);
    drop(identify.await);
}

/// A host that does not put down to an earlier process what nobody asked for.
async fn unforgiving() -> Host {
    Host::with(|config| config.engine.left_over = Duration::ZERO).await
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_nobody_asked_for_end_the_connection() {
    let host = unforgiving().await;
    send_until_closed(&host, (0..3).map(|seed| random(1000, seed)), true).await;
    assert_serves(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_peer_said_of_itself_counts_though_it_does_not_end_there() {
    let host = Host::with(|config| config.limits.answer_timeout = Duration::from_millis(200)).await;
    // As one that is not known to speak Bitswap it could send them for ever.
    let blocks = (0..).map(|seed| random(1000, seed));
    // Only against a test that never ends: a busy machine takes its time.
    let guard = Duration::from_secs(300);
    tokio::time::timeout(guard, send_until_closed(&host, blocks, false)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_and_not_served_is_no_different_from_what_is_not_here() {
    let host = unforgiving().await;
    let held: Vec<_> = (0..3).map(|seed| random(1000, seed)).collect();
    for data in &held {
        let block = block(codec::RAW, data.clone());
        host.peer.store().put_block(block.cid.hash(), &block.data).unwrap();
    }
    send_until_closed(&host, held, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_held_and_not_shared_is_not_served() {
    let (host, getter) = (Host::start().await, Host::start().await);
    let secret = block(codec::RAW, b"secret".to_vec());
    host.peer.store().put_block(secret.cid.hash(), &secret.data).unwrap();
    let absent = block(codec::RAW, b"absent".to_vec());
    let mut said = Vec::new();
    for root in [secret.cid, absent.cid] {
        let error = getter.get(root, "copy", &[host.addr()]).await.unwrap_err();
        let GetError::Job(JobError::NotFound(found)) = error else { panic!("{error}") };
        said.push(found);
    }
    assert_eq!(said[0], said[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_lead_out_or_confuse_are_errors() {
    let (host, getter) = (Host::start().await, Host::start().await);
    let file = block(codec::RAW, b"evil".to_vec());
    let names: [&[u8]; 8] =
        [b"..", b".", b"a/../../b", b"/etc/x", b"a\0b", b"\x1b[2Jx", b"a\nb", b"\xff\xfe"];
    for (nth, name) in names.into_iter().enumerate() {
        let root = folder(&[(name, file.cid)]);
        serve(&host, root.cid, &[root.clone(), file.clone()]).await;
        let copy = format!("copy{nth}");
        let error = getter.get(root.cid, &copy, &[host.addr()]).await.unwrap_err();
        assert!(
            matches!(&error, GetError::Job(JobError::Name { .. } | JobError::Malformed { .. })),
            "{error}"
        );
        assert!(!error.to_string().contains(char::is_control), "{error:?}");
        assert!(!getter.path(&copy).exists());
    }
    assert!(!getter.path("b").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_entries_of_one_name_are_an_error() {
    let (host, getter) = (Host::start().await, Host::start().await);
    let (one, two) = (block(codec::RAW, b"one".to_vec()), block(codec::RAW, b"two".to_vec()));
    let root = folder(&[(b"same", one.cid), (b"same", two.cid)]);
    serve(&host, root.cid, &[root.clone(), one, two]).await;
    getter.get(root.cid, "copy", &[host.addr()]).await.unwrap_err();
    assert!(!getter.path("copy").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symlink_and_an_entry_of_its_name_never_write_through_it() {
    let (host, getter) = (Host::start().await, Host::start().await);
    let outside = getter.path("outside");
    fs::create_dir(&outside).unwrap();
    let link = peerage_content::symlink(&Profile::default(), b"../outside", Metadata::default()).unwrap();
    let file = block(codec::RAW, b"evil".to_vec());
    let inner = folder(&[(b"file", file.cid)]);
    let root = folder(&[(b"a", link.cid), (b"a", inner.cid)]);
    serve(&host, root.cid, &[root.clone(), inner, file, link.clone()]).await;
    drop(getter.get(root.cid, "copy", &[host.addr()]).await);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);

    // Alone it is left out, and told.
    let root = folder(&[(b"a", link.cid)]);
    serve(&host, root.cid, &[root.clone(), link]).await;
    let done = getter.get(root.cid, "copy", &[host.addr()]).await.unwrap();
    assert_eq!(done.unsafe_links, [getter.path("copy/a")]);
    assert!(getter.path("copy/a").symlink_metadata().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_file_that_is_not_what_it_was_is_not_served() {
    let changes: [(&str, Change); 4] = [
        ("changed", |file| fs::write(file, random(3 * MIB, 8)).unwrap()),
        ("shrunk", |file| fs::write(file, &random(3 * MIB, 7)[..MIB + 1]).unwrap()),
        ("moved", |file| fs::rename(file, file.with_extension("away")).unwrap()),
        ("symlink", |file| {
            fs::rename(file, file.with_extension("away")).unwrap();
            symlink(file.with_extension("away"), file).unwrap();
        }),
    ];
    let cases = changes.map(|(what, change)| tokio::spawn(is_not_served(what, change)));
    for case in cases {
        case.await.unwrap();
    }
}

async fn is_not_served(what: &str, change: Change) {
    // The sharer says that it has the root, so it counts as a source that was lost.
    let soon = Duration::from_secs(1);
    let getter = Host::with(|config| config.engine.search_after_loss = soon).await;
    let host = Host::start().await;
    fs::write(host.path("file"), random(3 * MIB, 7)).unwrap();
    let share = host.share("file").await;
    change(&host.path("file"));
    let error = getter.get(share.roots()[0].cid, "copy", &[host.addr()]).await.unwrap_err();
    assert!(matches!(&error, GetError::Job(JobError::NotFound(_))), "{what}: {error}");
    assert!(!getter.path("copy").exists(), "{what}");
    assert!(!host.peer.notices(&mut host.peer.begin_to_hear()).is_empty(), "{what}: the sharer is told");
}
