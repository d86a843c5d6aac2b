//! Tests of the machine from outside, in virtual time: two machines joined by
//! a byte pipe, and a peer that says whatever it likes.

mod basics;
mod golden;
mod hostile;
mod pair;
mod property;
mod windows;
