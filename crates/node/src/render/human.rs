//! What a person reads: results on stdout, bars and notices on stderr.
//! Everything that others made up (names, paths, agents) is escaped here.

use std::io::{self, Write};

use peerage_content::name::escape;

use super::bars::Bars;
use super::listing::{ENTRIES, entry_row, print_stat};
use super::network::{self, DHT_PEERS, FOUND, PEERS};
use super::pings::Pings;
use super::table::{Align, Table};
use super::text::{bytes, plural, tame};
use super::verify::{self, Bads};
use super::{Render, Style, gc, transfer};
use crate::api::{Data, Event, Failure, PinKind};

/// The renderer for people.
#[derive(Debug)]
pub(crate) struct Human {
    style: Style,
    bars: Option<Bars>,
    table: Option<Table>,
    pings: Pings,
    /// The CID of the last root, where nothing else of `add` is printed.
    last: Option<String>,
    bads: Bads,
}

impl Human {
    /// With bars, if stderr is a terminal.
    pub(crate) fn for_terminal(style: Style) -> Self {
        let bars = if style.quieter { None } else { Bars::for_terminal() };
        Self { bars, ..Self::plain(style) }
    }

    /// Without bars.
    fn plain(style: Style) -> Self {
        Self { style, bars: None, table: None, pings: Pings::default(), last: None, bads: Bads::default() }
    }

    fn row(
        &mut self,
        columns: &'static [Align],
        header: &[&str],
        row: Vec<String>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        self.table.get_or_insert_with(|| Table::new(columns, header)).add(row, out)
    }

    /// Moves the bars; true if the event is nothing more than that.
    fn progress(&mut self, event: &Event) -> bool {
        let bars = self.bars.as_mut();
        match event {
            Event::Importing { bytes, total, files } => {
                if let Some(bars) = bars {
                    bars.advance(*bytes, *total, format!("{} read", plural(*files, "file", "files")));
                }
            }
            Event::Progress(progress) => {
                if let Some(bars) = bars {
                    let message = match (progress.sources, self.style.doing) {
                        (0, Some(doing)) => doing.to_owned(),
                        _ => transfer::sources_text(progress),
                    };
                    bars.advance(progress.bytes, progress.total, message);
                }
            }
            Event::Searching { asked, message, found, closest_bits } => {
                if let Some(bars) = bars {
                    bars.spin(network::searching_text(message, *asked, *found, *closest_bits));
                }
            }
            Event::Collecting { phase, done, total, freed_bytes, .. } => {
                if let Some(bars) = bars {
                    bars.count(*done, *total, gc::collecting_text(phase, *freed_bytes));
                }
            }
            Event::Looking { done } => {
                if let Some(bars) = bars {
                    bars.spin(verify::looking_text(*done));
                }
            }
            Event::Served { peer, addr, bytes, total, complete: false } => {
                if let Some(bars) = bars {
                    bars.peer(peer, *bytes, *total, transfer::served_text(peer, addr));
                }
            }
            _ => return false,
        }
        true
    }

    /// Whether the table, or what is bad, goes on with this event; if not, its rest is printed first.
    fn end_table_before(&mut self, event: &Event, out: &mut dyn Write) -> io::Result<()> {
        if !matches!(event, Event::Bad(_)) {
            self.bads.end(out)?;
        }
        match event {
            Event::Entry(_)
            | Event::Peer(_)
            | Event::Provider(_)
            | Event::DhtPeer(_)
            | Event::Pin { .. }
            | Event::Share { .. } => Ok(()),
            _ => self.table.take().map_or(Ok(()), |mut table| table.flush(out)),
        }
    }

