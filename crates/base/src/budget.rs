//! Budgets: how many bytes or items may be in flight, and how many are.
//!
//! Work is admitted by taking from a budget and ends by giving back, so that
//! a slow peer or disk slows whoever feeds it instead of filling a queue.

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
}
