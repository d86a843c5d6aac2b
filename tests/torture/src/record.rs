//! What is written down of a store's operations as they are done: into a model, or
//! as lines for the process that has the model.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use peerage_store::{Store, TreeId};

use crate::model::Level;

/// Takes down what was promised, and what nobody promises any more. What may fail
/// is taken down before it is tried.
pub trait Record {
    /// A block was put.
    fn put(&mut self, n: u32);
    /// A piece of a file was put.
    fn put_piece(&mut self, tree: TreeId, n: u32);
    /// A tree is removed, or may be.
    fn remove_tree(&mut self, tree: TreeId);
    /// Of these nobody promises anything any more.
    fn give_up(&mut self, doomed: &Doomed);
    /// A pin is added, renamed or removed, or may be.
    fn try_pin(&mut self, n: u32, name: Option<&str>);
    /// A root is added or removed, or may be.
    fn try_root(&mut self, name: &str, there: bool);
    /// Everything survives so much.
    fn promised(&mut self, level: Level, facts: &Facts);
    /// All pins and roots survive so much.
    fn facts_promised(&mut self, level: Level, facts: &Facts);
    /// Whether the block is promised to be here as long as the process lives.
    fn has(&self, n: u32) -> bool;
}

/// The pins and roots that a store tells of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Names of pins, by the number of the block.
    pub pins: BTreeMap<u32, String>,
    /// Names of roots.
    pub roots: BTreeSet<String>,
}

impl Facts {
    /// Those of this one.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        let mut facts = Self::default();
        for pin in store.pins() {
            let number = pin.name.split_once('.').and_then(|(n, _)| n.parse().ok());
            facts.pins.extend(number.map(|n: u32| (n, pin.name)));
        }
        facts.roots = store.roots().into_iter().map(|entry| entry.root.name).collect();
        facts
    }
}

/// Blocks that a collection takes: those that none of these roots reaches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Doomed {
    /// The blocks of each root.
    pub kept: Vec<Range<u32>>,
}

impl Doomed {
    /// All but what the roots of a store reach.
    #[must_use]
    pub fn of(store: &Store) -> Self {
        let names = store.roots().into_iter().filter_map(|entry| range_of(&entry.root.name));
        Self { kept: names.collect() }
    }

    /// Whether the block is one of them.
    #[must_use]
    pub fn has(&self, n: u32) -> bool {
        !self.kept.iter().any(|range| range.contains(&n))
    }
}

/// The blocks of the root with this name.
#[must_use]
pub fn range_of(name: &str) -> Option<Range<u32>> {
    let (from, to) = name.split_once("..")?;
    Some(from.parse().ok()?..to.parse().ok()?)
}

/// Writes a line for everything, at once, so that it outlives the process.
#[derive(Debug)]
pub struct Lines<W>(pub W);

impl<W: Write> Lines<W> {
    fn line(&mut self, words: &[&dyn ToString]) {
        let mut line = words.iter().map(|word| word.to_string()).collect::<Vec<_>>().join(" ");
        line.push('\n');
        // One write: a kill leaves all of it or nothing.
        self.0.write_all(line.as_bytes()).expect("the one who reads this is gone");
    }

    fn facts(&mut self, what: &str, level: Level, facts: &Facts) {
        let pins: Vec<&str> = facts.pins.values().map(String::as_str).collect();
        let roots: Vec<&str> = facts.roots.iter().map(String::as_str).collect();
        let level = if level == Level::Synced { "synced" } else { "flushed" };
        self.line(&[&what, &level, &pins.join(","), &roots.join(",")]);
    }
}

impl<W: Write> Record for Lines<W> {
    fn put(&mut self, n: u32) {
        self.line(&[&"put", &n]);
    }

    fn put_piece(&mut self, tree: TreeId, n: u32) {
        self.line(&[&"piece", &tree.0, &n]);
    }

    fn remove_tree(&mut self, tree: TreeId) {
        self.line(&[&"untree", &tree.0]);
    }

    fn give_up(&mut self, doomed: &Doomed) {
        let kept: Vec<String> =
            doomed.kept.iter().map(|range| format!("{}..{}", range.start, range.end)).collect();
        self.line(&[&"doomed", &kept.join(",")]);
    }

    fn try_pin(&mut self, n: u32, name: Option<&str>) {
        self.line(&[&"pin", &n, &name.unwrap_or("-")]);
    }

    fn try_root(&mut self, name: &str, there: bool) {
        self.line(&[&"root", &name, &there]);
    }

    fn promised(&mut self, level: Level, facts: &Facts) {
        self.facts("all", level, facts);
    }

    fn facts_promised(&mut self, level: Level, facts: &Facts) {
        self.facts("facts", level, facts);
    }

    fn has(&self, _: u32) -> bool {
        // Who reads the lines knows.
        false
    }
}

/// Takes down in `record` what a line says.
///
/// # Errors
/// A line that [`Lines`] did not write.
pub fn read_line(line: &str, record: &mut impl Record) -> Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let number = |word: &str| word.parse::<u32>().with_context(|| format!("in the line `{line}`"));
    match words[..] {
        ["put", n] => record.put(number(n)?),
        ["piece", tree, n] => record.put_piece(TreeId(tree.parse()?), number(n)?),
        ["untree", tree] => record.remove_tree(TreeId(tree.parse()?)),
        ["doomed", kept] => {
            record.give_up(&Doomed { kept: kept.split(',').filter_map(range_of).collect() });
        }
        ["pin", n, "-"] => record.try_pin(number(n)?, None),
        ["pin", n, name] => record.try_pin(number(n)?, Some(name)),
        ["root", name, there] => record.try_root(name, there.parse()?),
        [what @ ("all" | "facts"), level, pins, roots] => {
            let level = if level == "synced" { Level::Synced } else { Level::Flushed };
            let named = |names: &str| -> Vec<String> {
                names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
            };
            let mut facts = Facts { roots: named(roots).into_iter().collect(), ..Facts::default() };
            for name in named(pins) {
                let (n, _) = name.split_once('.').context("a pin with a strange name")?;
                facts.pins.insert(number(n)?, name);
            }
            if what == "all" { record.promised(level, &facts) } else { record.facts_promised(level, &facts) }
        }
        _ => bail!("not a line of ours: `{line}`"),
    }
    Ok(())
}
