//! Words that every Peerage state machine shares: time, a timer table, seeded
//! randomness, budgets and shares of a rate.
//!
//! The machines of Peerage (yamux, dht, exchange, engine) read no clock, open
//! no socket, spawn no task and use no global randomness. What they need of
//! the world comes in through these types, so that a run replays from a seed.

mod budget;
pub mod pacer;
mod packed_map;
mod rng;
mod shared_budget;
mod time;
mod timers;

pub use budget::Budget;
pub use pacer::Pacer;
pub use packed_map::PackedMap;
pub use rng::Rng;
pub use shared_budget::{Share, SharedBudget};
pub use time::{Instant, Now, UnixTime};
pub use timers::Timers;
