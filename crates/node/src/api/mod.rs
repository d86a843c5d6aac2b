//! What a command asks for and what it says, as data: a [`Request`] goes to
//! whoever owns the repository, [`Event`]s come back, and a [`Failure`] may
//! end them. The same types travel over the control socket and, for events,
//! are what `--json` prints.

mod event;
mod failure;
mod folder;
mod network;
mod request;

pub(crate) use event::{
    BadBlock, Data, Entry, EntryKind, Event, NoticeKind, PeerLine, PinKind, SharedRoot, Via,
};
pub(crate) use failure::{Failure, Kind};
pub(crate) use folder::Folder;
pub(crate) use network::{
    Announcements, BucketState, Connections, DhtPeer, DhtState, Finished, Located, LookupReport,
    MappingState, MdnsState, Place, Provided, Status, StoreState,
};
pub(crate) use request::{
    Add, Cat, Dht, Find, Get, Network, PathText, Pin, Ping, Profile, Provide, Request, Share, Source,
    StatTarget, Unpin, Unshare,
};
