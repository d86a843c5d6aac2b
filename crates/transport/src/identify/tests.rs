//! identify over a pipe: messages in parts, trimming, limits, arbitrary bytes.

use peerage_identity::Keypair;
use peerage_wire::identify::Identify;
use proptest::prelude::*;
use tokio::io::duplex;

use super::*;

fn keypair() -> Keypair {
    Keypair::from_seed([3; 32])
}

fn addr(index: usize) -> Multiaddr {
    format!("/ip4/192.0.2.{}/tcp/{}", index % 250, 1000 + index).parse().unwrap()
}

fn info(addrs: usize, protocols: usize, record: bool) -> Info {
    let listen_addrs: Vec<Multiaddr> = (0..addrs).map(addr).collect();
    Info {
        public_key: Some(keypair().public()),
        protocols: (0..protocols).map(|i| format!("/protocol/number/{i}")).collect(),
        observed_addr: Some(addr(7)),
        protocol_version: Some("ipfs/0.1.0".to_owned()),
        agent_version: Some("peerage/0.1.0".to_owned()),
        signed_peer_record: record.then(|| PeerRecord::seal(&keypair(), 1, &listen_addrs).into()),
        listen_addrs,
    }
}

/// What the receiver makes of `bytes`, and the lengths of the messages in them.
async fn receive_bytes(bytes: &[u8]) -> (Result<Info, IdentifyError>, Vec<usize>) {
    let mut frames = Assembler::new(1 << 20);
    let mut chunk = Bytes::copy_from_slice(bytes);
    let mut lens = Vec::new();
    while let Ok(Some(message)) = frames.push(&mut chunk) {
        lens.push(message.len());
    }
    let (mut a, mut b) = duplex(1 << 20);
    a.write_all(bytes).await.unwrap();
    a.shutdown().await.unwrap();
    (receive(&mut b, TIMEOUT).await, lens)
}

#[tokio::test(start_paused = true)]
async fn small_goes_in_one_message_and_large_in_two() {
    for (addrs, protocols, messages) in [(3, 8, 1), (60, 60, 2), (0, 0, 1)] {
        let info = info(addrs, protocols, true);
        let (got, lens) = receive_bytes(&encode(&info)).await;
        assert_eq!(got.unwrap(), info);
        assert_eq!(lens.len(), messages);
        assert!(lens.iter().all(|&len| len <= MAX_OWN_MESSAGE));
    }
    let record = info(3, 1, true).record(&keypair().peer_id()).unwrap();
    assert_eq!(record.addrs, info(3, 1, true).listen_addrs);
    assert!(info(3, 1, true).record(&Keypair::from_seed([4; 32]).peer_id()).is_none());
}

#[tokio::test(start_paused = true)]
async fn too_much_is_trimmed_to_what_rust_reads() {
    let long = info(600, 60, true);
    let (got, lens) = receive_bytes(&encode(&long)).await;
    let got = got.unwrap();
    assert!(lens.iter().all(|&len| len <= MAX_OWN_MESSAGE) && lens[0] > MAX_OWN_MESSAGE - 64, "{lens:?}");
    assert_eq!(got.protocols, long.protocols);
    assert_eq!(got.listen_addrs, long.listen_addrs[..got.listen_addrs.len()]);
    assert!(got.listen_addrs.len() > 50);
}

