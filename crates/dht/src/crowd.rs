//! The k closest servers, of which one owner may not be too many.
//!
//! Whoever makes twenty ids that are nearer to a key than all others holds its
//! records alone, and need not give them out (Sridhar et al., "Content
//! Censorship in the InterPlanetary File System", NDSS 2024); the ids are cheap,
//! addresses in many networks are not. So of the peers that a look-up ends with, and
//! that store a record, only a few of one IP group count towards k. The others
//! of the group are kept beside them: they may be honest, and deployed peers
//! look there.

use std::collections::BTreeMap;

use crate::reach::Group;

/// Counts servers, nearest first.
#[derive(Debug)]
pub(crate) struct Crowd {
    max: usize,
    groups: BTreeMap<Group, usize>,
    counted: usize,
}

impl Crowd {
    /// At most `max` of one group count.
    pub(crate) const fn new(max: usize) -> Self {
        Self { max, groups: BTreeMap::new(), counted: 0 }
    }

    /// One more, whose group is known if groups matter for it.
    pub(crate) fn add(&mut self, group: Option<Group>) {
        if let Some(group) = group {
            let of_group = self.groups.entry(group).or_default();
            *of_group += 1;
            if *of_group > self.max {
                return;
            }
        }
        self.counted += 1;
    }

    /// How many count.
    pub(crate) const fn counted(&self) -> usize {
        self.counted
    }

    /// True if another one, known by addresses of these groups, would not
    /// count; addresses without a group say nothing.
    pub(crate) fn is_full_of(&self, groups: impl IntoIterator<Item = Option<Group>>) -> bool {
        let full = |group| self.groups.get(&group).is_some_and(|count| *count >= self.max);
        let mut groups = groups.into_iter().flatten().peekable();
        groups.peek().is_some() && groups.all(full)
    }
}
