//! What a command asks for and what it says, as data: a [`Request`] goes to
//! whoever owns the repository, [`Event`]s come back, and a [`Failure`] may
//! end them. The same types travel over the control socket and, for events,
//! are what `--json` prints.

mod add;
mod car;
mod event;
mod failure;
mod handle;
mod limits;
mod network;
mod request;

pub(crate) use add::{Add, INLINE_LIMIT, Parameters, Profile, Stdin};
pub(crate) use car::{CarExport, CarFile, CarFound, CarImport, CarKind, CarLook, CarSummary, CarV2};
pub(crate) use event::{
    BadBlock, Data, Entry, EntryKind, Event, NoticeKind, PeerLine, PinKind, Progress, SharedRoot, Stat,
    Transfer, Via,
};
pub(crate) use failure::{Failure, Kind};
pub(crate) use handle::{HANDLES_MAX, Handle};
pub(crate) use limits::{DAY, Hours, Limits, RATE_MIN, Rate, RateFlags, hours_at, until_change};
pub(crate) use network::{
    Announcements, BucketState, Connections, DhtPeer, DhtState, Finished, Located, LookupReport,
    MappingState, MdnsState, Place, Provided, Status, StoreState,
};
pub(crate) use request::{
    Cat, Dht, Find, Get, Network, PathText, Pin, Ping, Pins, Provide, Request, Share, Source, StatTarget,
    Unpin, Unshare, Verify,
};
