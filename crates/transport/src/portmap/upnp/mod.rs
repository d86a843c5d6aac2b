//! UPnP: finding the gateway's service, and giving it orders.
//!
//! The orders are `igd-next`'s, by a sender of ours. Its search is not used: it
//! reads the pages of any host that answers, up to 1 MiB, and its XML keeps a
//! copy of each namespace for each element, which makes gigabytes of such a page.
//! Here only the gateway's own address is heard and connected to, its description
//! is read by a parser that copies nothing, and what it answers to an order is short.

pub(crate) mod messages;

use std::io;
use std::net::{IpAddr, SocketAddrV4};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use igd_next::aio::Provider;
use igd_next::{AddPortError, GetExternalIpError, PortMappingProtocol, RemovePortError, RequestError};
use socket2::SockRef;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use self::messages::Place;
use super::{Config, Failure, Gateway};

pub(super) use self::messages::Control;

/// Bytes of a description that are read. A judgement: they have some ten thousand.
const MAX_PAGE: usize = 256 * 1024;
/// Bytes of an answer to an order that are read. They have some hundred; whatever
/// these are, its parser makes about 10 MB of them at most.
const MAX_REPLY: usize = 8 * 1024;
/// How long a page may take. A judgement: cheap routers are slow.
const PAGE: Duration = Duration::from_secs(5);
/// How often the search is repeated, and how long each waits for an answer.
const SEARCHES: [Duration; 2] = [Duration::from_millis(1500), Duration::from_millis(2500)];
/// Answers to one search that are looked at.
const MAX_ANSWERS: usize = 32;
/// Bytes of such an answer.
const MAX_ANSWER: usize = 2048;
/// Outer ports that are tried when others have the first ones.
const PORTS: u16 = 4;
/// What others see in the router's list of mappings.
const NAME: &str = "peerage";
/// What opens a port, in its order; the first three close it (WANIPConnection 1 and 2).
const ARGUMENTS: [&str; 8] = [
    "NewRemoteHost",
    "NewExternalPort",
    "NewProtocol",
    "NewInternalPort",
    "NewInternalClient",
    "NewEnabled",
    "NewPortMappingDescription",
    "NewLeaseDuration",
];
/// We may not.
const NOT_AUTHORIZED: u32 = 606;
/// No such mapping.
const NO_SUCH_ENTRY: u32 = 714;
/// The port is another's.
const CONFLICT: u32 = 718;
/// It is for the same port on both sides, or for ever, or not at all.
const SAME_PORT: u32 = 724;
const ONLY_PERMANENT: u32 = 725;

/// What was asked for and given.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) external: SocketAddrV4,
    pub(super) control: Control,
}

