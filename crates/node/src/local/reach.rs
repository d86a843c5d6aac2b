//! Who can reach this peer: what `share` and `up` say of it when they begin,
//! and what becomes known later, as the home router opens a port and others
//! have tried to connect.
//!
//! Left out on purpose: finding it out, which is the peer's and the engine's.

use std::collections::BTreeSet;

use peerage_identity::{Multiaddr, Scope};
use peerage_peer::{MappingStatus, Peer, Reach, Verdict};

/// Where this peer is, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Standing {
    /// Concrete and dialable; first those at which others have reached us.
    listen: Vec<Multiaddr>,
    reach: Reach,
    /// What the home router passes on to us, unless others have found that it
    /// does not.
    mapped: Vec<Multiaddr>,
    /// The home router is asked, or was.
    mapping: Mapping,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Mapping {
    #[default]
    Off,
    /// It has not answered yet, or has done what it was asked for.
    Asked,
    /// Why it does nothing.
    Failed(String),
}

impl Standing {
    pub(super) async fn of(peer: &Peer) -> Self {
        let known = peer.reachability().await;
        let refuted = |addr: &Multiaddr| {
            known.addrs.iter().any(|(tested, verdict)| tested == addr && *verdict == Verdict::Unreachable)
        };
        let status = peer.mapping_status();
        let external = status.iter().flat_map(|status| status.external.iter());
        let mapped = external.filter(|addr| !refuted(addr)).map(|addr| addr.clone().with_peer(peer.id()));
        Self {
            mapped: mapped.collect(),
            listen: peer.listen_addrs(),
            reach: known.reach,
            mapping: match status {
                None => Mapping::Off,
                Some(MappingStatus { failure: Some(failure), .. }) => Mapping::Failed(failure.to_string()),
                Some(_) => Mapping::Asked,
            },
        }
    }

    /// All addresses, those first at which others have reached us.
    pub(super) fn addrs(&self) -> Vec<Multiaddr> {
        let mut addrs = self.listen.clone();
        addrs.extend(self.mapped.iter().filter(|addr| !self.listen.contains(addr)).cloned());
        addrs
    }

    /// The addresses for a link: public ones, then private ones; those of this
    /// machine if there is nothing else.
    pub(super) fn hints(&self) -> Vec<Multiaddr> {
        let addrs = self.addrs();
        let of = |scope: Scope| addrs.iter().filter(move |addr| addr.scope() == scope).cloned();
        let mut hints: Vec<_> = of(Scope::Public).chain(of(Scope::Private)).collect();
        if hints.is_empty() {
            hints.extend(of(Scope::Loopback));
        }
        hints
    }

    /// What others say; and until one says anything, what our addresses do.
    pub(super) fn reachability(&self) -> &'static str {
        match self.reach {
            Reach::Public(_) => "public",
            Reach::Private => "private",
            Reach::Unknown if self.is_everywhere() => "unknown",
            Reach::Unknown => "private",
        }
    }

    /// Whether an address of ours means the same everywhere.
    pub(super) fn is_everywhere(&self) -> bool {
        !self.mapped.is_empty() || self.port(Scope::Public).is_some()
    }

    /// Whether the public DHT is told of what is announced: if nobody could
    /// reach us, it is not.
    pub(super) fn is_announced(&self) -> bool {
        match self.reach {
            Reach::Public(_) => true,
            Reach::Unknown => self.port(Scope::Public).is_some(),
            Reach::Private => false,
        }
    }

    fn port(&self, scope: Scope) -> Option<u16> {
        let addr = self.listen.iter().find(|addr| addr.scope() == scope)?;
        addr.to_tcp_addr().map(|socket| socket.port())
    }

    /// Says in words who can connect, and what to do for the others. Nothing
    /// if everybody can.
    pub(super) fn advice(&self) -> Option<String> {
        if matches!(self.reach, Reach::Public(_)) {
            return None;
        }
        let refuted = self.reach == Reach::Private;
        if let Some(port) = self.port(Scope::Public) {
            let what = match refuted {
                true => "has a public address, but others tried it and could not connect: let",
                false => "has a public address; if others cannot connect, let",
            };
            return Some(format!("this computer {what} TCP port {port} through its firewall"));
        }
        if !self.mapped.is_empty() {
            let text = "the router passes connections on to this computer, which nobody has tested yet";
            return Some(text.to_owned());
        }
        let Some(port) = self.port(Scope::Private) else {
            let text = "reachable on this computer only: for others, leave out --listen, or name an address of \
                        this network";
            return Some(text.to_owned());
        };
        let by_hand = format!(
            "forward TCP port {port} of your router to this computer, or join both computers to one VPN"
        );
        Some(match &self.mapping {
            Mapping::Asked if !refuted => format!(
                "reachable on this network only, so far: the router is asked to let others in, and if it does, you \
                 will be told here. If you are not, {by_hand}"
            ),
            Mapping::Failed(why) if !refuted => format!(
                "reachable on this network only, so far ({why}): if the router lets others in, you will be told \
                 here. If you are not, {by_hand}"
            ),
            Mapping::Asked | Mapping::Failed(_) | Mapping::Off => {
                format!("reachable on this network only: from elsewhere, {by_hand}")
            }
        })
    }
}

/// Follows where a peer is.
#[derive(Debug)]
pub(super) struct Following {
    told: Standing,
}

/// What is new of where a peer is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct News {
    pub(super) now: Standing,
    /// In words, if it matters to people.
    pub(super) message: Option<String>,
    /// The link leads to more places than the one that was told last.
    pub(super) more: bool,
    /// Addresses or reachability are others; else it is only the message.
    pub(super) event: bool,
}

impl Following {
    /// After that was told.
    pub(super) fn new(told: Standing) -> Self {
        Self { told }
    }

