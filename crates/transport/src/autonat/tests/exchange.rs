//! Both sides over in-memory pipes and whole connections: honest, lying,
//! silent, cut off, too much, too little.

use std::time::Duration;

use peerage_identity::{Keypair, Multiaddr, PeerId};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::super::v2::{DialBacks, DialStatus, Outcome, Response};
use super::super::{AutonatError, v1, v2};
use crate::connection::tests::pair;

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn addrs() -> Vec<Multiaddr> {
    vec![addr("/ip4/1.2.3.4/tcp/4001"), addr("/ip6/2a01::1/tcp/4001")]
}

fn peer(seed: u8) -> PeerId {
    Keypair::from_seed([seed; 32]).peer_id()
}

/// A server that reads a request and does the rest in `serve`; what the asker learns.
async fn exchange<F, R>(backs: &DialBacks, serve: F) -> Result<Outcome, AutonatError>
where
    F: FnOnce(v2::Serving<DuplexStream>, v2::Request) -> R,
    R: Future<Output = ()>,
{
    let (a, b) = duplex(1000);
    let addrs = addrs();
    let server = async {
        let (serving, request) = v2::Serving::receive(b).await.unwrap();
        assert_eq!(request.addrs.iter().map(|(_, addr)| addr.clone()).collect::<Vec<_>>(), addrs);
        serve(serving, request).await;
    };
    tokio::join!(v2::ask(a, &addrs, 42, backs), server).0
}

/// Brings `nonce` back over a pipe, to us at `local`; what both sides say of it.
async fn bring(nonce: u64, local: &str, backs: &DialBacks) -> (bool, Result<(), AutonatError>) {
    let (a, b) = duplex(100);
    let local = addr(local);
    let (server, asker) = tokio::join!(v2::dial_back(a, nonce), v2::receive_dial_back(b, &local, backs));
    (server.is_ok(), asker)
}

