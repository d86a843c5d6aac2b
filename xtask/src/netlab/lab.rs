//! Two machines and the line between them, for one transfer: each begins with nothing
//! that the kernel remembers of an earlier one.

use std::net::Ipv4Addr;

use anyhow::Result;

use super::forward::{Forwarder, Tally};
use super::line::Spec;
use super::namespace::Namespace;
use super::tun::Tun;

/// Addresses of the two: private ones, which no other namespace sees.
const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 77, 0, 1), Ipv4Addr::new(10, 77, 0, 2)];

/// Two namespaces that are joined.
pub(crate) struct Lab {
    /// Who has something.
    pub(crate) sender: Namespace,
    /// Who fetches it.
    pub(crate) getter: Namespace,
    forwarder: Forwarder,
}

/// What lies between the two.
#[derive(Debug, Clone)]
pub(crate) struct Between {
    /// Each direction.
    pub(crate) line: Spec,
    /// Bytes of the largest packet.
    pub(crate) mtu: u16,
    /// Which packets are lost comes from this.
    pub(crate) seed: u64,
    /// The congestion control of both ends; the machine's if none is named.
    pub(crate) congestion: Option<String>,
}

impl Lab {
    /// Makes them. We must be in a network namespace of our own already.
    ///
    /// # Errors
    /// Where it is not permitted.
    pub(crate) fn new(between: &Between) -> Result<Self> {
        let tuns = [Tun::new("line0", between.mtu)?, Tun::new("line1", between.mtu)?];
        let sender = Namespace::new(&tuns[0], ADDRESSES[0])?;
        let getter = Namespace::new(&tuns[1], ADDRESSES[1])?;
        if let Some(name) = &between.congestion {
            sender.set_congestion(name)?;
            getter.set_congestion(name)?;
        }
        let forwarder = Forwarder::start(tuns, between.line, between.seed)?;
        Ok(Self { sender, getter, forwarder })
    }

    /// Ends the line, and tells what it carried from the sender and from the getter.
    ///
    /// # Errors
    /// If it broke before.
    pub(crate) fn finish(self) -> Result<[Tally; 2]> {
        self.forwarder.finish()
    }
}
