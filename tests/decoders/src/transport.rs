//! `peerage-transport` but for yamux and port mapping: negotiation, Noise,
//! identify, ping, AutoNAT, mDNS, names.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use peerage_identity::Multiaddr;
use peerage_transport::dns::{self, Lookup, LookupError, Resolver};
use peerage_transport::noise::{FrameReader, FrameWriter, NoiseError};
use peerage_transport::{Role, autonat, fuzzing, identify, multistream, noise, ping};
use peerage_wire::{Message as _, frame, noise as wire};

use crate::identity::{addrs, keypair};
use crate::input::{Cuts, Values, however_cut};
use crate::io::{Script, run};
use crate::{Decoder, texts};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "multistream-dial",
        run: dial,
        seeds: || streams(&[&["/a/1"], &["na", "/b/22"], &["na", "na"]]),
    },
    Decoder {
        name: "multistream-listen",
        run: listen,
        seeds: || streams(&[&["/a/1"], &["/x", "/b/22"], &["ls"]]),
    },
    Decoder { name: "multistream-lazy", run: echo, seeds: || streams(&[&["/a/1"], &["na"], &["/b/22"]]) },
    Decoder { name: "noise-handshake", run: handshake, seeds: handshake_seeds },
    Decoder {
        name: "noise-payload",
        run: payload,
        seeds: || vec![vec![], b"\x22\x07\x12\x05/a/b1".to_vec()],
    },
    Decoder { name: "noise-frames", run: frames, seeds: frame_seeds },
    Decoder { name: "identify", run: identified, seeds: identify_seeds },
    Decoder { name: "ping", run: pinged, seeds: || vec![Cuts::seed([32, 1, 7], &[9; 64]), vec![0; 20]] },
    Decoder { name: "autonat-v1", run: autonat_v1, seeds: autonat_v1_seeds },
    Decoder { name: "autonat-v2", run: autonat_v2, seeds: autonat_v2_seeds },
    Decoder { name: "mdns", run: fuzzing::mdns_packet, seeds: mdns_seeds },
    Decoder { name: "dnsaddr", run: resolved, seeds: dnsaddr_seeds },
];

const PROTOCOLS: [&str; 2] = ["/a/1", "/b/22"];
const LIMIT: Duration = Duration::from_secs(10);

/// Streams that begin with multistream's header and go on with these tokens, and a payload.
fn streams(tokens: &[&[&str]]) -> Vec<Vec<u8>> {
    let one = |tokens: &&[&str]| {
        let mut stream = Vec::new();
        for token in [multistream::HEADER].iter().chain(*tokens) {
            stream.push(u8::try_from(token.len() + 1).unwrap_or(0));
            stream.extend_from_slice(token.as_bytes());
            stream.push(b'\n');
        }
        stream.extend_from_slice(b"payload");
        Cuts::seed([1, 5, 30], &stream)
    };
    tokens.iter().map(one).collect()
}

fn dial(input: &[u8]) -> bool {
    let (chosen, left, heard) = however_cut(input, |pieces| {
        let mut io = Script::of(pieces);
        let chosen = run(multistream::dial(&mut io, &PROTOCOLS, LIMIT)).map_err(|error| error.to_string());
        (chosen, io.left(), io.heard)
    });
    let Ok(chosen) = chosen else { return false };
    let (_, stream) = Cuts::of(input);
    let proposed: usize = PROTOCOLS[..=chosen].iter().map(|protocol| protocol.len() + 2).sum();
    assert_eq!(heard.len(), multistream::HEADER.len() + 2 + proposed);
    let read = multistream::HEADER.len() + 2 + chosen * 4 + PROTOCOLS[chosen].len() + 2;
    assert_eq!(stream.len() - left, read, "nothing beyond the answer is read");
    true
}

fn listen(input: &[u8]) -> bool {
    let choose = |proposed: &str| PROTOCOLS.iter().position(|protocol| *protocol == proposed);
    let (chosen, heard, left) = however_cut(input, |pieces| {
        let mut io = Script::of(pieces);
        let chosen = run(multistream::listen(&mut io, choose, LIMIT)).map_err(|error| error.to_string());
        let left = io.left();
        (chosen, io.heard, left)
    });
    let Ok(chosen) = chosen else { return false };
    assert!(heard.ends_with(format!("{}\n", PROTOCOLS[chosen]).as_bytes()));
    let (_, stream) = Cuts::of(input);
    let before = &stream[..stream.len() - left];
    assert!(before.ends_with(format!("{}\n", PROTOCOLS[chosen]).as_bytes()), "nothing beyond it is read");
    true
}

