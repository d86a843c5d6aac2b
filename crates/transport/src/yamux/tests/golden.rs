//! Golden bytes, and the codec's round trip.

use proptest::prelude::*;

use super::pair::Lone;
use crate::yamux::frame::{Flags, HEADER_LEN, Header, Kind};
use crate::yamux::{Config, Event, GoAwayCode, ProtocolError, Role, StreamId};

const VECTORS: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/libp2p/wire-frames.json"));

fn vector(name: &str) -> Vec<u8> {
    let all: serde_json::Value = serde_json::from_str(VECTORS).unwrap();
    let of_name = |vector: &&serde_json::Value| vector["name"] == name;
    let found = all["vectors"].as_array().unwrap().iter().find(of_name).unwrap();
    hex::decode(found["hex"].as_str().unwrap()).unwrap()
}

#[test]
fn headers_encode_to_the_vectors() {
    let one = StreamId::new(1);
    for (name, header) in [
        ("yamux window-update SYN stream 1 delta 0", Header::window_update(one, Flags::SYN, 0)),
        ("yamux ACK stream 1", Header::window_update(one, Flags::ACK, 0)),
        ("yamux FIN", Header::window_update(one, Flags::FIN, 0)),
        ("yamux RST", Header::window_update(one, Flags::RST, 0)),
        ("yamux ping SYN", Header::ping(Flags::SYN, 7)),
        ("yamux ping ACK", Header::ping(Flags::ACK, 7)),
        ("yamux goaway normal", Header::go_away(0)),
    ] {
        let bytes: [u8; HEADER_LEN] = vector(name).try_into().unwrap();
        assert_eq!(header.encode(), bytes, "{name}");
        assert_eq!(Header::decode(bytes).unwrap(), header, "{name}");
    }
}

#[test]
fn the_machine_speaks_the_vectors() {
    let mut server = Lone::new(Role::Server, Config::default());
    let now = server.now;
    for name in ["yamux data SYN stream 1", "yamux ping SYN", "yamux goaway normal"] {
        server.machine.handle_input(vector(name).into(), now).unwrap();
    }
    let id = StreamId::new(1);
    assert_eq!(
        server.events(),
        [Event::StreamOpened { id }, Event::Readable { id }, Event::GoAway { code: GoAwayCode::NORMAL }]
    );
    let mut chunks = Vec::new();
    server.machine.poll_transmit(now, 1000, &mut chunks);
    let sent: Vec<u8> = chunks.iter().flat_map(|chunk| chunk.as_ref().to_vec()).collect();
    assert_eq!(sent, [vector("yamux ping ACK"), vector("yamux ACK stream 1")].concat());

    let mut client = Lone::new(Role::Client, Config::default());
    client.machine.open(now).unwrap();
    chunks.clear();
    client.machine.poll_transmit(now, 1000, &mut chunks);
    assert_eq!(chunks[0].as_ref(), vector("yamux window-update SYN stream 1 delta 0"));
}

#[test]
fn bad_headers_are_told_apart() {
    let mut bytes = Header::go_away(0).encode();
    bytes[1] = 4;
    assert_eq!(Header::decode(bytes), Err(ProtocolError::UnknownType(4)));
    bytes[0] = 1;
    assert_eq!(Header::decode(bytes), Err(ProtocolError::UnknownVersion(1)));
}

proptest! {
    #[test]
    fn headers_round_trip(kind in 0..4_u8, flags: u16, id: u32, len: u32) {
        let kind = [Kind::Data, Kind::WindowUpdate, Kind::Ping, Kind::GoAway][usize::from(kind)];
        let header = Header { kind, flags: Flags::from_bits(flags), id: StreamId::new(id), len };
        prop_assert_eq!(Header::decode(header.encode()).unwrap(), header);
    }
}
