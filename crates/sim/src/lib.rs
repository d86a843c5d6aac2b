//! A discrete-event world around the unchanged brain of a peer: thousands of
//! peers, links, faults and liars, from a seed.

mod address;
mod draw;
mod figures;
mod host;
mod hostile;
mod node;
mod oracle;
mod place;
mod plot;
mod queue;
mod scenario;
mod trace;
mod world;

pub use figures::{Chart, Figures, Row};
pub use plot::draw;
pub use scenario::{Play, SCENARIOS, Scenario};
