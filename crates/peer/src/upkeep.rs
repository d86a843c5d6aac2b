//! Upkeep of the store, a little at a time, and less often while it fails.

use std::time::Duration;

use peerage_store::{Durability, Store};

/// How often the store does its upkeep and hands buffers to the kernel.
const USUAL: Duration = Duration::from_millis(500);

/// The longest pause after failures: a full disk is not written to again and
/// again, and soon after there is room, all is well.
const LONGEST: Duration = Duration::from_secs(60);

/// How long to wait before the next round.
struct Pace(Duration);

impl Pace {
    fn worked(&mut self) {
        self.0 = USUAL;
    }

    /// True if it had worked before, so that someone should hear of it.
    fn failed(&mut self) -> bool {
        let first = self.0 == USUAL;
        self.0 = (self.0 * 2).min(LONGEST);
        first
    }
}

/// Hands buffers to the kernel and merges small packs, until it is aborted; a step
/// that runs then ends with [`Store::close`]. On a thread of its own: a merge takes
/// seconds, for which no worker is to be wanting.
pub(crate) async fn upkeep(store: Store) {
    let mut pace = Pace(USUAL);
    loop {
        tokio::time::sleep(pace.0).await;
        let store = store.clone();
        let done = tokio::task::spawn_blocking(move || {
            store.commit(Durability::Buffered)?;
            store.maintain().map(drop)
        });
        match done.await {
            Ok(Err(error)) if pace.failed() => tracing::warn!(%error, "upkeep of the store failed"),
            Ok(Err(_)) => {}
            Ok(Ok(())) | Err(_) => pace.worked(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_once_and_make_the_pauses_longer() {
        let mut pace = Pace(USUAL);
        assert!(pace.failed());
        assert_eq!(pace.0, USUAL * 2);
        (0..20).for_each(|_| assert!(!pace.failed()));
        assert_eq!(pace.0, LONGEST);
        pace.worked();
        assert_eq!(pace.0, USUAL);
        assert!(pace.failed());
    }
}
