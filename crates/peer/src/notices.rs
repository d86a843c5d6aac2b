//! What the user should hear about his files, for several who ask: what one command
//! of an owner was told, another that runs at the same time is told, too.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use peerage_store::Notice;

/// Notices that are kept for those who have not heard them yet. 1,024: as many as the
/// store keeps, the oldest given up first.
const KEPT_MAX: usize = 1024;

/// The notices of a peer, numbered as they came.
#[derive(Debug, Default)]
pub(crate) struct Notices(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<Notice>,
    /// Those that came before the kept ones.
    gone: u64,
    /// Those that somebody has heard.
    heard: u64,
}

/// How far one listener is; see [`crate::Peer::notices`].
#[derive(Debug)]
pub struct Heard(u64);

impl Notices {
    /// A listener who is told what nobody has heard, and all that comes.
    pub(crate) fn listen(&self) -> Heard {
        Heard(self.0.lock().unwrap_or_else(PoisonError::into_inner).heard)
    }

    /// Adds what is new, and gives what this listener has not heard.
    pub(crate) fn hear(&self, new: Vec<Notice>, listener: &mut Heard) -> Vec<Notice> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept.extend(new);
        while state.kept.len() > KEPT_MAX {
            state.kept.pop_front();
            state.gone += 1;
        }
        let skipped = usize::try_from(listener.0.saturating_sub(state.gone)).unwrap_or(usize::MAX);
        let unheard = state.kept.iter().skip(skipped).cloned().collect();
        listener.0 = state.gone + state.kept.len() as u64;
        state.heard = state.heard.max(listener.0);
        unheard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(name: &str) -> Notice {
        Notice::PackIndexDamaged { pack: name.into() }
    }

    #[test]
    fn each_listener_hears_what_comes_while_it_listens() {
        let notices = Notices::default();
        let (mut one, mut other) = (notices.listen(), notices.listen());
        let (a, b) = (notice("a"), notice("b"));
        assert_eq!(notices.hear(vec![a.clone()], &mut one), std::slice::from_ref(&a));
        assert_eq!(notices.hear(vec![b.clone()], &mut other), [a, b.clone()]);
        assert_eq!(notices.hear(vec![], &mut one), [b]);
        assert_eq!(notices.hear(vec![], &mut other), []);
        // What was heard before is no news to who comes later.
        assert_eq!(notices.hear(vec![], &mut notices.listen()), []);
    }

    #[test]
    fn the_oldest_are_given_up() {
        let notices = Notices::default();
        let mut late = notices.listen();
        for number in 0..KEPT_MAX + 5 {
            notices.hear(vec![notice(&number.to_string())], &mut notices.listen());
        }
        let heard = notices.hear(vec![], &mut late);
        assert_eq!((heard.len(), &heard[0]), (KEPT_MAX, &notice("5")));
    }
}
