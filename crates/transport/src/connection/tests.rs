//! A connection over an in-memory pipe: streams, negotiation, hostile peers, the end.

use std::time::Duration;

use bytes::Bytes;
use peerage_base::SharedBudget;
use peerage_identity::Keypair;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::*;
use crate::Config;
use crate::multistream::{self, NegotiateError};
use crate::noise::{self, NoiseError};
use crate::yamux::{self, GoAwayCode, ResetCode, StreamClass};

const ECHO: &str = "/echo/1";

pub(crate) fn keypair(seed: u8) -> Keypair {
    Keypair::from_seed([seed; 32])
}

pub(crate) struct Side {
    pub(crate) control: Control,
    pub(crate) incoming: Incoming,
    pub(crate) driver: JoinHandle<ConnectionEnd>,
    pub(crate) budget: SharedBudget,
}

fn start(connection: Connection<DuplexStream>, budget: SharedBudget) -> Side {
    let driver = tokio::spawn(connection.driver);
    Side { control: connection.control, incoming: connection.incoming, driver, budget }
}

/// Two sides of a connection over a pipe that holds `pipe` bytes.
pub(crate) async fn pair_with(pipe: usize, config: Config, budget: u64) -> (Side, Side) {
    let (a, b) = duplex(pipe);
    let (budget_a, budget_b) = (SharedBudget::new(budget), SharedBudget::new(budget));
    let (key_a, key_b) = (keypair(1), keypair(2));
    let (a, b) = tokio::join!(
        upgrade(a, Role::Dialer, &key_a, Some(key_b.peer_id()), config.clone(), budget_a.clone()),
        upgrade(b, Role::Listener, &key_b, None, config.clone(), budget_b.clone()),
    );
    let (a, b) = (a.unwrap(), b.unwrap());
    assert_eq!((a.peer, b.peer), (key_b.peer_id(), key_a.peer_id()));
    assert_eq!(a.public_key, key_b.public());
    (start(a, budget_a), start(b, budget_b))
}

pub(crate) async fn pair() -> (Side, Side) {
    pair_with(64 * 1024, Config::default(), 32 << 20).await
}

/// Accepts streams for ever and echoes on each of them.
fn serve_echo(mut incoming: Incoming) -> JoinHandle<usize> {
    tokio::spawn(async move {
        let mut served = 0;
        while let Some(mut stream) = incoming.next().await {
            served += 1;
            tokio::spawn(async move {
                stream.accept(|name| (name == ECHO).then_some(())).await?;
                stream.classify(StreamClass::Ordinary).unwrap();
                while let Some(chunk) = stream.read_chunk(usize::MAX).await.unwrap() {
                    stream.write_chunk(chunk).await.unwrap();
                }
                stream.finish();
                Ok::<_, NegotiateError>(())
            });
        }
        served
    })
}

fn pattern(len: usize) -> Bytes {
    (0..len).map(|i| u8::try_from(i * i % 251).unwrap()).collect()
}

async fn echo(control: &Control, data: Bytes) {
    let mut stream = control.open(ECHO).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream_of(&mut stream));
    let (sent, received) = tokio::join!(
        async {
            writer.write_all(&data).await?;
            writer.shutdown().await
        },
        async {
            let mut out = Vec::new();
            reader.read_to_end(&mut out).await.map(|_| out)
        }
    );
    sent.unwrap();
    assert!(received.unwrap() == data, "the echo differs");
}

fn stream_of(stream: &mut Stream) -> &mut Stream {
    stream
}