    fn print(&mut self, event: Event, out: &mut dyn Write) -> io::Result<()> {
        match event {
            Event::Ready { peer_id, addrs, link, shares, .. } => {
                transfer::print_ready(&peer_id, &addrs, link.map(|_| &*shares), out)?;
            }
            Event::Done { path, bytes, seconds, sources, cid, .. } => {
                transfer::print_done(&path, &cid, (bytes, seconds), &sources, out)?;
            }
            Event::Served { peer, addr, bytes: sent, .. } => {
                writeln!(out, "{peer} at {} has everything ({} sent)", escape(&addr), bytes(sent))?;
            }
            Event::Closed { sent_bytes, received_bytes } => {
                writeln!(out, "sent {}, received {}", bytes(sent_bytes), bytes(received_bytes))?;
            }
            Event::Exported { cid, path, blocks, bytes: size } => {
                let path = path.as_deref().map(escape).unwrap_or_default();
                let blocks = plural(blocks, "block", "blocks");
                writeln!(out, "{path}: {blocks}, {}\n  /ipfs/{cid}", bytes(size))?;
            }
            Event::Imported { path, blocks, bytes: size, new_blocks, bad, unchecked, .. } => {
                let blocks = plural(blocks, "block", "blocks");
                let left = super::car::left_out(bad, unchecked);
                writeln!(out, "{}: {blocks}, {}, {new_blocks} new here{left}", escape(&path), bytes(size))?;
            }
            Event::Car(summary) => super::car::print_summary(&summary, out)?,
            Event::Added { cid, .. } if self.style.quieter => self.last = Some(cid),
            Event::Added { path, cid, size } => {
                writeln!(out, "{cid}  {}  {}", bytes(size), escape(&path))?;
            }
            Event::Entry(entry) => self.row(ENTRIES, &[""; 3], entry_row(entry), out)?,
            Event::Stat(stat) => print_stat(&stat, out)?,
            Event::Data(Data { bytes }) => out.write_all(&bytes)?,
            Event::Identity { peer_id, public_key, addrs, agent } => {
                writeln!(out, "peer     {peer_id}\nkey      {public_key}\nagent    {}", escape(&agent))?;
                for addr in addrs {
                    writeln!(out, "address  {}", escape(&addr))?;
                }
            }
            Event::Pong { peer_id, addr, seconds, .. } => {
                self.pings.answered(&peer_id, &addr, seconds, out)?;
            }
            Event::PingFailed { message, .. } => self.pings.failed(&message, out)?,
            Event::Connected { peer_id, addr, agent } => {
                let agent = agent.map(|agent| format!(", {}", escape(&agent))).unwrap_or_default();
                writeln!(out, "connected to {peer_id} at {}{agent}", escape(&addr))?;
            }
            Event::Peer(peer) => self.row(PEERS.0, PEERS.1, network::peer_row(peer), out)?,
            Event::Pin { cid, kind, name } => {
                let kind = match kind {
                    PinKind::Recursive => "recursive",
                    PinKind::Direct => "direct",
                };
                let row = vec![cid, kind.to_owned(), escape(&name)];
                self.row(&[Align::Left; 3], &["CID", "TYPE", "NAME"], row, out)?;
            }
            Event::Pinned { cid, .. } => writeln!(out, "pinned {cid}")?,
            Event::Unpinned { cid } => writeln!(out, "no longer pinned: {cid}")?,
            Event::Share { path, cid, size, why, announced } => {
                let why = if announced { format!("{}, announced", tame(&why)) } else { tame(&why) };
                let path = path.as_deref().map(escape).unwrap_or_default();
                const COLUMNS: &[Align] = &[Align::Left, Align::Right, Align::Left, Align::Left];
                self.row(COLUMNS, &["CID", "SIZE", "WHY", "PATH"], vec![cid, bytes(size), why, path], out)?;
            }
            Event::Unshared { path, cid } => {
                let path = path.map(|path| format!(" {}", escape(&path))).unwrap_or_default();
                writeln!(out, "no longer shared:{path} {cid}")?;
            }
            Event::Provider(peer) => {
                // As they come: a look-up may take a minute.
                self.row(FOUND.0, FOUND.1, network::found_row(&peer), out)?;
                self.table.as_mut().map_or(Ok(()), |table| table.flush(out))?;
            }
            Event::DhtPeer(peer) => {
                self.row(DHT_PEERS.0, DHT_PEERS.1, network::dht_peer_row(&peer), out)?;
            }
            Event::Located(peer) => network::print_located(&peer, out)?,
            Event::Provided(provided) => network::print_provided(&provided, out)?,
            Event::Status(status) => network::print_status(&status, out)?,
            Event::Limits(limits) => network::print_limits(&limits, out)?,
            Event::Bad(bad) => self.bads.print(&bad, out)?,
            Event::Unchecked(block) => verify::print_one("unchecked", &block, out)?,
            Event::Moved { .. } | Event::Looked { .. } | Event::Verified { .. } | Event::Repaired { .. } => {
                verify::print(&event, out)?;
            }
            Event::Collected { dry_run, dead_bytes, freed_bytes, mended_roots } => {
                gc::print_collected(dry_run, dead_bytes, freed_bytes, mended_roots, out)?;
            }
            Event::Importing { .. }
            | Event::Collecting { .. }
            | Event::Looking { .. }
            | Event::Progress(_)
            | Event::Searching { .. }
            | Event::Finished(_)
            | Event::Announced { .. }
            // A notice says it.
            | Event::Reachable { .. }
            | Event::Notice { .. }
            | Event::Unknown => {}
        }
        Ok(())
    }
}

