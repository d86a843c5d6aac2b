//! A budget that many take from, of whom the one that is furthest beyond its
//! due makes room when it is full.
//!
//! Nobody can be made to give back at once: whoever is asked learns of it by
//! being woken. Until then those who may go on take from a small reserve.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

/// The reserve is this part of the limit. A judgement: 4 MiB of the default
/// budget, some messages of each of those who arrive meanwhile.
const RESERVE: u64 = 8;

/// A bounded amount that several share; each takes by a [`Share`] of its own.
#[derive(Debug, Clone)]
pub struct SharedBudget(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    limit: u64,
    used: AtomicU64,
    members: Mutex<Vec<Weak<Member>>>,
}

#[derive(Debug, Default)]
struct Member {
    used: AtomicU64,
    due: AtomicU64,
    /// Somebody needs room, and this one is furthest beyond its due.
    asked: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Member {
    fn excess(&self) -> u64 {
        self.used.load(Ordering::Relaxed).saturating_sub(self.due.load(Ordering::Relaxed))
    }
}

impl SharedBudget {
    /// An unused budget of `limit` units.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Pool { limit, used: AtomicU64::new(0), members: Mutex::new(Vec::new()) }))
    }

    /// A share of one more, that has taken nothing and is due nothing.
    #[must_use]
    pub fn share(&self) -> Share {
        let member = Arc::new(Member::default());
        let mut members = lock(&self.0.members);
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(&member));
        Share { pool: Arc::clone(&self.0), member }
    }

    /// Units taken by all who share.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit
    }
}

/// What one of those who share a [`SharedBudget`] takes from it. Dropped, all
/// of it is given back.
///
/// ```
/// use peerage_base::SharedBudget;
/// let budget = SharedBudget::new(80);
/// let (stranger, friend) = (budget.share(), budget.share());
/// friend.set_due(20);
/// assert!(stranger.claim(80));
/// assert!(friend.claim(10), "from the reserve, and the stranger is to make room");
/// assert!(stranger.take_request());
/// assert!(!stranger.claim(1));
/// ```
#[derive(Debug)]
pub struct Share {
    pool: Arc<Pool>,
    member: Arc<Member>,
}

impl Share {
    /// Takes `amount` if it fits; false, and nothing taken, if not.
    #[must_use]
    pub fn take(&self, amount: u64) -> bool {
        self.take_within(self.pool.limit, amount)
    }

    /// Takes `amount`, from the reserve if it must be and another is further
    /// beyond its due than this one would be: that one is asked to make room.
    /// False, and nothing taken, if this one has to make room itself.
    #[must_use]
    pub fn claim(&self, amount: u64) -> bool {
        let limit = self.pool.limit.saturating_add(self.reserve());
        amount == 0 || self.take(amount) || (self.ask(amount) && self.take_within(limit, amount))
    }

    /// Units beyond the limit that are taken while somebody makes room; as
    /// many as that one should give back.
    #[must_use]
    pub fn reserve(&self) -> u64 {
        self.pool.limit / RESERVE
    }

    /// Gives `amount` back.
    pub fn give(&self, amount: u64) {
        for used in [&self.member.used, &self.pool.used] {
            let before =
                used.update(Ordering::Relaxed, Ordering::Relaxed, |used| used.saturating_sub(amount));
            debug_assert!(amount <= before, "gave back {amount} of {before} taken");
        }
    }

    /// Says how much this one may hold before it counts as beyond its due.
    pub fn set_due(&self, amount: u64) {
        self.member.due.store(amount, Ordering::Relaxed);
    }

    /// True if this one was asked to make room, since the last time.
    #[must_use]
    pub fn take_request(&self) -> bool {
        self.member.asked.swap(false, Ordering::Relaxed)
    }

    /// Whom to wake when this one is asked to make room.
    pub fn wake_when_asked(&self, waker: &Waker) {
        let mut there = lock(&self.member.waker);
        if !there.as_ref().is_some_and(|there| there.will_wake(waker)) {
            *there = Some(waker.clone());
        }
    }

    /// Units left for all who share.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.pool.limit.saturating_sub(self.pool.used.load(Ordering::Relaxed))
    }

    /// The limit of all who share.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.pool.limit
    }

    fn take_within(&self, limit: u64, amount: u64) -> bool {
        let taken = self
            .pool
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(amount).filter(|&sum| sum <= limit)
            })
            .is_ok();
        if taken {
            self.member.used.fetch_add(amount, Ordering::Relaxed);
        }
        taken
    }

    /// Asks the one that is furthest beyond its due to make room; false if
    /// that would be this one.
    fn ask(&self, amount: u64) -> bool {
        let members = lock(&self.pool.members);
        let furthest = members.iter().filter_map(Weak::upgrade).max_by_key(|member| member.excess());
        drop(members);
        let own = self.member.used.load(Ordering::Relaxed).saturating_add(amount);
        let own = own.saturating_sub(self.member.due.load(Ordering::Relaxed));
        let Some(furthest) = furthest.filter(|furthest| furthest.excess() > own) else { return false };
        furthest.asked.store(true, Ordering::Relaxed);
        let waker = lock(&furthest.waker).take();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give(self.member.used.load(Ordering::Relaxed));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every critical section is a single step: nothing is ever half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_take_from_one_budget_and_give_back_when_dropped() {
        let budget = SharedBudget::new(5);
        let (a, b) = (budget.share(), budget.share());
        assert!(a.take(3) && !b.take(3) && !a.take(u64::MAX));
        a.give(1);
        assert!(b.take(3));
        assert_eq!((budget.used(), b.free()), (5, 0));
        drop(a);
        assert_eq!(budget.used(), 3);
    }

    #[test]
    fn whoever_is_furthest_beyond_its_due_makes_room() {
        let budget = SharedBudget::new(80);
        let (honest, stalling, late) = (budget.share(), budget.share(), budget.share());
        honest.set_due(50);
        assert!(honest.claim(50) && stalling.claim(30));
        assert!(late.claim(10), "out of the reserve");
        assert_eq!(
            (honest.take_request(), stalling.take_request(), late.take_request()),
            (false, true, false)
        );
        assert!(!late.claim(1), "the reserve is bounded");
        stalling.give(30);
        assert!(late.claim(20));
        assert!(!late.claim(1), "nobody else is beyond its due");
        assert!(!late.take_request());
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "gave back"))]
    fn giving_too_much_back_does_not_wrap() {
        let budget = SharedBudget::new(5);
        let share = budget.share();
        share.give(1);
        assert_eq!(budget.used(), 0);
    }
}
