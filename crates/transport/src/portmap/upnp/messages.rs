//! What a UPnP gateway is asked and says until it is given orders: SSDP, and
//! its description.
//!
//! UPnP Device Architecture 1.0. Pure: text in, values out. Whatever a router says, no
//! address but its own comes out of here.

use std::net::{Ipv4Addr, SocketAddrV4};

use roxmltree::{Document, Node, ParsingOptions};

use super::super::{Failure, Gateway};

/// Nodes of a document that are looked at. A judgement: descriptions have
/// some hundred.
const MAX_NODES: u32 = 10_000;
/// Bytes of a path that a router names. A judgement.
const MAX_PATH: usize = 512;

/// Asks all gateways on the network to answer within a second.
pub(crate) const SEARCH: &str = "M-SEARCH * HTTP/1.1\r\n\
    HOST: 239.255.255.250:1900\r\n\
    MAN: \"ssdp:discover\"\r\n\
    MX: 1\r\n\
    ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n";

/// The services that map ports, the better ones first.
const SERVICES: [&str; 3] = [
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
];

/// Something at the gateway that speaks HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) addr: SocketAddrV4,
    pub(crate) path: String,
}

impl Place {
    /// Reads a URL; none unless it is `http` and of the host `ip`.
    fn parse(url: &str, ip: Ipv4Addr) -> Option<Self> {
        let (scheme, rest) = url.trim().split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
        let addr = SocketAddrV4::new(host.parse().ok()?, port.parse().ok()?);
        let fits = scheme.eq_ignore_ascii_case("http") && *addr.ip() == ip;
        let path = if path.is_empty() { "/" } else { path };
        (fits && is_path(path)).then(|| Self { addr, path: path.to_owned() })
    }

    /// Reads a URL that is ours.
    pub(crate) fn anywhere(url: &str) -> Option<Self> {
        let authority = url.strip_prefix("http://")?.split('/').next()?;
        let addr: SocketAddrV4 = authority.parse().ok()?;
        Self::parse(url, *addr.ip())
    }

    /// The same as a URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{}", self.addr, self.path)
    }

    /// What `url` means on a page of this place.
    fn join(&self, url: &str) -> Option<Self> {
        if url.contains("://") {
            return Self::parse(url, *self.addr.ip());
        }
        let path = if url.starts_with('/') { url.to_owned() } else { format!("/{url}") };
        is_path(&path).then_some(Self { addr: self.addr, path })
    }
}

fn is_path(path: &str) -> bool {
    path.len() <= MAX_PATH && path.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Where a gateway takes orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Control {
    pub(crate) place: Place,
    pub(crate) service: &'static str,
}

/// Where the description is, by the gateway's answer to [`SEARCH`].
pub(crate) fn read_search(answer: &[u8], gateway: Gateway) -> Option<Place> {
    let text = std::str::from_utf8(answer).ok()?;
    let mut lines = text.lines();
    let status = lines.next()?;
    if !status.starts_with("HTTP/1.") || status.split(' ').nth(1) != Some("200") {
        return None;
    }
    let location = lines.filter_map(|line| line.split_once(':'));
    let mut location = location.filter(|(name, _)| name.trim().eq_ignore_ascii_case("location"));
    Place::parse(location.next()?.1, gateway.ip)
}

/// Where orders go, by the description that was found at `place`.
pub(crate) fn read_description(text: &str, place: &Place) -> Result<Control, Failure> {
    let document = parse(text)?;
    let base = text_of(document.root(), "URLBase").filter(|base| !base.is_empty());
    let base = match base {
        Some(base) => Place::parse(base, *place.addr.ip()).ok_or(Failure::Elsewhere)?,
        None => place.clone(),
    };
    let services = || document.descendants().filter(|node| node.tag_name().name() == "service");
    for service in SERVICES {
        let found = services().find(|node| child(*node, "serviceType") == Some(service));
        if let Some(url) = found.and_then(|node| child(node, "controlURL")) {
            let place = base.join(url).ok_or(Failure::Elsewhere)?;
            return Ok(Control { place, service });
        }
    }
    Err(Failure::Unsupported)
}

fn parse(text: &str) -> Result<Document<'_>, Failure> {
    let options = ParsingOptions { allow_dtd: false, nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    Document::parse_with_options(text, options).map_err(|_| Failure::Malformed)
}

/// The text of the first element of that name below `node`.
fn text_of<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let found = node.descendants().find(|node| node.tag_name().name() == name)?;
    found.text().map(str::trim)
}

