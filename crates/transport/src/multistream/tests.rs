//! multistream-select over a pipe: both sides, refusals, garbage, limits.

use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;

const LIMIT: Duration = Duration::from_secs(10);

/// A runtime whose clock is paused, for tests that are not async themselves.
fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(future)
}

fn known<'a>(names: &'a [&'a str]) -> impl FnMut(&str) -> Option<usize> + 'a {
    |name| names.iter().position(|known| *known == name)
}

async fn negotiate(
    pipe: usize,
    wanted: &[&str],
    spoken: &[&str],
) -> (Result<usize, NegotiateError>, Result<usize, NegotiateError>) {
    let (mut a, mut b) = duplex(pipe);
    tokio::join!(
        async {
            let result = dial(&mut a, wanted, LIMIT).await;
            if result.is_err() {
                drop(a);
            }
            result
        },
        listen(&mut b, known(spoken), LIMIT),
    )
}

#[tokio::test(start_paused = true)]
async fn agrees_on_the_first_that_both_speak() {
    for pipe in [1, 7, 4096] {
        let (dialer, listener) = negotiate(pipe, &["/tls/1.0.0", "/noise"], &["/x", "/noise"]).await;
        assert_eq!((dialer.unwrap(), listener.unwrap()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn refuses_what_nobody_speaks() {
    let (dialer, listener) = negotiate(64, &["/a", "/b"], &["/c"]).await;
    assert!(matches!(dialer, Err(NegotiateError::Refused)));
    assert!(matches!(listener, Err(NegotiateError::Io(_))));
}

#[tokio::test(start_paused = true)]
async fn answers_every_unknown_token_with_na_and_speaks_first() {
    let (mut a, mut b) = duplex(4096);
    let server = tokio::spawn(async move { listen(&mut b, known(&["/noise"]), LIMIT).await });
    // Nothing was sent yet, and the header is there.
    let mut header = [0; 20];
    a.read_exact(&mut header).await.unwrap();
    assert_eq!(hex::encode(header), "132f6d756c746973747265616d2f312e302e300a");
    a.write_all(&header).await.unwrap();
    for proposal in ["ls", "/tls/1.0.0", "/Noise", "/noise/", ""] {
        let mut out = Vec::new();
        token::put(&mut out, proposal);
        a.write_all(&out).await.unwrap();
        let mut answer = [0; 4];
        a.read_exact(&mut answer).await.unwrap();
        assert_eq!(hex::encode(answer), "036e610a", "{proposal}");
    }
    a.write_all(&hex::decode("072f6e6f6973650a").unwrap()).await.unwrap();
    assert_eq!(server.await.unwrap().unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_lazy_dialer_loses_no_byte() {
    let (mut a, mut b) = duplex(4096);
    let mut flight = proposal("/ipfs/kad/1.0.0").to_vec();
    assert_eq!(
        hex::encode(&flight),
        "132f6d756c746973747265616d2f312e302e300a102f697066732f6b61642f312e302e300a"
    );
    flight.extend_from_slice(b"payload");
    a.write_all(&flight).await.unwrap();
    a.shutdown().await.unwrap();
    assert_eq!(listen(&mut b, known(&["/ipfs/kad/1.0.0"]), LIMIT).await.unwrap(), 0);
    let mut rest = Vec::new();
    b.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"payload");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_after_the_limit() {
    let (mut a, _b) = duplex(4096);
    let start = tokio::time::Instant::now();
    assert!(matches!(dial(&mut a, &["/noise"], LIMIT).await, Err(NegotiateError::Timeout(LIMIT))));
    assert!(matches!(listen(&mut a, known(&[]), LIMIT).await, Err(NegotiateError::Timeout(LIMIT))));
    assert_eq!(start.elapsed(), LIMIT * 2);
}

#[tokio::test(start_paused = true)]
async fn proposals_without_end_are_cut_off() {
    let (mut a, mut b) = duplex(1 << 16);
    let mut out = proposal("/x").to_vec();
    for _ in 0..MAX_PROPOSALS {
        token::put(&mut out, "/x");
    }
    a.write_all(&out).await.unwrap();
    assert!(matches!(listen(&mut b, known(&[]), LIMIT).await, Err(NegotiateError::TooManyProposals)));
}

#[tokio::test(start_paused = true)]
async fn garbage_is_refused_early() {
    let cases: [(&[u8], &str); 5] = [
        (
            b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n and so on, and so on, for a good while at least",
            "newline",
        ),
        (b"\xff\xff\xff\xff", "limit"),
        (b"\x81\x08", "limit"),
        (b"\x80\x00", "shortest"),
        (b"\x03/x\n", "version"),
    ];
    for (bytes, what) in cases {
        let (mut a, mut b) = duplex(4096);
        a.write_all(bytes).await.unwrap();
        let error = listen(&mut b, known(&["/x"]), LIMIT).await.unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn the_longest_token_passes() {
    block_on(async {
        let name = format!("/{}", "x".repeat(MAX_TOKEN - 2));
        let (dialer, listener) = negotiate(100, &[&name], &[&name]).await;
        assert_eq!((dialer.unwrap(), listener.unwrap()), (0, 0));
        let name = format!("{name}x");
        let (_, listener) = negotiate(4096, &[&name], &[&name]).await;
        assert!(matches!(listener, Err(NegotiateError::Malformed(token::TokenError::TooLong(1025)))));
    });
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        block_on(async {
            let (mut a, mut b) = duplex(4096);
            a.write_all(&bytes).await.unwrap();
            a.shutdown().await.unwrap();
            assert!(listen(&mut b, known(&["/x"]), LIMIT).await.is_err());
        });
    }

    #[test]
    fn any_echo_in_any_pieces(name in "/[a-z0-9/.]{0,20}", other in "/[a-z0-9/.]{0,20}", size in 1usize..50) {
        let mut echo = Echo::new(&name);
        let answer = proposal(&other);
        let mut result = Ok(false);
        for piece in answer.chunks(size) {
            result = echo.check(&mut bytes::Bytes::copy_from_slice(piece));
            if result.is_err() {
                break;
            }
        }
        if name == other {
            prop_assert!(matches!(result, Ok(true)));
        } else {
            prop_assert!(matches!(result, Err(NegotiateError::WrongAnswer)));
        }
    }
}
