//! A divided world, and hosts behind NATs.

use std::time::Duration;

use peerage_dht::LookupError;

use super::{close, config, measure, tally};
use crate::figures::Figures;
use crate::host::Nat;
use crate::world::{Kind, Outcome, Setup, World};

/// A third cannot be heard by the others for ten minutes; then all is well again.
pub(super) fn partition(peers: u32, seed: u64) -> Figures {
    let mut world = World::new(Setup::new(peers, seed), config());
    let mut figures = Figures::default();
    world.run_for(Duration::from_secs(20));
    measure::provide(&mut world, 200, Duration::from_secs(30));
    let before = measure::records(&tally::finish(&mut world, Duration::from_secs(60)));
    divide(&mut world, 3);
    // One way only: what the third sends is lost, what is sent to it arrives.
    world.block(1, 0);
    world.run_for(Duration::from_secs(300));
    measure::find(&mut world, &before, 200, Duration::from_secs(120));
    measure::provide(&mut world, 200, Duration::from_secs(120));
    let done = tally::finish(&mut world, Duration::from_secs(90));
    tally::finds(&mut figures, "divided", &done);
    tally::provides(&mut figures, "divided_provide", &done);
    let during = measure::records(&done);
    world.heal();
    // A table is refreshed every ten minutes.
    world.run_for(Duration::from_secs(720));
    for (name, records, promised) in [("healed_old", &before, 999_000), ("healed_new", &during, 990_000)] {
        measure::find(&mut world, records, 200, Duration::from_secs(30));
        let done = tally::finish(&mut world, Duration::from_secs(90));
        let found = tally::finds(&mut figures, name, &done);
        figures.promise(found >= promised, || format!("{name}: {found} ppm found the provider"));
    }
    close(&mut figures, &world);
    figures
}

/// One in so many hosts is on the other side.
pub(super) fn divide(world: &mut World, one_in: u64) {
    for host in 0..world.hosts.len() {
        world.hosts[host].side = u8::from(world.rng.below(one_in) == 0);
    }
}

/// As many clients behind NATs as servers.
pub(super) fn nat(peers: u32, seed: u64) -> Figures {
    let mut world = World::new(Setup { clients: peers, ..Setup::new(peers, seed) }, config());
    let mut figures = Figures::default();
    world.run_for(Duration::from_secs(20));
    measure::provide(&mut world, 200, Duration::from_secs(30));
    let records = measure::records(&tally::finish(&mut world, Duration::from_secs(60)));
    let client = |host: &crate::host::Host| host.nat != Nat::Open;
    measure::find_from(&mut world, &records, 200, Duration::from_secs(30), client);
    let done = tally::finish(&mut world, Duration::from_secs(90));
    let found = tally::finds(&mut figures, "client_find", &done);
    figures.promise(found >= 999_000, || format!("{found} ppm of clients found the provider"));
    // Nobody can be told an address of theirs, so they cannot provide.
    let Some(client) = measure::someone(&mut world, |host| host.nat == Nat::Symmetric) else {
        return figures;
    };
    let key = measure::new_key(&mut world);
    world.query(client, Kind::Provide, &key, None);
    let done = tally::finish(&mut world, Duration::from_secs(90));
    let refused = matches!(&done[..], [one] if matches!(one.outcome, Outcome::Refused(LookupError::NoAddrs)));
    figures.promise(refused, || "a client without addresses provides".to_owned());
    // Who looks for a server by its id finds where it is.
    for _ in 0..100 {
        world.run_for(Duration::from_millis(150));
        let server = measure::someone(&mut world, |host| host.nat == Nat::Open);
        let (Some(server), Some(by)) = (server, measure::someone(&mut world, |_| true)) else { break };
        let peer = world.host(server).peer;
        if server != by {
            world.query(by, Kind::Peer(peer), peer.as_bytes(), Some(server));
        }
    }
    let done = tally::finish(&mut world, Duration::from_secs(90));
    let found = tally::finds(&mut figures, "find_peer", &done);
    figures.promise(found >= 990_000, || format!("{found} ppm of servers were found by their id"));
    let tables = world.hosts.iter().filter_map(|host| host.node.as_ref());
    let clients = tables
        .flat_map(|node| node.table())
        .filter(|info| crate::host::number(&info.peer).is_some_and(|host| world.host(host).nat != Nat::Open));
    let clients = clients.count();
    figures.promise(clients == 0, || format!("{clients} clients in tables"));
    close(&mut figures, &world);
    figures
}