fn echo(input: &[u8]) -> bool {
    let rest = however_cut(input, |pieces| {
        let pieces = pieces.map(Bytes::copy_from_slice);
        fuzzing::echo(PROTOCOLS[0], pieces).map_err(|error| error.to_string())
    });
    let (_, stream) = Cuts::of(input);
    match stream.strip_prefix(&multistream::proposal(PROTOCOLS[0])[..]) {
        Some(payload) => assert_eq!(rest, Ok(Some(payload.to_vec())), "the rest is for who reads on"),
        None => assert!(!matches!(rest, Ok(Some(_)))),
    }
    matches!(rest, Ok(Some(_)))
}

/// Whoever does not know our keys gets no further than garbage gets.
fn handshake(input: &[u8]) -> bool {
    let mut values = Values(input);
    let role = if values.u8().is_multiple_of(2) { Role::Dialer } else { Role::Listener };
    let (cuts, stream) = Cuts::of(values.0);
    let mut io = Script::of(&mut cuts.pieces(stream));
    let secured = run(noise::handshake(&mut io, role, keypair(), None, &["/yamux/1.0.0"]));
    assert!(secured.is_err(), "nobody has proven anything");
    // That the first message was one.
    matches!(secured, Err(NoiseError::Malformed)) || io.heard.len() > 34
}

fn handshake_seeds() -> Vec<Vec<u8>> {
    let message = |len: usize| {
        let len_bytes = u16::try_from(len).unwrap_or(0).to_be_bytes();
        [&len_bytes[..], &vec![9; len][..]].concat()
    };
    let stream = [message(32), message(200)].concat();
    [0, 1].map(|role| [&[role], &Cuts::seed([32, 2, 9], &stream)[..]].concat()).to_vec()
}

/// The payload as it is, and as what follows one that is signed: then the key and
/// the signature hold unless the input replaces them.
fn payload(bytes: &[u8]) -> bool {
    let static_key = [3; 32];
    assert!(fuzzing::noise_payload(bytes, &static_key).is_err(), "nobody signed this");
    let mut signed = fuzzing::noise_payload_of(keypair(), &static_key, &["/first"]);
    signed.extend_from_slice(bytes);
    let Ok((key, muxers)) = fuzzing::noise_payload(&signed, &static_key) else { return false };
    assert_eq!(key, keypair().public());
    assert!(fuzzing::noise_payload(&signed, &[4; 32]).is_err(), "it is signed for one Noise key");
    let message = wire::NoiseHandshakePayload::decode(&signed[..]).expect("it was decoded");
    assert_eq!(message.extensions.unwrap_or_default().stream_muxers, muxers);
    true
}

/// Plaintext, sealed in frames as the input says, cut, and changed at one place.
fn frames(input: &[u8]) -> bool {
    let mut values = Values(input);
    let (place, change) = (usize::from(values.u16()), values.u8());
    let (cuts, plain) = Cuts::of(values.0);
    let (sealer, opener) = fuzzing::noise_pair(&[5; 32]);
    let mut writer = FrameWriter::new(sealer);
    for piece in cuts.pieces(plain) {
        writer.push(piece).expect("nonces are left");
        writer.seal().expect("nonces are left");
    }
    let mut sealed = writer.sealed().to_vec();
    let changed = place < sealed.len() && change != 0;
    if changed {
        sealed[place] ^= change;
    }
    let mut reader = FrameReader::new(opener);
    let (mut opened, mut forged) = (Vec::new(), false);
    for piece in cuts.pieces(&sealed) {
        reader.raw().put_slice(piece);
        loop {
            match reader.open() {
                Ok(Some(data)) => opened.extend_from_slice(&data),
                Ok(None) => break,
                Err(error) => {
                    assert!(matches!(error, NoiseError::Forged));
                    forged = true;
                    break;
                }
            }
        }
        if forged {
            break;
        }
        reader.release();
    }
    assert!(plain.starts_with(&opened), "what is opened was sealed");
    assert!(changed || (opened == plain && reader.is_empty()));
    // A changed length may wait for what does not come.
    assert!(!changed || forged || opened.len() < plain.len());
    !changed && !plain.is_empty()
}

fn frame_seeds() -> Vec<Vec<u8>> {
    let cut = Cuts::seed([9, 30, 1], &[7; 100]);
    vec![[&[0, 0, 0], &cut[..]].concat(), [&[20, 0, 1], &cut[..]].concat(), [&[1, 0, 4], &cut[..]].concat()]
}

