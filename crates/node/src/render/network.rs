//! What look-ups found and how this peer stands, for people.

use std::io::{self, Write};

use peerage_content::name::escape;

use super::table::Align;
use super::text::{bytes, millis, plural, seconds, tame};
use crate::api::{
    Announcements, DhtPeer, DhtState, Finished, Limits, Located, PeerLine, Place, Provided, Status,
    StoreState,
};

/// A place as people call it.
pub(super) const fn place(place: Place) -> &'static str {
    match place {
        Place::Wan => "WAN DHT",
        Place::Lan => "LAN DHT",
        Place::Router => "router",
        Place::Local => "local network",
        Place::Unknown => "elsewhere",
    }
}

/// Columns and header of who was found.
pub(super) const FOUND: (&[Align], &[&str]) = (&[Align::Left; 3], &["PEER", "FOUND IN", "ADDRESSES"]);

/// One row a peer.
pub(super) fn found_row(peer: &Located) -> Vec<String> {
    vec![escape(&peer.peer_id), place(peer.source).to_owned(), addresses(&peer.addrs)]
}

/// Columns and header of `peers`.
pub(super) const PEERS: (&[Align], &[&str]) = {
    use Align::{Left, Right};
    (
        &[Left, Left, Right, Right, Right, Right, Left, Left],
        &["PEER", "DIRECTION", "RTT", "SENT", "RECEIVED", "SCORE", "ADDRESS", "AGENT"],
    )
};

/// One row a connection.
pub(super) fn peer_row(peer: PeerLine) -> Vec<String> {
    vec![
        peer.peer_id,
        tame(&peer.direction),
        peer.rtt_seconds.map(millis).unwrap_or_default(),
        bytes(peer.sent_bytes),
        bytes(peer.received_bytes),
        peer.score.to_string(),
        escape(&peer.addr),
        peer.agent.as_deref().map(escape).unwrap_or_default(),
    ]
}

/// Columns and header of `peers --dht`.
pub(super) const DHT_PEERS: (&[Align], &[&str]) =
    (&[Align::Left, Align::Right, Align::Left, Align::Left], &["NETWORK", "BUCKET", "PEER", "ADDRESSES"]);

/// One row a peer.
pub(super) fn dht_peer_row(peer: &DhtPeer) -> Vec<String> {
    let (network, bucket) = (place(peer.network).to_owned(), peer.bucket.to_string());
    vec![network, bucket, escape(&peer.peer_id), addresses(&peer.addrs)]
}

/// Addresses without the peer's id, which stands beside them.
fn addresses(addrs: &[String]) -> String {
    let bare = |addr: &String| {
        let bare = addr.rsplit_once("/p2p/").map_or(addr.as_str(), |(bare, _)| bare);
        escape(bare)
    };
    addrs.iter().map(bare).collect::<Vec<_>>().join(" ")
}

/// The addresses of one peer, ready to be used with `--from` and `connect`.
pub(super) fn print_located(peer: &Located, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{} ({})", escape(&peer.peer_id), place(peer.source))?;
    peer.addrs.iter().try_for_each(|addr| writeln!(out, "  {}", escape(addr)))
}

/// What became of a record.
pub(super) fn print_provided(provided: &Provided, out: &mut dyn Write) -> io::Result<()> {
    let network = place(provided.network);
    match &provided.problem {
        Some(problem) => writeln!(out, "{network}: not announced, {}", tame(problem)),
        None => {
            let servers = plural(provided.stored, "server", "servers");
            writeln!(out, "{network}: {} announced to {servers}", provided.cid)
        }
    }
}

/// One line on a look-up that is over.
pub(super) fn finished_text(finished: &Finished) -> String {
    let mut text = format!("asked {}", plural(finished.asked(), "peer", "peers"));
    if finished.found > 0 {
        text.push_str(&format!(", found {}", finished.found));
    }
    text.push_str(&format!(", in {}", seconds(finished.seconds)));
    let routers = finished.networks.get(&Place::Router);
    if let Some(problem) = routers.and_then(|report| report.problem.as_deref()) {
        text.push_str(&format!("; {}", escape(problem)));
    }
    text
}

