//! UPnP: finding the gateway's service, and giving it orders.
//!
//! Of `igd-next` and the like nothing is used, as they go wherever an answer
//! from anybody on the network points, and read as much as comes. Here only
//! the gateway's own address is heard and connected to.

mod messages;

use std::net::SocketAddrV4;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use self::messages::Place;
use super::{Config, Failure, Gateway};

pub(super) use self::messages::Control;

/// Bytes of a page that are read. A judgement: descriptions have some ten thousand.
const MAX_PAGE: usize = 256 * 1024;
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
    let page = tell(&control, "GetExternalIPAddress", &[]).await?;
    let ip = messages::read_address(&page)?;
    let (mut external, mut seconds) = (wanted, seconds);
    let mut tries = 0;
    loop {
        let arguments = [
            ("NewRemoteHost", String::new()),
            ("NewExternalPort", external.to_string()),
            ("NewProtocol", "TCP".to_owned()),
            ("NewInternalPort", port.to_string()),
            ("NewInternalClient", gateway.local.to_string()),
            ("NewEnabled", "1".to_owned()),
            ("NewPortMappingDescription", NAME.to_owned()),
            ("NewLeaseDuration", seconds.to_string()),
        ];
        tries += 1;
        match tell(&control, "AddPortMapping", &arguments).await {
            Ok(_) => return Ok(Mapped { external: SocketAddrV4::new(ip, external), control }),
            Err(failure) if tries > PORTS => return Err(failure),
            // For ever, then: it is removed at the end, and renewed as the others are.
            Err(Failure::Refused(ONLY_PERMANENT)) if seconds != 0 => seconds = 0,
            Err(Failure::Refused(SAME_PORT)) if external != port => external = port,
            Err(Failure::Refused(CONFLICT)) => external = other(external),
            Err(failure) => return Err(failure),
        }
    }
}

/// Another port that is not reserved for anything known.
fn other(port: u16) -> u16 {
    1024 + (port.wrapping_mul(31).wrapping_add(7919)) % (u16::MAX - 1024)
}

/// Removes a mapping.
pub(super) async fn unmap(control: &Control, external: u16) -> Result<(), Failure> {
    let arguments = [
        ("NewRemoteHost", String::new()),
        ("NewExternalPort", external.to_string()),
        ("NewProtocol", "TCP".to_owned()),
    ];
    tell(control, "DeletePortMapping", &arguments).await.map(drop)
}

async fn tell(control: &Control, action: &str, arguments: &[(&str, String)]) -> Result<String, Failure> {
    let body = messages::order(control.service, action, arguments);
    let request = Request::post(control.place.path.as_str())
        .header(CONTENT_TYPE, "text/xml; charset=\"utf-8\"")
        .header("SOAPAction", format!("\"{}#{action}\"", control.service));
    match timeout(PAGE, send(&control.place, request, body)).await.map_err(|_| Failure::Silent)?? {
        (StatusCode::OK, page) => Ok(page),
        (_, page) => Err(messages::read_fault(&page)),
    }
}

async fn get(place: &Place) -> Result<String, Failure> {
    let request = Request::get(place.path.as_str());
    let sent = timeout(PAGE, send(place, request, String::new())).await;
    match sent.map_err(|_| Failure::Silent)?? {
        (StatusCode::OK, page) => Ok(page),
        _ => Err(Failure::Malformed),
    }
}

/// One request; redirects are not followed.
async fn send(
    place: &Place,
    request: hyper::http::request::Builder,
    body: String,
) -> Result<(StatusCode, String), Failure> {
    let stream = TcpStream::connect(place.addr).await.map_err(|error| Failure::Io(error.kind()))?;
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|_| Failure::Malformed)?;
    let request = request.header(HOST, place.addr.to_string()).body(Full::new(Bytes::from(body)));
    let request = request.map_err(|_| Failure::Malformed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|_| Failure::Malformed)?;
        let status = response.status();
        let page = Limited::new(response.into_body(), MAX_PAGE).collect().await;
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