impl Render for Human {
    fn event(&mut self, event: Event, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
        if self.progress(&event) {
            return Ok(());
        }
        if let Some(text) = aside(&event) {
            let mut print = || drop(err.write_all(text.as_bytes()));
            match &self.bars {
                Some(bars) => bars.suspend(print),
                None => print(),
            }
            return Ok(());
        }
        match (&event, &mut self.bars) {
            (Event::Served { peer, .. }, Some(bars)) => bars.peer_done(peer),
            (Event::Closed { .. }, Some(bars)) => bars.clear_all(),
            // Reading or fetching is over.
            (
                Event::Ready { .. }
                | Event::Done { .. }
                | Event::Looked { .. }
                | Event::Verified { .. }
                | Event::Repaired { .. }
                | Event::Collected { .. }
                | Event::Exported { .. }
                | Event::Imported { .. }
                | Event::Car(_),
                Some(bars),
            ) => bars.clear(),
            _ => {}
        }
        // Into memory first, so that the bars step aside once.
        let mut text = Vec::new();
        self.end_table_before(&event, &mut text)?;
        self.print(event, &mut text)?;
        if text.is_empty() {
            return Ok(());
        }
        let mut write = || out.write_all(&text).and_then(|()| out.flush());
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(bars) = &mut self.bars {
            bars.clear_all();
        }
        if let Some(mut table) = self.table.take() {
            table.flush(out)?;
        }
        self.bads.end(out)?;
        if let Some(cid) = self.last.take() {
            writeln!(out, "{cid}")?;
        }
        self.pings.finish(out)?;
        out.flush()
    }

    fn failure(&mut self, failure: &Failure, err: &mut dyn Write) {
        if let Some(bars) = &mut self.bars {
            bars.clear_all();
        }
        drop(writeln!(err, "peerage: {}", tame(&failure.message)));
    }
}

