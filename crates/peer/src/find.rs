//! Looking for peers and providers, and telling the DHTs what we have.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use peerage_content::Cid;
use peerage_dht::sweep::Cursor;
use peerage_dht::{Network, PeerInfo};
use peerage_engine::{Announcements, DhtStatus, FindEvent, FindId, Target};
use peerage_identity::{Multiaddr, PeerId};
use peerage_transport::mdns;
use tokio::sync::mpsc;

use crate::brain::{Goal, Input, Reachability};
use crate::net::mapping::MappingStatus;
use crate::net::nearby::Nearby;
use crate::peer::Peer;

/// Peers of the public network that new ones begin with: those that Kubo has.
/// What they lead to is remembered, so that a restart needs none of them.
pub const PUBLIC_PEERS: [&str; 6] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
    "/dnsaddr/va1.bootstrap.libp2p.io/p2p/12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8",
    "/ip4/104.131.131.82/tcp/4001/p2p/QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ",
];

/// [`PUBLIC_PEERS`], parsed.
///
/// ```
/// assert_eq!(peerage_peer::public_peers().len(), peerage_peer::PUBLIC_PEERS.len());
/// ```
#[must_use]
pub fn public_peers() -> Vec<Multiaddr> {
    PUBLIC_PEERS.iter().filter_map(|text| text.parse().ok()).collect()
}

/// A look-up under way. Ends when dropped.
pub struct Find {
    peer: Peer,
    find: FindId,
    events: mpsc::UnboundedReceiver<FindEvent>,
}

impl Find {
    /// The next news; none after [`FindEvent::Finished`], or once the peer stops.
    pub async fn next(&mut self) -> Option<FindEvent> {
        self.events.recv().await
    }
}

impl Drop for Find {
    fn drop(&mut self) {
        self.peer.tell(Input::CancelFind { find: self.find });
    }
}

/// A block is announced while this lives.
pub struct Announcing {
    peer: Peer,
    cid: Cid,
    taken: bool,
}

impl Announcing {
    /// The DHTs whose servers have been told of it, by now or by an earlier run.
    pub async fn told(&self) -> Vec<Network> {
        self.peer.ask(|reply| Input::Told { cid: self.cid, reply }).await.unwrap_or_default()
    }
}

impl Drop for Announcing {
    fn drop(&mut self) {
        if self.taken {
            self.peer.tell(Input::Unannounce { cid: self.cid });
        }
    }
}

/// Why a block is not announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not announced: {0}")]
pub struct AnnounceError(peerage_engine::AnnounceError);

impl Peer {
    /// Looks for who has a block, in the DHTs and by the routers. They learn
    /// that it is looked for.
    #[must_use]
    pub fn find_providers(&self, cid: Cid) -> Find {
        self.begin(Goal::Find(Target::Providers(cid)))
    }

    /// Looks for the addresses of a peer. They may be wrong: who can be reached
    /// there and proves its identity is right.
    #[must_use]
    pub fn find_peer(&self, peer: PeerId) -> Find {
        self.begin(Goal::Find(Target::Peer(peer)))
    }

    /// Tells the DHTs once that we have a block. They forget it after a day or two.
    #[must_use]
    pub fn provide(&self, cid: Cid) -> Find {
        self.begin(Goal::Provide(cid))
    }

    fn begin(&self, goal: Goal) -> Find {
        let find = FindId(self.next_job().0);
        let (sender, events) = mpsc::unbounded_channel();
        self.tell(Input::Find { find, goal, events: sender });
        Find { peer: self.clone(), find, events }
    }

    /// Tells the DHTs that we have a block, as soon as they have a peer and
    /// again every day, as long as the result lives. Those in `known` an earlier
    /// run has told, so that its turn is waited for.
    ///
    /// # Errors
    /// As much is announced as may be.
    pub async fn announce(&self, cid: Cid, known: &[Network]) -> Result<Announcing, AnnounceError> {
        let known = known.to_vec();
        // Before it is known whether it is taken: who does not wait for that
        // leaves nothing behind.
        let mut announcing = Announcing { peer: self.clone(), cid, taken: true };
        let taken = self.ask(|reply| Input::Announce { cid, known, reply }).await;
        if let Some(Err(error)) = taken {
            announcing.taken = false;
            return Err(AnnounceError(error));
        }
        Ok(announcing)
    }

    /// How the announcing stands; empty if we are in no DHT.
    pub async fn announcements(&self) -> Vec<Announcements> {
        self.ask(|reply| Input::Announcements { reply }).await.unwrap_or_default()
    }

    /// Goes on announcing where an earlier run was; before anything is announced.
    pub fn resume_announcing(&self, network: Network, cursor: Cursor) {
        self.tell(Input::ResumeAnnouncing { network, cursor });
    }

    /// How mDNS goes; `None` if it is off.
    #[must_use]
    pub fn mdns_status(&self) -> Option<mdns::Status> {
        let mdns = self.inner().meeting.nearby.lock().unwrap_or_else(PoisonError::into_inner);
        mdns.as_ref().map(Nearby::status)
    }

    /// How port mapping goes; `None` if nobody [wants](Self::map_ports) it.
    #[must_use]
    pub fn mapping_status(&self) -> Option<MappingStatus> {
        self.inner().ports.status()
    }

    /// The state of the DHTs; empty if we are in none.
    pub async fn dht_status(&self) -> Vec<DhtStatus> {
        self.ask(|reply| Input::DhtStatus { reply }).await.unwrap_or_default()
    }

    /// Servers of the DHTs that answered us. A peer remembers them across
    /// restarts.
    pub async fn dht_servers(&self) -> BTreeMap<Network, Vec<PeerInfo>> {
        self.ask(|reply| Input::Servers { reply }).await.unwrap_or_default()
    }

    /// Whether others can dial us, as far as is known, and at which addresses.
    pub async fn reachability(&self) -> Reachability {
        self.ask(|reply| Input::Reachability { reply }).await.unwrap_or_default()
    }
}
