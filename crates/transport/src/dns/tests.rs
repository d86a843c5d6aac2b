//! `/dns*` and `/dnsaddr` against a name server made of tables.

use std::collections::BTreeMap;

use super::*;

/// A small world of names; counts what it is asked.
#[derive(Default)]
struct World {
    ips: BTreeMap<String, Vec<IpAddr>>,
    txt: BTreeMap<String, Vec<String>>,
    asked: std::sync::Mutex<usize>,
}

impl World {
    fn ip(mut self, name: &str, ips: &[&str]) -> Self {
        self.ips.insert(name.to_owned(), ips.iter().map(|ip| ip.parse().unwrap()).collect());
        self
    }

    fn txt(mut self, name: &str, records: &[&str]) -> Self {
        let records = records.iter().map(|&record| record.to_owned()).collect();
        self.txt.insert(format!("_dnsaddr.{name}"), records);
        self
    }

    fn answer<T: Clone>(&self, map: &BTreeMap<String, Vec<T>>, name: &str) -> Result<Vec<T>, LookupError> {
        *self.asked.lock().unwrap() += 1;
        map.get(name).cloned().ok_or(LookupError::NotFound)
    }

    async fn resolve(&self, addr: &str) -> Result<Vec<String>, ResolveError> {
        let found = resolve(self, &addr.parse().unwrap()).await?;
        Ok(found.iter().map(ToString::to_string).collect())
    }
}

impl Resolver for World {
    fn lookup_ips<'a>(&'a self, name: &'a str) -> Lookup<'a, IpAddr> {
        Box::pin(async move { self.answer(&self.ips, name) })
    }

    fn lookup_txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        Box::pin(async move { self.answer(&self.txt, name) })
    }
}

const A: &str = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
const B: &str = "QmVMT29id3TUASyfZZ6k9hmNyc2nYabCo4uMSpDw4zrgDk";

