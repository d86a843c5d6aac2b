//! The default gateway: the only host that port mapping ever talks to.
//!
//! Asked of Linux only (`/proc/net/route`); elsewhere there is none, and
//! nothing is mapped.

use std::net::{Ipv4Addr, UdpSocket};

/// A router, and this machine as it sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// Its address on this network.
    pub ip: Ipv4Addr,
    /// Our address on this network.
    pub local: Ipv4Addr,
}

impl Gateway {
    /// The gateway of now, if there is one. Sends nothing.
    pub(super) fn find() -> Option<Self> {
        let ip = parse(&std::fs::read_to_string("/proc/net/route").ok()?)?;
        // Connecting a datagram socket only asks the routing table.
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((ip, 9)).ok()?;
        match socket.local_addr().ok()?.ip() {
            std::net::IpAddr::V4(local) if !local.is_loopback() => Some(Self { ip, local }),
            _ => None,
        }
    }
}

/// The gateway with the lowest metric. Columns: interface, destination,
/// gateway, flags, .., metric (7th), mask; addresses as the machine's own
/// integers in hexadecimal.
pub(crate) fn parse(table: &str) -> Option<Ipv4Addr> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let address = |at: usize| u32::from_str_radix(columns.get(at)?, 16).ok();
        let gateway = Ipv4Addr::from(address(2)?.to_ne_bytes());
        let metric: u32 = columns.get(6)?.parse().ok()?;
        (address(1)? == 0 && address(7)? == 0 && !gateway.is_unspecified()).then_some((metric, gateway))
    });
    routes.min().map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";
        let hex = |ip: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(ip));
        let route = |to, by, metric: u32, mask| {
            format!("e\t{}\t{}\t0003\t0\t0\t{metric}\t{}\t0\t0\t0\n", hex(to), hex(by), hex(mask))
        };
        let any = [0; 4];
        let table = [
            head.to_owned(),
            route([192, 168, 1, 0], any, 0, [255, 255, 255, 0]),
            route(any, [192, 168, 1, 1], 600, any),
            route(any, [10, 0, 0, 1], 100, any),
            route([10, 9, 0, 0], [10, 0, 0, 9], 1, [255, 255, 0, 0]),
        ];
        assert_eq!(parse(&table.concat()), Some([10, 0, 0, 1].into()));
        assert_eq!(parse(head), None);
        assert_eq!(parse("x\ny z\n\u{fffd} 0 0 0 0 0 0 0 0"), None);
    }
}