/// How far a look-up is.
pub(super) fn searching_text(message: &str, asked: u64, found: u64, closest_bits: Option<u64>) -> String {
    let mut text = tame(message);
    if asked > 0 {
        text.push_str(&format!(", {} asked", plural(asked, "peer", "peers")));
    }
    if let Some(bits) = closest_bits {
        text.push_str(&format!(", the closest within 2^{bits}"));
    }
    if found > 0 {
        text.push_str(&format!(", {found} found"));
    }
    text
}

/// A screen of it.
pub(super) fn print_status(status: &Status, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "peer           {}", escape(&status.peer_id))?;
    writeln!(out, "agent          {}", escape(&status.agent))?;
    if !status.running {
        writeln!(out, "running        no: `peerage up` runs the peer of this repository")?;
        return print_store(&status.store, out);
    }
    writeln!(out, "reachability   {}", tame(&status.reachability))?;
    for addr in &status.addrs {
        writeln!(out, "address        {}", escape(addr))?;
    }
    if let Some(mapping) = &status.mapping {
        let problem = mapping.problem.as_deref().unwrap_or("nothing mapped yet");
        let text = match mapping.external.is_empty() {
            true => tame(problem),
            false => escape(&mapping.external.join(" ")),
        };
        writeln!(out, "router         {text}")?;
    }
    let connections = status.connections;
    writeln!(
        out,
        "connections    {} ({} inbound, {} outbound)",
        connections.inbound + connections.outbound,
        connections.inbound,
        connections.outbound
    )?;
    writeln!(out, "sent           {}", bytes(status.sent_bytes))?;
    writeln!(out, "received       {}", bytes(status.received_bytes))?;
    if status.dht.is_empty() {
        writeln!(out, "DHT            off")?;
    }
    for dht in &status.dht {
        print_dht(dht, out)?;
    }
    for announcements in &status.announcements {
        print_announcements(announcements, out)?;
    }
    match &status.mdns {
        Some(mdns) => writeln!(
            out,
            "mDNS           {} found, on {}{}",
            plural(mdns.peers, "peer", "peers"),
            plural(mdns.links, "link", "links"),
            mdns.problem.as_deref().map(|problem| format!("; {}", tame(problem))).unwrap_or_default()
        )?,
        None => writeln!(out, "mDNS           silent")?,
    }
    if let Some(limits) = &status.limits {
        writeln!(out, "limits         {}", limits_text(limits))?;
    }
    print_store(&status.store, out)
}

/// One line a limit.
pub(super) fn print_limits(limits: &Limits, out: &mut dyn Write) -> io::Result<()> {
    let rate = |rate: Option<u64>| rate.map_or("no limit".to_owned(), |rate| format!("{}/s", bytes(rate)));
    writeln!(out, "up             {}", rate(limits.up))?;
    writeln!(out, "down           {}", rate(limits.down))?;
    writeln!(out, "up per peer    {}", rate(limits.up_per_peer))?;
    writeln!(out, "down per peer  {}", rate(limits.down_per_peer))?;
    for hours in &limits.schedule {
        writeln!(out, "schedule       {}", tame(hours))?;
    }
    if let Some(most) = limits.max_peers {
        writeln!(out, "connections    {most}")?;
    }
    if let Some(most) = limits.max_memory {
        writeln!(out, "memory         {}", bytes(most))?;
    }
    Ok(())
}

/// The limits that there are, on one line.
fn limits_text(limits: &Limits) -> String {
    let rates = [
        ("up", limits.up),
        ("down", limits.down),
        ("up per peer", limits.up_per_peer),
        ("down per peer", limits.down_per_peer),
    ];
    let rates = rates.iter().filter_map(|(name, rate)| Some(format!("{name} {}/s", bytes((*rate)?))));
    let peers = limits.max_peers.map(|most| plural(most, "connection", "connections"));
    let memory = limits.max_memory.map(|most| format!("memory {}", bytes(most)));
    let all: Vec<String> = rates.chain(peers).chain(memory).collect();
    if all.is_empty() { "none".to_owned() } else { all.join(", ") }
}

fn print_store(store: &StoreState, out: &mut dyn Write) -> io::Result<()> {
    let allowed = store.max_bytes.map_or(String::new(), |max| format!(" of {} allowed", bytes(max)));
    writeln!(
        out,
        "store          {}, {}; {} and {} of your files, {} on disk{allowed}",
        plural(store.pins, "pin", "pins"),
        plural(store.shares, "kept share", "kept shares"),
        plural(store.blocks, "block", "blocks"),
        plural(store.references, "piece", "pieces"),
        bytes(store.disk_bytes)
    )?;
    if let Some(dead) = store.dead_bytes.filter(|dead| *dead > 0) {
        writeln!(out, "  of no use    {}: `peerage gc` gives them back", bytes(dead))?;
    }
    Ok(())
}

