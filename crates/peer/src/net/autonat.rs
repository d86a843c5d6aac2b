//! AutoNAT on the wire: asking peers to dial us, and dialling those that ask.
//! Whom to ask and what to dial is the engine's to decide (`reachability`).
//!
//! A dial for another is a new connection from a port of its own, outside of
//! the registry: it carries nothing but the number that is brought back, and
//! is closed after that. No connection that there is already would prove
//! anything.

use std::sync::Arc;
use std::time::Duration;

use peerage_engine::{
    AutonatVersion as Version, DialDecision, DialRefusal, DialRequest, Probe, ProbeAnswer as Answer,
};
use peerage_identity::{Multiaddr, PeerId};
use peerage_transport::autonat::v2::DialStatus;
use peerage_transport::autonat::{AutonatError, v1, v2};
use peerage_transport::yamux::GoAwayCode;
use peerage_transport::{Connection, Control, Role, Stream, tcp, upgrade};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout, timeout_at};

use super::Net;
use crate::brain::Input;

/// How long a connection that was made for another may take to say goodbye.
const CLOSE: Duration = Duration::from_secs(1);

/// What the brain says to a peer that asks to be dialled. While [`Serving`]
/// lives, which comes with a dial, the request counts as being served.
pub(crate) type Decided = (DialDecision, Option<Serving>);

/// Tells the brain when a peer's request is over, whatever way that is.
pub(crate) struct Serving {
    net: Arc<Net>,
    peer: PeerId,
}

impl Serving {
    pub(crate) fn new(net: Arc<Net>, peer: PeerId) -> Self {
        Self { net, peer }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.net.tell(Input::DialledFor { peer: self.peer });
    }
}

/// Asks a connected peer to dial us, and tells the brain what came of it.
pub(crate) async fn ask(net: Arc<Net>, control: Control, probe: Probe) {
    let asked = match probe.version {
        Version::V1 => ask_v1(&net, &control, &probe).await,
        Version::V2 => ask_v2(&net, &control, &probe).await,
    };
    let answer = asked.unwrap_or_else(|error| {
        tracing::debug!(peer = %probe.peer, %error, "asked whether we can be dialled");
        Answer::Failed
    });
    tracing::debug!(peer = %probe.peer, addrs = ?probe.addrs, ?answer, "whether we can be dialled");
    net.tell(Input::Probed { probe: probe.id, answer });
}

/// Why nothing was learnt.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Open(#[from] peerage_transport::OpenError),
    #[error(transparent)]
    Autonat(#[from] AutonatError),
}

async fn ask_v1(net: &Net, control: &Control, probe: &Probe) -> Result<Answer, AskError> {
    let stream = control.open(v1::PROTOCOL).await?;
    Ok(match v1::ask(stream, net.keypair.peer_id(), &probe.addrs).await? {
        v1::Outcome::Reached(addr) => Answer::Reached(addr),
        v1::Outcome::Unreached => Answer::Unreached(None),
        v1::Outcome::Refused => Answer::Refused,
        v1::Outcome::Inconclusive => Answer::Failed,
    })
}

async fn ask_v2(net: &Net, control: &Control, probe: &Probe) -> Result<Answer, AskError> {
    let stream = control.open(v2::DIAL_PROTOCOL).await?;
    let addr = |index: usize| probe.addrs.get(index).cloned();
    Ok(match v2::ask(stream, &probe.addrs, probe.nonce, &net.backs).await? {
        v2::Outcome::Reached(index) => addr(index).map_or(Answer::Failed, Answer::Reached),
        v2::Outcome::Unreached(index) => Answer::Unreached(addr(index)),
        v2::Outcome::Refused => Answer::Refused,
        v2::Outcome::Busy => Answer::Busy,
        v2::Outcome::Lied => Answer::Lied,
        v2::Outcome::Inconclusive => Answer::Failed,
    })
}

/// Takes a number that a server brings back, over a connection that came in at `local`.
pub(super) async fn take_number(net: Arc<Net>, peer: PeerId, local: Multiaddr, stream: Stream) {
    if let Err(error) = v2::receive_dial_back(stream, &local, &net.backs).await {
        tracing::debug!(%peer, %error, "a number was brought back");
    }
}

