//! Which of a peer's addresses can be dialled, and in which order they are
//! tried. The shell begins one after the other a little apart (happy eyeballs,
//! RFC 8305), so the order decides what wins when several work.

use peerage_identity::{Multiaddr, PeerId, Protocol, Scope};

/// Addresses of one peer that one attempt tries. A judgement: more than hosts
/// have, and all of them have begun within 4 s.
pub const DIAL_ADDRS_MAX: usize = 16;

/// The way that an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// TCP: the one that we can go.
    Tcp,
    /// QUIC or `WebTransport`.
    Quic,
    /// Through a relay.
    Relay,
    /// `WebSocket`, HTTP or `WebRTC`.
    Web,
    /// None that we know.
    Other,
}

impl Way {
    /// The way of an address.
    #[must_use]
    pub fn of(addr: &Multiaddr) -> Self {
        if addr.is_relayed() {
            return Self::Relay;
        }
        let web = |part: &Protocol<'_>| {
            matches!(
                part,
                Protocol::Ws
                    | Protocol::Wss
                    | Protocol::Tls
                    | Protocol::Http
                    | Protocol::Https
                    | Protocol::WebRtcDirect
                    | Protocol::WebRtc
            )
        };
        let parts: Vec<_> = addr.iter().filter(|part| !matches!(part, Protocol::P2p(_))).collect();
        if parts.iter().any(|part| matches!(part, Protocol::Quic | Protocol::QuicV1 | Protocol::WebTransport))
        {
            return Self::Quic;
        }
        if parts.iter().any(web) {
            return Self::Web;
        }
        let tcp = match &parts[..] {
            [Protocol::Dnsaddr(_)] => true,
            [.., Protocol::Tcp(_)] => addr.dns().is_some() || addr.to_tcp_addr().is_some(),
            _ => false,
        };
        if tcp && addr.scope() != Scope::Undialable { Self::Tcp } else { Self::Other }
    }
}

/// Those that can be dialled, in the order in which they are tried, without
/// repeats and at most [`DIAL_ADDRS_MAX`]: where the peer was last reached, then what
/// reaches furthest, both families of the same reach in turns.
///
/// Of a known peer they have no `/p2p`; those that lead to somebody else are left out.
pub(crate) fn ranked(
    peer: Option<PeerId>,
    addrs: &[Multiaddr],
    reached: Option<&Multiaddr>,
) -> Vec<Multiaddr> {
    let mut list: Vec<(u8, usize, bool, Multiaddr)> = Vec::new();
    for addr in addrs {
        let theirs = addr.peer_id().is_none() || peer.is_none() || addr.peer_id() == peer;
        let addr = if peer.is_some() { addr.without_peer() } else { addr.clone() };
        if !theirs || Way::of(&addr) != Way::Tcp || list.iter().any(|(.., known)| *known == addr) {
            continue;
        }
        let rank = match addr.scope() {
            _ if reached.is_some_and(|reached| *reached == addr) => 0,
            Scope::Public | Scope::Dns => 1,
            Scope::Private => 2,
            Scope::LinkLocal => 3,
            Scope::Loopback | Scope::Relay | Scope::Undialable => 4,
        };
        let v6 = matches!(addr.iter().next(), Some(Protocol::Ip6(_) | Protocol::Ip6Zone(_)));
        // The so-manieth of its family and reach; IPv6 goes first (RFC 8305, section 4).
        let nth = list.iter().filter(|(other, _, family, _)| *other == rank && *family == v6).count();
        list.push((rank, nth, v6, addr));
    }
    list.sort_by_key(|(rank, nth, v6, _)| (*rank, *nth, !v6));
    list.into_iter().map(|(.., addr)| addr).take(DIAL_ADDRS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn ways() {
        let id = "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq";
        for (text, way) in [
            ("/ip4/1.2.3.4/tcp/1", Way::Tcp),
            ("/dns4/a.example/tcp/1", Way::Tcp),
            ("/dnsaddr/a.example", Way::Tcp),
            ("/ip4/1.2.3.4/udp/1/quic-v1", Way::Quic),
            ("/ip4/1.2.3.4/udp/1/quic-v1/webtransport", Way::Quic),
            ("/dns4/a.example/tcp/443/wss", Way::Web),
            ("/dns4/a.example/tcp/443/tls/ws", Way::Web),
            ("/ip4/1.2.3.4/udp/1", Way::Other),
            ("/ip4/0.0.0.0/tcp/1", Way::Other),
        ] {
            assert_eq!(Way::of(&text.parse().unwrap()), way, "{text}");
            let with_id = format!("{text}/p2p/{id}");
            assert_eq!(Way::of(&with_id.parse().unwrap()), way, "{with_id}");
        }
        let relayed = format!("/ip4/1.2.3.4/tcp/1/p2p/{id}/p2p-circuit");
        assert_eq!(Way::of(&relayed.parse().unwrap()), Way::Relay);
    }

    #[test]
    fn what_reaches_furthest_goes_first_and_families_take_turns() {
        let given = parse(&[
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/8.8.8.8/tcp/1",
            "/ip4/8.8.4.4/tcp/1",
            "/ip6/2a00::1/tcp/1",
            "/ip4/8.8.8.8/udp/1/quic-v1",
            "/ip4/10.0.0.1/tcp/1",
        ]);
        let order = |reached: Option<&Multiaddr>| ranked(None, &given, reached);
        let expected = [4, 2, 3, 1, 0].map(|n: usize| given[n].clone());
        assert_eq!(order(None), expected);
        assert_eq!(order(Some(&given[1]))[0], given[1], "where it was reached before");
        let many: Vec<_> = (1..99).map(|port| format!("/ip4/8.8.8.8/tcp/{port}").parse().unwrap()).collect();
        assert_eq!(ranked(None, &many, None), many[..DIAL_ADDRS_MAX]);
    }

    #[test]
    fn addresses_of_others_are_left_out() {
        let ids = [
            "12D3KooWBtg3aaRMjxwedh83aGiUkwSxDwUZkzuJcfaqUmo7R3pq",
            "QmVMT29id3TUASyfZZ6k9hmNyc2nYabCo4uMSpDw4zrgDk",
        ];
        let given: Vec<Multiaddr> =
            ids.iter().map(|id| format!("/ip4/8.8.8.8/tcp/1/p2p/{id}").parse().unwrap()).collect();
        let peer = ids[0].parse().ok();
        assert_eq!(ranked(peer, &given, None), [given[0].without_peer()]);
        assert_eq!(ranked(None, &given, None), given);
    }
}
