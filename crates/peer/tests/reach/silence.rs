//! What is shared by link alone is no business of the DHTs.

use std::fs;
use std::sync::Arc;

use peerage_content::Cid;
use peerage_dht::{Request, codec};
use peerage_identity::Keypair;
use peerage_peer::{Find, FindEvent, Network, Sources};

use crate::bare::{Bare, DHTS};
use crate::common::{Host, random};

/// Everybody asks everybody, as a look-up has room for twenty: so the recorder
/// hears of whatever is looked for.
async fn join(recorder: &Bare, seeds: &[&Host]) -> Host {
    let mut addrs = vec![recorder.full_addr()];
    addrs.extend(seeds.iter().map(|host| host.addr()));
    let host = Host::with(|config| {
        Arc::make_mut(&mut config.engine.routing.wan).private_addresses = true;
        config.seeds = addrs;
    })
    .await;
    for network in [Network::Wan, Network::Lan] {
        while !host.peer.dht_servers().await[&network].iter().any(|info| info.peer == recorder.id()) {
            tokio::task::yield_now().await;
        }
    }
    host
}

async fn to_its_end(mut find: Find) {
    while !matches!(find.next().await.unwrap(), FindEvent::Finished(_)) {}
}

/// True if this tells of the block, by its multihash or by where it is in the keyspace.
fn names(request: &Request, cid: &Cid) -> bool {
    let bytes = codec::encode_request(request);
    let multihash = cid.hash().to_bytes();
    let (digest, key) = (&multihash[2..], peerage_dht::Key::of(&multihash));
    let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    holds(digest) || holds(key.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_announced_is_named_by_nobody() {
    let recorder = Bare::start(&DHTS);
    let sharer = join(&recorder, &[]).await;
    let first = join(&recorder, &[&sharer]).await;
    let second = join(&recorder, &[&sharer, &first]).await;
    let bytes = random(3_000_000, 1);
    fs::write(sharer.path("file"), &bytes).unwrap();
    let share = sharer.share("file").await;
    let root = share.roots()[0].cid;
    // As a link says that is found only by itself.
    assert!(!Sources::default().find);
    for getter in [&first, &second] {
        let done = getter.get(root, "copy", &[sharer.addr()]).await.unwrap();
        assert!(fs::read(done.path).unwrap() == bytes);
    }
    // A getter that looks for a source in vain says nothing, either.
    let lost: Cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap();
    first.get(lost, "lost", &[sharer.addr()]).await.unwrap_err();

    // Requests before these have come when these have: each waits for answers.
    let stranger = Keypair::generate().unwrap().peer_id();
    for host in [&sharer, &first, &second] {
        to_its_end(host.peer.find_peer(stranger)).await;
    }
    let heard = recorder.requests();
    assert!(!heard.is_empty());
    for (network, request) in &heard {
        assert!(!names(request, &root) && !names(request, &lost), "{network:?}: {request:?}");
        let tells = matches!(request, Request::GetProviders { .. } | Request::AddProvider { .. });
        assert!(!tells, "{network:?}: {request:?}");
    }

    // It would have heard.
    to_its_end(sharer.peer.provide(root)).await;
    to_its_end(second.peer.find_providers(root)).await;
    let heard = recorder.requests();
    for network in [Network::Wan, Network::Lan] {
        let named = |wanted: fn(&Request) -> bool| {
            heard.iter().any(|(of, request)| *of == network && wanted(request) && names(request, &root))
        };
        assert!(named(|request| matches!(request, Request::FindNode { .. })), "{network:?}");
        assert!(named(|request| matches!(request, Request::GetProviders { .. })), "{network:?}");
    }
}
