//! A divided world, and hosts behind NATs.

use std::time::Duration;

use peerage_dht::LookupError;

use super::{close, config, measure, tally};
use crate::figures::Figures;
use crate::host::{HostId, Nat};
use crate::world::{BOOTSTRAP, Kind, Outcome, Setup, World};

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

/// As many hosts behind NATs as others: all find out by themselves who can be
/// dialled, and serve if they can.
fn auto(peers: u32, seed: u64, figures: &mut Figures) {
    let mut world = World::new(Setup { clients: peers, auto: true, ..Setup::new(peers, seed) }, config());
    let all = HostId::try_from(world.hosts.len()).unwrap_or(0);
    for host in BOOTSTRAP..all {
        world.run_for(Duration::from_secs(60) / all);
        world.restart(host, true);
    }
    world.run_for(Duration::from_secs(1_200));
    for (name, nat) in [("open", Nat::Open), ("forwarded", Nat::Forwarded)] {
        let those = || world.hosts[BOOTSTRAP as usize..].iter().filter(|host| host.nat == nat);
        let serve = figures.share(
            &format!("{name}_serve"),
            those().filter(|host| host.serves).count() as u64,
            those().count() as u64,
        );
        figures.promise(serve >= 990_000, || format!("{serve} ppm of {name} hosts serve"));
    }
    let wrong = world.hosts.iter().filter(|host| host.serves && !host.nat.is_open()).count() as u64;
    figures.set("closed_serve", wrong);
    figures.promise(wrong == 0, || format!("{wrong} serve that nobody can dial"));
    measure::provide(&mut world, 100, Duration::from_secs(30));
    let provides = tally::finish(&mut world, Duration::from_secs(90));
    let provided = tally::provides(figures, "auto_provide", &provides);
    figures.promise(provided >= 990_000, || format!("{provided} ppm of provides succeeded"));
    measure::find(&mut world, &measure::records(&provides), 200, Duration::from_secs(30));
    let done = tally::finish(&mut world, Duration::from_secs(90));
    let found = tally::finds(figures, "auto_find", &done);
    figures.promise(found >= 990_000, || format!("{found} ppm found the provider"));
    close(figures, &world);
}

/// As many clients behind NATs as servers, who know what they are; and then the
/// same by those who have to find out.
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
    auto(peers, seed, &mut figures);
    figures
}
