//! Following a path inside one block, to its end or to a link.

use crate::Cid;

use super::event::{Event, events};
use super::{IpldError, Kind};

/// Where a path leads in one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// To a link: go on in the block of `cid` with the components after the
    /// first `used`.
    Link {
        /// The other block.
        cid: Cid,
        /// Components of the path up to the link; 0 if the block is a link.
        used: usize,
    },
    /// It ends inside the block, at this sort of value.
    Inside(Kind),
}

/// Why a path leads nowhere in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// The block cannot be read.
    #[error(transparent)]
    Block(#[from] IpldError),
    /// The list or map has no such item or key.
    #[error("nothing at component {component} of the path")]
    NotFound {
        /// Number of the component that is missing, counted from 0.
        component: usize,
    },
    /// A value that is neither a map nor a list has nothing inside.
    #[error("component {component} of the path is inside {kind}")]
    NotAMap {
        /// Number of the component that is missing, counted from 0.
        component: usize,
        /// What the path leads into.
        kind: Kind,
    },
}

/// Follows `path` in a block: keys of maps, and numbers of items of lists,
/// counted from 0, without sign or leading zeros. The block must be right in
/// whole, behind the path's end, too.
///
/// dag-pb is followed as the map that it is in the data model, such as
/// `Links/0/Hash`; names in folders are what [`crate::resolve`] is for.
///
/// # Errors
/// See [`PathError`].
pub fn step<S: AsRef<str>>(codec: u64, block: &[u8], path: &[S]) -> Result<Step, PathError> {
    let mut walk = Walk { path, used: 0, place: Place::Root, depth: 0 };
    let mut end = None;
    for event in events(codec, block)? {
        let event = event?;
        // Once the end is known, the rest is only read to see that it is right.
        if end.is_none() {
            end = walk.take(&event);
        }
    }
    end.unwrap_or(Err(PathError::NotFound { component: walk.used }))
}

/// The number of an item of a list, from text.
pub(super) fn index(component: &str) -> Option<usize> {
    let plain = component == "0" || !component.starts_with(['0', '+']);
    if plain { component.parse().ok() } else { None }
}

/// The list or map that is searched for a component.
enum Place {
    /// None yet.
    Root,
    /// A list, the number of its next item, and the one that is wanted.
    List { next: usize, want: Option<usize> },
    /// A map, and whether the wanted key was read just now.
    Map { hit: bool },
}

/// The search for the end of a path.
struct Walk<'p, S> {
    path: &'p [S],
    /// Components that lead to the place.
    used: usize,
    place: Place,
    /// Lists and maps that are open inside of it.
    depth: usize,
}

impl<S: AsRef<str>> Walk<'_, S> {
    /// Takes an event; returns where the path ends, once that is known.
    fn take(&mut self, event: &Event<'_>) -> Option<Result<Step, PathError>> {
        if self.depth > 0 {
            match event {
                Event::List | Event::Map => self.depth += 1,
                Event::End => self.depth -= 1,
                _ => {}
            }
            return None;
        }
        let kind = match event {
            Event::End => return Some(Err(PathError::NotFound { component: self.used })),
            Event::Key(key) => {
                self.place = Place::Map { hit: self.want().is_some_and(|want| want.as_bytes() == &key[..]) };
                return None;
            }
            value => value.kind()?,
        };
        let found = match &mut self.place {
            Place::Root => true,
            Place::Map { hit } => *hit,
            Place::List { next, want } => {
                *next += 1;
                *want == Some(*next - 1)
            }
        };
        if !found {
            self.depth += usize::from(matches!(event, Event::List | Event::Map));
            return None;
        }
        if !matches!(self.place, Place::Root) {
            self.used += 1;
        }
        match (event, self.want()) {
            (Event::Link(cid), _) => Some(Ok(Step::Link { cid: **cid, used: self.used })),
            (_, None) => Some(Ok(Step::Inside(kind))),
            (Event::List, Some(want)) => {
                self.place = Place::List { next: 0, want: index(want) };
                None
            }
            (Event::Map, _) => {
                self.place = Place::Map { hit: false };
                None
            }
            _ => Some(Err(PathError::NotAMap { component: self.used, kind })),
        }
    }

    /// The component that is searched for; none at the path's end.
    fn want(&self) -> Option<&str> {
        self.path.get(self.used).map(AsRef::as_ref)
    }
}
