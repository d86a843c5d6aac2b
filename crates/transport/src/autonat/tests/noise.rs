//! Whatever the other side sends, in whatever pieces, and wherever it stops:
//! every step ends, within its time, and without a panic.

use peerage_identity::{Keypair, Multiaddr};
use peerage_wire::frame;
use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::Instant;

use super::super::codec::{V2Reply, v1_request, v2_data, v2_reply, v2_request};
use super::super::{v1, v2};

/// Runs `step` against someone who sends `bytes` in pieces, ends his side or
/// not, and reads all that comes.
fn against<F, R>(bytes: &[u8], piece: usize, ends: bool, step: F)
where
    F: FnOnce(DuplexStream) -> R,
    R: Future<Output = ()>,
{
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = duplex(256);
        let (mut reader, mut writer) = tokio::io::split(theirs);
        let (start, bytes) = (Instant::now(), bytes.to_vec());
        let sends = tokio::spawn(async move {
            for piece in bytes.chunks(piece) {
                if writer.write_all(piece).await.is_err() {
                    break;
                }
            }
            if ends {
                let _ = writer.shutdown().await;
            }
            writer
        });
        let reads = tokio::spawn(async move { reader.read_to_end(&mut Vec::new()).await });
        step(ours).await;
        assert!(start.elapsed() <= 2 * v1::ASK_TIMEOUT, "{:?}", start.elapsed());
        sends.abort();
        reads.abort();
    });
}

fn addrs() -> Vec<Multiaddr> {
    vec!["/ip4/1.2.3.4/tcp/4001".parse().unwrap(); 3]
}

/// Right messages of both sides, one after the other, then noise; and a few
/// bytes anywhere changed.
fn traffic() -> impl Strategy<Value = Vec<u8>> {
    let one = prop_oneof![
        Just(frame::encode(&v2_request(&addrs(), 7)).to_vec()),
        Just(frame::encode(&v1_request(Keypair::from_seed([1; 32]).peer_id(), &addrs())).to_vec()),
        (0..4u32, 0..120_000u64)
            .prop_map(|(index, bytes)| frame::encode(&v2_reply(&V2Reply::WantsData(index, bytes))).to_vec()),
        (0..4u32).prop_map(|index| {
            let response = v2::Response::Dialled(index, v2::DialStatus::Reached);
            frame::encode(&v2_reply(&V2Reply::Response(response))).to_vec()
        }),
        (0..3000usize).prop_map(|len| frame::encode(&v2_data(vec![0; len].into())).to_vec()),
        proptest::collection::vec(any::<u8>(), 0..20),
    ];
    let flips = proptest::collection::vec((any::<usize>(), any::<u8>()), 0..3);
    (proptest::collection::vec(one, 0..6), flips).prop_map(|(messages, flips)| {
        let mut bytes = messages.concat();
        for (at, flip) in flips {
            let len = bytes.len().max(1);
            if let Some(byte) = bytes.get_mut(at % len) {
                *byte ^= flip;
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_step_ends(bytes in traffic(), piece in 1..300usize, ends: bool) {
        let local = Keypair::from_seed([1; 32]).peer_id();
        let backs = v2::DialBacks::new();
        against(&bytes, piece, ends, async |io| {
            let outcome = v2::ask(io, &addrs(), 7, &backs).await;
            assert!(!matches!(outcome, Ok(v2::Outcome::Reached(_))), "no number came back");
        });
        assert_eq!(backs.len(), 0);
        against(&bytes, piece, ends, async |io| {
            if let Ok((mut serving, request)) = v2::Serving::receive(io).await {
                assert!(request.addrs.len() <= v2::MAX_ADDRS);
                if serving.take_data(0, 5_000).await.is_ok() {
                    let _ = serving.answer(v2::Response::Refused).await;
                }
            }
        });
        against(&bytes, piece, ends, async |io| drop(v1::ask(io, local, &addrs()).await));
        against(&bytes, piece, ends, async |io| {
            if let Ok((serving, request)) = v1::Serving::receive(io, &local).await {
                assert!(request.addrs.len() <= v1::MAX_ADDRS);
                let _ = serving.answer(&v1::Response::Unreached).await;
            }
        });
        against(&bytes, piece, ends, async |io| drop(v2::dial_back(io, 7).await));
        against(&bytes, piece, ends, async |io| drop(v2::receive_dial_back(io, &addrs()[0], &backs).await));
    }
}