fn identified(input: &[u8]) -> bool {
    let receive = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let received = run(identify::receive(&mut Script::of(pieces), LIMIT));
        received.map_err(|error| error.to_string())
    };
    let Ok(info) = however_cut(input, |pieces| receive(pieces)) else { return false };
    assert!(
        info.listen_addrs.len() <= identify::MAX_ADDRS && info.protocols.len() <= identify::MAX_PROTOCOLS
    );
    let texts = [&info.protocol_version, &info.agent_version];
    assert!(texts.into_iter().flatten().all(|text| text.len() <= identify::MAX_TEXT));
    let said = identify::encode(&info);
    let again = receive(&mut [&said[..]].into_iter()).expect("what we say we read");
    assert!(
        info.listen_addrs.starts_with(&again.listen_addrs) && info.protocols.starts_with(&again.protocols)
    );
    assert_eq!((&again.public_key, &again.observed_addr), (&info.public_key, &info.observed_addr));
    assert_eq!(
        receive(&mut [&identify::encode(&again)[..]].into_iter()),
        Ok(again),
        "what was said is said again"
    );
    let peer = keypair().peer_id();
    assert!(info.record(&peer).is_some() || info.addrs(&peer) == info.listen_addrs);
    true
}

fn identify_seeds() -> Vec<Vec<u8>> {
    let info = |addrs: Vec<Multiaddr>, record: Option<Vec<u8>>| identify::Info {
        public_key: Some(keypair().public()),
        observed_addr: addrs.first().cloned(),
        listen_addrs: addrs,
        protocols: vec!["/ipfs/id/1.0.0".to_owned(), "/ipfs/kad/1.0.0".to_owned()],
        protocol_version: Some("ipfs/0.1.0".to_owned()),
        agent_version: Some("peerage/0.1.0".to_owned()),
        signed_peer_record: record.map(Bytes::from),
    };
    let few: Vec<Multiaddr> = addrs().take(3).collect();
    let record = peerage_identity::PeerRecord::seal(keypair(), 3, &few);
    [info(few.clone(), None), info(few, Some(record)), identify::Info::default()]
        .map(|info| Cuts::seed([32, 32, 3], &identify::encode(&info)))
        .to_vec()
}

fn pinged(input: &[u8]) -> bool {
    let (cuts, stream) = Cuts::of(input);
    let mut io = Script::of(&mut cuts.pieces(stream));
    let whole = stream.len() / ping::PAYLOAD * ping::PAYLOAD;
    assert_eq!(run(ping::serve(&mut io)).is_ok(), whole == stream.len());
    assert_eq!(io.heard, stream[..whole], "what came goes back");
    whole > 0
}

/// Which message it is, then the message.
fn autonat_v1(input: &[u8]) -> bool {
    let mut values = Values(input);
    match values.u8() % 2 {
        0 => fuzzing::autonat_v1_request(values.0, keypair().peer_id()),
        _ => fuzzing::autonat_v1_response(values.0),
    }
}

fn autonat_v1_seeds() -> Vec<Vec<u8>> {
    use peerage_wire::autonat::{Message, message};
    let addr = || addrs().map(|addr| Bytes::from(addr.to_bytes()));
    let peer = message::PeerInfo {
        id: Some(keypair().peer_id().to_bytes().into()),
        addrs: addr().take(4).collect(),
    };
    let request = Message {
        r#type: Some(message::MessageType::Dial.into()),
        dial: Some(message::Dial { peer: Some(peer) }),
        dial_response: None,
    };
    let response = |status: message::ResponseStatus, addr| Message {
        r#type: Some(message::MessageType::DialResponse.into()),
        dial: None,
        dial_response: Some(message::DialResponse { status: Some(status.into()), status_text: None, addr }),
    };
    let reached = response(message::ResponseStatus::Ok, addr().next());
    let refused = response(message::ResponseStatus::EDialRefused, None);
    let all = [(0, request), (1, reached), (1, refused)];
    all.map(|(kind, message)| [&[kind], &message.encode_to_vec()[..]].concat()).to_vec()
}

/// Which message it is, or a whole exchange at a server.
fn autonat_v2(input: &[u8]) -> bool {
    let mut values = Values(input);
    match values.u8() % 4 {
        0 => fuzzing::autonat_v2_request(values.0),
        1 => fuzzing::autonat_v2_reply(values.0),
        2 => {
            let wanted = u32::from(values.u16());
            however_cut(values.0, |pieces| {
                run(async {
                    let (mut serving, request) =
                        autonat::v2::Serving::receive(Script::of(pieces)).await.ok()?;
                    Some((request, serving.take_data(0, wanted).await.map_err(|error| error.to_string())))
                })
            })
            .is_some()
        }
        _ => {
            let local = Multiaddr::from_tcp_addr(([192, 0, 2, 1], 4001).into());
            let backs = autonat::v2::DialBacks::new();
            let came = however_cut(values.0, |pieces| {
                run(autonat::v2::receive_dial_back(Script::of(pieces), &local, &backs))
                    .map_err(|it| it.to_string())
            });
            assert!(came.is_err(), "nobody waits for it");
            false
        }
    }
}