/// What is said beside the results.
fn aside(event: &Event) -> Option<String> {
    match event {
        Event::Notice { message, .. } => Some(format!("note: {}\n", tame(message))),
        Event::Announced { cid, network } => {
            Some(format!("announced in the {}: {}\n", network::place(*network), escape(cid)))
        }
        Event::Finished(finished) => Some(format!("{}\n", network::finished_text(finished))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Entry, EntryKind, Kind, NoticeKind, PeerLine, SharedRoot};

    fn printed(events: Vec<Event>) -> (String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut human = Human::plain(Style::default());
        for event in events {
            human.event(event, &mut out, &mut err).unwrap();
        }
        human.finish(&mut out).unwrap();
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    fn entry(name: &str, kind: EntryKind, size: u64) -> Event {
        let target = (kind == EntryKind::Symlink).then(|| "../\u{1b}x".to_owned());
        Event::Entry(Entry {
            name: Some(name.to_owned()),
            cid: "bafy".into(),
            kind,
            size: Some(size),
            target,
        })
    }

    #[test]
    fn a_share_prints_its_link_ready_to_paste() {
        let root = SharedRoot {
            path: "/home/me/a b".into(),
            cid: "bafyx".into(),
            link: "ipfs://bafyx?name=a%20b&find=no".into(),
            size: 1_500_000,
            announced: false,
        };
        let (out, err) = printed(vec![
            Event::Importing { bytes: 1, total: Some(2), files: 1 },
            Event::Ready {
                peer_id: "12D3".into(),
                addrs: vec![],
                reachability: "unknown".into(),
                cid: Some("bafyx".into()),
                link: Some(root.link.clone()),
                shares: vec![root],
            },
            Event::notice(NoticeKind::Changed, "/home/me/a b changed"),
            Event::Served {
                peer: "12D3abc".into(),
                addr: "/ip4/192.0.2.1/tcp/4001".into(),
                bytes: 7,
                total: None,
                complete: false,
            },
            Event::Served {
                peer: "12D3abc".into(),
                addr: "/ip4/192.0.2.1/tcp/4001".into(),
                bytes: 1_500_000,
                total: None,
                complete: true,
            },
            Event::Closed { sent_bytes: 1_500_000, received_bytes: 12 },
        ]);
        assert_eq!(
            out,
            "sharing /home/me/a b, 1.5 MB\n\n  peerage get \"ipfs://bafyx?name=a%20b&find=no\"\n\n  \
             /ipfs/bafyx\n\nCtrl-C ends it\n\
             12D3abc at /ip4/192.0.2.1/tcp/4001 has everything (1.5 MB sent)\n\
             sent 1.5 MB, received 12 B\n"
        );
        assert_eq!(err, "note: /home/me/a b changed\n");
    }

    #[test]
    fn a_get_says_what_came_from_whom() {
        let done = |sources: &[(&str, u64)]| Event::Done {
            cid: "bafyx".into(),
            path: "/d/a\u{1b}[2J".into(),
            bytes: 4_000_000,
            seconds: 2.0,
            sources: sources.iter().map(|&(peer, bytes)| (peer.to_owned(), bytes)).collect(),
            duplicate_bytes: 0,
        };
        assert_eq!(
            printed(vec![done(&[("a", 1), ("b", 2)])]).0,
            "/d/a\\u{1b}[2J: 4.0 MB from 2 peers in 2.0 s, 2.0 MB/s\n  /ipfs/bafyx\n"
        );
        assert_eq!(
            printed(vec![done(&[])]).0,
            "/d/a\\u{1b}[2J: 4.0 MB, all from what is here\n  /ipfs/bafyx\n"
        );
    }

    #[test]
    fn tables_line_up() {
        let (out, _) = printed(vec![
            entry("sub", EntryKind::Directory, 0),
            entry("big\n", EntryKind::File, 12_345_678),
            entry("ln", EntryKind::Symlink, 0),
        ]);
        assert_eq!(out, "bafy        -  sub/\nbafy  12.3 MB  big\\n\nbafy        -  ln -> ../\\u{1b}x\n");
        let pin = |name: &str| Event::Pin { cid: "bafy".into(), kind: PinKind::Recursive, name: name.into() };
        assert_eq!(
            printed(vec![pin("a"), pin("")]).0,
            "CID   TYPE       NAME\nbafy  recursive  a\nbafy  recursive\n"
        );
        let share = Event::Share {
            path: Some("/a".into()),
            cid: "bafy".into(),
            size: 5,
            why: "shared".into(),
            announced: false,
        };
        assert_eq!(printed(vec![share]).0, "CID   SIZE  WHY     PATH\nbafy   5 B  shared  /a\n");
        let peer = Event::Peer(PeerLine {
            peer_id: "12D3".into(),
            addr: "/ip4/192.0.2.1/tcp/1".into(),
            direction: "inbound".into(),
            agent: Some("kubo\u{202e}".into()),
            rtt_seconds: Some(0.0123),
            sent_bytes: 0,
            received_bytes: 1000,
            score: -4,
        });
        assert_eq!(
            printed(vec![peer]).0,
            "PEER  DIRECTION      RTT  SENT  RECEIVED  SCORE  ADDRESS               AGENT\n\
             12D3  inbound    12.3 ms   0 B    1.0 kB     -4  /ip4/192.0.2.1/tcp/1  kubo\\u{202e}\n"
        );
    }

    #[test]
    fn pings_are_summed_up() {
        let pong = |seq, seconds| Event::Pong { peer_id: "12D3".into(), addr: "/a".into(), seq, seconds };
        let (out, _) = printed(vec![
            pong(0, 0.002),
            pong(1, 0.001),
            Event::PingFailed { seq: 2, message: "late".into() },
        ]);
        assert_eq!(
            out,
            "12D3 at /a\n  2.0 ms\n  1.0 ms\n  no answer: late\n3 sent, 2 answered, lowest 1.0 ms, average 1.5 ms\n"
        );
    }

    #[test]
    fn what_went_wrong_is_safe_to_print() {
        let mut err = Vec::new();
        Human::plain(Style::default()).failure(&Failure::new(Kind::Exists, "a\n  b\u{1b}"), &mut err);
        assert_eq!(String::from_utf8(err).unwrap(), "peerage: a\n  b\\u{1b}\n");
    }

    #[test]
    fn what_an_import_leaves_out_is_counted_by_its_reason() {
        let imported = |bad, unchecked| Event::Imported {
            path: "/a.car".into(),
            blocks: 2,
            bytes: 10,
            new_blocks: 1,
            bad,
            unchecked,
            roots: Vec::new(),
        };
        let said = "/a.car: 2 blocks, 10 B, 1 new here";
        let (out, _) = printed(vec![imported(0, 0), imported(3, 0), imported(0, 1), imported(3, 1)]);
        assert_eq!(
            out,
            format!(
                "{said}\n{said}, 3 bad left out\n{said}, 1 unchecked left out\n\
                 {said}, 3 bad left out, 1 unchecked left out\n"
            )
        );
    }

    #[test]
    fn quieter_prints_the_last_root_and_nothing_else() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut human = Human::plain(Style { quieter: true, ..Style::default() });
        for cid in ["bafya", "bafyb"] {
            let added = Event::Added { path: "/a".into(), cid: cid.into(), size: 1 };
            human.event(added, &mut out, &mut err).unwrap();
        }
        human.finish(&mut out).unwrap();
        assert_eq!((String::from_utf8(out).unwrap(), err), ("bafyb\n".to_owned(), vec![]));
    }

    #[test]
    fn bytes_of_a_file_pass_as_they_are() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let data = Data { bytes: vec![0, 27, 255] };
        Human::plain(Style::default()).event(Event::Data(data), &mut out, &mut err).unwrap();
        assert_eq!(out, [0, 27, 255]);
    }
}