fn print_dht(dht: &DhtState, out: &mut dyn Write) -> io::Result<()> {
    let failing: u64 = dht.buckets.iter().map(|bucket| bucket.failing).sum();
    let failing = if failing > 0 { format!(", {failing} failing") } else { String::new() };
    writeln!(
        out,
        "{:<14} {}, {} in {}{failing}",
        place(dht.network),
        tame(&dht.mode),
        plural(dht.peers, "peer", "peers"),
        plural(dht.buckets.iter().filter(|bucket| bucket.peers > 0).count() as u64, "bucket", "buckets"),
    )?;
    let filled: Vec<String> = dht
        .buckets
        .iter()
        .filter(|bucket| bucket.peers > 0)
        .map(|bucket| format!("{}:{}", bucket.bucket, bucket.peers))
        .collect();
    if !filled.is_empty() {
        writeln!(out, "  buckets      {}", filled.join(" "))?;
    }
    writeln!(
        out,
        "  kept         {}, {} ({})",
        plural(dht.provider_records, "provider record", "provider records"),
        plural(dht.values, "value", "values"),
        bytes(dht.value_bytes)
    )?;
    writeln!(
        out,
        "  under way    {}, {}",
        plural(dht.lookups, "look-up", "look-ups"),
        plural(dht.requests, "request", "requests")
    )
}

