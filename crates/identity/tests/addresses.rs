//! Addresses against go-multiaddr's vectors, the protocol table, and what
//! strangers may send.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::{bytes, hex, rows, text, vectors};
use peerage_identity::{IpProtocol, Keypair, Multiaddr, MultiaddrError, Protocol, Scope};
use proptest::prelude::*;

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn text_and_bytes_of_the_vectors() {
    let file = vectors("multiformats/multiaddr.json");
    for row in rows(&file, "string_to_bytes").iter().chain(rows(&file, "computed")) {
        let parsed = addr(text(row, "text"));
        assert_eq!(parsed.as_bytes(), hex(row, "hex"), "{row}");
        assert_eq!(parsed.to_string(), text(row, "text"));
        assert_eq!(Multiaddr::from_bytes(&hex(row, "hex")), Ok(parsed));
    }
}

#[test]
fn good_and_bad_text_of_the_vectors() {
    let file = vectors("multiformats/multiaddr.json");
    for good in rows(&file, "parse_ok") {
        let parsed = addr(good.as_str().unwrap());
        assert_eq!(Multiaddr::from_bytes(parsed.as_bytes()).as_ref(), Ok(&parsed));
        assert_eq!(addr(&parsed.to_string()), parsed, "{good}");
    }
    for bad in rows(&file, "parse_fail") {
        let bad = bad.as_str().unwrap();
        assert!(bad.parse::<Multiaddr>().is_err(), "{bad}");
    }
}

#[test]
fn every_protocol_of_the_table_is_known_by_code() {
    let table = String::from_utf8(bytes("multiformats/multiaddr-protocols.csv")).unwrap();
    let mut count = 0;
    for line in table.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let mut columns = line.split(',').map(str::trim);
        let code: u64 = columns.next().unwrap().parse().unwrap();
        let (size, name) = (columns.next().unwrap(), columns.next().unwrap());
        let mut bytes = Vec::new();
        peerage_wire::varint::put(&mut bytes, code);
        match Multiaddr::from_bytes(&bytes) {
            Ok(addr) => {
                assert_eq!(size, "0", "{name}");
                assert_eq!(addr.to_string(), format!("/{name}"));
                assert_eq!(addr.iter().next().unwrap().code(), code);
            }
            Err(error) => {
                assert_ne!(size, "0", "{name}");
                assert_eq!(error, MultiaddrError::Truncated, "{name}");
                let missing = format!("/{name}").parse::<Multiaddr>();
                let shown = if name == "ipfs" { "p2p" } else { name };
                assert_eq!(missing.unwrap_err().to_string(), format!("nothing after `/{shown}`"));
            }
        }
        count += 1;
    }
    assert!(count >= 40, "{count}");
}

