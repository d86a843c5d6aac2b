//! One direction of a line between two machines, as a state machine: a rate, a
//! delay, a queue before it, and packets that are lost. It reads no clock.
//!
//! A packet waits until those before it are sent, takes its length by the rate to be
//! sent, and the delay to arrive. Nothing is reordered, doubled or damaged, and the
//! delay does not vary: what is tried here is round trips and loss.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, ensure};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

/// The least queue, in bytes: what 10 ms bring at 50 MB/s, as a router holds that much
/// however near the other end is. With less, a sender's bursts of 64 KiB decide.
const MIN_QUEUE: u64 = 512 << 10;

/// What a share of all packets is told in: parts of a million.
const MILLION: u32 = 1_000_000;

const NANOSECONDS: u128 = 1_000_000_000;

/// How a line is, in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spec {
    /// Bytes a second, headers of IP and above included.
    pub(crate) rate: u64,
    /// From the end of sending to arrival.
    pub(crate) delay: Duration,
    /// Bytes that may wait to be sent; what comes beyond is dropped.
    pub(crate) queue: u64,
    /// How many packets are lost, in parts of a million.
    pub(crate) loss: u32,
}

impl Spec {
    /// One way of a path with this round trip. The queue takes one product of rate
    /// and round trip, but [`MIN_QUEUE`] at least.
    ///
    /// # Errors
    /// If nothing can be carried so.
    pub(crate) fn of_path(rate: u64, round_trip: Duration, loss: u32) -> Result<Self> {
        ensure!(rate > 0, "a line of 0 bytes a second carries nothing");
        ensure!(loss < MILLION, "a line that loses every packet carries nothing");
        let product = u128::from(rate) * round_trip.as_nanos() / NANOSECONDS;
        let queue = u64::try_from(product)?.max(MIN_QUEUE);
        Ok(Self { rate, delay: round_trip / 2, queue, loss })
    }
}

/// A packet that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) due: Duration,
    pub(crate) packet: Vec<u8>,
}

/// What became of the packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) arrived: u64,
    pub(crate) arrived_bytes: u64,
    /// Lost by chance.
    pub(crate) lost: u64,
    /// Dropped, as the queue was full.
    pub(crate) overflowed: u64,
}

/// One direction. Times are since any one moment and never go back.
#[derive(Debug)]
pub(crate) struct Line {
    spec: Spec,
    rng: ChaCha8Rng,
    /// When all that was accepted is sent.
    sent_at: Duration,
    /// Waiting, being sent or on their way, in order.
    under_way: VecDeque<Arrival>,
    counts: Counts,
}