fn print_announcements(told: &Announcements, out: &mut dyn Write) -> io::Result<()> {
    write!(
        out,
        "{:<14} announces {}, {} to be told",
        place(told.network),
        plural(told.keys, "block", "blocks"),
        told.backlog
    )?;
    match told.next_due_seconds {
        Some(due) if told.keys > 0 => write!(out, ", the next in {}", seconds(due))?,
        _ => {}
    }
    if told.keys > 0 && !told.online {
        write!(out, "; nobody to tell yet")?;
    }
    let failed = match told.records_failed {
        0 => String::new(),
        failed => format!(", {failed} failed"),
    };
    writeln!(out, "; {} sent{failed}", plural(told.records, "record", "records"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{BucketState, Connections, LookupReport, MappingState};

    fn text(print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_status_is_a_screen_of_lines() {
        let dht = DhtState {
            network: Place::Wan,
            mode: "client".into(),
            peers: 3,
            buckets: vec![
                BucketState { bucket: 0, peers: 2, failing: 1, waiting: 0 },
                BucketState { bucket: 1, peers: 0, failing: 0, waiting: 0 },
                BucketState { bucket: 2, peers: 1, failing: 0, waiting: 0 },
            ],
            provider_records: 1,
            values: 0,
            value_bytes: 0,
            lookups: 0,
            requests: 2,
        };
        let told = Announcements {
            network: Place::Wan,
            online: false,
            keys: 4,
            backlog: 1,
            records: 60,
            records_failed: 2,
            next_due_seconds: Some(90.0),
        };
        let status = Status {
            running: true,
            peer_id: "12D3".into(),
            agent: "peerage/1\u{1b}".into(),
            addrs: vec!["/ip4/192.0.2.1/tcp/1/p2p/12D3".into()],
            reachability: "unknown".into(),
            mapping: Some(MappingState {
                external: vec![],
                problem: Some("the router does not answer".into()),
            }),
            connections: Connections { inbound: 1, outbound: 2 },
            dht: vec![dht],
            mdns: None,
            announcements: vec![told],
            store: StoreState {
                pins: 1,
                shares: 2,
                blocks: 3,
                references: 1,
                disk_bytes: 4000,
                max_bytes: Some(5000),
                dead_bytes: Some(1000),
            },
            limits: Some(Limits { up: Some(4_000_000), max_peers: Some(9), ..Limits::default() }),
            sent_bytes: 5,
            received_bytes: 6000,
        };
        assert_eq!(
            text(|out| print_status(&status, out)),
            "peer           12D3\nagent          peerage/1\\u{1b}\nreachability   unknown\n\
             address        /ip4/192.0.2.1/tcp/1/p2p/12D3\nrouter         the router does not answer\n\
             connections    3 (1 inbound, 2 outbound)\nsent           5 B\nreceived       6.0 kB\n\
             WAN DHT        client, 3 peers in 2 buckets, 1 failing\n  buckets      0:2 2:1\n  \
             kept         1 provider record, 0 values (0 B)\n  under way    0 look-ups, 2 requests\n\
             WAN DHT        announces 4 blocks, 1 to be told, the next in 1 min 30 s; nobody to tell yet; \
             60 records sent, 2 failed\n\
             mDNS           silent\nlimits         up 4.0 MB/s, 9 connections\n\
             store          1 pin, 2 kept shares; 3 blocks and 1 piece of your files, 4.0 kB on disk of 5.0 kB allowed\n  \
             of no use    1.0 kB: `peerage gc` gives them back\n"
        );
    }

    #[test]
    fn limits_are_a_line_each() {
        let limits = Limits {
            down: Some(500_000),
            schedule: vec!["22:00-06:00 up=none\u{1b}".into()],
            max_memory: Some(64_000_000),
            ..Limits::default()
        };
        let lines = text(|out| print_limits(&limits, out));
        assert_eq!(
            lines,
            "up             no limit\ndown           500.0 kB/s\nup per peer    no limit\n\
             down per peer  no limit\nschedule       22:00-06:00 up=none\\u{1b}\nmemory         64.0 MB\n"
        );
        assert_eq!(limits_text(&Limits::default()), "none");
    }

    #[test]
    fn of_a_peer_that_does_not_run_only_the_store_is_known() {
        let status = Status { peer_id: "12D3".into(), agent: "peerage/1".into(), ..Status::default() };
        let said = text(|out| print_status(&status, out));
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 4, "{said}");
        assert!(lines[2].contains("peerage up") && lines[3].starts_with("store"), "{said}");
        // An owner of before is one that runs.
        let mut old = serde_json::to_value(&status).unwrap();
        old.as_object_mut().unwrap().remove("running");
        assert!(serde_json::from_value::<Status>(old).unwrap().running);
    }

    #[test]
    fn look_ups_in_words() {
        assert_eq!(searching_text("looking", 0, 0, None), "looking");
        assert_eq!(
            searching_text("looking", 2, 1, Some(250)),
            "looking, 2 peers asked, the closest within 2^250, 1 found"
        );
        let report = LookupReport { asked: 3, ..LookupReport::default() };
        let finished = Finished { found: 1, seconds: 0.25, networks: [(Place::Wan, report)].into() };
        assert_eq!(finished_text(&finished), "asked 3 peers, found 1, in 0.2 s");
        let problem = Some("http://a: status 500".to_owned());
        let report = LookupReport { asked: 1, problem, ..LookupReport::default() };
        let finished = Finished { found: 1, seconds: 0.25, networks: [(Place::Router, report)].into() };
        assert_eq!(finished_text(&finished), "asked 0 peers, found 1, in 0.2 s; http://a: status 500");
    }

    #[test]
    fn what_was_found_and_announced() {
        let peer = Located {
            peer_id: "12D3".into(),
            addrs: vec!["/ip4/192.0.2.1/tcp/1/p2p/12D3".into(), "/dns/a\u{1b}/tcp/1".into()],
            source: Place::Lan,
        };
        assert_eq!(found_row(&peer), ["12D3", "LAN DHT", "/ip4/192.0.2.1/tcp/1 /dns/a\\u{1b}/tcp/1"]);
        assert_eq!(
            text(|out| print_located(&peer, out)),
            "12D3 (LAN DHT)\n  /ip4/192.0.2.1/tcp/1/p2p/12D3\n  /dns/a\\u{1b}/tcp/1\n"
        );
        let row = DhtPeer { network: Place::Wan, bucket: 3, peer_id: "12D3".into(), addrs: vec![] };
        assert_eq!(dht_peer_row(&row), ["WAN DHT", "3", "12D3", ""]);
        let provided = |problem: Option<&str>, stored| {
            let problem = problem.map(str::to_owned);
            let provided = Provided { cid: "bafy".into(), network: Place::Wan, stored, problem };
            text(|out| print_provided(&provided, out))
        };
        assert_eq!(provided(None, 20), "WAN DHT: bafy announced to 20 servers\n");
        assert_eq!(provided(Some("nobody to tell"), 0), "WAN DHT: not announced, nobody to tell\n");
    }
}
