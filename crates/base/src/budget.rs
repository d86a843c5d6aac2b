//! Budgets: how many bytes or items may be in flight, and how many are.
//!
//! Work is admitted by taking from a budget and ends by giving back, so that
//! a slow peer or disk slows whoever feeds it instead of filling a queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A bounded amount, in whatever unit its owner counts (bytes, wants, dials).
///
/// ```
/// use peerage_base::Budget;
/// let mut credit = Budget::new(10);
/// assert!(credit.take(8));
/// assert!(!credit.take(3));
/// credit.give(8);
/// assert_eq!(credit.free(), 10);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    limit: u64,
    used: u64,
}

impl Budget {
    /// An unused budget of `limit` units.
    #[must_use]
    pub const fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Takes `amount` if it fits; false, and nothing taken, if not.
    pub fn take(&mut self, amount: u64) -> bool {
        let fits = amount <= self.free();
        if fits {
            self.used += amount;
        }
        fits
    }

    /// Takes `amount` even if that overdraws: for what has already happened.
    pub fn force(&mut self, amount: u64) {
        self.used = self.used.saturating_add(amount);
    }

    /// Gives `amount` back.
    pub fn give(&mut self, amount: u64) {
        debug_assert!(amount <= self.used, "gave back {amount} of {} taken", self.used);
        self.used = self.used.saturating_sub(amount);
    }

    /// Units taken.
    #[must_use]
    pub const fn used(&self) -> u64 {
        self.used
    }

    /// Units left.
    #[must_use]
    pub const fn free(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    /// The limit.
    #[must_use]
    pub const fn limit(&self) -> u64 {
        self.limit
    }
}

/// A [`Budget`] that the connections of one peer share.
#[derive(Debug, Clone)]
pub struct SharedBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limit: u64,
    used: AtomicU64,
}

impl SharedBudget {
    /// An unused budget of `limit` units.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Shared { limit, used: AtomicU64::new(0) }))
    }

    /// Takes `amount` if it fits; false, and nothing taken, if not.
    #[must_use]
    pub fn take(&self, amount: u64) -> bool {
        self.0
            .used
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(amount).filter(|&sum| sum <= self.0.limit)
            })
            .is_ok()
    }

    /// Takes `amount` even if that overdraws: for what has already happened.
    pub fn force(&self, amount: u64) {
        self.0.used.fetch_add(amount, Ordering::Relaxed);
    }

    /// Gives `amount` back.
    pub fn give(&self, amount: u64) {
        let before = self.0.used.fetch_sub(amount, Ordering::Relaxed);
        debug_assert!(amount <= before, "gave back {amount} of {before} taken");
    }

    /// Units taken by all who share.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Units left.
    #[must_use]
    pub fn free(&self) -> u64 {
        self.0.limit.saturating_sub(self.used())
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.0.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forced_amounts_count_against_what_is_free() {
        let mut budget = Budget::new(5);
        budget.force(9);
        assert_eq!((budget.free(), budget.take(1)), (0, false));
        budget.give(9);
        assert!(budget.take(5));
    }

    #[test]
    fn clones_share() {
        let a = SharedBudget::new(5);
        let b = a.clone();
        assert!(a.take(3));
        assert!(!b.take(3));
        a.give(3);
        assert!(b.take(5));
        assert_eq!(a.free(), 0);
        assert!(!a.take(u64::MAX));
    }
}
