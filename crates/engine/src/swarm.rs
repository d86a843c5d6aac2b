//! `/peerage/swarm/1.0.0`: how those who fetch or share one root find each other.
//!
//! Whoever knows a root may ask for peers that asked for it too and wanted to
//! be listed, and both sides say how much of it they hold. A record is passed
//! on only to peers whose connection has the scope that it was signed for, so
//! that a private address never travels to the public network. Roots that we
//! do not serve are answered exactly like roots that we never heard of.

use std::collections::BTreeMap;

use bytes::Bytes;
use peerage_base::{Instant, Now};
use peerage_content::Cid;
use peerage_identity::{Multiaddr, PeerId, Scope};

use crate::limits::Config;

/// The name of the protocol.
pub const PROTOCOL: &str = "/peerage/swarm/1.0.0";

/// How much of a root someone holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Share {
    /// Bytes of blocks held.
    pub held: u64,
    /// Bytes of all blocks; 0 while that is unknown.
    pub total: u64,
    /// Everything is held.
    pub complete: bool,
}

/// A record that the shell has verified: its signature, and that it speaks for `peer`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose addresses they are.
    pub peer: PeerId,
    /// The addresses that the scope of the connection allows.
    pub addrs: Vec<Multiaddr>,
    /// The signed envelope, to be passed on as it is.
    pub envelope: Bytes,
}

#[derive(Debug)]
struct Member {
    asked: Instant,
    share: Share,
    listed: Option<(Scope, Bytes)>,
}

#[derive(Debug, Default)]
struct Root {
    /// Jobs and shares that serve it.
    serving: u32,
    own: Share,
    members: BTreeMap<PeerId, Member>,
}

/// What is answered.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) records: Vec<Bytes>,
    pub(crate) share: Option<Share>,
    /// True if what the peer said of itself is news.
    pub(crate) progressed: bool,
}

/// The roots that we serve, and who asked for them.
#[derive(Debug, Default)]
pub(crate) struct Swarms {
    roots: BTreeMap<Cid, Root>,
    /// Members of all roots that may be passed on.
    listed: usize,
}

impl Swarms {
    /// A share or a fetch begins to serve `root`; false if there are too many already.
    pub(crate) fn serve(&mut self, root: Cid, share: Share, config: &Config) -> bool {
        if self.roots.len() >= config.swarm_roots && !self.roots.contains_key(&root) {
            return false;
        }
        let entry = self.roots.entry(root).or_default();
        entry.serving += 1;
        if share.complete || !entry.own.complete {
            entry.own = share;
        }
        true
    }

    /// One share or fetch of `root` has ended.
    pub(crate) fn unserve(&mut self, root: &Cid) {
        if let Some(entry) = self.roots.get_mut(root) {
            entry.serving -= 1;
            if entry.serving == 0 {
                self.listed -= entry.listed().count();
                self.roots.remove(root);
            }
        }
    }

    /// How much we have of a root that we serve.
    pub(crate) fn set_share(&mut self, root: &Cid, share: Share) {
        if let Some(entry) = self.roots.get_mut(root).filter(|entry| !entry.own.complete) {
            entry.own = share;
        }
    }

    /// A peer asks. `record` is its own, if it wants to be listed; `scope` is
    /// that of the connection: records of others are of that scope only.
    #[expect(clippy::too_many_arguments, reason = "what one request says, and who asks")]
    pub(crate) fn handle_request(
        &mut self,
        peer: PeerId,
        scope: Scope,
        root: &Cid,
        record: Option<Bytes>,
        share: Share,
        now: Now,
        config: &Config,
    ) -> Answer {
        let Some(entry) = self.roots.get_mut(root) else { return Answer::default() };
        let now = now.instant;
        let known = entry.members.get(&peer);
        let known = known.filter(|member| now.since(member.asked) < config.swarm_member_age);
        let news = known.is_none_or(|member| member.share != share);
        let completed = share.complete && known.is_none_or(|member| !member.share.complete);
        // Too soon, save for the one thing that the sharer waits to hear.
        if known.is_some_and(|member| now.since(member.asked) < config.swarm_interval) && !completed {
            return Answer::default();
        }
        // Only now, so that asking again and again costs nothing.
        let was_listed = known.is_some_and(|member| member.listed.is_some());
        let before = entry.listed().count();
        entry.members.retain(|_, member| now.since(member.asked) < config.swarm_member_age);
        // The freshest first: those are the likeliest to be there still.
        let others = entry.listed().filter(|(id, _, signed_for, _)| **id != peer && *signed_for == scope);
        let mut others: Vec<(Instant, &Bytes)> =
            others.map(|(_, asked, _, record)| (asked, record)).collect();
        others.sort_by_key(|(asked, _)| std::cmp::Reverse(*asked));
        let records =
            others.into_iter().take(config.swarm_records).map(|(_, record)| record.clone()).collect();
        let room = was_listed || self.listed < config.swarm_listed;
        let record = record.filter(|_| room).map(|record| (scope, record));
        entry.members.insert(peer, Member { asked: now, share, listed: record });
        if entry.members.len() > config.swarm_members {
            entry.forget_oldest(&peer);
        }
        self.listed = self.listed + entry.listed().count() - before;
        Answer { records, share: Some(entry.own), progressed: news }
    }
}

impl Root {
    /// Members that may be passed on: who, when they asked, for which scope, the record.
    fn listed(&self) -> impl Iterator<Item = (&PeerId, Instant, Scope, &Bytes)> {
        self.members.iter().filter_map(|(id, member)| {
            let (scope, record) = member.listed.as_ref()?;
            Some((id, member.asked, *scope, record))
        })
    }

    /// Forgets whoever asked longest ago, `but` not that one.
    fn forget_oldest(&mut self, but: &PeerId) {
        let others = self.members.iter().filter(|(id, _)| *id != but);
        if let Some(oldest) = others.min_by_key(|(_, member)| member.asked).map(|(id, _)| *id) {
            self.members.remove(&oldest);
        }
    }
}
