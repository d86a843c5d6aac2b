//! The whole program over loopback, in sizes that a debug build moves in
//! seconds; `cargo xtask proof` does the same with the real ones.

mod adding;
mod again;
mod announcing;
mod cars;
mod commands;
mod ending;
mod everyday;
mod finding;
mod identical;
mod inside;
mod kept;
mod limits;
mod links;
mod once;
mod ownership;
mod resume;
mod serving;
mod standing;
mod statuses;
mod storing;
mod up;
mod wrong_blocks;
