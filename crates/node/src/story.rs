//! What a command has said so far, so that it can go on when the process
//! that executed it ends and another one starts it again: nothing is said
//! twice, and no byte is printed twice.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::api::{Event, Failure, NoticeKind, Request};

/// A request, and what was said about it.
#[derive(Debug)]
pub(crate) struct Story {
    request: Request,
    ready: bool,
    /// Where it was said to be reached last.
    reachable: Option<Event>,
    done: Option<Instant>,
    /// Lines of a list that were printed.
    items: u64,
    /// Of those, how many the next run repeats.
    repeated: u64,
    /// Bytes of a file that were printed.
    bytes: u64,
    /// A process that executed it has ended.
    begun: bool,
    /// Peers that were found and roots that were announced, in no order: what
    /// is repeated is known by its name.
    found: BTreeSet<String>,
}

impl Story {
    pub(crate) fn new(request: Request) -> Self {
        Self {
            request,
            ready: false,
            reachable: None,
            done: None,
            items: 0,
            repeated: 0,
            bytes: 0,
            begun: false,
            found: BTreeSet::new(),
        }
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// The request for a process that starts now.
    pub(crate) fn next_request(&self) -> Request {
        let mut request = self.request.clone();
        match &mut request {
            Request::Cat(cat) => {
                cat.offset += self.bytes;
                cat.length = cat.length.map(|length| length.saturating_sub(self.bytes));
            }
            Request::CarExport(export) => export.skip += self.bytes,
            Request::CarImport(import) => import.again = self.begun,
            Request::Add(add) => add.again = self.begun,
            Request::Get(get) => {
                if let (Some(seed_for), Some(done)) = (&mut get.seed_for, self.done) {
                    *seed_for = seed_for.saturating_sub(done.elapsed());
                }
            }
            _ => {}
        }
        request
    }

    /// Notes `event`; gives it back if it is new.
    pub(crate) fn tell(&mut self, event: Event) -> Option<Event> {
        match &event {
            Event::Ready { addrs, reachability, link, shares, .. } => {
                let reachable = Event::Reachable {
                    addrs: addrs.clone(),
                    reachability: reachability.clone(),
                    link: link.clone(),
                    shares: shares.clone(),
                };
                if std::mem::replace(&mut self.ready, true) {
                    return self.tell(reachable);
                }
                self.reachable = Some(reachable);
            }
            Event::Reachable { .. } if self.reachable.replace(event.clone()).as_ref() == Some(&event) => {
                return None;
            }
            Event::Done { .. } => {
                if self.done.is_some() {
                    return None;
                }
                self.done = Some(Instant::now());
            }
            Event::Data(data) => self.bytes += data.bytes.len() as u64,
            Event::Announced { cid, network } if !self.found.insert(format!("{cid} {network:?}")) => {
                return None;
            }
            Event::Provider(peer)
                if !self.found.insert(format!("{} {}", peer.peer_id, peer.addrs.is_empty())) =>
            {
                return None;
            }
            // In a defined order, so what was said is what comes first.
            Event::Entry(_) | Event::Added { .. } | Event::Pin { .. } | Event::Share { .. } => {
                if self.repeated > 0 {
                    self.repeated -= 1;
                    return None;
                }
                self.items += 1;
            }
            _ => {}
        }
        Some(event)
    }

    /// The process that executed it ended. What to say about that.
    pub(crate) fn take_over(&mut self) -> Option<Event> {
        self.repeated = self.items;
        self.begun = true;
        let message = "the process that owned the repository ended; this one goes on";
        let lasting = matches!(self.request, Request::Share(_) | Request::Get(_) | Request::Up { .. });
        lasting.then(|| Event::notice(NoticeKind::TookOver, message))
    }

    /// How the command ends when the user ends it.
    pub(crate) fn interrupted(&self) -> Result<(), Failure> {
        if self.request.runs_until_interrupted() { Ok(()) } else { Err(Failure::interrupted()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Cat, Data, Source};

    fn cat() -> Request {
        let source = Source { link: "x".into(), from: vec![], offline: false, wait: None };
        Request::Cat(Cat { source, offset: 3, length: None })
    }

    #[test]
    fn a_file_goes_on_where_it_was() {
        let mut story = Story::new(cat());
        assert!(story.tell(Event::Data(Data { bytes: vec![0; 10] })).is_some());
        assert_eq!(story.take_over(), None);
        assert!(matches!(story.next_request(), Request::Cat(cat) if cat.offset == 13));
        assert!(story.tell(Event::Data(Data { bytes: vec![0; 5] })).is_some());
        assert!(matches!(story.next_request(), Request::Cat(cat) if cat.offset == 18));
    }

    #[test]
    fn nothing_is_said_twice() {
        let pin = |cid: &str| Event::Pin {
            cid: cid.into(),
            kind: crate::api::PinKind::Recursive,
            name: String::new(),
        };
        let mut story = Story::new(Request::PinLs(crate::api::Pins::default()));
        assert!(story.tell(pin("a")).is_some());
        assert!(story.tell(pin("b")).is_some());
        story.take_over();
        assert!(story.tell(pin("a")).is_none());
        story.take_over();
        let said: Vec<bool> = ["a", "b", "c"].map(|cid| story.tell(pin(cid)).is_some()).into();
        assert_eq!(said, [false, false, true]);

        let ready = |addr: &str| Event::Ready {
            peer_id: String::new(),
            addrs: vec![addr.to_owned()],
            reachability: String::new(),
            cid: None,
            link: None,
            shares: vec![],
        };
        let mut story = Story::new(Request::Up { provide: crate::api::Provide::Roots });
        assert!(story.tell(ready("a")).is_some());
        assert!(matches!(story.take_over(), Some(Event::Notice { .. })));
        assert!(story.tell(ready("a")).is_none());
        // The new owner is somewhere else, which is news once.
        assert!(matches!(story.tell(ready("b")), Some(Event::Reachable { addrs, .. }) if addrs == ["b"]));
        assert!(story.tell(ready("b")).is_none());
        assert_eq!(story.interrupted(), Ok(()));
        assert!(Story::new(cat()).interrupted().is_err());
    }
}
