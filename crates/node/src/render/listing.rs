//! What `ls` and `stat` say, for people.

use std::io::{self, Write};

use peerage_content::name::escape;

use super::table::Align;
use super::text::{bytes, date};
use crate::api::{Entry, EntryKind, Stat};

/// Columns of `ls`: CID, size, name.
pub(super) const ENTRIES: &[Align] = &[Align::Left, Align::Right, Align::Left];

pub(super) fn entry_row(entry: Entry) -> Vec<String> {
    let mut name = entry.name.as_deref().map(escape).unwrap_or_default();
    match entry.kind {
        EntryKind::Directory => name.push('/'),
        EntryKind::Symlink => {
            let target = entry.target.as_deref().map(escape).unwrap_or_default();
            name = format!("{name} -> {target}");
        }
        EntryKind::File | EntryKind::Node | EntryKind::Unknown => {}
    }
    let size = match (entry.kind, entry.size) {
        (EntryKind::Directory | EntryKind::Symlink, _) | (_, None) => "-".to_owned(),
        (_, Some(size)) => bytes(size),
    };
    vec![entry.cid, size, name]
}

pub(super) fn print_stat(stat: &Stat, out: &mut dyn Write) -> io::Result<()> {
    let Stat { cid, kind, codec, size, dag_size, entries, links, mode, mtime, target } = stat;
    let kind = match kind {
        EntryKind::File => "file",
        EntryKind::Directory => "folder",
        EntryKind::Symlink => "symlink",
        EntryKind::Node => "node",
        EntryKind::Unknown => "unknown",
    };
    writeln!(out, "cid      {cid}\ntype     {kind}\ncodec    {codec}")?;
    let exact = |size: u64| format!("{size} ({})", bytes(size));
    let mut line = |name: &str, value: Option<String>| match value {
        Some(value) => writeln!(out, "{name:<8} {value}"),
        None => Ok(()),
    };
    line("size", size.map(exact))?;
    line("dag size", dag_size.map(exact))?;
    line("entries", entries.map(|count| count.to_string()))?;
    line("links", links.map(|count| count.to_string()))?;
    line("mode", mode.map(|mode| format!("{mode:04o}")))?;
    line("mtime", mtime.map(|mtime| format!("{} ({mtime})", date(mtime))))?;
    line("target", target.as_deref().map(escape))
}
