//! What is shared, and what was fetched, for people.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::{self, Write};

use peerage_content::name::escape;

use super::text::{bytes, plural, rate, seconds};
use crate::api::{Progress, SharedRoot, Via};

/// Sources that are named. 3: what fits into a line.
const SOURCES_SHOWN: usize = 3;

/// What a share, or else the peer itself, begins with.
pub(super) fn print_ready(
    peer_id: &str,
    addrs: &[String],
    shares: Option<&[SharedRoot]>,
    out: &mut dyn Write,
) -> io::Result<()> {
    for share in shares.unwrap_or_default() {
        writeln!(out, "sharing {}, {}", escape(&share.path), bytes(share.size))?;
        writeln!(out, "\n  peerage get \"{}\"\n", escape(&share.link))?;
        writeln!(out, "  /ipfs/{}\n", share.cid)?;
    }
    if shares.is_some() {
        return writeln!(out, "Ctrl-C ends it");
    }
    writeln!(out, "peer {peer_id} is up, Ctrl-C ends it")?;
    addrs.iter().try_for_each(|addr| writeln!(out, "  {}", escape(addr)))
}

/// The end of a fetch: how many bytes in which time, and from whom.
pub(super) fn print_done(
    path: &str,
    cid: &str,
    (size, time): (u64, f64),
    sources: &BTreeMap<String, u64>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let path = escape(path);
    if sources.is_empty() {
        // What was there already is not told from what was written just now.
        writeln!(out, "{path}: {}, all from what is here", bytes(size))?;
    } else {
        let peers = plural(sources.len() as u64, "peer", "peers");
        let rate = rate(size, time).map(|rate| format!(", {rate}")).unwrap_or_default();
        writeln!(out, "{path}: {} from {peers} in {}{rate}", bytes(size), seconds(time))?;
    }
    writeln!(out, "  /ipfs/{cid}")
}

/// How many sources a fetch has, by which ways, and how fast each is, fastest first;
/// and what came twice.
pub(super) fn sources_text(progress: &Progress) -> String {
    let mut text = plural(progress.sources, "source", "sources");
    if let Some(transfer) = progress.transfer.as_ref().filter(|transfer| transfer.duplicate_bytes > 0) {
        text.push_str(&format!(", {} twice", bytes(transfer.duplicate_bytes)));
    }
    let mut via: Vec<&Via> = progress.via.iter().collect();
    via.sort_by_key(|via| Reverse(via.rate));
    for via in via.into_iter().take(SOURCES_SHOWN) {
        // Who it is says its id in `--json`; a line has room for the path only.
        let path = via.addr.split("/p2p/").next().unwrap_or_default();
        text.push_str(&format!(", {}", escape(path)));
        if let Some(rate) = via.rate.filter(|_| progress.sources > 1) {
            text.push_str(&format!(" {}/s", bytes(rate)));
        }
    }
    text
}

/// Who is being served.
pub(super) fn served_text(peer: &str, addr: &str) -> String {
    // The end of a peer id is what differs.
    let start = peer.char_indices().rev().nth(7).map_or(0, |(index, _)| index);
    format!("to ..{} at {}", escape(&peer[start..]), escape(addr))
}
