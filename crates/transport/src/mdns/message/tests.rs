//! Packets as deployed peers send them, written from what their sources do;
//! ours byte by byte; and whatever a stranger may send.

use proptest::prelude::*;

use super::*;

const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
const OTHER: &str = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
const TTL: Duration = Duration::from_secs(360);

/// What `@libp2p/mdns` sends by way of `multicast-dns`: everything is an
/// answer, no name is compressed, one TXT record an address.
const JS: &str = "000084000000000300000000045f703270045f756470056c6f63616c00000c0001000000780026146a736a736a\
    736a736a736a736a736a736a736a73045f703270045f756470056c6f63616c00146a736a736a736a736a736a736a736a736a736a73\
    045f703270045f756470056c6f63616c000010000100000078005b5a646e73616464723d2f6970342f3139322e3136382e312e352f\
    7463702f343030312f7032702f313244334b6f6f57443365636b69665770526e397751704d4739523968583373443135387a374571\
    48576d776551414a55355341146a736a736a736a736a736a736a736a736a736a73045f703270045f756470056c6f63616c00001000\
    0100000078005f5e646e73616464723d2f6970362f666430303a3a352f7564702f343030312f717569632d76312f7032702f313244\
    334b6f6f57443365636b69665770526e397751704d4739523968583373443135387a37457148576d776551414a55355341";

/// What rust-libp2p sends: the question's id, a name without the service's,
/// and additional TXT records that flush caches, one an address.
const RUST: &str = "f8f884000000000100000002045f703270045f756470056c6f63616c00000c00010000016800242252735273527352735273\
    5273527352735273527352735273527352735273527352730022527352735273527352735273527352735273527352735273\
    52735273527352735273000010800100000168005b5a646e73616464723d2f6970342f3139322e3136382e312e352f746370\
    2f343030312f7032702f313244334b6f6f57443365636b69665770526e397751704d4739523968583373443135387a374571\
    48576d776551414a553553412252735273527352735273527352735273527352735273527352735273527352735273000010\
    800100000168005f5e646e73616464723d2f6970362f666430303a3a352f7564702f343030312f717569632d76312f703270\
    2f313244334b6f6f57443365636b69665770526e397751704d4739523968583373443135387a37457148576d776551414a55\
    355341";

/// What go-libp2p sends by way of `zeroconf`: compressed names, SRV, one TXT
/// record of all addresses, A and AAAA.
const GO: &str = "000084000000000100000004045f703270045f756470056c6f63616c00000c000100000c80002320676f303132\
    33343536373839676f30313233343536373839676f303132333435c00cc0270021800100000c80002e000000000fa120676f3031\
    3233343536373839676f30313233343536373839676f303132333435056c6f63616c00c0270010800100000c8000ba5a646e7361\
    6464723d2f6970342f3139322e3136382e312e352f7463702f343030312f7032702f313244334b6f6f57443365636b6966577052\
    6e397751704d4739523968583373443135387a37457148576d776551414a553553415e646e73616464723d2f6970362f66643030\
    3a3a352f7564702f343030312f717569632d76312f7032702f313244334b6f6f57443365636b69665770526e397751704d473952\
    3968583373443135387a37457148576d776551414a5535534120676f30313233343536373839676f30313233343536373839676f\
    303132333435056c6f63616c000001800100000c800004c0a8010520676f30313233343536373839676f30313233343536373839\
    676f303132333435056c6f63616c00001c800100000c800010fd000000000000000000000000000005";

/// What all of them ask, but for the id.
const QUESTION: &str = "000000000001000000000000045f703270045f756470056c6f63616c00000c0001";

fn peer() -> PeerId {
    PEER.parse().unwrap()
}

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

