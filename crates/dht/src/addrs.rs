//! The addresses of a peer as they are kept for hours: one, mostly, and that in
//! place, since an allocation for each of hundreds of peers is a third of their
//! memory.

use std::ops::Deref;

use peerage_identity::Multiaddr;

use crate::message::merge;

/// A list that does not grow.
#[derive(Debug, Clone)]
pub(crate) enum Addrs {
    One(Multiaddr),
    /// Any other number.
    List(Box<[Multiaddr]>),
}

impl Addrs {
    /// Where somebody is now. Mostly that is where he was: what is kept for
    /// hours is not to be moved about in memory by every answer.
    pub(crate) fn update(&mut self, addrs: &[Multiaddr]) {
        if **self != *addrs {
            *self = addrs.into();
        }
    }

    /// [`merge`], mostly without anything being moved.
    pub(crate) fn merge(&mut self, news: Vec<Multiaddr>, max: usize) {
        if self.len() > max || !self.starts_with(&news) {
            let mut merged = self.to_vec();
            merge(&mut merged, news, max);
            self.update(&merged);
        }
    }
}

impl Default for Addrs {
    fn default() -> Self {
        Self::List(Box::default())
    }
}

impl Deref for Addrs {
    type Target = [Multiaddr];

    fn deref(&self) -> &[Multiaddr] {
        match self {
            Self::One(addr) => std::slice::from_ref(addr),
            Self::List(addrs) => addrs,
        }
    }
}

impl From<&[Multiaddr]> for Addrs {
    fn from(addrs: &[Multiaddr]) -> Self {
        match addrs {
            [addr] => Self::One(addr.clone()),
            addrs => Self::List(addrs.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_any_length_is_what_was_given() {
        let all: Vec<Multiaddr> = (1..4).map(|n| format!("/ip4/1.2.3.4/tcp/{n}").parse().unwrap()).collect();
        let mut kept = Addrs::default();
        assert!(kept.is_empty());
        for len in [1, 2, 3, 0, 1] {
            kept.update(&all[..len]);
            assert_eq!(*kept, all[..len]);
        }
        kept.merge(all[..1].to_vec(), 2);
        assert_eq!(*kept, all[..1]);
        kept.merge(all[1..].to_vec(), 2);
        assert_eq!(*kept, all[..2]);
        assert_eq!(size_of::<Addrs>(), size_of::<Multiaddr>());
    }
}