#[tokio::test(start_paused = true)]
async fn a_number_that_came_back_is_proof() {
    for data in [0, 1, 30_000, 100_000] {
        let backs = DialBacks::new();
        let outcome = exchange(&backs, async |mut serving, request| {
            if data > 0 {
                serving.take_data(0, data).await.unwrap();
            }
            // Whoever brings it, and a router in between.
            let (server, asker) = bring(request.nonce, "/ip4/192.168.1.5/tcp/4001", &backs).await;
            assert!(server && asker.is_ok());
            serving.answer(Response::Dialled(0, DialStatus::Reached)).await.unwrap();
        });
        assert_eq!(outcome.await.unwrap(), Outcome::Reached(0));
        assert_eq!(backs.len(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn claims_without_proof() {
    use DialStatus::{NotDelivered, Reached, Unreached};
    let v4 = "/ip4/192.168.1.5/tcp/4001";
    for (brought, local, index, status, learned) in [
        (None, v4, 0, Reached, Outcome::Lied),
        (Some(41), v4, 0, Reached, Outcome::Lied),
        // The number came, and by IPv4, but the claim is of IPv6.
        (Some(42), v4, 1, Reached, Outcome::Lied),
        (Some(42), "/ip6/fd00::1/tcp/4001", 1, Reached, Outcome::Reached(1)),
        (Some(42), v4, 0, NotDelivered, Outcome::Reached(0)),
        (None, v4, 0, NotDelivered, Outcome::Inconclusive),
        (None, v4, 1, Unreached, Outcome::Unreached(1)),
    ] {
        let backs = DialBacks::new();
        let outcome = exchange(&backs, async |serving, _| {
            if let Some(nonce) = brought {
                let (_, asker) = bring(nonce, local, &backs).await;
                assert_eq!(asker.is_ok(), nonce == 42);
            }
            serving.answer(Response::Dialled(index, status)).await.unwrap();
        });
        assert_eq!(outcome.await.unwrap(), learned, "{brought:?} {local} {index} {status:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_answers() {
    for (response, learned) in [
        (Response::Busy, Outcome::Busy),
        (Response::Refused, Outcome::Refused),
        (Response::Failed, Outcome::Inconclusive),
    ] {
        let backs = DialBacks::new();
        let outcome = exchange(&backs, async |serving, _| serving.answer(response).await.unwrap());
        assert_eq!(outcome.await.unwrap(), learned);
    }
    let backs = DialBacks::new();
    let beyond = Response::Dialled(2, DialStatus::Unreached);
    let outcome = exchange(&backs, async |serving, _| serving.answer(beyond).await.unwrap()).await;
    assert!(matches!(outcome, Err(AutonatError::Malformed)), "there is no such place");
    let outcome = exchange(&backs, async |serving, _| drop(serving)).await;
    assert!(matches!(outcome, Err(AutonatError::Io(_))));
    let outcome = exchange(&backs, async |serving, _| {
        tokio::time::sleep(Duration::from_secs(100)).await;
        drop(serving);
    });
    assert!(matches!(outcome.await, Err(AutonatError::Timeout(v2::TIMEOUT))));
    assert_eq!(backs.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn no_more_data_than_the_protocol_allows() {
    let backs = DialBacks::new();
    for (index, bytes) in [(0, 100_001), (0, u32::MAX), (2, 30_000)] {
        let outcome = exchange(&backs, async |mut serving, _| {
            assert!(serving.take_data(index, bytes).await.is_err());
        });
        let outcome = outcome.await;
        assert!(
            matches!(outcome, Err(AutonatError::TooMuchData(_) | AutonatError::Malformed)),
            "{outcome:?}"
        );
    }
    // And only once.
    let outcome = exchange(&backs, async |mut serving, _| {
        serving.take_data(0, 30_000).await.unwrap();
        assert!(serving.take_data(0, 30_000).await.is_err());
    });
    assert!(matches!(outcome.await, Err(AutonatError::Malformed)));
}

/// What a server makes of `bytes` that come instead of dial data.
async fn owed(bytes: &[u8]) -> Result<(), AutonatError> {
    let (mut a, b) = duplex(1 << 20);
    // A request with no address.
    a.write_all(&hex::decode("0b0a09112a00000000000000").unwrap()).await.unwrap();
    a.write_all(bytes).await.unwrap();
    a.shutdown().await.unwrap();
    let (mut serving, request) = v2::Serving::receive(b).await.unwrap();
    assert_eq!((request.nonce, request.addrs.len()), (42, 0));
    serving.take_data(0, 1000).await
}

#[tokio::test(start_paused = true)]
async fn who_owes_data_has_to_send_it() {
    // Frames of 500, 300 and 200 bytes of data, then of 99 and less.
    let data = |len: u8| [&[len + 4, 0x22, len + 2, 0x0a, len], &vec![0; usize::from(len)][..]].concat();
    assert!(owed(&data(100).repeat(10)).await.is_ok());
    assert!(matches!(owed(&data(100).repeat(9)).await, Err(AutonatError::Io(_))), "cut off");
    assert!(matches!(owed(&data(99).repeat(20)).await, Err(AutonatError::Trickle)));
    assert!(owed(&[data(110).repeat(9), data(10)].concat()).await.is_ok(), "the last may be small");
    assert!(matches!(owed(&data(0)).await, Err(AutonatError::Trickle)));
    assert!(matches!(owed(&[0x81, 0x40]).await, Err(AutonatError::Frame(_))), "8,193 bytes");
    assert!(matches!(owed(&[0x04, 0x12, 0x02, 0x08, 0x64]).await, Err(AutonatError::Malformed)));
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_none() {
    for (bytes, cut) in
        [(&[0x81, 0x40][..], false), (&[0x05, 0x0a, 0x03], true), (&[0x00], false), (&[], true)]
    {
        let (mut a, b) = duplex(100);
        a.write_all(bytes).await.unwrap();
        a.shutdown().await.unwrap();
        let error = v2::Serving::receive(b).await.unwrap_err();
        assert_eq!(matches!(error, AutonatError::Io(_)), cut, "{error}");
    }
    let (_a, b) = duplex(100);
    assert!(matches!(v2::Serving::receive(b).await, Err(AutonatError::Timeout(v2::TIMEOUT))));
}

#[tokio::test(start_paused = true)]
async fn numbers_that_nobody_waits_for() {
    let backs = DialBacks::new();
    let (_, asker) = bring(7, "/ip4/1.2.3.4/tcp/1", &backs).await;
    assert!(matches!(asker, Err(AutonatError::UnknownNonce)));
    // Nobody answers the server: not delivered.
    let (a, _b) = duplex(100);
    assert!(matches!(v2::dial_back(a, 7).await, Err(AutonatError::Timeout(v2::BACK_TIMEOUT))));
    // A number counts once.
    let outcome = exchange(&backs, async |serving, request| {
        assert!(bring(request.nonce, "/ip4/1.2.3.4/tcp/1", &backs).await.1.is_ok());
        assert!(bring(request.nonce, "/ip4/1.2.3.4/tcp/1", &backs).await.1.is_err());
        serving.answer(Response::Dialled(0, DialStatus::Reached)).await.unwrap();
    });
    assert_eq!(outcome.await.unwrap(), Outcome::Reached(0));
}

#[tokio::test(start_paused = true)]
async fn v1_both_ways() {
    use v1::Outcome as Learned;
    for (response, learned) in [
        (v1::Response::Reached(addrs()[0].clone()), Learned::Reached(addrs()[0].clone())),
        (v1::Response::Unreached, Learned::Unreached),
        (v1::Response::Refused, Learned::Refused),
        (v1::Response::BadRequest, Learned::Inconclusive),
    ] {
        let (a, b) = duplex(20);
        let (local, addrs, start) = (peer(1), addrs(), Instant::now());
        let (outcome, served) = tokio::join!(v1::ask(a, local, &addrs), async {
            let (serving, request) = v1::Serving::receive(b, &local).await?;
            assert_eq!(request.addrs.into_iter().map(|(_, addr)| addr).collect::<Vec<_>>(), addrs);
            serving.answer(&response).await
        });
        served.unwrap();
        assert_eq!(outcome.unwrap(), learned);
        // How soon a dial failed is nobody's business.
        let waited = if learned == Learned::Unreached { v1::DIAL_TIMEOUT } else { Duration::ZERO };
        assert_eq!(start.elapsed().as_secs(), waited.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn v1_names_nobody_but_the_asker() {
    let (a, b) = duplex(1000);
    let (claimed, asker, addrs) = (peer(1), peer(2), addrs());
    let (outcome, served) = tokio::join!(v1::ask(a, claimed, &addrs), v1::Serving::receive(b, &asker));
    assert!(matches!(served, Err(AutonatError::Malformed)));
    assert_eq!(outcome.unwrap(), v1::Outcome::Inconclusive);
    // Silence and cuts.
    let (_a, b) = duplex(10);
    assert!(matches!(v1::Serving::receive(b, &asker).await, Err(AutonatError::Timeout(v1::SERVE_TIMEOUT))));
    let (a, mut b) = duplex(1000);
    let (outcome, ()) = tokio::join!(v1::ask(a, asker, &addrs), async {
        let read = b.read(&mut [0; 1000]).await.unwrap();
        assert!(read > 0);
        b.write_all(&[0x81, 0x20]).await.unwrap();
    });
    assert!(matches!(outcome, Err(AutonatError::Frame(_))), "4,097 bytes");
}

/// Over two connections, as it is in the world: one on which is asked, and one
/// that the server makes for the number and closes.
#[tokio::test(start_paused = true)]
async fn over_whole_connections() {
    let (asker, mut server) = pair().await;
    let (dialler, mut dialled) = pair().await;
    let (backs, addrs) = (DialBacks::new(), addrs());
    let asking = async {
        let stream = asker.control.open(v2::DIAL_PROTOCOL).await.unwrap();
        v2::ask(stream, &addrs, 99, &backs).await.unwrap()
    };
    let listening = async {
        let mut stream = dialled.incoming.next().await.unwrap();
        stream.accept(|name| (name == v2::BACK_PROTOCOL).then_some(())).await.unwrap();
        v2::receive_dial_back(stream, &addrs[0], &backs).await.unwrap();
    };
    let serving = async {
        let mut stream = server.incoming.next().await.unwrap();
        stream.accept(|name| (name == v2::DIAL_PROTOCOL).then_some(())).await.unwrap();
        let (mut serving, request) = v2::Serving::receive(stream).await.unwrap();
        serving.take_data(0, 64_000).await.unwrap();
        let (stream, _) = dialler.control.open_any(&[v2::BACK_PROTOCOL]).await.unwrap();
        v2::dial_back(stream, request.nonce).await.unwrap();
        dialler.control.close(crate::yamux::GoAwayCode::NORMAL);
        serving.answer(Response::Dialled(0, DialStatus::Reached)).await.unwrap();
    };
    let (outcome, (), ()) = tokio::join!(asking, listening, serving);
    assert_eq!(outcome, Outcome::Reached(0));
    // One that speaks no AutoNAT.
    let (dialler, mut dialled) = pair().await;
    let (stream, ()) = tokio::join!(dialler.control.open_any(&[v2::BACK_PROTOCOL]), async {
        let mut stream = dialled.incoming.next().await.unwrap();
        assert!(stream.accept(|_| None::<()>).await.is_err());
    });
    assert!(stream.is_err());
}