fn answer_of(bytes: &[u8]) -> Answer {
    match parse(bytes) {
        Ok(Message::Answer(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

fn question_of(bytes: &[u8]) -> Question {
    match parse(bytes) {
        Ok(Message::Question(question)) => question,
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_of_deployed_peers_are_understood() {
    let addrs = [addr("/ip4/192.168.1.5/tcp/4001"), addr("/ip6/fd00::5/udp/4001/quic-v1")];
    for (hex, ttl) in [(JS, 120), (RUST, 360), (GO, 3200)] {
        let answer = answer_of(&hex::decode(hex).unwrap());
        assert_eq!(answer.gone, []);
        let [said] = &answer.peers[..] else { panic!("{answer:?}") };
        assert_eq!((said.peer, said.ttl), (peer(), Duration::from_secs(ttl)));
        assert_eq!(said.addrs, addrs);
    }
}

#[test]
fn our_question_is_theirs() {
    assert_eq!(hex::encode(ask(&[])), QUESTION);
    let asked = question_of(&hex::decode(QUESTION).unwrap());
    assert_eq!(asked, Question { peers: true, ..Question::default() });
}

/// Read by a fixed eye: the bytes are what others must be able to read.
#[test]
fn our_answer_is_what_others_read() {
    let bytes =
        announce(&instance(b"abc"), peer(), &[addr("/ip4/192.168.1.5/tcp/4001")], TTL, Form::Multicast);
    let text = hex::encode(format!("dnsaddr=/ip4/192.168.1.5/tcp/4001/p2p/{PEER}"));
    let expected = [
        "000084000000000100000001", // an authoritative answer, one record, one beside it
        "045f703270045f756470056c6f63616c00", // _p2p._udp.local
        "000c0001000001680006",     // PTR, 360 s
        "03616263c00c",             // abc and the name above
        "c027",                     // the same
        "0010800100000168005b5a",   // TXT, instead of what was said before
        &text,
    ];
    assert_eq!(hex::encode(bytes), expected.concat());
}

#[test]
fn what_we_say_comes_back() {
    let addrs: Vec<Multiaddr> = (1..=10).map(|n| addr(&format!("/ip4/192.168.1.{n}/tcp/4001"))).collect();
    let label = instance(b"me");
    let said = Announcement { instance: label.clone(), peer: peer(), addrs: addrs.clone(), ttl: TTL };
    let bytes = announce(&label, peer(), &addrs, TTL, Form::Multicast);
    assert_eq!(answer_of(&bytes), Answer { peers: vec![said], gone: vec![] });
    // There is room for so many, and then for no more.
    let many: Vec<Multiaddr> = (0..100).map(|n| addr(&format!("/ip6/fd00::{n:x}/tcp/4001"))).collect();
    let bytes = announce(&label, peer(), &many, TTL, Form::Multicast);
    let answer = answer_of(&bytes);
    assert!(bytes.len() <= MAX_OWN_PACKET && answer.peers[0].addrs.len() > 12);
    assert!(many.starts_with(&answer.peers[0].addrs));
    // An address that no string holds does not take the others with it.
    let long = addr(&format!("/dns4/{}/tcp/1", ["a"; 120].join(".")));
    let bytes = announce(&label, peer(), &[long, addrs[0].clone()], TTL, Form::Multicast);
    assert_eq!(answer_of(&bytes).peers[0].addrs, addrs[..1]);
    // Leaving has no addresses and needs none.
    let bytes = announce(&label, peer(), &[], Duration::ZERO, Form::Multicast);
    assert_eq!(answer_of(&bytes), Answer { peers: vec![], gone: vec![label] });
}

#[test]
fn plain_clients_are_answered_in_their_way() {
    let addrs = [addr("/ip4/192.168.1.5/tcp/4001")];
    let bytes = announce(&instance(b"me"), peer(), &addrs, TTL, Form::Legacy(77));
    let packet = Packet::from_vec(&bytes).unwrap();
    assert_eq!(packet.metadata.id, 77);
    assert_eq!(packet.queries, [Query::query(service(), RecordType::PTR)]);
    assert!(packet.answers[0].ttl <= LEGACY_TTL && !packet.additionals[0].mdns_cache_flush);
}

#[test]
fn questions_name_what_is_known_and_what_is_wanted() {
    let known: Vec<_> = (0..40).map(|n: u32| (instance(format!("p{n}").as_bytes()), 60 + n)).collect();
    let asked = question_of(&ask(&known));
    assert!(asked.peers);
    assert_eq!(asked.known, known[..MAX_KNOWN]);
    let mut packet = Packet::new(7, MessageType::Query, OpCode::Query);
    packet.add_query(Query::query(services(), RecordType::PTR));
    packet.add_query(Query::query(instance(b"Me"), RecordType::TXT));
    packet.add_query(Query::query(Name::from_ascii("_http._tcp.local.").unwrap(), RecordType::PTR));
    let asked = question_of(&encode(&packet));
    let instances = vec![instance(b"me")];
    assert_eq!(asked, Question { id: 7, services: true, instances, ..Question::default() });
}

fn with_texts(texts: &[&str]) -> Vec<u8> {
    let mut packet = Packet::new(0, MessageType::Response, OpCode::Query);
    packet.add_answer(Record::from_rdata(service(), 120, RData::PTR(PTR(instance(b"x")))));
    let texts = texts.iter().map(|text| (*text).to_owned()).collect();
    packet.add_additional(Record::from_rdata(instance(b"x"), 120, RData::TXT(TXT::new(texts))));
    encode(&packet)
}

#[test]
fn addresses_without_a_peer_or_of_another_are_passed_over() {
    let (bare, nonsense) = ("dnsaddr=/ip4/10.0.0.1/tcp/1", "dnsaddr=/ip4/tcp");
    assert_eq!(answer_of(&with_texts(&[bare, nonsense, "path=/", ""])), Answer::default());
    let ours = format!("dnsaddr=/ip4/10.0.0.2/tcp/1/p2p/{PEER}");
    let others = format!("dnsaddr=/ip4/10.0.0.3/tcp/1/p2p/{OTHER}");
    let answer = answer_of(&with_texts(&[bare, &ours, &others]));
    assert_eq!((answer.peers[0].peer, answer.peers.len()), (peer(), 1));
    assert_eq!(answer.peers[0].addrs, [addr("/ip4/10.0.0.2/tcp/1")]);
    // Without a pointer from the service it is no peer of ours.
    let mut packet = Packet::from_vec(&with_texts(&[&ours])).unwrap();
    packet.answers[0].name = Name::from_ascii("_http._tcp.local.").unwrap();
    assert_eq!(answer_of(&encode(&packet)), Answer::default());
}

#[test]
fn details_that_are_taken_back_do_not_count() {
    let announced = |ttl| {
        let mut packet = start(Form::Multicast, services());
        packet.add_answer(Record::from_rdata(service(), 360, RData::PTR(PTR(instance(b"a")))));
        for (port, ttl) in [(1, ttl), (2, 100)] {
            let text = format!("dnsaddr=/ip4/192.168.1.5/tcp/{port}/p2p/{PEER}");
            packet.add_additional(Record::from_rdata(instance(b"a"), ttl, RData::TXT(TXT::new(vec![text]))));
        }
        answer_of(&encode(&packet)).peers
    };
    let found = |ports: &[u16], seconds| {
        let addrs = ports.iter().map(|port| addr(&format!("/ip4/192.168.1.5/tcp/{port}"))).collect();
        let ttl = Duration::from_secs(seconds);
        vec![Announcement { instance: instance(b"a"), peer: peer(), addrs, ttl }]
    };
    assert_eq!(announced(50), found(&[1, 2], 50));
    assert_eq!(announced(0), found(&[2], 100));
}

#[test]
fn too_much_is_refused() {
    assert_eq!(parse(&[0; MAX_PACKET + 1]), Err(PacketError::TooLong));
    let mut many = [0; 12];
    many[6] = 2; // 512 answers
    assert_eq!(parse(&many), Err(PacketError::TooManyRecords));
    assert_eq!(parse(&[]), Err(PacketError::Malformed));
    let mut update = hex::decode(QUESTION).unwrap();
    update[2] = 0x28; // another kind of message
    assert_eq!(parse(&update), Err(PacketError::Malformed));
    let texts: Vec<String> = (0..60).map(|n| format!("dnsaddr=/ip4/10.0.0.{n}/tcp/1/p2p/{PEER}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    assert_eq!(answer_of(&with_texts(&texts)).peers[0].addrs.len(), MAX_ADDRS);
}

proptest! {
    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse(&bytes);
    }

    /// Real packets, damaged: the parser gets further with these.
    #[test]
    fn damaged_packets_do_no_harm(
        which in 0_usize..4,
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = hex::decode([JS, RUST, GO, QUESTION][which]).unwrap();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len()) + 1);
        if let Ok(Message::Answer(answer)) = parse(&bytes) {
            prop_assert!(answer.peers.iter().all(|said| said.addrs.len() <= MAX_ADDRS));
        }
    }
}
