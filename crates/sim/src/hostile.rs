//! How a host behaves towards others.

use std::time::Duration;

/// What a host does with what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// It runs the machines as they are.
    Honest,
    /// It accepts connections and requests, and answers nothing.
    Silent,
    /// It answers truthfully, and so late.
    Slow(Duration),
    /// It names the hostile peers nearest to the key and providers that do not
    /// exist, as many as are read, and keeps no record.
    Liar,
    /// It names peers near to the key that do not exist.
    Inventor,
    /// It runs the machines, and every so-manieth block that it sends is wrong.
    Corrupter(u32),
    /// It repeats what it answered first to whatever it is asked.
    Replayer,
    /// It runs the machines, and hears nothing of what others want: it only takes.
    FreeRider,
    /// It runs the machines, says truthfully what it has, and sends no block.
    Promiser,
}

impl Behaviour {
    /// Runs the machines.
    pub(crate) const fn has_node(self) -> bool {
        match self {
            Self::Honest | Self::Slow(_) | Self::Corrupter(_) | Self::FreeRider | Self::Promiser => true,
            Self::Silent | Self::Liar | Self::Inventor | Self::Replayer => false,
        }
    }
}