impl Line {
    /// A line that is empty; which packets it loses comes from `seed` alone.
    pub(crate) fn new(spec: Spec, seed: u64) -> Self {
        Self {
            spec,
            rng: ChaCha8Rng::seed_from_u64(seed),
            sent_at: Duration::ZERO,
            under_way: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// A packet comes in.
    pub(crate) fn handle_packet(&mut self, packet: &[u8], now: Duration) {
        // Drawn for each, so that the fate of the tenth is the same whether the
        // ninth found room or not.
        if self.is_lost() {
            self.counts.lost += 1;
            return;
        }
        let waiting = self.waiting(now);
        if waiting > 0 && waiting + packet.len() as u64 > self.spec.queue {
            self.counts.overflowed += 1;
            return;
        }
        self.sent_at = self.sent_at.max(now) + self.time_of(packet.len());
        let due = self.sent_at + self.spec.delay;
        self.under_way.push_back(Arrival { due, packet: packet.to_vec() });
    }

    /// The next packet that has arrived by `now`.
    pub(crate) fn poll_arrival(&mut self, now: Duration) -> Option<Arrival> {
        let arrival = self.under_way.pop_front_if(|arrival| arrival.due <= now)?;
        self.counts.arrived += 1;
        self.counts.arrived_bytes += arrival.packet.len() as u64;
        Some(arrival)
    }

    /// When the next packet arrives.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.under_way.front().map(|arrival| arrival.due)
    }

    /// What became of the packets until now.
    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    fn is_lost(&mut self) -> bool {
        // 32 bits over a million: the most that one value is likelier than another is
        // a part in 4,000, far below what any run could show.
        self.rng.next_u32() % MILLION < self.spec.loss
    }

    /// Bytes that were accepted and are not sent yet.
    fn waiting(&self, now: Duration) -> u64 {
        let time = self.sent_at.saturating_sub(now);
        u64::try_from(time.as_nanos() * u128::from(self.spec.rate) / NANOSECONDS).unwrap_or(u64::MAX)
    }

    fn time_of(&self, bytes: usize) -> Duration {
        let nanoseconds = bytes as u128 * NANOSECONDS / u128::from(self.spec.rate);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A megabyte a second: a millisecond for each packet of 1,000 bytes.
    fn spec() -> Spec {
        Spec { rate: 1_000_000, delay: 30 * MS, queue: 5_000, loss: 0 }
    }

    fn numbered(number: u64) -> Vec<u8> {
        let mut packet = vec![0; 1_000];
        packet[..8].copy_from_slice(&number.to_le_bytes());
        packet
    }

    /// Milliseconds at which packets arrive, and which ones.
    fn arrivals(line: &mut Line) -> Vec<(u128, u64)> {
        let mut all = Vec::new();
        while let Some(due) = line.poll_timeout() {
            assert_eq!(line.poll_arrival(due - Duration::from_nanos(1)), None);
            let arrival = line.poll_arrival(due).unwrap();
            let number = u64::from_le_bytes(arrival.packet[..8].try_into().unwrap());
            all.push((arrival.due.as_millis(), number));
        }
        all
    }

    #[test]
    fn rate_delay_and_order_are_kept() {
        let mut line = Line::new(spec(), 1);
        for number in 0..4 {
            line.handle_packet(&numbered(number), Duration::ZERO);
        }
        line.handle_packet(&numbered(4), 100 * MS);
        assert_eq!(arrivals(&mut line), [(31, 0), (32, 1), (33, 2), (34, 3), (131, 4)]);
        let counts = line.counts();
        assert_eq!((counts.arrived, counts.arrived_bytes), (5, 5_000));
    }

    #[test]
    fn what_the_queue_cannot_hold_is_dropped_and_room_comes_back() {
        let mut line = Line::new(spec(), 1);
        for number in 0..7 {
            line.handle_packet(&numbered(number), Duration::ZERO);
        }
        line.handle_packet(&numbered(7), 2 * MS);
        let numbers: Vec<u64> = arrivals(&mut line).iter().map(|arrival| arrival.1).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 7]);
        assert_eq!(line.counts().overflowed, 2);
    }

    #[test]
    fn one_packet_passes_however_small_the_queue() {
        let mut line = Line::new(Spec { queue: 10, ..spec() }, 1);
        line.handle_packet(&numbered(0), Duration::ZERO);
        line.handle_packet(&numbered(1), Duration::ZERO);
        assert_eq!(arrivals(&mut line), [(31, 0)]);
    }

    #[test]
    fn a_long_run_keeps_the_rate() {
        let odd = Spec { rate: 3_333_333, queue: u64::MAX, ..spec() };
        let mut line = Line::new(odd, 1);
        for number in 0..10_000 {
            line.handle_packet(&numbered(number), Duration::ZERO);
        }
        // 10 MB at 3.333 MB/s, and the delay.
        assert_eq!(arrivals(&mut line).last().unwrap().0, 3_030);
    }

    #[test]
    fn as_many_are_lost_as_told_and_the_same_ones_again() {
        let numbers = |seed| {
            let mut line = Line::new(Spec { loss: 10_000, queue: u64::MAX, ..spec() }, seed);
            for number in 0..100_000 {
                line.handle_packet(&numbered(number), Duration::ZERO);
            }
            let numbers: Vec<u64> = arrivals(&mut line).iter().map(|arrival| arrival.1).collect();
            assert_eq!(line.counts().lost + numbers.len() as u64, 100_000);
            (numbers, line.counts().lost)
        };
        let (first, lost) = numbers(7);
        assert!((900..1_100).contains(&lost), "{lost} of 100,000 at 1 %");
        assert_eq!(first, numbers(7).0);
        assert_ne!(first, numbers(8).0);
    }

    #[test]
    fn a_path_has_half_of_the_round_trip_each_way_and_its_product_as_queue() {
        let path = Spec::of_path(50_000_000, 60 * MS, 1_000).unwrap();
        assert_eq!(path, Spec { rate: 50_000_000, delay: 30 * MS, queue: 3_000_000, loss: 1_000 });
        assert_eq!(Spec::of_path(50_000_000, Duration::ZERO, 0).unwrap().queue, MIN_QUEUE);
        assert!(Spec::of_path(0, MS, 0).is_err() && Spec::of_path(1, MS, MILLION).is_err());
    }
}
