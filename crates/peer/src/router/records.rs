//! What a router's answer says: peers, from JSON or from lines of JSON.
//!
//! IPFS specs `routing/http-routing-v1.md`: records of the schema `peer`, and
//! the older one `bitswap`, are taken; unknown schemas and fields are passed
//! over, as the spec asks; `json.rs` parses. Pure: bytes in, records out.

use peerage_identity::{Multiaddr, PeerId};

use super::json::{self, Record};
use super::{Limits, RouterError};

/// Bitswap, in whichever version, by its name among transfer protocols.
const BITSWAP: &str = "transport-bitswap";

/// A peer that a router named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Who; a connection proves it.
    pub peer: PeerId,
    /// Where, without `/p2p`; may be empty.
    pub addrs: Vec<Multiaddr>,
    /// What the router believes it speaks, such as `transport-bitswap`; may be empty.
    pub protocols: Vec<String>,
}

impl Found {
    /// False if it is said to speak other protocols only, such as HTTP: we
    /// fetch nothing from it. Whoever is said to speak nothing is to be asked.
    #[must_use]
    pub fn may_speak_bitswap(&self) -> bool {
        self.protocols.is_empty() || self.protocols.iter().any(|protocol| protocol == BITSWAP)
    }
}

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One object that contains all.
    Json,
    /// One object a line.
    Lines,
}

impl Format {
    /// By the `Content-Type` header.
    pub(crate) fn of(content_type: &str) -> Option<Self> {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "application/json" => Some(Self::Json),
            "application/x-ndjson" => Some(Self::Lines),
            _ => None,
        }
    }
}

/// Reads a body as it comes.
#[derive(Debug)]
pub(crate) struct Reader {
    format: Format,
    limits: Limits,
    /// What is read and not understood yet.
    buf: Vec<u8>,
    /// Of `buf`, bytes that hold no end of a line.
    searched: usize,
    read: usize,
    found: usize,
}

impl Reader {
    pub(crate) fn new(format: Format, limits: Limits) -> Self {
        Self { format, limits, buf: Vec::new(), searched: 0, read: 0, found: 0 }
    }

    /// Whether there is no use in reading on.
    pub(crate) fn is_full(&self) -> bool {
        self.found >= self.limits.records
    }

    /// Takes in `bytes`, and adds to `out` the peers that they complete, also
    /// those before what cannot be read.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<Found>) -> Result<(), RouterError> {
        self.read += bytes.len();
        if self.read > self.limits.body {
            return Err(RouterError::TooLarge(self.limits.body));
        }
        self.buf.extend_from_slice(bytes);
        if self.format == Format::Lines {
            let mut start = 0;
            while let Some(end) = self.buf[self.searched..].iter().position(|byte| *byte == b'\n') {
                let end = self.searched + end;
                let found = line(&self.buf[start..end], &self.limits)?;
                if let Some(found) = found.filter(|_| !self.is_full()) {
                    self.found += 1;
                    out.push(found);
                }
                (start, self.searched) = (end + 1, end + 1);
            }
            self.buf.drain(..start);
            self.searched = self.buf.len();
        }
        Ok(())
    }

    /// The body is over; the peers that it leaves.
    pub(crate) fn finish(self) -> Result<Vec<Found>, RouterError> {
        let rest = self.buf;
        let mut found = match self.format {
            Format::Lines => line(&rest, &self.limits)?.into_iter().collect(),
            Format::Json => all(&rest, &self.limits)?,
        };
        found.truncate(self.limits.records - self.found);
        Ok(found)
    }
}

fn line(text: &[u8], limits: &Limits) -> Result<Option<Found>, RouterError> {
    if text.trim_ascii().is_empty() {
        return Ok(None);
    }
    let record = json::record(text, limits).map_err(|error| malformed(&error))?;
    Ok(record.and_then(found))
}

fn all(text: &[u8], limits: &Limits) -> Result<Vec<Found>, RouterError> {
    let records = json::records(text, limits).map_err(|error| malformed(&error))?;
    Ok(records.into_iter().filter_map(found).collect())
}

fn malformed(error: &serde_json::Error) -> RouterError {
    RouterError::Malformed { line: error.line(), column: error.column() }
}

