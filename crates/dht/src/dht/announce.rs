//! Telling one server of many blocks: provider records for neighbouring keys
//! go to the same servers, so the sweep brings all that one is to keep at once.
//!
//! Nobody confirms a provider record. What was written counts; the first
//! request that fails ends it, since the others go the same way.

use std::collections::BTreeSet;

use bytes::Bytes;
use peerage_base::Now;

use super::{Dht, Purpose};
use crate::key::Key;
use crate::limits::KEY_MAX;
use crate::message::{PeerInfo, Request};
use crate::output::{AnnounceId, LookupError, Mode, Output, RequestId};

/// What one server is told.
#[derive(Debug)]
pub(super) struct Announcement {
    to: PeerInfo,
    local: PeerInfo,
    multihashes: Vec<Bytes>,
    /// The first that was not begun.
    next: usize,
    /// By their place in `multihashes`.
    in_flight: BTreeSet<(usize, RequestId)>,
    failed: Option<usize>,
    /// One was written, so that the peer is there.
    reached: bool,
}

impl Announcement {
    /// How many, from the first on, were told.
    fn told(&self) -> usize {
        let waiting = self.in_flight.first().map(|&(index, _)| index);
        self.failed.into_iter().chain(waiting).min().unwrap_or(self.next)
    }
}

impl Dht {
    /// Tells one server that we have the blocks of these multihashes, in this
    /// order, over one connection, whoever else is closest: for an owner who
    /// knows, as [`crate::sweep`] does. How many it was told is said by
    /// [`Output::Announced`].
    ///
    /// Those for which we are one of the closest ourselves are kept here too.
    ///
    /// # Errors
    /// [`LookupError::Busy`], [`LookupError::Key`] or [`LookupError::NoAddrs`].
    pub fn announce(
        &mut self,
        to: PeerInfo,
        multihashes: Vec<Bytes>,
        now: Now,
    ) -> Result<AnnounceId, LookupError> {
        if let Some(wrong) = multihashes.iter().find(|hash| hash.is_empty() || hash.len() > KEY_MAX) {
            return Err(LookupError::Key(wrong.len()));
        }
        if self.local.addrs.is_empty() {
            return Err(LookupError::NoAddrs);
        }
        if self.announcements.len() >= self.config.announcements_max {
            return Err(LookupError::Busy);
        }
        if self.mode == Mode::Server {
            for key in multihashes.iter().map(|hash| Key::of(hash)) {
                if self.table.is_among_closest(&key) {
                    self.providers.add(&key, &self.local, None, now.unix);
                }
            }
        }
        let id = AnnounceId(self.out.next_id());
        let announcement = Announcement {
            to,
            local: self.local.clone(),
            multihashes,
            next: 0,
            in_flight: BTreeSet::new(),
            failed: None,
            reached: false,
        };
        self.announcements.insert(id, announcement);
        self.announce_more(id, now);
        Ok(id)
    }

    /// Ends an announcement without a report. What was told stays told.
    pub fn cancel_announcement(&mut self, id: AnnounceId) {
        if let Some(announcement) = self.announcements.remove(&id) {
            self.cancel_in_flight(announcement);
        }
    }

    fn cancel_in_flight(&mut self, announcement: Announcement) {
        for (_, request) in announcement.in_flight {
            if self.take_request(request).is_some() {
                self.out.queue.push_back(Output::CancelRequest { id: request, silent: false });
            }
        }
    }

    /// The next requests; the first goes alone, to see whether anybody is there.
    fn announce_more(&mut self, id: AnnounceId, now: Now) {
        loop {
            let Some(announcement) = self.announcements.get_mut(&id) else { return };
            let window = if announcement.reached { self.config.announce_window.max(1) } else { 1 };
            if announcement.in_flight.len() >= window {
                return;
            }
            let Some(key) = announcement.multihashes.get(announcement.next).cloned() else {
                if announcement.in_flight.is_empty() {
                    self.end_announcement(id);
                }
                return;
            };
            let index = announcement.next;
            announcement.next += 1;
            let request = Request::AddProvider { key, providers: vec![announcement.local.clone()] };
            let to = announcement.to.clone();
            let request = self.send(to, request, Purpose::Announce(id), now);
            if let Some(announcement) = self.announcements.get_mut(&id) {
                announcement.in_flight.insert((index, request));
            }
        }
    }

    fn end_announcement(&mut self, id: AnnounceId) {
        if let Some(announcement) = self.announcements.remove(&id) {
            let told = announcement.told();
            self.cancel_in_flight(announcement);
            self.out.queue.push_back(Output::Announced { id, told });
        }
    }

    pub(super) fn announce_ended(&mut self, id: AnnounceId, request: RequestId, sent: bool, now: Now) {
        let Some(announcement) = self.announcements.get_mut(&id) else { return };
        let Some(&entry) = announcement.in_flight.iter().find(|(_, other)| *other == request) else { return };
        announcement.in_flight.remove(&entry);
        if sent {
            announcement.reached = true;
            self.announce_more(id, now);
        } else {
            announcement.failed = Some(entry.0);
            self.end_announcement(id);
        }
    }
}
