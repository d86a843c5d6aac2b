//! `cargo xtask layers`: the rows of ARCHITECTURE.md, held by the build.
//!
//! A crate may depend only on crates of lower rows, and a state machine on
//! nothing that does I/O, keeps time or draws random numbers by itself, not
//! even through others. Development dependencies are exempt.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// The row of each crate below `crates/`; row 0 knows none of the others.
const ROWS: &[(&str, u8)] = &[
    ("peerage-base", 0),
    ("peerage-wire", 0),
    ("peerage-identity", 1),
    ("peerage-content", 1),
    ("peerage-transport", 2),
    ("peerage-store", 2),
    ("peerage-dht", 2),
    ("peerage-exchange", 2),
    ("peerage-engine", 3),
    ("peerage-peer", 4),
    ("peerage-sim", 4),
    ("peerage-node", 5),
];

/// Crates that are bytes in, bytes out.
const PURE: &[&str] =
    &["peerage-base", "peerage-wire", "peerage-content", "peerage-dht", "peerage-exchange", "peerage-engine"];

/// What a pure crate must not reach: runtimes, sockets, the database, and the
/// crate with a global random number generator.
const IMPURE: &[&str] = &["tokio", "async-std", "smol", "mio", "socket2", "sled", "rand"];

/// A crate and the crates that it depends on, other than for its tests.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// Reads `cargo metadata` and lists every dependency that points upwards.
pub(crate) fn check(root: &Path) -> Result<()> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .other_options(["--locked".to_owned()])
        .exec()
        .context("reading `cargo metadata`")?;
    let graph = graph(&metadata)?;
    let ours: Vec<String> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| package.manifest_path.starts_with(root.join("crates")))
        .map(|package| package.name.to_string())
        .collect();
    let faults = faults(&graph, &ours);
    if faults.is_empty() {
        println!("layers: {} crates, each uses only lower rows", ours.len());
        return Ok(());
    }
    bail!("dependencies against the layers (see ARCHITECTURE.md):\n  {}", faults.join("\n  "))
}

fn graph(metadata: &Metadata) -> Result<Graph> {
    let names: BTreeMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let resolve = metadata.resolve.as_ref().context("cargo resolved no dependencies")?;
    let mut graph = Graph::new();
    for node in &resolve.nodes {
        let used = node
            .deps
            .iter()
            .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal))
            .filter_map(|dep| names.get(&dep.pkg).map(|name| (*name).to_owned()));
        // Two versions of one crate count as one: what either uses is used.
        graph
            .entry((*names.get(&node.id).context("a package without a name")?).to_owned())
            .or_default()
            .extend(used);
    }
    Ok(graph)
}

fn faults(graph: &Graph, ours: &[String]) -> Vec<String> {
    let mut faults = Vec::new();
    let nothing = BTreeSet::new();
    for name in ours {
        let Some(row) = row(name) else {
            faults.push(format!("{name} has no row: add it to xtask/src/layers.rs and ARCHITECTURE.md"));
            continue;
        };
        for used in graph.get(name).unwrap_or(&nothing) {
            match row_of_ours(used, ours) {
                Some(other) if other >= row => {
                    faults.push(format!(
                        "{name} (row {row}) uses {used} (row {other}): only lower rows may be used"
                    ));
                }
                _ => {}
            }
        }
        if PURE.contains(&name.as_str()) {
            for impure in IMPURE {
                if let Some(way) = way(graph, name, impure) {
                    faults.push(format!("{name} is pure but reaches {impure}: {}", way.join(" -> ")));
                }
            }
        }
    }
    faults
}

fn row(name: &str) -> Option<u8> {
    ROWS.iter().find(|(known, _)| *known == name).map(|(_, row)| *row)
}

fn row_of_ours(name: &str, ours: &[String]) -> Option<u8> {
    if ours.iter().any(|own| own == name) { row(name) } else { None }
}

/// The shortest chain of dependencies between two crates.
fn way(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(at) = open.pop_front() {
        if at == to {
            let mut way = vec![at.to_owned()];
            let mut at = at;
            while let Some(previous) = before.get(at) {
                at = previous;
                way.push(at.to_owned());
            }
            way.reverse();
            return Some(way);
        }
        for next in graph.get(at)? {
            if next != from && !before.contains_key(next.as_str()) {
                before.insert(next, at);
                open.push_back(next);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> Graph {
        let mut graph = Graph::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            graph.entry((*to).to_owned()).or_default();
        }
        graph
    }

    fn ours(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn downwards_is_fine_and_upwards_or_sideways_is_not() {
        let names = ours(&["peerage-base", "peerage-content", "peerage-store", "peerage-exchange"]);
        let good = graph(&[("peerage-store", "peerage-content"), ("peerage-content", "peerage-base")]);
        assert_eq!(faults(&good, &names), Vec::<String>::new());
        let up = graph(&[("peerage-content", "peerage-store")]);
        assert!(faults(&up, &names)[0].contains("only lower rows"));
        let sideways = graph(&[("peerage-store", "peerage-exchange")]);
        assert_eq!(faults(&sideways, &names).len(), 1);
    }

    #[test]
    fn an_impure_dependency_is_found_through_others_with_its_way() {
        let names = ours(&["peerage-content", "peerage-store"]);
        let hidden = graph(&[("peerage-content", "cid"), ("cid", "rand"), ("peerage-store", "sled")]);
        let found = faults(&hidden, &names);
        assert_eq!(found, ["peerage-content is pure but reaches rand: peerage-content -> cid -> rand"]);
    }

    #[test]
    fn a_crate_without_a_row_is_refused() {
        assert!(faults(&Graph::new(), &ours(&["peerage-new"]))[0].contains("no row"));
    }
}
