//! Which addresses of this machine are worth telling others: those of its
//! network interfaces, without link-local ones, which mean nothing without the
//! interface, and without bridges that lead nowhere but to containers and
//! virtual machines inside (Docker's, libvirt's). Which interfaces are bridges,
//! and where they lead, is asked of Linux only; elsewhere none counts as one.

use std::io;
use std::net::IpAddr;
use std::path::Path;

/// An interface's name and one of its addresses.
type Named = (String, IpAddr);

/// The addresses of now, sorted.
///
/// # Errors
/// If the operating system does not tell.
pub(crate) fn addrs() -> io::Result<Vec<IpAddr>> {
    let found = if_addrs::get_if_addrs()?.into_iter().map(|found| (found.name.clone(), found.ip())).collect();
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let (four, six) = (read("/proc/net/route"), read("/proc/net/ipv6_route"));
    let is_bridge = |name: &str| Path::new("/sys/class/net").join(name).join("bridge").is_dir();
    Ok(choose(found, |name| is_bridge(name) && !leads_out(name, &four, &six)))
}

/// Those of `found` that others may reach. If that would be this machine
/// alone, inner ones are better than nothing.
fn choose(found: Vec<Named>, is_inner: impl Fn(&str) -> bool) -> Vec<IpAddr> {
    let usable = found.into_iter().filter(|(_, ip)| !is_link_local(ip));
    let (inner, outer): (Vec<_>, Vec<_>) = usable.partition(|(name, _)| is_inner(name));
    let alone = outer.iter().all(|(_, ip)| ip.is_loopback());
    let mut ips: Vec<IpAddr> =
        outer.into_iter().chain(inner.into_iter().filter(|_| alone)).map(|(_, ip)| ip).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

/// Whether a default route goes by this interface: a bridge may be the way to
/// the network, as on hosts of virtual machines. The tables are those of
/// `/proc/net/route` (name, destination, .., mask in column 8) and
/// `/proc/net/ipv6_route` (destination, prefix length, .., name in column 10).
fn leads_out(name: &str, four: &str, six: &str) -> bool {
    let columns = |line: &'_ str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_zero = |text: Option<&String>| text.is_some_and(|text| text.bytes().all(|digit| digit == b'0'));
    four.lines().map(columns).any(|line| {
        line.first().is_some_and(|first| first == name) && is_zero(line.get(1)) && is_zero(line.get(7))
    }) || six.lines().map(columns).any(|line| {
        line.get(9).is_some_and(|last| last == name) && is_zero(line.first()) && is_zero(line.get(1))
    })
}

fn is_link_local(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(list: &[(&str, &str)]) -> Vec<Named> {
        list.iter().map(|&(name, ip)| (name.to_owned(), ip.parse().unwrap())).collect()
    }

    fn chosen(list: &[(&str, &str)]) -> Vec<String> {
        choose(named(list), |name| name.starts_with("docker")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn bridges_that_lead_nowhere_are_left_out() {
        let lan = ("eth0", "192.168.1.5");
        let all = [("lo", "127.0.0.1"), ("docker0", "172.17.0.1"), lan, ("eth0", "fe80::1"), lan];
        assert_eq!(chosen(&all), ["127.0.0.1", "192.168.1.5"]);
        // Unless nothing else leads out of this machine.
        assert_eq!(chosen(&all[..2]), ["127.0.0.1", "172.17.0.1"]);
        assert_eq!(chosen(&[("eth0", "169.254.1.1")]), [""; 0]);
    }

    #[test]
    fn a_default_route_leads_out() {
        let four = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    br0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                    docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        assert!(leads_out("br0", four, ""));
        assert!(!leads_out("docker0", four, "") && !leads_out("eth0", four, ""));
        let zeros = "0".repeat(32);
        let six = format!("{zeros} 00 {zeros} 00 fe800000 00000400 00000001 00000000 00450003 br1\n");
        assert!(leads_out("br1", four, &six) && !leads_out("docker0", four, &six));
    }
}
