//! `limit`, and the rates of the hours: who owns the repository keeps to them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use peerage_peer::{Peer, Rates};
use tokio::task::JoinHandle;

use crate::api::{DAY, Event, Failure, Hours, Kind, Limits, Network, RateFlags, hours_at, until_change};
use crate::backend::Sink;

/// How often the time of day is looked at. A minute: clocks are set, summer time
/// begins, and machines sleep.
const LOOK: Duration = Duration::from_secs(60);

/// The limits of a running peer.
#[derive(Clone)]
pub(super) struct Limiter(Arc<Inner>);

struct Inner {
    peer: Peer,
    network: Network,
    state: Mutex<State>,
    follower: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Clone, Copy)]
struct State {
    /// What holds outside all hours.
    plain: Rates,
    /// What the hours said last.
    said: RateFlags,
}

/// The rates that a peer begins with.
pub(super) fn at_start(network: &Network) -> Rates {
    hours_at(&network.schedule, minute_of(&now())).over(network.rates.over(Rates::default()))
}

impl Limiter {
    /// Follows the hours until it is dropped. Needs a runtime.
    pub(super) fn new(peer: Peer, network: Network) -> Self {
        let plain = network.rates.over(Rates::default());
        let said = hours_at(&network.schedule, minute_of(&now()));
        let state = Mutex::new(State { plain, said });
        let follows = !network.schedule.is_empty();
        let limiter = Self(Arc::new(Inner { peer, network, state, follower: Mutex::new(None) }));
        if follows {
            let inner = Arc::downgrade(&limiter.0);
            let follow = async move {
                while let Some(wait) = inner.upgrade().map(|inner| inner.follow(&now())) {
                    tokio::time::sleep(wait).await;
                }
            };
            *limiter.0.follower.lock().unwrap_or_else(PoisonError::into_inner) = Some(tokio::spawn(follow));
        }
        limiter
    }

    /// The limits of now.
    pub(super) fn limits(&self) -> Limits {
        let Inner { peer, network, .. } = &*self.0;
        let (rates, number) = (peer.rates(), |rate: Option<std::num::NonZeroU64>| rate.map(Into::into));
        Limits {
            up: number(rates.up),
            down: number(rates.down),
            up_per_peer: number(rates.up_per_peer),
            down_per_peer: number(rates.down_per_peer),
            schedule: network.schedule.iter().map(|hours| hours.text.clone()).collect(),
            max_peers: network.max_peers,
            max_memory: network.max_memory,
        }
    }

    /// `limit`: what is given holds until the hours next change, and outside of them
    /// from then on.
    pub(super) async fn limit(&self, flags: &RateFlags, out: &Sink) -> Result<(), Failure> {
        if flags.first().is_some() {
            let mut state = self.0.state();
            state.plain = flags.over(state.plain);
            self.0.peer.set_rates(flags.over(self.0.peer.rates()));
        }
        out.send(Event::Limits(self.limits())).await;
        Ok(())
    }
}

impl Inner {
    /// Sets what the hours say at a time, if that is news; when to look again.
    fn follow(&self, now: &jiff::Zoned) -> Duration {
        let mut state = self.state();
        let schedule: &[Hours] = &self.network.schedule;
        let minute = minute_of(now);
        let said = hours_at(schedule, minute);
        if said != state.said {
            state.said = said;
            self.peer.set_rates(said.over(state.plain));
        }
        let minutes = until_change(schedule, minute).unwrap_or(DAY);
        let second = u64::try_from(now.second()).unwrap_or(0);
        Duration::from_secs((u64::from(minutes) * 60).saturating_sub(second).max(1)).min(LOOK)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(follower) = self.follower.lock().unwrap_or_else(PoisonError::into_inner).take() {
            follower.abort();
        }
    }
}

/// `limit` where no peer runs.
pub(super) fn idle() -> Failure {
    Failure::new(
        Kind::Failed,
        "no peer runs on this repository: give the limits to the command that is to run it, as \
         `peerage up --max-up 4MB/s`",
    )
}

fn now() -> jiff::Zoned {
    jiff::Zoned::now()
}

/// Minutes after midnight, local time.
fn minute_of(now: &jiff::Zoned) -> u16 {
    let minute = i16::from(now.hour()) * 60 + i16::from(now.minute());
    u16::try_from(minute).unwrap_or(0)
}
