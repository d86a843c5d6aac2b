//! The order of events: by time, then by when they were put in.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use peerage_base::Instant;

/// Everything that is still to happen.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    /// When, which in order, and where in `slots`.
    heap: BinaryHeap<Reverse<(Instant, u64, u32)>>,
    /// The events; the heap moves 24 bytes each, not these.
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<E> Queue<E> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub(crate) fn push(&mut self, at: Instant, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).expect("memory ends before four thousand million events")
            }
        };
        self.slots[slot as usize] = Some(event);
        self.heap.push(Reverse((at, self.sequence, slot)));
        self.sequence += 1;
    }

    /// When the next event is.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Instant, E)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((at, self.slots[slot as usize].take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_time_and_then_first_come() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b')] {
            queue.push(Instant::from_nanos(at), event);
        }
        assert_eq!(queue.next_at(), Some(Instant::from_nanos(3)));
        let order: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(order, "abcd");
        queue.push(Instant::START, 'e');
        assert_eq!(queue.slots.len(), 4, "places are used again");
    }
}