/// Dials a peer that asks for it, as far as the engine is willing to.
pub(super) async fn serve(net: Arc<Net>, peer: PeerId, via: Multiaddr, version: Version, stream: Stream) {
    let served = match version {
        Version::V1 => serve_v1(&net, peer, via, stream).await,
        Version::V2 => serve_v2(&net, peer, via, stream).await,
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "dialling for another");
    }
}

async fn serve_v1(net: &Arc<Net>, peer: PeerId, via: Multiaddr, stream: Stream) -> Result<(), AutonatError> {
    let (serving, request) = v1::Serving::receive(stream, &peer).await?;
    let Some((decision, _serving)) = decide(net, peer, via, Version::V1, request.addrs).await else {
        return Ok(());
    };
    let response = match decision {
        DialDecision::DialAny { addrs } => {
            let mut dials = JoinSet::new();
            for addr in addrs {
                let net = Arc::clone(net);
                dials.spawn(async move { (establish(&net, peer, &addr).await, addr) });
            }
            let first = async {
                while let Some(dialled) = dials.join_next().await {
                    if let Ok((Some(made), addr)) = dialled {
                        goodbye(&made.control, made.driver);
                        return v1::Response::Reached(addr);
                    }
                }
                v1::Response::Unreached
            };
            timeout_at(serving.dial_deadline(), first).await.unwrap_or(v1::Response::Unreached)
        }
        DialDecision::Refuse(_) | DialDecision::Dial { .. } => v1::Response::Refused,
    };
    serving.answer(&response).await
}

async fn serve_v2(net: &Arc<Net>, peer: PeerId, via: Multiaddr, stream: Stream) -> Result<(), AutonatError> {
    let (mut serving, request) = v2::Serving::receive(stream).await?;
    let Some((decision, _serving)) = decide(net, peer, via, Version::V2, request.addrs).await else {
        return Ok(());
    };
    let response = match decision {
        DialDecision::Dial { index, addr, data, wait } => {
            if data > 0 {
                serving.take_data(index, data).await?;
                sleep(wait).await;
            }
            let mut status = DialStatus::Unreached;
            let brought = bring(net, peer, &addr, request.nonce, &mut status);
            // What it has come to by then is the answer.
            let _ = timeout_at(serving.dial_deadline(), brought).await;
            v2::Response::Dialled(index, status)
        }
        DialDecision::Refuse(DialRefusal::Busy) => v2::Response::Busy,
        DialDecision::Refuse(DialRefusal::Unwilling) | DialDecision::DialAny { .. } => v2::Response::Refused,
    };
    serving.answer(response).await
}

/// Asks the brain; none once it has stopped. The result is kept until the
/// peer has its answer.
async fn decide(
    net: &Net,
    peer: PeerId,
    via: Multiaddr,
    version: Version,
    addrs: Vec<(u32, Multiaddr)>,
) -> Option<Decided> {
    let (reply, decided) = oneshot::channel();
    let request = DialRequest { peer, via, version, addrs };
    net.tell(Input::DialRequested { request, reply });
    decided.await.ok()
}

/// Dials `addr` and brings the number there; `status` is how far that is.
async fn bring(net: &Net, peer: PeerId, addr: &Multiaddr, nonce: u64, status: &mut DialStatus) {
    let Some(made) = establish(net, peer, addr).await else { return };
    *status = DialStatus::NotDelivered;
    let Connection { control, mut driver, incoming, .. } = made;
    // Whatever the peer opens is refused.
    drop(incoming);
    let delivered = async {
        let (stream, _) = control.open_any(&[v2::BACK_PROTOCOL]).await.ok()?;
        v2::dial_back(stream, nonce).await.ok()
    };
    tokio::select! {
        delivered = delivered => {
            if delivered.is_some() {
                *status = DialStatus::Reached;
            }
            goodbye(&control, driver);
        }
        _ = &mut driver => {}
    }
}

/// A new connection with the peer at this address, if it is there.
async fn establish(net: &Net, peer: PeerId, addr: &Multiaddr) -> Option<Connection<TcpStream>> {
    let socket = tcp::dial(addr).await.ok()?;
    let (transport, inbound) = (net.transport.clone(), net.inbound.clone());
    upgrade(socket, Role::Dialer, &net.keypair, Some(peer), transport, inbound).await.ok()
}

/// Closes a connection; nobody waits for that.
fn goodbye(control: &Control, driver: peerage_transport::Driver<TcpStream>) {
    control.close(GoAwayCode::NORMAL);
    tokio::spawn(async move {
        let _ = timeout(CLOSE, driver).await;
    });
}