/// The peer of a record, if that is one that we know and names a peer.
fn found(record: Record) -> Option<Found> {
    let protocols = match record.schema?.as_str() {
        "peer" => record.protocols,
        // Before there were peers that speak several: one protocol, by its name.
        "bitswap" => record.protocol.into_iter().collect(),
        _ => return None,
    };
    let peer: PeerId = record.id?.parse().ok()?;
    let addrs = record.addrs.into_iter().filter_map(|text| {
        let addr: Multiaddr = text.parse().ok()?;
        match addr.peer_id() {
            Some(other) if other != peer => None,
            _ => Some(addr.without_peer()),
        }
    });
    let addrs = addrs.collect();
    Some(Found { peer, addrs, protocols })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

    fn read(format: Format, body: &str, piece: usize) -> Result<Vec<Found>, RouterError> {
        let mut reader = Reader::new(format, Limits::default());
        let mut found = Vec::new();
        for bytes in body.as_bytes().chunks(piece) {
            reader.push(bytes, &mut found)?;
        }
        found.extend(reader.finish()?);
        Ok(found)
    }

    fn expected() -> Vec<Found> {
        let addrs = ["/ip4/203.0.113.5/tcp/4001", "/dns4/example.com/tcp/443/tls/http"];
        let addrs: Vec<Multiaddr> = addrs.iter().map(|addr| addr.parse().unwrap()).collect();
        let peer = PEER.parse().unwrap();
        let protocols = vec!["transport-bitswap".to_owned()];
        vec![
            Found { peer, addrs: addrs.clone(), protocols: protocols.clone() },
            Found { peer, addrs: addrs[..1].to_vec(), protocols },
            Found { peer, addrs: vec![], protocols: vec![] },
        ]
    }

    fn records() -> [String; 5] {
        [
            format!(
                r#"{{"Schema":"peer","ID":"{PEER}","Addrs":["/ip4/203.0.113.5/tcp/4001/p2p/{PEER}",7,"no",
                    "/dns4/example.com/tcp/443/tls/http"],"Protocols":["transport-bitswap"],"Extra":[{{}}]}}"#
            )
            .replace('\n', " "),
            r#"{"Schema":"unknown","ID":5}"#.to_owned(),
            format!(
                r#"{{"Schema":"bitswap","Protocol":"transport-bitswap","ID":"{PEER}",
                    "Addrs":["/ip4/203.0.113.5/tcp/4001"]}}"#
            )
            .replace('\n', " "),
            r#"{"Schema":"peer","ID":"nobody"}"#.to_owned(),
            format!(r#"{{"Schema":"peer","ID":"{PEER}"}}"#),
        ]
    }

    #[test]
    fn both_forms_say_the_same() {
        let lines = records().join("\n");
        let (json, peers) = (records().join(","), "[]");
        for piece in [1, 7, 10_000] {
            assert_eq!(read(Format::Lines, &lines, piece), Ok(expected()));
            assert_eq!(read(Format::Lines, &format!("{lines}\n\n"), piece), Ok(expected()));
            let body = format!(r#"{{"Providers":[{json}],"Peers":{peers}}}"#);
            assert_eq!(read(Format::Json, &body, piece), Ok(expected()));
            assert_eq!(read(Format::Json, &format!(r#"{{"Peers":[{json}]}}"#), piece), Ok(expected()));
        }
        assert_eq!(read(Format::Json, r#"{"Providers":null}"#, 9), Ok(vec![]));
        assert_eq!(read(Format::Lines, "", 9), Ok(vec![]));
    }

    #[test]
    fn who_is_said_to_speak_something_else_is_no_source() {
        let peer = PEER.parse().unwrap();
        let may = |protocols: &[&str]| {
            let protocols = protocols.iter().map(|protocol| (*protocol).to_owned()).collect();
            Found { peer, addrs: vec![], protocols }.may_speak_bitswap()
        };
        assert!(may(&[]) && may(&["transport-ipfs-gateway-http", "transport-bitswap"]));
        assert!(!may(&["transport-ipfs-gateway-http"]));
    }

    #[test]
    fn lines_are_told_as_they_end() {
        let mut reader = Reader::new(Format::Lines, Limits::default());
        let [first, ..] = records();
        let mut found = Vec::new();
        assert_eq!(reader.push(first.as_bytes(), &mut found), Ok(()));
        assert!(found.is_empty());
        assert_eq!(reader.push(b"\n{", &mut found), Ok(()));
        assert_eq!(found, expected()[..1]);
        assert_eq!(reader.finish(), Err(RouterError::Malformed { line: 1, column: 1 }));
    }

    #[test]
    fn what_was_before_a_bad_line_counts() {
        let [first, ..] = records();
        let (mut reader, mut found) = (Reader::new(Format::Lines, Limits::default()), Vec::new());
        let whole = reader.push(format!("{first}\n{{\n{first}\n").as_bytes(), &mut found);
        assert_eq!(whole, Err(RouterError::Malformed { line: 1, column: 1 }));
        assert_eq!(found, expected()[..1]);
    }

    #[test]
    fn too_much_is_cut_or_refused() {
        let record = format!("{}\n", records()[4]);
        let limits = Limits::default();
        let found = read(Format::Lines, &record.repeat(limits.records + 5), 4096).unwrap();
        assert_eq!(found.len(), limits.records);
        let json = vec![records()[4].clone(); limits.records + 5].join(",");
        let unknown = vec![records()[1].clone(); limits.records].join(",");
        let body = format!(r#"{{"Providers":[{unknown},{json}],"Peers":[{json}]}}"#);
        let found = read(Format::Json, &body, 4096).unwrap();
        assert_eq!(found.len(), limits.records);
        let giant = " ".repeat(limits.body + 1);
        assert_eq!(read(Format::Json, &giant, 65_536), Err(RouterError::TooLarge(limits.body)));
        let addrs = vec!["\"/ip4/1.2.3.4/tcp/1\""; 200].join(",");
        let record = format!(r#"{{"Schema":"peer","ID":"{PEER}","Addrs":[{addrs}]}}"#);
        assert_eq!(read(Format::Lines, &record, 999).unwrap()[0].addrs.len(), limits.addrs);
    }

    proptest! {
        #[test]
        fn arbitrary_bodies_do_no_harm(body in "(\\PC|\\n|[{}\\[\\]\":,]){0,200}", piece in 1_usize..50) {
            for format in [Format::Json, Format::Lines] {
                let _ = read(format, &body, piece);
            }
        }

        #[test]
        fn how_it_is_cut_does_not_matter(piece in 1_usize..400) {
            prop_assert_eq!(read(Format::Lines, &records().join("\n"), piece), Ok(expected()));
        }
    }
}
