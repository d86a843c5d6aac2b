//! Whose fault an error is: what scoring and retrying need to know.

/// Who is to blame for an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The peer broke a protocol or answers as someone else: penalise it.
    Peer,
    /// The network, or the peer being gone or slow: try again later, or elsewhere.
    Network,
    /// This side: a limit of ours, our own configuration, or our own wish.
    Local,
}