#[test]
fn hostile_bytes() {
    let from = |hex: &str| Multiaddr::from_bytes(&hex::decode(hex).unwrap());
    let cases = [
        ("", MultiaddrError::Empty),
        ("04010203", MultiaddrError::Truncated),
        ("060fa106", MultiaddrError::Truncated),
        // A code, then a length, not in shortest form.
        ("8400010203", MultiaddrError::Truncated),
        ("36810061", MultiaddrError::Truncated),
        // A length over what there is, and one over what there can be.
        ("360561", MultiaddrError::Truncated),
        ("36ffffffffffffffff7f61", MultiaddrError::Truncated),
        ("02", MultiaddrError::UnknownCode(2)),
        // No name; a slash, an escape, a byte that is no UTF-8 in it.
        ("3600", MultiaddrError::Value("dns4")),
        ("3603612f62", MultiaddrError::Value("dns4")),
        ("36021b63", MultiaddrError::Value("dns4")),
        ("3601ff", MultiaddrError::Value("dns4")),
        ("a5030200ff", MultiaddrError::Value("p2p")),
        // A Unix path that does not start with a slash, ends with one, or is followed.
        ("90030161", MultiaddrError::Value("unix")),
        ("9003022f2f", MultiaddrError::Value("unix")),
        ("9003022f61060fa1", MultiaddrError::AfterPath),
    ];
    for (hex, error) in cases {
        assert_eq!(from(hex), Err(error), "{hex}");
    }
    assert_eq!(Multiaddr::from_bytes(&[0xde, 0x03].repeat(21)), Err(MultiaddrError::TooManyComponents));
    assert!(Multiaddr::from_bytes(&[0xde, 0x03].repeat(20)).is_ok());
    assert_eq!(Multiaddr::from_bytes(&[0xde, 0x03].repeat(513)), Err(MultiaddrError::TooLong));
    assert_eq!("/ws".repeat(2000).parse::<Multiaddr>(), Err(MultiaddrError::TooLong));
    assert_eq!("ip4/1.2.3.4".parse::<Multiaddr>(), Err(MultiaddrError::NoSlash));
    assert_eq!("/tcp/+80".parse::<Multiaddr>(), Err(MultiaddrError::Value("tcp")));
    let shown = "/\u{1b}[31m".parse::<Multiaddr>().unwrap_err().to_string();
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn peers_at_the_end() {
    let peer = Keypair::from_seed([1; 32]).peer_id();
    let relay = Keypair::from_seed([2; 32]).peer_id();
    let plain = addr("/ip4/1.2.3.4/tcp/4001");
    let full = plain.with_peer(relay).with_peer(peer);
    assert_eq!(full.to_string(), format!("/ip4/1.2.3.4/tcp/4001/p2p/{peer}"));
    assert_eq!((plain.peer_id(), full.peer_id()), (None, Some(peer)));
    assert_eq!(full.without_peer(), plain);
    assert_eq!(plain.without_peer(), plain);

    let circuit = plain.with_peer(relay).with(Protocol::P2pCircuit).unwrap();
    assert_eq!(circuit.peer_id(), None);
    assert_eq!(circuit.without_peer(), circuit);
    let through = circuit.with_peer(peer);
    assert_eq!(through.peer_id(), Some(peer));
    assert_eq!(through.without_peer(), circuit);
    assert_eq!((through.is_relayed(), through.scope()), (true, Scope::Relay));

    let alone = Multiaddr::empty().with_peer(peer);
    assert!(alone.without_peer().is_empty());
    let unix = addr("/unix/a/b");
    assert_eq!(unix.with_peer(peer), unix);
    assert_eq!(unix.with(Protocol::Tls), Err(MultiaddrError::AfterPath));
}

#[test]
fn components_come_and_go() {
    let mut built = Multiaddr::empty();
    assert!(!built.pop());
    built = built.with(Protocol::Dns("example.com")).unwrap();
    built = built.with(Protocol::Tcp(443)).unwrap();
    assert_eq!(built.with(Protocol::Sni("a/b")), Err(MultiaddrError::Value("sni")));
    assert_eq!(built.to_string(), "/dns/example.com/tcp/443");
    assert_eq!(built.dns(), Some(Protocol::Dns("example.com")));
    let resolved = built.with_resolved(IpAddr::V6(Ipv6Addr::LOCALHOST));
    assert_eq!(resolved.to_string(), "/ip6/::1/tcp/443");
    assert_eq!(resolved.dns(), None);
    assert!(built.pop() && built.pop() && built.is_empty());
}

#[test]
fn socket_addresses() {
    for (text, socket, protocol, plain_tcp) in [
        ("/ip4/1.2.3.4/tcp/5", "1.2.3.4:5", IpProtocol::Tcp, true),
        ("/ip6/2001:db8::1/udp/5/quic-v1", "[2001:db8::1]:5", IpProtocol::Udp, false),
        ("/ip6zone/3/ip6/fe80::1/tcp/5", "[fe80::1%3]:5", IpProtocol::Tcp, true),
        ("/ip4/1.2.3.4/tcp/5/ws", "1.2.3.4:5", IpProtocol::Tcp, false),
        (
            "/ip4/1.2.3.4/tcp/5/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
            "1.2.3.4:5",
            IpProtocol::Tcp,
            true,
        ),
        (
            "/ip4/1.2.3.4/tcp/5/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN/p2p-circuit",
            "1.2.3.4:5",
            IpProtocol::Tcp,
            false,
        ),
    ] {
        let socket = socket.parse().unwrap();
        assert_eq!(addr(text).to_socket_addr(), Some((socket, protocol)), "{text}");
        assert_eq!(addr(text).to_tcp_addr(), plain_tcp.then_some(socket), "{text}");
        assert_eq!(Multiaddr::from_socket_addr(socket, protocol).to_socket_addr(), Some((socket, protocol)));
    }
    for none in ["/ip4/1.2.3.4", "/dns4/a/tcp/5", "/ip6zone/eth0/ip6/fe80::1/tcp/5", "/memory/4", "/tcp/5"] {
        assert_eq!(addr(none).to_socket_addr(), None, "{none}");
    }
}

#[test]
fn scopes() {
    let cases = [
        (Scope::Loopback, "127.0.0.1 127.255.255.254 ::1 ::ffff:127.0.0.1 64:ff9b::7f00:1 2002:7f00:1::"),
        (Scope::LinkLocal, "169.254.0.1 fe80::1 febf::1"),
        (
            Scope::Private,
            "10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1 100.127.255.255 fc00::1 fdff::1 \
             ::ffff:10.0.0.1 64:ff9b::a00:1 64:ff9b:1::1 198.18.0.1 fec0::1 192.0.0.8",
        ),
        (
            Scope::Public,
            "1.1.1.1 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 192.169.0.1 126.0.0.1 128.0.0.1 \
             2606:4700::1111 2001:db8::1 64:ff9b::808:808 203.0.113.9",
        ),
        (Scope::Undialable, "0.0.0.0 0.1.2.3 224.0.0.1 255.255.255.255 240.0.0.1 :: ff02::1 ::1.2.3.4"),
    ];
    for (scope, ips) in cases {
        for ip in ips.split_whitespace() {
            let ip: IpAddr = ip.parse().unwrap();
            assert_eq!(Scope::of_ip(ip), scope, "{ip}");
            assert_eq!(Multiaddr::from_tcp_addr((ip, 1).into()).scope(), scope, "{ip}");
        }
    }
    for (text, scope) in [
        ("/dns4/example.com/tcp/1", Scope::Dns),
        ("/dnsaddr/localhost", Scope::Dns),
        ("/dns/localhost/tcp/1", Scope::Loopback),
        ("/dns6/a.LocalHost./tcp/1", Scope::Loopback),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/1", Scope::LinkLocal),
        ("/unix/tmp/x", Scope::Undialable),
        ("/tcp/1", Scope::Undialable),
    ] {
        assert_eq!(addr(text).scope(), scope, "{text}");
    }
}

#[derive(Debug, Clone)]
struct Part(Vec<u8>);

/// The bytes of any one component that may stand anywhere.
fn part() -> impl Strategy<Value = Part> {
    let name = "[a-zA-Z0-9.-]{1,20}";
    prop_oneof![
        any::<u32>().prop_map(|ip| one(Protocol::Ip4(Ipv4Addr::from(ip)))),
        any::<u128>().prop_map(|ip| one(Protocol::Ip6(Ipv6Addr::from(ip)))),
        any::<u16>().prop_map(|port| one(Protocol::Tcp(port))),
        any::<u16>().prop_map(|port| one(Protocol::Udp(port))),
        any::<u8>().prop_map(|bits| one(Protocol::IpCidr(bits))),
        any::<u64>().prop_map(|channel| one(Protocol::Memory(channel))),
        name.prop_map(|name| one(Protocol::Dns4(&name))),
        name.prop_map(|name| one(Protocol::Ip6Zone(&name))),
        "\\PC{1,20}".prop_map(|path| one(Protocol::HttpPath(&path))),
        any::<[u8; 32]>().prop_map(|seed| one(Protocol::P2p(Keypair::from_seed(seed).peer_id()))),
        (any::<[u8; 35]>(), 1u16..).prop_map(|(key, port)| {
            let bytes = [&key[..], &port.to_be_bytes()].concat();
            one(Protocol::Onion3(bytes.as_slice().try_into().expect("37 bytes")))
        }),
        any::<[u8; 20]>().prop_map(|digest| one(Protocol::Certhash(&[&[0x11, 20][..], &digest].concat()))),
        Just(one(Protocol::QuicV1)),
        Just(one(Protocol::P2pCircuit)),
    ]
}

fn one(protocol: Protocol<'_>) -> Part {
    Part(Multiaddr::empty().with(protocol).expect("a valid component").to_bytes())
}

proptest! {
    #[test]
    fn round_trips(parts in proptest::collection::vec(part(), 1..12)) {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.0.clone()).collect();
        let parsed = Multiaddr::from_bytes(&bytes).unwrap();
        prop_assert_eq!(parsed.iter().count(), parts.len());
        prop_assert_eq!(parsed.to_string().parse::<Multiaddr>(), Ok(parsed.clone()));
        let rebuilt = parsed.iter().try_fold(Multiaddr::empty(), |addr, part| addr.with(part));
        prop_assert_eq!(rebuilt, Ok(parsed.clone()));
        let mut shorter = parsed.clone();
        prop_assert!(shorter.pop());
        prop_assert_eq!(shorter.iter().count(), parts.len() - 1);
    }

    #[test]
    fn what_is_accepted_has_one_text(
        parts in proptest::collection::vec(part(), 1..4),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.0.clone()).collect();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(parsed) = Multiaddr::from_bytes(&bytes) {
            prop_assert_eq!(parsed.to_string().parse::<Multiaddr>(), Ok(parsed.clone()));
            let _ = (parsed.scope(), parsed.peer_id(), parsed.to_socket_addr(), parsed.without_peer());
        }
    }

    #[test]
    fn arbitrary_input_never_panics(bytes: Vec<u8>, text: String, name in "/(ip4|ip6|tcp|p2p|unix|onion|onion3|certhash|http-path|garlic32|dns)/\\PC{0,12}(/\\PC{0,8})?") {
        for parsed in [Multiaddr::from_bytes(&bytes), text.parse(), name.parse()].into_iter().flatten() {
            prop_assert_eq!(Multiaddr::from_bytes(parsed.as_bytes()), Ok(parsed.clone()));
            prop_assert_eq!(parsed.to_string().parse(), Ok(parsed));
        }
    }
}