#[tokio::test(start_paused = true)]
async fn echoes_through_pipes_of_any_size() {
    for pipe in [1, 100, 5000, 1 << 20] {
        let (a, b) = pair_with(pipe, Config::default(), 32 << 20).await;
        let served = serve_echo(b.incoming);
        for len in [0, 1, 70_000] {
            echo(&a.control, pattern(len)).await;
        }
        a.control.close(GoAwayCode::NORMAL);
        assert!(matches!(a.driver.await.unwrap(), ConnectionEnd::Closed));
        assert!(matches!(b.driver.await.unwrap(), ConnectionEnd::ClosedByPeer(GoAwayCode::NORMAL)));
        assert_eq!(served.await.unwrap(), 3);
        assert_eq!(b.control.stream_count(), 0);
        drop((a.control, b.control));
        assert_eq!((a.budget.used(), b.budget.used()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn both_sides_open_many_streams_at_once() {
    let (a, b) = pair().await;
    let (served_a, served_b) = (serve_echo(a.incoming), serve_echo(b.incoming));
    let mut tasks = Vec::new();
    for round in 0..40 {
        for control in [&a.control, &b.control] {
            let control = control.clone();
            tasks.push(tokio::spawn(async move { echo(&control, pattern(round * 2000)).await }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    a.control.close(GoAwayCode::NORMAL);
    b.driver.await.unwrap();
    a.driver.await.unwrap();
    assert_eq!((served_a.await.unwrap(), served_b.await.unwrap()), (40, 40));
}

#[tokio::test(start_paused = true)]
async fn a_large_transfer_arrives_whole() {
    const CHUNKS: usize = 300;
    let (a, mut b) = pair_with(300_000, Config::default(), 32 << 20).await;
    let chunk = pattern(100_003);
    let mut want = Sha256::new();
    (0..CHUNKS).for_each(|_| want.update(&chunk));
    let sender = tokio::spawn(async move {
        let mut stream = a.control.open(ECHO).await.unwrap();
        for _ in 0..CHUNKS {
            stream.write_chunk(chunk.clone()).await.unwrap();
        }
        stream.finish();
        // Half-closed: the answer still comes.
        stream.read_chunk(100).await.unwrap().unwrap()
    });
    let mut stream = b.incoming.next().await.unwrap();
    stream.accept(|name| Some(name.to_owned())).await.unwrap();
    let mut got = Sha256::new();
    while let Some(chunk) = stream.read_chunk(usize::MAX).await.unwrap() {
        got.update(&chunk);
    }
    assert_eq!(got.finalize(), want.finalize());
    stream.write_chunk(Bytes::from_static(b"all of it")).await.unwrap();
    stream.finish();
    assert_eq!(sender.await.unwrap(), "all of it");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_the_writer_back() {
    let (a, mut b) = pair().await;
    let mut out = a.control.open_bare().await.unwrap();
    let mut written = 0usize;
    // With nobody reading, writing comes to a halt.
    while let Ok(result) =
        tokio::time::timeout(Duration::from_secs(1), out.write_chunk(pattern(10_000))).await
    {
        result.unwrap();
        written += 10_000;
        assert!(written < 2 << 20, "nothing held the writer back");
    }
    assert!(written >= 256 * 1024);
    assert!(b.control.unread_bytes() <= 256 * 1024);
    assert_eq!(b.control.unread_bytes(), b.budget.used().max(b.control.unread_bytes()));
    // The connection itself is alive all the while.
    let served = serve_echo(a.incoming);
    echo(&b.control, pattern(50_000)).await;
    let mut stream = b.incoming.next().await.unwrap();
    out.finish();
    let mut read = 0;
    while let Some(chunk) = stream.read_chunk(7000).await.unwrap() {
        assert!(chunk.len() <= 7000);
        read += chunk.len();
    }
    assert!(read >= written);
    drop(b.control);
    b.driver.abort();
    a.driver.await.unwrap();
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn resets_reach_the_other_side_and_dropping_resets() {
    let (a, mut b) = pair().await;
    for explicit in [true, false] {
        let mut stream = a.control.open_bare().await.unwrap();
        stream.write_chunk(Bytes::from_static(b"x")).await.unwrap();
        let mut far = b.incoming.next().await.unwrap();
        assert_eq!(far.read_chunk(9).await.unwrap().unwrap(), "x");
        if explicit {
            stream.reset(ResetCode::PROTOCOL_VIOLATION);
        } else {
            drop(stream);
        }
        let error = far.read_chunk(9).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert!(error.to_string().contains(if explicit { "0x1004" } else { "0x0" }), "{error}");
        let error = far.write_chunk(Bytes::from_static(b"y")).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
    assert_eq!(a.control.stream_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_finished_stream_may_be_dropped() {
    let (a, mut b) = pair().await;
    let mut stream = a.control.open(ECHO).await.unwrap();
    stream.write_chunk(pattern(200_000)).await.unwrap();
    stream.finish();
    assert_eq!(stream.write_chunk(pattern(1)).await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    drop(stream);
    let mut far = b.incoming.next().await.unwrap();
    far.accept(|_| Some(())).await.unwrap();
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    assert!(all == pattern(200_000));
    far.write_chunk(Bytes::from_static(b"never read")).await.unwrap();
    far.finish();
    drop(far);
    while a.control.stream_count() + b.control.stream_count() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_found_by_the_first_read() {
    let (a, b) = pair().await;
    let _served = serve_echo(b.incoming);
    let mut stream = a.control.open("/unknown").await.unwrap();
    stream.write_chunk(Bytes::from_static(b"payload")).await.unwrap();
    let error = stream.read_chunk(10).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::Unsupported, "{error}");
    let (_stream, index) = a.control.open_any(&["/unknown", "/unheard", ECHO]).await.unwrap();
    assert_eq!(index, 2);
    let error = a.control.open_any(&["/unknown"]).await.unwrap_err();
    assert!(matches!(error, OpenError::Negotiate(NegotiateError::Refused)));
}

#[tokio::test(start_paused = true)]
async fn an_echo_that_never_comes_times_out() {
    let (a, mut b) = pair().await;
    let mut stream = a.control.open(ECHO).await.unwrap();
    let _far = b.incoming.next().await.unwrap();
    let start = tokio::time::Instant::now();
    assert_eq!(stream.negotiated().await.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), Config::default().negotiation_timeout);
}

#[tokio::test(start_paused = true)]
async fn tls_gets_na_and_noise_follows() {
    let (mut a, b) = duplex(4096);
    let budget = SharedBudget::new(1 << 20);
    let (key_a, key_b) = (keypair(1), keypair(2));
    let (secured, listener) = tokio::join!(
        async {
            let limit = Duration::from_secs(5);
            let index = multistream::dial(&mut a, &["/tls/1.0.0", "/noise"], limit).await.unwrap();
            assert_eq!(index, 1);
            // As rust-libp2p: no muxers in the handshake, so multistream follows.
            let secured = noise::handshake(&mut a, Role::Dialer, &key_a, None, &[]).await.unwrap();
            assert_eq!(secured.muxer, None);
            let mut channel = noise::SecureChannel::new(a, secured.sealer, secured.opener);
            let muxers = ["/mplex/6.7.0", "/yamux/1.0.0"];
            assert_eq!(multistream::dial(&mut channel, &muxers, limit).await.unwrap(), 1);
            secured.peer
        },
        upgrade(b, Role::Listener, &key_b, None, Config::default(), budget),
    );
    assert_eq!((secured, listener.unwrap().peer), (key_b.peer_id(), key_a.peer_id()));
}

async fn upgrade_against(bytes: &[u8], role: Role, close: bool) -> UpgradeError {
    let (mut a, b) = duplex(1 << 16);
    a.write_all(bytes).await.unwrap();
    if close {
        a.shutdown().await.unwrap();
    }
    upgrade(b, role, &keypair(1), None, Config::default(), SharedBudget::new(1 << 20)).await.unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn garbage_and_silence_instead_of_a_handshake() {
    let hello = multistream::proposal("/noise");
    let half: Vec<u8> = hello.iter().copied().chain([0, 32, 1, 2, 3]).collect();
    let noise: Vec<u8> = hello.iter().copied().chain([0, 96]).chain([7; 96]).collect();
    for role in [Role::Dialer, Role::Listener] {
        let error = upgrade_against(&[b'x'; 5000], role, false).await;
        assert!(matches!(error, UpgradeError::Security(_)), "{error}");
        let start = tokio::time::Instant::now();
        for silent in [&b""[..], &hello[..10], &half] {
            let error = upgrade_against(silent, role, false).await;
            assert!(
                matches!(
                    error,
                    UpgradeError::Timeout(_) | UpgradeError::Security(NegotiateError::Timeout(_))
                ),
                "{error}"
            );
            let error = upgrade_against(silent, role, true).await;
            let cut = matches!(
                error,
                UpgradeError::Security(NegotiateError::Io(_)) | UpgradeError::Noise(NoiseError::Io(_))
            );
            assert!(cut, "{error}");
        }
        assert_eq!(start.elapsed(), Duration::from_secs(45));
    }
    let error = upgrade_against(&noise, Role::Dialer, true).await;
    assert!(matches!(error, UpgradeError::Noise(NoiseError::Malformed)), "{error}");
}

/// A peer that has secured the connection and then does what it likes.
async fn hostile(config: Config) -> (Side, noise::SecureChannel<DuplexStream>) {
    let (a, mut b) = duplex(1 << 20);
    let budget = SharedBudget::new(1 << 20);
    let (key_a, key_b) = (keypair(1), keypair(2));
    let (a, secured) = tokio::join!(upgrade(a, Role::Dialer, &key_a, None, config, budget.clone()), async {
        multistream::listen(&mut b, |name| (name == "/noise").then_some(()), Duration::from_secs(5))
            .await
            .unwrap();
        noise::handshake(&mut b, Role::Listener, &key_b, None, &["/yamux/1.0.0"]).await.unwrap()
    });
    (start(a.unwrap(), budget), noise::SecureChannel::new(b, secured.sealer, secured.opener))
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_breaks_yamux_is_told_and_left() {
    let (a, mut peer) = hostile(Config::default()).await;
    let mut stream = a.control.open_bare().await.unwrap();
    peer.write_all(&[9; 12]).await.unwrap();
    peer.flush().await.unwrap();
    assert!(stream.read_chunk(1).await.is_err());
    let end = a.driver.await.unwrap();
    assert!(matches!(end, ConnectionEnd::Yamux(_)), "{end}");
    let mut said = Vec::new();
    let _ = peer.read_to_end(&mut said).await;
    assert!(hex::encode(said).ends_with("000300000000000000000001"));
    let error = a.control.open_bare().await.unwrap_err();
    assert!(matches!(error, OpenError::Ended(ConnectionEnd::Yamux(_))));
}

#[tokio::test(start_paused = true)]
async fn a_forged_frame_ends_the_connection() {
    let (a, peer) = hostile(Config::default()).await;
    let (mut io, ..) = peer.into_parts();
    io.write_all(&[0, 20]).await.unwrap();
    io.write_all(&[1; 20]).await.unwrap();
    let end = a.control.ended().await;
    assert!(matches!(end, ConnectionEnd::Noise(_)), "{end}");
    assert!(a.driver.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_noticed() {
    let (a, _peer) = hostile(Config::default()).await;
    let start = tokio::time::Instant::now();
    let end = a.driver.await.unwrap();
    assert!(matches!(end, ConnectionEnd::Silent), "{end}");
    assert!(start.elapsed() < Duration::from_secs(120));
}

#[tokio::test(start_paused = true)]
async fn what_arrived_before_the_end_can_be_read() {
    let (a, mut b) = pair().await;
    let mut stream = a.control.open_bare().await.unwrap();
    stream.write_chunk(pattern(5000)).await.unwrap();
    stream.finish();
    let mut far = b.incoming.next().await.unwrap();
    a.control.close(GoAwayCode::SHUTDOWN);
    a.driver.await.unwrap();
    b.driver.await.unwrap();
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    assert!(all == pattern(5000));
    assert_eq!(far.write_chunk(pattern(1)).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    assert!(b.incoming.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_a_peer_that_does_not_read() {
    let (a, _peer) = {
        let (a, mut b) = duplex(600);
        let budget = SharedBudget::new(1 << 20);
        let (key_a, key_b) = (keypair(1), keypair(2));
        let (a, _) =
            tokio::join!(upgrade(a, Role::Dialer, &key_a, None, Config::default(), budget.clone()), async {
                multistream::listen(&mut b, |_| Some(()), Duration::from_secs(5)).await.unwrap();
                noise::handshake(&mut b, Role::Listener, &key_b, None, &["/yamux/1.0.0"]).await.unwrap()
            });
        (start(a.unwrap(), budget), b)
    };
    let mut stream = a.control.open_bare().await.unwrap();
    stream.write_chunk(pattern(100_000)).await.unwrap();
    tokio::task::yield_now().await;
    let start = tokio::time::Instant::now();
    a.control.close(GoAwayCode::NORMAL);
    assert!(matches!(a.driver.await.unwrap(), ConnectionEnd::Closed));
    assert_eq!(start.elapsed(), Config::default().close_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_driver_ends_everything() {
    let (a, mut b) = pair().await;
    let mut stream = a.control.open_bare().await.unwrap();
    a.driver.abort();
    assert_eq!(stream.read_chunk(1).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionAborted);
    assert!(matches!(a.control.ended().await, ConnectionEnd::Closed));
    assert!(b.incoming.next().await.is_none());
    assert!(matches!(b.control.end(), Some(ConnectionEnd::Lost(_))));
}

#[tokio::test(start_paused = true)]
async fn ping_perf_and_identify_over_one_connection() {
    use crate::{identify, perf, ping};
    #[derive(Clone, Copy)]
    enum Speak {
        Ping,
        Perf,
        Identify,
    }
    let info = identify::Info { agent_version: Some("b/1".to_owned()), ..identify::Info::default() };
    let (a, b) = pair().await;
    let (mut incoming, said) = (b.incoming, info.clone());
    let server = tokio::spawn(async move {
        while let Some(mut stream) = incoming.next().await {
            let known = |name: &str| match name {
                ping::PROTOCOL => Some(Speak::Ping),
                perf::PROTOCOL => Some(Speak::Perf),
                identify::PROTOCOL => Some(Speak::Identify),
                _ => None,
            };
            match stream.accept(known).await.unwrap() {
                Speak::Ping => ping::serve(&mut stream).await.unwrap(),
                Speak::Perf => assert_eq!(perf::serve(&mut stream).await.unwrap(), (3_000_000, 1_000_001)),
                Speak::Identify => identify::send(&mut stream, &said).await.unwrap(),
            }
        }
    });
    let mut stream = a.control.open(ping::PROTOCOL).await.unwrap();
    for _ in 0..3 {
        assert_eq!(ping::ping(&mut stream).await.unwrap(), Duration::ZERO);
    }
    stream.finish();
    drop(stream);
    let mut stream = a.control.open(identify::PROTOCOL).await.unwrap();
    stream.finish();
    assert_eq!(identify::receive(&mut stream, identify::TIMEOUT).await.unwrap(), info);
    let mut stream = a.control.open(perf::PROTOCOL).await.unwrap();
    perf::measure(&mut stream, 3_000_000, 1_000_001).await.unwrap();
    drop(stream);
    a.control.close(GoAwayCode::NORMAL);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_ping_that_is_not_answered_well() {
    use crate::ping::{self, PingError};
    let (mut a, mut b) = duplex(100);
    assert!(matches!(ping::ping(&mut a).await, Err(PingError::Timeout)));
    let mut buf = [0; 32];
    b.read_exact(&mut buf).await.unwrap();
    b.write_all(&[0; 32]).await.unwrap();
    let error = ping::ping(&mut a).await.unwrap_err();
    assert!(matches!(error, PingError::WrongAnswer));
    // Half a ping and silence: the server gives up after a while.
    let start = tokio::time::Instant::now();
    let (mut c, mut d) = duplex(100);
    c.write_all(&[1; 10]).await.unwrap();
    ping::serve(&mut d).await.unwrap();
    assert_eq!(start.elapsed(), ping::IDLE);
}

#[tokio::test(start_paused = true)]
async fn perf_notices_another_amount() {
    use crate::perf;
    for wrong in [99, 101] {
        let (a, mut b) = pair().await;
        let server = tokio::spawn(async move {
            let mut stream = b.incoming.next().await.unwrap();
            stream.accept(|_| Some(())).await.unwrap();
            let mut request = Vec::new();
            stream.read_to_end(&mut request).await.unwrap();
            assert_eq!(request, 100u64.to_be_bytes());
            stream.write_chunk(pattern(wrong)).await.unwrap();
            stream.finish();
            b.driver.await.unwrap();
        });
        let mut stream = a.control.open(perf::PROTOCOL).await.unwrap();
        let error = perf::measure(&mut stream, 0, 100).await.unwrap_err();
        assert!(error.to_string().contains(&wrong.to_string()), "{error}");
        a.control.close(GoAwayCode::NORMAL);
        server.await.unwrap();
    }
}

/// The peer opens stream `id` and, perhaps, resets it at once.
fn opening(id: u32, resetting: bool) -> Vec<u8> {
    // Window updates with SYN (1) and RST (8).
    let flags: &[u8] = if resetting { &[1, 8] } else { &[1] };
    let frame = |&flag: &u8| [&[0, 1, 0, flag][..], &id.to_be_bytes(), &[0; 4]].concat();
    flags.iter().flat_map(frame).collect()
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_opens_and_resets_leaves_nothing_in_the_shell() {
    let (mut a, mut peer) = hostile(Config::default()).await;
    for id in (2..20_000).step_by(2) {
        peer.write_all(&opening(id, true)).await.unwrap();
    }
    peer.write_all(&opening(20_000, false)).await.unwrap();
    peer.flush().await.unwrap();
    let stream = a.incoming.next().await.unwrap();
    let held = a.control.shared.drive(|state, _| (state.streams.len(), state.accepted.len()));
    assert_eq!(held, (1, 0), "only the last one, which was not reset");
    drop(stream);
    assert_eq!(a.control.stream_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_resets_faster_than_handles_are_dropped_is_cut_off() {
    let config = Config { max_handles: 8, ..Config::default() };
    let (mut a, mut peer) = hostile(config).await;
    let mut handles = Vec::new();
    for id in (2..=16).step_by(2) {
        peer.write_all(&opening(id, false)).await.unwrap();
        peer.flush().await.unwrap();
        handles.push(a.incoming.next().await.unwrap());
        peer.write_all(&opening(id, true)[12..]).await.unwrap();
    }
    assert!(a.control.end().is_none());
    peer.write_all(&opening(18, false)).await.unwrap();
    peer.flush().await.unwrap();
    let end = a.driver.await.unwrap();
    assert!(matches!(end, ConnectionEnd::Yamux(yamux::ProtocolError::Flooded)), "{end}");
}

#[tokio::test(start_paused = true)]
async fn closing_sends_all_that_is_queued() {
    const STREAMS: usize = 24;
    let yamux = yamux::Config { unread_slack: 64 << 20, ..yamux::Config::default() };
    let (a, mut b) = pair_with(16 << 20, Config { yamux, ..Config::default() }, 64 << 20).await;
    let mut opened = Vec::new();
    for _ in 0..STREAMS {
        opened.push(a.control.open_bare().await.unwrap());
    }
    // Whole windows, queued in one go: 6 MiB.
    for stream in &mut opened {
        stream.write_chunk(pattern(256 * 1024)).await.unwrap();
        stream.finish();
    }
    a.control.close(GoAwayCode::NORMAL);
    a.driver.await.unwrap();
    b.driver.await.unwrap();
    for _ in 0..STREAMS {
        let mut all = Vec::new();
        b.incoming.next().await.unwrap().read_to_end(&mut all).await.unwrap();
        assert!(all == pattern(256 * 1024));
    }
}

#[tokio::test]
async fn the_machines_time_never_goes_back() {
    let (a, _b) = pair().await;
    let last = std::sync::Mutex::new(peerage_base::Instant::START);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    // Locked by the connection as well, so that this adds no order.
                    a.control.shared.drive(|_, now| {
                        let mut last = last.lock().unwrap();
                        assert!(*last <= now);
                        *last = now;
                    });
                }
            });
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_reset_says_who_did_it() {
    let yamux = yamux::Config { unread_slack: 1000, ..yamux::Config::default() };
    let (a, mut b) = pair_with(64 * 1024, Config { yamux, ..Config::default() }, 32 << 20).await;
    let mut stream = a.control.open_bare().await.unwrap();
    stream.write_chunk(pattern(2000)).await.unwrap();
    let who = |error: std::io::Error| *error.get_ref().unwrap().downcast_ref::<StreamReset>().unwrap();
    assert_eq!(
        who(stream.read_chunk(1).await.unwrap_err()),
        StreamReset::Peer(ResetCode::RESOURCE_LIMIT_EXCEEDED)
    );
    let mut stream = a.control.open_bare().await.unwrap();
    stream.write_chunk(pattern(1)).await.unwrap();
    let mut far = b.incoming.next().await.unwrap();
    stream.write_chunk(pattern(2000)).await.unwrap();
    // Until its own side has been told of it, too.
    assert_eq!(
        who(stream.read_chunk(1).await.unwrap_err()),
        StreamReset::Peer(ResetCode::RESOURCE_LIMIT_EXCEEDED)
    );
    assert_eq!(who(far.read_chunk(1).await.unwrap_err()), StreamReset::UnreadLimit);
}
