//! Routers that answer what a test wants, over loopback: PCP, NAT-PMP, and
//! UPnP with its SSDP, description and SOAP.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

const PORT: u16 = 4001;
const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;
const OUTER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 5);

/// What a router was told, in words.
type Log = Arc<Mutex<Vec<String>>>;

/// What a router speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Pcp,
    NatPmp,
    /// Neither; it has no such port.
    Neither,
}

struct Router {
    config: Config,
    log: Log,
    _tasks: JoinSet<()>,
}

impl Router {
    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

/// A router on loopback. With `faults`, UPnP orders are answered with these
/// codes first.
async fn router(speaks: Speaks, upnp: bool, faults: Vec<u32>) -> Router {
    let log = Log::default();
    let mut tasks = JoinSet::new();
    let udp = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let port = udp.local_addr().unwrap().port();
    match speaks {
        Speaks::Neither => drop(udp),
        _ => drop(tasks.spawn(mappings(udp, speaks, Arc::clone(&log)))),
    }
    let search = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let ssdp = SocketAddrV4::new(LOCAL, search.local_addr().unwrap().port());
    if upnp {
        let http = TcpListener::bind((LOCAL, 0)).await.unwrap();
        let location = format!("http://{}/root.xml", http.local_addr().unwrap());
        tasks.spawn(searches(search, location));
        tasks.spawn(pages(http, faults, Arc::clone(&log)));
    } else {
        // Heard, and never answered.
        tasks.spawn(async move {
            let _search = search;
            pending::<()>().await;
        });
    }
    let gateway = Some(Gateway { ip: LOCAL, local: LOCAL });
    Router { config: Config { gateway, port, ssdp, ..Config::default() }, log, _tasks: tasks }
}

async fn mappings(udp: UdpSocket, speaks: Speaks, log: Log) {
    let mut buf = [0; 1100];
    loop {
        let (len, from) = udp.recv_from(&mut buf).await.unwrap();
        let asked = buf[..len].to_vec();
        let answer = match (asked[0], asked[1], speaks) {
            (2, 1, Speaks::Pcp) => {
                let seconds = u32::from_be_bytes(asked[4..8].try_into().unwrap());
                log.lock().unwrap().push(format!("pcp {seconds}"));
                let mut answer = asked.clone();
                answer[1] |= 0x80;
                answer[8..24].fill(0);
                answer[42..44].copy_from_slice(&5001_u16.to_be_bytes());
                answer[44..60].copy_from_slice(&OUTER.to_ipv6_mapped().octets());
                // First one for somebody else, as a router's late answer may be.
                let mut others = answer.clone();
                others[24] ^= 1;
                udp.send_to(&others, from).await.unwrap();
                answer
            }
            (2, _, Speaks::NatPmp) => vec![0, 0x81, 0, 1, 0, 0, 0, 1],
            (0, 0, _) => [&[0, 128, 0, 0, 0, 0, 0, 1][..], &OUTER.octets()].concat(),
            (0, 2, _) => {
                let seconds = u32::from_be_bytes(asked[8..12].try_into().unwrap());
                log.lock().unwrap().push(format!("nat-pmp {seconds}"));
                let outer = 5002_u16.to_be_bytes();
                [&[0, 130, 0, 0, 0, 0, 0, 1][..], &asked[4..6], &outer, &asked[8..12]].concat()
            }
            _ => continue,
        };
        udp.send_to(&answer, from).await.unwrap();
    }
}

async fn searches(udp: UdpSocket, location: String) {
    let mut buf = [0; 2048];
    loop {
        let (len, from) = udp.recv_from(&mut buf).await.unwrap();
        assert!(buf[..len].starts_with(b"M-SEARCH * HTTP/1.1\r\n"));
        // Somebody plays the gateway, and points elsewhere: not gone to.
        let elsewhere = location.replace("127.0.0.1", "127.0.0.2");
        for location in [&elsewhere, &location] {
            let answer = format!("HTTP/1.1 200 OK\r\nLOCATION: {location}\r\n\r\n");
            udp.send_to(answer.as_bytes(), from).await.unwrap();
        }
    }
}

async fn pages(http: TcpListener, mut faults: Vec<u32>, log: Log) {
    loop {
        let (mut stream, _) = http.accept().await.unwrap();
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            text.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(text).unwrap().to_ascii_lowercase();
        let len = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let mut body = vec![0; len.unwrap_or(0)];
        stream.read_exact(&mut body).await.unwrap();
        let (status, page) = page(&head, &String::from_utf8(body).unwrap(), &mut faults, &log);
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{page}", page.len());
        stream.write_all(reply.as_bytes()).await.unwrap();
    }
}

fn page(head: &str, body: &str, faults: &mut Vec<u32>, log: &Log) -> (&'static str, String) {
    let value = |name: &str| {
        let after = body.split(&format!("<{name}>")).nth(1).unwrap_or_default();
        after.split('<').next().unwrap_or_default().to_owned()
    };
    if head.starts_with("get /root.xml ") {
        let service = "<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>";
        let page = format!("<root><service>{service}<controlURL>/ctl</controlURL></service></root>");
        return ("200 OK", page);
    }
    assert!(head.starts_with("post /ctl "), "{head}");
    let answer =
        if body.contains(":GetExternalIPAddress") {
            assert!(head.contains(
                "soapaction: \"urn:schemas-upnp-org:service:wanipconnection:1#getexternalipaddress\""
            ));
            let ip = format!("<NewExternalIPAddress>{OUTER}</NewExternalIPAddress>");
            format!("<u:GetExternalIPAddressResponse>{ip}</u:GetExternalIPAddressResponse>")
        } else if body.contains(":AddPortMapping") {
            assert_eq!(
                (value("NewInternalClient"), value("NewInternalPort")),
                ("127.0.0.1".into(), "4001".into())
            );
            let told = format!("add {} {}", value("NewExternalPort"), value("NewLeaseDuration"));
            log.lock().unwrap().push(told);
            if !faults.is_empty() {
                let code = format!("<errorCode>{}</errorCode>", faults.remove(0));
                let error = format!("<UPnPError>{code}<errorDescription>no</errorDescription></UPnPError>");
                let fault = format!("<s:Fault><detail>{error}</detail></s:Fault>");
                return ("500 Internal Server Error", envelope(&fault));
            }
            "<u:AddPortMappingResponse/>".to_owned()
        } else {
            assert!(body.contains(":DeletePortMapping"), "{body}");
            log.lock().unwrap().push(format!("delete {}", value("NewExternalPort")));
            "<u:DeletePortMappingResponse/>".to_owned()
        };
    ("200 OK", envelope(&answer))
}

fn envelope(answer: &str) -> String {
    format!("<s:Envelope xmlns:s=\"s\" xmlns:u=\"u\"><s:Body>{answer}</s:Body></s:Envelope>")
}

fn start(config: Config) -> (PortMapper, watch::Sender<Vec<Multiaddr>>) {
    let here = Multiaddr::from_tcp_addr((LOCAL, PORT).into());
    let (addrs, told) = watch::channel(vec![here]);
    (PortMapper::start(config, [1; 64], told), addrs)
}

/// Until something is mapped.
async fn mapped(mapper: &PortMapper) -> Vec<String> {
    let mut external = mapper.external();
    let addrs = external.wait_for(|addrs| !addrs.is_empty()).await.unwrap();
    addrs.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn pcp_maps_and_removes() {
    let router = router(Speaks::Pcp, false, vec![]).await;
    let (mapper, _addrs) = start(router.config);
    assert_eq!(mapped(&mapper).await, ["/ip4/203.0.113.5/tcp/5001"]);
    assert_eq!(mapper.failure(), None);
    mapper.close().await;
    assert_eq!(router.log(), ["pcp 3600", "pcp 0"]);
}

#[tokio::test]
async fn an_older_router_is_asked_in_its_own_way() {
    let router = router(Speaks::NatPmp, false, vec![]).await;
    let (mapper, _addrs) = start(router.config);
    assert_eq!(mapped(&mapper).await, ["/ip4/203.0.113.5/tcp/5002"]);
    mapper.close().await;
    assert_eq!(router.log(), ["nat-pmp 3600", "nat-pmp 0"]);
}

#[tokio::test]
async fn upnp_maps_and_removes() {
    let router = router(Speaks::Neither, true, vec![]).await;
    let (mapper, _addrs) = start(router.config);
    assert_eq!(mapped(&mapper).await, ["/ip4/203.0.113.5/tcp/4001"]);
    mapper.close().await;
    assert_eq!(router.log(), ["add 4001 3600", "delete 4001"]);
}

/// Asked to end before the router has answered.
#[tokio::test]
async fn what_is_being_mapped_at_the_end_is_removed() {
    let router = router(Speaks::Neither, true, vec![]).await;
    let (mapper, _addrs) = start(router.config);
    let adding = async {
        while !router.log().iter().any(|line| line.starts_with("add")) {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), adding).await.unwrap();
    mapper.close().await;
    assert_eq!(router.log(), ["add 4001 3600", "delete 4001"]);
}

#[tokio::test]
async fn upnp_finds_a_way_around_refusals() {
    // It knows no ends, the port is another's, and so is the next.
    let router = router(Speaks::Neither, true, vec![725, 718, 718]).await;
    let (mapper, addrs) = start(router.config);
    let external = mapped(&mapper).await.remove(0);
    let log = router.log();
    let port = external.strip_prefix("/ip4/203.0.113.5/tcp/").unwrap();
    assert_eq!(log[..2], ["add 4001 3600", "add 4001 0"]);
    assert_eq!(log[3], format!("add {port} 0"));
    assert_ne!(port, "4001");
    // Nobody listens there any more.
    let mut watched = mapper.external();
    addrs.send(vec![]).unwrap();
    watched.wait_for(Vec::is_empty).await.unwrap();
    mapper.close().await;
    assert_eq!(router.log()[4..], [format!("delete {port}")]);
}

#[tokio::test]
async fn a_refusal_is_told() {
    let router = router(Speaks::Neither, true, vec![606; 9]).await;
    let (mapper, _addrs) = start(router.config);
    let mut failure = mapper.failure.clone();
    failure.wait_for(|failure| *failure == Some(Failure::Refused(606))).await.unwrap();
    assert!(mapper.external().borrow().is_empty());
    mapper.close().await;
}

/// Tokio's clock runs ahead whenever all wait: a router that never answers
/// costs no time here.
#[tokio::test(start_paused = true)]
async fn silence_is_told() {
    let router = router(Speaks::Neither, false, vec![]).await;
    let udp = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let port = udp.local_addr().unwrap().port();
    let (mapper, _addrs) = start(Config { port, ..router.config });
    let mut failure = mapper.failure.clone();
    failure.wait_for(|failure| *failure == Some(Failure::Silent)).await.unwrap();
    assert!(mapper.external().borrow().is_empty());
    mapper.close().await;
}

#[tokio::test]
async fn a_page_without_end_is_cut_off() {
    let http = TcpListener::bind((LOCAL, 0)).await.unwrap();
    let std::net::SocketAddr::V4(addr) = http.local_addr().unwrap() else { panic!() };
    // One page is enough: the second search finds nobody who listens.
    let giant = async move {
        let (mut stream, _) = http.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        // Until the other end has had enough.
        while stream.write_all(&[b' '; 65_536]).await.is_ok() {}
        drop(http);
    };
    let search = UdpSocket::bind((LOCAL, 0)).await.unwrap();
    let ssdp = SocketAddrV4::new(LOCAL, search.local_addr().unwrap().port());
    let mut tasks = JoinSet::new();
    tasks.spawn(searches(search, format!("http://{addr}/root.xml")));
    let gateway = Gateway { ip: LOCAL, local: LOCAL };
    let config = Config { gateway: Some(gateway), ssdp, ..Config::default() };
    let (found, ()) = tokio::join!(upnp::find(&config, gateway), giant);
    assert!(matches!(found, Err(Failure::Malformed | Failure::Io(_))), "{found:?}");
}