/// The same of its own children: looking below each of many elements that
/// contain each other would take the square of their number.
fn child<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    let found = node.children().find(|node| node.tag_name().name() == name)?;
    found.text().map(str::trim)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GATEWAY: Gateway =
        Gateway { ip: Ipv4Addr::new(192, 168, 1, 1), local: Ipv4Addr::new(192, 168, 1, 5) };

    fn place(port: u16, path: &str) -> Place {
        Place { addr: SocketAddrV4::new(GATEWAY.ip, port), path: path.to_owned() }
    }

    fn search(location: &str) -> Option<Place> {
        let answer = format!("HTTP/1.1 200 OK\r\nST: x\r\nLocation: {location}\r\nEXT:\r\n\r\n");
        read_search(answer.as_bytes(), GATEWAY)
    }

    #[test]
    fn only_the_gateway_is_believed_about_itself() {
        assert_eq!(search("http://192.168.1.1:5000/root.xml"), Some(place(5000, "/root.xml")));
        assert_eq!(search("HTTP://192.168.1.1"), Some(place(80, "/")));
        for elsewhere in [
            "http://192.168.1.2:5000/root.xml",
            "http://127.0.0.1/",
            "http://192.168.1.1@10.0.0.1/",
            "http://router.example/",
            "https://192.168.1.1/",
            "http://192.168.1.1:99999/",
            "http://192.168.1.1/a b",
            "/root.xml",
        ] {
            assert_eq!(search(elsewhere), None, "{elsewhere}");
        }
        assert_eq!(read_search(b"NOTIFY * HTTP/1.1\r\nLocation: http://192.168.1.1/\r\n", GATEWAY), None);
    }

    fn description(base: &str, services: &[(&str, &str)]) -> String {
        let services: String = services
            .iter()
            .map(|(kind, url)| {
                format!(
                    "<service><serviceType>urn:schemas-upnp-org:service:{kind}</serviceType>\
                    <controlURL>{url}</controlURL></service>"
                )
            })
            .collect();
        format!(
            "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">{base}<device><deviceList>\
            <device><serviceList>{services}</serviceList></device></deviceList></device></root>"
        )
    }

    #[test]
    fn descriptions_lead_to_the_gateway_only() {
        let from = place(5000, "/root.xml");
        let control = |base: &str, services: &[(&str, &str)]| {
            read_description(&description(base, services), &from).map(|control| control.place)
        };
        let (layer3, ppp) = (("Layer3Forwarding:1", "/l3"), ("WANPPPConnection:1", "/ppp"));
        let ip = ("WANIPConnection:1", "ctl/ip");
        assert_eq!(control("", &[layer3, ppp, ip]), Ok(place(5000, "/ctl/ip")));
        assert_eq!(control("", &[layer3, ppp]), Ok(place(5000, "/ppp")));
        assert_eq!(control("", &[layer3]), Err(Failure::Unsupported));
        assert_eq!(control("<URLBase>http://192.168.1.1:49/</URLBase>", &[ppp]), Ok(place(49, "/ppp")));
        assert_eq!(control("<URLBase/>", &[ppp]), Ok(place(5000, "/ppp")));
        assert_eq!(control("<URLBase>http://10.0.0.1/</URLBase>", &[ppp]), Err(Failure::Elsewhere));
        let away = ("WANIPConnection:1", "http://192.168.1.9/x");
        assert_eq!(control("", &[away]), Err(Failure::Elsewhere));
        assert_eq!(read_description("<a", &from), Err(Failure::Malformed));
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\">]><x>&a;</x>";
        assert_eq!(read_description(bomb, &from), Err(Failure::Malformed));
        let many = format!("<x>{}</x>", "<y/>".repeat(20_000));
        assert_eq!(read_description(&many, &from), Err(Failure::Malformed));
    }

    #[test]
    fn a_service_is_described_by_its_own_children() {
        let from = place(80, "/");
        let ip = "<serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>";
        let nested = format!("<service><service>{ip}</service><controlURL>/a</controlURL></service>");
        assert_eq!(read_description(&nested, &from), Err(Failure::Unsupported));
        // Each would be looked for below all others.
        let depth = 5_000;
        let deep = format!("{}{ip}{}", "<service>".repeat(depth), "</service>".repeat(depth));
        assert_eq!(read_description(&deep, &from), Err(Failure::Unsupported));
    }

    proptest! {
        #[test]
        fn arbitrary_text_does_no_harm(text in "(\\PC|[<>/=\"&;!\\[\\]]|service|controlURL|http://){0,80}") {
            let _ = read_search(text.as_bytes(), GATEWAY);
            let _ = read_description(&text, &place(80, "/"));
        }
    }
}