#[tokio::test(start_paused = true)]
async fn the_vector_is_read() {
    // "identify message (delimited)" of tests/vectors/libp2p/wire-frames.json.
    let bytes = hex::decode(
        "630a24080112202d3af2995789ecf7000efd8d1b75382e908543c35c206d66a9c347912ba7356a1208047f000001060f\
         a11a0e2f697066732f69642f312e302e302208040a00000106c3502a0a697066732f302e312e30320b6578616d706c652f312e30",
    )
    .unwrap();
    let info = receive_bytes(&bytes).await.0.unwrap();
    assert_eq!(
        info.public_key.unwrap().peer_id().to_string(),
        "12D3KooWCrvearh3GnvaLVFpaoj4RwKvAEHUxkQgwqP9tdJrMdPF"
    );
    assert_eq!(info.listen_addrs, ["/ip4/127.0.0.1/tcp/4001".parse().unwrap()]);
    assert_eq!(info.protocols, [PROTOCOL]);
    assert_eq!(info.observed_addr, Some("/ip4/10.0.0.1/tcp/50000".parse().unwrap()));
    assert_eq!(info.protocol_version.as_deref(), Some("ipfs/0.1.0"));
    assert_eq!(info.agent_version.as_deref(), Some("example/1.0"));
}

#[tokio::test(start_paused = true)]
async fn several_messages_merge_and_the_unreadable_is_left_out() {
    let mut out = Vec::new();
    for index in 0..3usize {
        let message = Identify {
            listen_addrs: vec![addr(index).to_bytes().into(), vec![0xff, 0x7f, 1].into()],
            protocols: vec![format!("/p/{index}"), "x".repeat(2000)],
            agent_version: Some(format!("agent {index}{}", "é".repeat(300))),
            public_key: Some(vec![1, 2, 3].into()),
            ..Identify::default()
        };
        out.extend_from_slice(&peerage_wire::frame::encode(&message));
    }
    let info = receive_bytes(&out).await.0.unwrap();
    assert_eq!(info.listen_addrs, [addr(0), addr(1), addr(2)]);
    assert_eq!(info.protocols, ["/p/0", "/p/1", "/p/2"]);
    assert_eq!(info.public_key, None);
    let agent = info.agent_version.unwrap();
    assert!(agent.starts_with("agent 2é") && agent.len() <= MAX_TEXT);
}

#[tokio::test(start_paused = true)]
async fn limits_hold() {
    // Ten messages at most, though a hundred are sent.
    let one = encode(&info(1, 1, false));
    assert_eq!(receive_bytes(&one.repeat(100)).await.0.unwrap().protocols.len(), MAX_MESSAGES);
    let over = receive_bytes(&[0x81, 0x40]).await.0.unwrap_err();
    assert!(matches!(over, IdentifyError::Frame(FrameError::TooLarge { .. })));
    // 4,000 empty addresses in 8,000 bytes.
    let many = Identify { listen_addrs: vec![Bytes::new(); 4000], ..Identify::default() };
    let many = peerage_wire::frame::encode(&many);
    assert!(matches!(receive_bytes(&many).await.0, Err(IdentifyError::Malformed)));
    assert!(matches!(receive_bytes(&one[..20]).await.0, Err(IdentifyError::Io(_))));
    assert!(matches!(receive_bytes(&[]).await.0, Err(IdentifyError::Io(_))));
    assert!(encode(&Info { agent_version: Some("x".repeat(9000)), ..Info::default() }).len() < 300);
}

#[tokio::test(start_paused = true)]
async fn a_talker_that_does_not_end_is_heard_all_the_same() {
    let (mut a, mut b) = duplex(1 << 16);
    a.write_all(&encode(&info(1, 2, false))).await.unwrap();
    assert_eq!(receive(&mut b, TIMEOUT).await.unwrap(), info(1, 2, false));
    assert!(matches!(receive(&mut b, TIMEOUT).await, Err(IdentifyError::Timeout(_))));
}

#[tokio::test(start_paused = true)]
async fn both_ways_over_a_stream() {
    let (mut a, mut b) = duplex(50);
    let said = info(3, 3, true);
    let (sent, got) = tokio::join!(send(&mut a, &said), receive(&mut b, TIMEOUT));
    sent.unwrap();
    assert_eq!(got.unwrap(), said);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut info = Info::default();
        if codec::merge(&mut info, &bytes).is_ok() {
            // What was read can be said again.
            prop_assert!(encode(&info).len() <= 2 * (MAX_OWN_MESSAGE + 2));
        }
    }
}