fn autonat_v2_seeds() -> Vec<Vec<u8>> {
    use peerage_wire::autonat_v2::{
        DialBack, DialDataRequest, DialDataResponse, DialRequest, DialResponse, Message, message::Msg,
    };
    let message = |msg| Message { msg: Some(msg) };
    let addrs = addrs().take(4).map(|addr| addr.to_bytes().into()).collect();
    let request = message(Msg::DialRequest(DialRequest { addrs, nonce: 7 }));
    let response = message(Msg::DialResponse(DialResponse { status: 200, addr_idx: 1, dial_status: 200 }));
    let wants = message(Msg::DialDataRequest(DialDataRequest { addr_idx: 0, num_bytes: 50_000 }));
    let data = message(Msg::DialDataResponse(DialDataResponse { data: vec![1; 200].into() }));
    let mut exchange = BytesMut::new();
    exchange.put(frame::encode(&request));
    exchange.put(frame::encode(&data));
    let plain = |kind: u8, message: &Message| [&[kind], &message.encode_to_vec()[..]].concat();
    vec![
        plain(0, &request),
        plain(1, &response),
        plain(1, &wants),
        plain(1, &data),
        [&[2, 150, 0], &Cuts::seed([32, 1, 2], &exchange)[..]].concat(),
        [&[3], &Cuts::seed([1, 1, 2], &frame::encode(&DialBack { nonce: 7 }))[..]].concat(),
    ]
}

fn mdns_seeds() -> Vec<Vec<u8>> {
    let few: Vec<Multiaddr> = addrs().take(3).collect();
    vec![
        fuzzing::mdns_question(),
        fuzzing::mdns_announcement(b"abcdefgh", keypair().peer_id(), &few),
        fuzzing::mdns_announcement(b"abcdefgh", keypair().peer_id(), &[]),
    ]
}

/// A name server: its answers, one a look-up, and how many were asked for.
struct Server(Mutex<(VecDeque<Vec<String>>, usize)>);

impl Server {
    /// Of text in which an empty line ends each answer.
    fn of(text: &str) -> Self {
        let answers = text.split("\n\n").map(|answer| answer.lines().map(str::to_owned).collect());
        Self(Mutex::new((answers.collect(), 0)))
    }

    fn answer(&self) -> Vec<String> {
        let mut server = self.0.lock().expect("nobody panics with it");
        server.1 += 1;
        server.0.pop_front().unwrap_or_default()
    }
}

impl Resolver for Server {
    fn lookup_ips<'a>(&'a self, _: &'a str) -> Lookup<'a, IpAddr> {
        let ips = self.answer().iter().filter_map(|line| line.parse().ok()).collect();
        Box::pin(std::future::ready(Ok(ips)))
    }

    fn lookup_txt<'a>(&'a self, _: &'a str) -> Lookup<'a, String> {
        let texts = self.answer();
        let found = if texts.is_empty() { Err(LookupError::NotFound) } else { Ok(texts) };
        Box::pin(std::future::ready(found))
    }
}

/// An address in the first line, then answers of name servers.
fn resolved(input: &[u8]) -> bool {
    let Some(text) = crate::text(input) else { return false };
    let (first, answers) = text.split_once('\n').unwrap_or((text, ""));
    let Ok(addr) = first.parse::<Multiaddr>() else { return false };
    let server = Server::of(answers);
    let found = run(dns::resolve(&server, &addr));
    let asked = server.0.lock().expect("nobody panics with it").1;
    assert!(asked <= dns::MAX_LOOKUPS);
    let Ok(found) = found else { return false };
    assert!((1..=dns::MAX_RESULTS).contains(&found.len()));
    assert!(found.iter().all(|addr| addr.dns().is_none()), "no name is left");
    asked > 0
}

fn dnsaddr_seeds() -> Vec<Vec<u8>> {
    texts(&[
        "/dns4/a/tcp/1\n192.0.2.1\n::1",
        "/dnsaddr/a/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN\ndnsaddr=/dnsaddr/b/p2p/\
         QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN\n\ndnsaddr=/ip4/192.0.2.1/tcp/1/p2p/\
         QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN\nx",
        "/dnsaddr/a\ndnsaddr=/dnsaddr/a\ndnsaddr=/dns/b/tcp/1\n\n192.0.2.7",
        "/ip4/192.0.2.1/tcp/1",
    ])
}
