//! `peerage-peer`: links, HTTP routers, what is remembered, and
//! `/peerage/swarm/1.0.0`.

use bytes::Bytes;
use peerage_content::{cid_text, name};
use peerage_identity::{Multiaddr, PeerRecord, Scope};
use peerage_peer::{LINK_MAX, Link, fuzzing};
use peerage_wire::{Message as _, swarm};

use crate::identity::{addrs, keypair};
use crate::input::{Cuts, Values, however_cut};
use crate::{Decoder, text, texts};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder { name: "link", run: link, seeds: || texts(LINKS) },
    Decoder { name: "router-answer", run: answer, seeds: answer_seeds },
    Decoder { name: "router-url", run: url, seeds: || texts(URLS) },
    Decoder { name: "remembered-server", run: fuzzing::remembered, seeds: remembered_seeds },
    Decoder { name: "swarm", run: swarm, seeds: swarm_seeds },
];

const LINKS: &[&str] = &[
    "ipfs://bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku/a%20b/c?name=n%C3%A4me.txt&provider=\
     /ip4/192.0.2.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN&find=no",
    "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n/a b",
    "/ipfs/QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
    "IPFS://bafkqac3imvwgy3zao5xxe3de?name=..&name=x",
    "https://example.com/ipfs/QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
];

fn link(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let link: Link = match text.parse() {
        Ok(link) => link,
        Err(error) => {
            assert!(!error.to_string().chars().any(char::is_control), "an error can be printed");
            return false;
        }
    };
    assert!(link.path.iter().all(|component| name::check_entry(component).is_ok()));
    assert!(link.name.as_ref().is_none_or(|name| name::check(name).is_ok() && !name.starts_with('.')));
    assert!(link.default_name().is_ok_and(|name| name::check(&name).is_ok()) || link.default_name().is_err());
    let printed = link.to_string();
    // Hints and a path can be more than fits into a link once they are encoded.
    if printed.len() <= LINK_MAX {
        let again: Link = printed.parse().expect("what is printed can be typed");
        assert_eq!(
            (again.cid, &again.path, &again.name),
            (cid_text::to_v1(&link.cid), &link.path, &link.name)
        );
        assert_eq!(again.find, link.find);
        assert!(link.providers.starts_with(&again.providers));
        assert_eq!(again.to_string(), printed);
    }
    true
}

/// Whether it is lines, then the answer of a router in pieces.
fn answer(input: &[u8]) -> bool {
    let mut values = Values(input);
    let lines = values.u8().is_multiple_of(2);
    let found = however_cut(values.0, |pieces| fuzzing::router_answer(lines, pieces));
    let Ok(found) = found else { return false };
    let limits = peerage_peer::router::Limits::default();
    assert!(found.len() <= limits.records);
    for peer in &found {
        assert!(peer.addrs.len() <= limits.addrs && peer.protocols.len() <= limits.protocols);
    }
    !found.is_empty()
}

fn answer_seeds() -> Vec<Vec<u8>> {
    let peer = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
    let record = format!(
        "{{\"Schema\":\"peer\",\"ID\":\"{peer}\",\"Addrs\":[\"/ip4/203.0.113.5/tcp/4001/p2p/{peer}\",7],\
         \"Protocols\":[\"transport-bitswap\"],\"Extra\":[{{}}]}}"
    );
    let old = format!(
        "{{\"Schema\":\"bitswap\",\"Protocol\":\"transport-bitswap\",\"ID\":\"{peer}\",\"Addrs\":null}}"
    );
    let seed = |kind: u8, text: String| [&[kind], &Cuts::seed([32, 7, 1], text.as_bytes())[..]].concat();
    vec![
        seed(0, format!("{record}\n{old}\n\n")),
        seed(1, format!("{{\"Providers\":[{record},{old}],\"Peers\":null}}")),
        seed(1, "{\"Peers\":[1,[],{\"Schema\":\"unknown\"}]}".to_owned()),
    ]
}

const URLS: &[&str] = &[
    "https://delegated-ipfs.dev\n/routing/v1\napplication/x-ndjson; charset=utf-8",
    "http://[::1]:8080/a/?b=c\nhttps://example.com/x\napplication/json",
    "https://example.com\nhttp://example.com\ntext/html",
    "ftp://user@example.com\n//x",
];

/// A router's URL, where it sends us, and what it says that its answer is, in lines.
fn url(bytes: &[u8]) -> bool {
    let Some(text) = text(bytes) else { return false };
    let mut lines = text.splitn(3, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (url, location, content_type) = (next(), next(), next());
    let known = fuzzing::router_format(content_type);
    assert_eq!(fuzzing::router_format(&content_type.to_ascii_uppercase()), known, "case does not matter");
    fuzzing::router_url(url, location)
}

fn remembered_seeds() -> Vec<Vec<u8>> {
    let addr = |addr: &Multiaddr| {
        let bytes = addr.as_bytes();
        [&u16::try_from(bytes.len()).unwrap_or(0).to_le_bytes()[..], bytes].concat()
    };
    let addrs: Vec<Vec<u8>> = addrs().take(4).map(|it| addr(&it)).collect();
    vec![[&7u64.to_le_bytes()[..], &addrs[0]].concat(), [&[9; 8][..], &addrs.concat()].concat()]
}

/// Which message it is, then the message.
fn swarm(input: &[u8]) -> bool {
    let mut values = Values(input);
    let (kind, scope) = (values.u8() % 3, values.pick(&[Scope::Public, Scope::Private]).copied());
    let (local, scope) = (keypair().peer_id(), scope.unwrap_or(Scope::Public));
    let message = match kind {
        // With a record that holds in front; what follows adds to it or replaces it.
        0 => [
            swarm::Request { record: record(), ..swarm::Request::default() }.encode_to_vec(),
            values.0.to_vec(),
        ]
        .concat(),
        _ => values.0.to_vec(),
    };
    if kind < 2 {
        let Some(listed) = fuzzing::swarm_request(message.into(), local, scope) else { return false };
        assert!(!listed || scope == Scope::Public, "the record has a public address only");
        return true;
    }
    let Some(records) = fuzzing::swarm_response(message.into(), scope) else { return false };
    assert!(records.len() <= 20);
    for record in &records {
        assert!(record.envelope.len() <= 1024 && !record.addrs.is_empty());
        assert!(record.addrs.iter().all(|addr| addr.scope() == scope));
    }
    true
}

/// One of ours, with a public address.
fn record() -> Bytes {
    PeerRecord::seal(keypair(), 7, &[Multiaddr::from_tcp_addr(([8, 8, 8, 8], 4001).into())]).into()
}

fn swarm_seeds() -> Vec<Vec<u8>> {
    let root = Bytes::from_static(b"\x01\x55\x00\x00");
    let progress = Some(swarm::Progress { held: 1, total: 2, complete: false });
    let request = swarm::Request { root, record: Bytes::new(), progress };
    let response = swarm::Response { records: vec![record(), Bytes::from_static(b"x")], progress };
    let seed = |head: [u8; 2], message: Vec<u8>| [&head[..], &message].concat();
    vec![
        seed([0, 0], request.encode_to_vec()),
        seed([0, 1], request.encode_to_vec()),
        seed([1, 0], request.encode_to_vec()),
        seed([2, 0], response.encode_to_vec()),
    ]
}