/// Finds where the gateway takes orders.
pub(super) async fn find(config: &Config, gateway: Gateway) -> Result<Control, Failure> {
    let socket = UdpSocket::bind((gateway.local, 0)).await.map_err(|error| Failure::Io(error.kind()))?;
    // Out by the interface that the gateway is on, wherever routes lead.
    let _ = SockRef::from(&socket).set_multicast_if_v4(&gateway.local);
    let mut failure = Failure::Silent;
    for wait in SEARCHES {
        let sent = socket.send_to(messages::SEARCH.as_bytes(), config.ssdp).await;
        sent.map_err(|error| Failure::Io(error.kind()))?;
        let place = timeout(wait, heard(&socket, gateway)).await;
        let Ok(Some(place)) = place else { continue };
        match get(&place).await.and_then(|page| messages::read_description(&page, &place)) {
            Ok(control) => return Ok(control),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The first answer of the gateway; others' are passed over, up to a number.
async fn heard(socket: &UdpSocket, gateway: Gateway) -> Option<Place> {
    let mut buf = vec![0; MAX_ANSWER];
    for _ in 0..MAX_ANSWERS {
        let (len, from) = socket.recv_from(&mut buf).await.ok()?;
        if from.ip() == gateway.ip
            && let Some(place) = messages::read_search(&buf[..len], gateway)
        {
            return Some(place);
        }
    }
    None
}

/// Maps `port`, to the outer port `wanted` if nobody else has it.
pub(super) async fn map(
    control: Control,
    gateway: Gateway,
    port: u16,
    wanted: u16,
    seconds: u32,
) -> Result<Mapped, Failure> {
    let orders = control.orders();
    let IpAddr::V4(ip) = orders.get_external_ip().await? else { return Err(Failure::Malformed) };
    let (mut external, mut seconds) = (wanted, seconds);
    let mut tries = 0;
    loop {
        let local = (gateway.local, port).into();
        tries += 1;
        match orders.add_port(PortMappingProtocol::TCP, external, local, seconds, NAME).await {
            Ok(()) => return Ok(Mapped { external: SocketAddrV4::new(ip, external), control }),
            Err(error) if tries > PORTS => return Err(error.into()),
            // For ever, then: it is removed at the end, and renewed as the others are.
            Err(AddPortError::OnlyPermanentLeasesSupported) if seconds != 0 => seconds = 0,
            Err(AddPortError::SamePortValuesRequired) if external != port => external = port,
            Err(AddPortError::PortInUse) => external = other(external),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Another port that is not reserved for anything known.
fn other(port: u16) -> u16 {
    1024 + (port.wrapping_mul(31).wrapping_add(7919)) % (u16::MAX - 1024)
}

/// Removes a mapping.
pub(super) async fn unmap(control: &Control, external: u16) -> Result<(), Failure> {
    Ok(control.orders().remove_port(PortMappingProtocol::TCP, external).await?)
}

impl Control {
    /// What gives orders there, with the arguments that the services' definition has.
    fn orders(&self) -> igd_next::aio::Gateway<Orders> {
        let schema = [("AddPortMapping", &ARGUMENTS[..]), ("DeletePortMapping", &ARGUMENTS[..3])];
        let schema = schema.map(|(action, arguments)| {
            (action.to_owned(), arguments.iter().map(|name| (*name).to_owned()).collect())
        });
        igd_next::aio::Gateway {
            addr: self.place.addr.into(),
            root_url: String::new(),
            // Whole: of a path that begins with two slashes it would make a host.
            control_url: self.place.url(),
            control_schema_url: String::new(),
            control_schema: schema.into(),
            service_type: self.service.to_owned(),
            provider: Orders,
        }
    }
}

/// Sends orders.
struct Orders;

impl Provider for Orders {
    async fn send_async(url: &str, action: &str, body: &str) -> Result<String, RequestError> {
        let invalid = || RequestError::InvalidResponse(String::new());
        let place = Place::anywhere(url).ok_or_else(invalid)?;
        let request = Request::post(place.path.as_str())
            .header(CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
            .header("SOAPAction", action);
        let sent = timeout(PAGE, send(&place, request, body.to_owned(), MAX_REPLY)).await?;
        match sent {
            // Faults come with another status, and are read all the same.
            Ok((_, page)) => Ok(page),
            Err(Failure::Io(kind)) => Err(io::Error::from(kind).into()),
            Err(_) => Err(invalid()),
        }
    }
}

async fn get(place: &Place) -> Result<String, Failure> {
    let request = Request::get(place.path.as_str());
    let sent = timeout(PAGE, send(place, request, String::new(), MAX_PAGE)).await;
    match sent.map_err(|_| Failure::Silent)?? {
        (StatusCode::OK, page) => Ok(page),
        _ => Err(Failure::Malformed),
    }
}

/// One request, of whose answer so many bytes are read; redirects are not followed.
async fn send(
    place: &Place,
    request: hyper::http::request::Builder,
    body: String,
    most: usize,
) -> Result<(StatusCode, String), Failure> {
    let stream = TcpStream::connect(place.addr).await.map_err(|error| Failure::Io(error.kind()))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| Failure::Malformed)?;
    let request = request.header(HOST, place.addr.to_string()).body(Full::new(Bytes::from(body)));
    let request = request.map_err(|_| Failure::Malformed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| Failure::Malformed)?;
        let status = response.status();
        let page = Limited::new(response.into_body(), most).collect().await;
        let page = page.map_err(|_| Failure::Malformed)?.to_bytes();
        Ok((status, String::from_utf8_lossy(&page).into_owned()))
    };
    // The connection moves while the answer is awaited, and ends with it.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        result = &mut exchange => return result,
        _ = &mut connection => {}
    }
    // It closed; what it had read before is still there.
    exchange.await
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::ErrorCode(code, _) => Self::Refused(code.into()),
            RequestError::UnsupportedAction(_) => Self::Unsupported,
            RequestError::IoError(error) if error.kind() == io::ErrorKind::TimedOut => Self::Silent,
            RequestError::IoError(error) => Self::Io(error.kind()),
            _ => Self::Malformed,
        }
    }
}

impl From<GetExternalIpError> for Failure {
    fn from(error: GetExternalIpError) -> Self {
        match error {
            GetExternalIpError::ActionNotAuthorized => Self::Refused(NOT_AUTHORIZED),
            GetExternalIpError::RequestError(error) => error.into(),
        }
    }
}

impl From<RemovePortError> for Failure {
    fn from(error: RemovePortError) -> Self {
        match error {
            RemovePortError::ActionNotAuthorized => Self::Refused(NOT_AUTHORIZED),
            RemovePortError::NoSuchPortMapping => Self::Refused(NO_SUCH_ENTRY),
            RemovePortError::RequestError(error) => error.into(),
        }
    }
}

impl From<AddPortError> for Failure {
    fn from(error: AddPortError) -> Self {
        match error {
            AddPortError::ActionNotAuthorized => Self::Refused(NOT_AUTHORIZED),
            AddPortError::PortInUse => Self::Refused(CONFLICT),
            AddPortError::SamePortValuesRequired => Self::Refused(SAME_PORT),
            AddPortError::OnlyPermanentLeasesSupported => Self::Refused(ONLY_PERMANENT),
            AddPortError::RequestError(error) => error.into(),
            // Of ports that are 0, and of names that are too long: ours are not.
            _ => Self::Malformed,
        }
    }
}