#[tokio::test(start_paused = true)]
async fn names_become_addresses_of_the_right_family() {
    let world = World::default().ip("example.org", &["192.0.2.1", "2001:db8::1", "192.0.2.1"]);
    let both = ["/ip4/192.0.2.1/tcp/1", "/ip6/2001:db8::1/tcp/1"];
    assert_eq!(world.resolve("/dns/example.org/tcp/1").await.unwrap(), both);
    assert_eq!(world.resolve("/dns4/example.org/tcp/1").await.unwrap(), both[..1]);
    assert_eq!(world.resolve("/dns6/example.org/tcp/1").await.unwrap(), both[1..]);
    let plain = "/ip4/192.0.2.9/tcp/4001";
    assert_eq!(world.resolve(plain).await.unwrap(), [plain]);
    assert_eq!(*world.asked.lock().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn dnsaddr_follows_names_and_keeps_to_the_peer() {
    let world = World::default()
        .txt(
            "boot.example",
            &[
                &format!("dnsaddr=/dnsaddr/a.boot.example/p2p/{A}"),
                &format!("dnsaddr=/dnsaddr/b.boot.example/p2p/{B}"),
                "v=spf1 -all",
                "dnsaddr=nonsense",
            ],
        )
        .txt(
            "a.boot.example",
            &[
                &format!("dnsaddr=/ip4/192.0.2.1/tcp/4001/p2p/{A}"),
                &format!("dnsaddr=/dns4/host.example/tcp/4001/p2p/{A}"),
                &format!("dnsaddr=/ip4/192.0.2.66/tcp/4001/p2p/{B}"),
            ],
        )
        .txt("b.boot.example", &[&format!("dnsaddr=/ip4/192.0.2.7/tcp/4001/p2p/{B}")])
        .ip("host.example", &["192.0.2.2"]);
    assert_eq!(
        world.resolve(&format!("/dnsaddr/boot.example/p2p/{A}")).await.unwrap(),
        [format!("/ip4/192.0.2.1/tcp/4001/p2p/{A}"), format!("/ip4/192.0.2.2/tcp/4001/p2p/{A}")]
    );
    assert_eq!(world.resolve("/dnsaddr/boot.example").await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn loops_and_floods_end() {
    let records: Vec<String> = (0..500).map(|i| format!("dnsaddr=/dnsaddr/n{i}.loop.example")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let mut world = World::default().txt("loop.example", &records);
    for i in 0..500 {
        world = world.txt(&format!("n{i}.loop.example"), &records);
    }
    assert!(matches!(world.resolve("/dnsaddr/loop.example").await, Err(ResolveError::NoMatch { .. })));
    assert_eq!(*world.asked.lock().unwrap(), MAX_LOOKUPS);

    let myself = World::default().txt("me.example", &["dnsaddr=/dnsaddr/me.example"]);
    assert!(myself.resolve("/dnsaddr/me.example").await.is_err());
    assert_eq!(*myself.asked.lock().unwrap(), 1);

    let deep = (0..9).fold(World::default(), |world, i| {
        world.txt(&format!("d{i}.example"), &[&format!("dnsaddr=/dnsaddr/d{}.example", i + 1)])
    });
    assert!(deep.resolve("/dnsaddr/d0.example").await.is_err());
    assert_eq!(*deep.asked.lock().unwrap(), MAX_DEPTH);

    let many: Vec<String> = (0..200).map(|i| format!("dnsaddr=/ip4/192.0.2.{i}/tcp/1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let wide = World::default().txt("wide.example", &many);
    assert_eq!(wide.resolve("/dnsaddr/wide.example").await.unwrap().len(), MAX_RESULTS);
}

#[tokio::test(start_paused = true)]
async fn an_error_names_the_name() {
    let error = World::default().resolve("/dns4/nowhere.example/tcp/1").await.unwrap_err();
    assert_eq!(error.to_string(), "cannot resolve nowhere.example: no such name");
    let error = World::default().resolve("/dnsaddr/nowhere.example").await.unwrap_err();
    assert!(error.to_string().contains("_dnsaddr.nowhere.example"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn localhost_needs_no_name_server() {
    let found = resolve(&SystemResolver::new(), &"/dns/LocalHost/tcp/9".parse().unwrap()).await.unwrap();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["/ip4/127.0.0.1/tcp/9", "/ip6/::1/tcp/9"]);
}

struct Silent;

impl Resolver for Silent {
    fn lookup_ips<'a>(&'a self, _: &'a str) -> Lookup<'a, IpAddr> {
        Box::pin(std::future::pending())
    }

    fn lookup_txt<'a>(&'a self, _: &'a str) -> Lookup<'a, String> {
        Box::pin(std::future::pending())
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_name_server_times_out() {
    let error = resolve(&Silent, &"/dns/example.org/tcp/1".parse().unwrap()).await.unwrap_err();
    assert!(matches!(error, ResolveError::Timeout { .. }));
}

/// A world with one name whose server says nothing.
struct Partly(World);

impl Resolver for Partly {
    fn lookup_ips<'a>(&'a self, name: &'a str) -> Lookup<'a, IpAddr> {
        if name == "silent.example" { Silent.lookup_ips(name) } else { self.0.lookup_ips(name) }
    }

    fn lookup_txt<'a>(&'a self, name: &'a str) -> Lookup<'a, String> {
        self.0.lookup_txt(name)
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_name_among_good_ones_costs_only_itself() {
    let names = ["silent", "a", "b"].map(|name| format!("dnsaddr=/dns4/{name}.example/tcp/1"));
    let world = World::default()
        .txt("boot.example", &names.each_ref().map(String::as_str))
        .ip("a.example", &["192.0.2.1"])
        .ip("b.example", &["192.0.2.2"]);
    let found = resolve(&Partly(world), &"/dnsaddr/boot.example".parse().unwrap()).await.unwrap();
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert_eq!(found, ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/1"]);
}

#[test]
fn the_configuration_is_read_again_when_it_failed_or_changed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("resolv.conf");
    let kept = Kept { source: path.clone(), kept: Mutex::new(None) };
    let ok = |value: u8| kept.or_else(|| Ok::<_, ()>(value));
    assert_eq!(kept.or_else(|| Err::<u8, _>("no such file")), Err("no such file"));
    assert_eq!((ok(1), ok(2)), (Ok(1), Ok(1)));
    fs::write(&path, b"").unwrap();
    assert_eq!((ok(3), ok(4)), (Ok(3), Ok(3)));
    kept.forget();
    assert_eq!(ok(5), Ok(5));
}

#[test]
fn a_name_that_does_not_exist_is_not_an_error_of_the_server() {
    use hickory_resolver::net::{DnsError, NoRecords};
    use hickory_resolver::proto::op::{Query, ResponseCode};
    let resolver = SystemResolver::new();
    for code in [ResponseCode::NXDomain, ResponseCode::NoError] {
        let error = NetError::Dns(DnsError::NoRecordsFound(NoRecords::new(Query::default(), code)));
        assert_eq!(resolver.failed(&error), LookupError::NotFound);
    }
    assert!(matches!(resolver.failed(&NetError::Timeout), LookupError::Server(_)));
}