    /// What is new since the last time.
    pub(super) async fn look(&mut self, peer: &Peer) -> Option<News> {
        self.compare(Standing::of(peer).await)
    }

    fn compare(&mut self, now: Standing) -> Option<News> {
        let mut before = std::mem::replace(&mut self.told, now.clone());
        // It is asked again and again, by one protocol and another; what to do
        // if nothing comes of that was said.
        before.mapping = now.mapping.clone();
        if before == now {
            return None;
        }
        let (old, new) = (before.hints(), now.hints());
        let known: BTreeSet<&Multiaddr> = old.iter().collect();
        let more = new.iter().any(|addr| !known.contains(addr));
        let moved = before.reachability() != now.reachability();
        let event = old != new || moved;
        let is_public = matches!(now.reach, Reach::Public(_));
        let message = if is_public && (moved || more) {
            Some("others have connected to this computer: it can be reached from everywhere".to_owned())
        } else if before.advice() != now.advice() && !is_public {
            now.advice()
        } else {
            more.then(|| "this computer has other addresses now".to_owned())
        };
        (event || message.is_some()).then_some(News { now, message, more, event })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> Multiaddr {
        let id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        format!("{text}/p2p/{id}").parse().unwrap()
    }

    const HOME: &str = "/ip4/192.168.1.5/tcp/4001";
    const OUTSIDE: &str = "/ip4/5.6.7.8/tcp/4001";

    fn home(mapping: Mapping, mapped: &[&str]) -> Standing {
        Standing {
            listen: vec![addr("/ip4/127.0.0.1/tcp/4001"), addr(HOME)],
            reach: Reach::Unknown,
            mapped: mapped.iter().map(|text| addr(text)).collect(),
            mapping,
        }
    }

    fn reached(mut standing: Standing) -> Standing {
        standing.listen.insert(0, addr(OUTSIDE));
        standing.reach = Reach::Public(vec![OUTSIDE.parse().unwrap()]);
        standing
    }

    #[test]
    fn a_router_that_opens_a_port_gives_a_link_for_everywhere() {
        let begins = home(Mapping::Asked, &[]);
        assert_eq!((begins.hints(), begins.reachability()), (vec![addr(HOME)], "private"));
        let advice = begins.advice().unwrap();
        assert!(advice.contains("the router is asked") && advice.contains("port 4001"), "{advice}");
        let mut following = Following::new(begins.clone());
        assert_eq!(following.compare(begins.clone()), None);

        let news = following.compare(home(Mapping::Asked, &[OUTSIDE])).unwrap();
        assert!(news.event && news.more);
        assert_eq!(news.now.hints(), [addr(OUTSIDE), addr(HOME)]);
        assert_eq!(news.now.addrs().last(), Some(&addr(OUTSIDE)));
        assert_eq!(news.now.reachability(), "unknown");
        // Others are to try it first.
        assert!(!news.now.is_announced());
        assert!(news.message.unwrap().contains("nobody has tested"));

        // Others have: the link is the same.
        let news = following.compare(reached(home(Mapping::Asked, &[OUTSIDE]))).unwrap();
        assert!(news.event && !news.more && news.now.reachability() == "public");
        assert!(news.now.is_announced());
        assert_eq!(news.now.addrs().iter().filter(|one| **one == addr(OUTSIDE)).count(), 1);
        assert!(news.message.unwrap().contains("from everywhere"));

        // The router has gone, and others say so.
        let news =
            following.compare(Standing { reach: Reach::Private, ..home(Mapping::Asked, &[]) }).unwrap();
        assert!(news.event && !news.more && news.now.reachability() == "private");
        let message = news.message.unwrap();
        assert!(message.contains("forward TCP port 4001") && !message.contains("is asked"), "{message}");
    }

    #[test]
    fn what_to_do_about_a_router_that_does_nothing_is_said_once() {
        let mut following = Following::new(home(Mapping::Asked, &[]));
        let failed = home(Mapping::Failed("the router does not answer".into()), &[]);
        assert_eq!(following.compare(failed.clone()), None);
        let advice = failed.advice().unwrap();
        assert!(advice.contains("does not answer") && advice.contains("forward TCP port 4001"), "{advice}");
        // It does after all.
        assert!(following.compare(home(Mapping::Asked, &[OUTSIDE])).unwrap().more);
    }

    #[test]
    fn a_firewall_before_a_public_address() {
        let begins = Standing { listen: vec![addr("/ip4/8.8.8.8/tcp/9"), addr(HOME)], ..Standing::default() };
        assert_eq!(begins.reachability(), "unknown");
        assert!(begins.advice().unwrap().contains("if others cannot"));
        let mut following = Following::new(begins.clone());
        let news = following.compare(Standing { reach: Reach::Private, ..begins }).unwrap();
        assert!(news.event && news.now.reachability() == "private" && !news.now.is_announced());
        assert!(news.message.unwrap().contains("others tried it and could not connect"));
    }

    #[test]
    fn addresses_that_change() {
        let begins = home(Mapping::Off, &[]);
        let mut following = Following::new(begins.clone());
        let mut moved = begins.clone();
        moved.listen.push(addr("/ip4/10.0.0.7/tcp/4001"));
        let news = following.compare(moved).unwrap();
        assert!(news.event && news.more && news.message.unwrap().contains("other addresses"));
        let news = following.compare(begins).unwrap();
        assert!(news.event && !news.more && news.message.is_none());
        let alone = Standing { listen: vec![addr("/ip4/127.0.0.1/tcp/1")], ..Standing::default() };
        assert_eq!((alone.hints(), alone.reachability()), (alone.listen.clone(), "private"));
        assert!(alone.advice().unwrap().contains("on this computer only"));
    }
}
