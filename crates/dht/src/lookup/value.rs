//! The values that a search found: which is best, who has it, and who has an
//! older one and is to be given the better. Spec: ipfs/specs
//! `routing/kad-dht.md`, "Value retrieval" and "Entry correction".

use std::cmp::Ordering;
use std::collections::BTreeSet;

use peerage_identity::PeerId;

use crate::message::Record;
use crate::values::Validators;

/// The valid values of one key as they come. Bounded by the peers of a look-up.
#[derive(Debug, Default)]
pub(crate) struct Found {
    best: Option<Record>,
    /// Who answered with a value as good.
    holders: BTreeSet<PeerId>,
    /// Who answered with a valid value that is not as good.
    outdated: BTreeSet<PeerId>,
}

impl Found {
    /// A valid value came. True if it is better than all before.
    pub(crate) fn add(&mut self, from: PeerId, record: Record, validators: &Validators) -> bool {
        let order = self.best.as_ref().map_or(Ordering::Greater, |best| {
            if best.value == record.value {
                return Ordering::Equal;
            }
            validators.compare(&record.key, &record.value, &best.value)
        });
        match order {
            Ordering::Greater => {
                self.outdated.append(&mut self.holders);
                self.holders.insert(from);
                self.best = Some(record);
                true
            }
            Ordering::Equal => {
                self.holders.insert(from);
                false
            }
            Ordering::Less => {
                self.outdated.insert(from);
                false
            }
        }
    }

    pub(crate) const fn best(&self) -> Option<&Record> {
        self.best.as_ref()
    }

    /// Valid values that came, whichever.
    pub(crate) fn count(&self) -> usize {
        self.holders.len() + self.outdated.len()
    }

    /// Who of `closest` and of those who answered is to be given the best
    /// value, `local` left out.
    pub(crate) fn to_correct(&self, closest: &[PeerId], local: &PeerId) -> Vec<PeerId> {
        let mut peers = self.outdated.clone();
        peers.extend(closest);
        peers.retain(|peer| !self.holders.contains(peer) && peer != local);
        peers.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Config;
    use crate::testing::peer;
    use crate::values::tests::Numbers;
    use std::sync::Arc;

    #[test]
    fn the_best_wins_and_the_others_are_corrected() {
        let config = Config { validators: vec![("n", Arc::new(Numbers))], ..Config::default() };
        let validators = Validators::new(&config);
        let record = |value: [u8; 2]| Record {
            key: bytes::Bytes::from_static(b"/n/a"),
            value: bytes::Bytes::copy_from_slice(&value),
        };
        let mut found = Found::default();
        assert!(found.add(peer(1), record([3, 9]), &validators));
        assert!(!found.add(peer(2), record([2, 9]), &validators));
        assert!(found.add(peer(3), record([5, 9]), &validators));
        assert!(!found.add(peer(4), record([5, 9]), &validators));
        assert_eq!(found.best(), Some(&record([5, 9])));
        assert_eq!(found.count(), 4);
        assert_eq!(found.to_correct(&[], &peer(1)), [peer(2)]);
        assert_eq!(found.to_correct(&[peer(3), peer(9)], &peer(8)), [peer(1), peer(2), peer(9)]);
    }
}
