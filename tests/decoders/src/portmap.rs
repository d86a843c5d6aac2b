//! What home routers say: PCP, NAT-PMP, SSDP, UPnP; and the system of its routes.

use std::cell::RefCell;
use std::net::SocketAddr;

use igd_next::aio::{Gateway, Provider};
use igd_next::{PortMappingProtocol, RequestError};
use peerage_transport::fuzzing;

use crate::{Decoder, hexes, io, text, texts};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "port-answer",
        run: |bytes| fuzzing::port_answer(bytes, [7; 12], 4001),
        seeds: || {
            hexes(&[
                "028100000000 0e1000000001000000000000000000000000 070707070707070707070707 06000000 \
                 0fa1 0fa3 00000000000000000000ffffcb007105",
                "0281000200000e10 00000001 000000000000000000000000",
                "0080000000000e10cb007105",
                "0082000000000e100fa10fa300000e10",
                "0082000200000e10",
            ])
        },
    },
    Decoder {
        name: "ssdp-answer",
        run: fuzzing::ssdp_answer,
        seeds: || {
            texts(&[
                "HTTP/1.1 200 OK\r\nST: x\r\nLocation: http://192.168.1.1:5000/root.xml\r\nEXT:\r\n\r\n",
                "HTTP/1.1 200 OK\r\nLOCATION:http://192.168.1.1\r\n\r\n",
                "HTTP/1.1 200 OK\r\nLocation: http://10.0.0.1/\r\n\r\n",
            ])
        },
    },
    Decoder {
        name: "upnp-description",
        run: |bytes| text(bytes).is_some_and(fuzzing::upnp_description),
        seeds: || vec![DESCRIPTION.as_bytes().to_vec(), b"<a><!DOCTYPE x [<!ENTITY a \"b\">]></a>".to_vec()],
    },
    Decoder { name: "upnp-answer", run: order, seeds: || texts(ANSWERS) },
    Decoder {
        name: "routes",
        run: |bytes| text(bytes).is_some_and(fuzzing::routes),
        seeds: || {
            texts(&[
                "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                 e\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                 e\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n",
                "h\ne 00000000 0101A8C0 0003 0 0 7 00000000\ne 00000000 0201A8C0 0003 0 0 6 00000000",
            ])
        },
    },
];

const DESCRIPTION: &str = "<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\">\
    <URLBase>http://192.168.1.1:49/</URLBase><device><deviceList><device><serviceList><service>\
    <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>ctl/ip</controlURL>\
    </service></serviceList></device></deviceList></device></root>";

const ANSWERS: &[&str] = &[
    "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><u:GetExternalIPAddressResponse \
     xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\"><NewExternalIPAddress>203.0.113.5\
     </NewExternalIPAddress></u:GetExternalIPAddressResponse></s:Body></s:Envelope>",
    "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><u:AddPortMappingResponse \
     xmlns:u=\"urn:schemas-upnp-org:service:WANIPConnection:1\"/></s:Body></s:Envelope>",
    "<s:Envelope xmlns:s=\"http://schemas.xmlsoap.org/soap/envelope/\"><s:Body><s:Fault><faultcode>s:Client\
     </faultcode><faultstring>UPnPError</faultstring><detail><UPnPError \
     xmlns=\"urn:schemas-upnp-org:control-1-0\"><errorCode>725</errorCode><errorDescription>OnlyPermanent\
     </errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>",
];

/// Bytes of an answer that are read, as in `transport/portmap/upnp`.
const MAX_REPLY: usize = 8 * 1024;

thread_local! {
    static ANSWER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// A gateway that says the same to every order.
struct Same;

impl Provider for Same {
    async fn send_async(_: &str, _: &str, _: &str) -> Result<String, RequestError> {
        Ok(ANSWER.with_borrow(Clone::clone))
    }
}

/// What a gateway says to our orders, which `igd-next` reads.
fn order(bytes: &[u8]) -> bool {
    let answer = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_REPLY)]).into_owned();
    ANSWER.with_borrow_mut(|held| *held = answer);
    let router = SocketAddr::from(([192, 168, 1, 1], 5000));
    let gateway = Gateway {
        addr: router,
        root_url: String::new(),
        control_url: "http://192.168.1.1:5000/ctl".to_owned(),
        control_schema_url: String::new(),
        control_schema: ["AddPortMapping", "DeletePortMapping"]
            .map(|action| (action.to_owned(), vec!["NewExternalPort".to_owned(), "NewProtocol".to_owned()]))
            .into(),
        service_type: "urn:schemas-upnp-org:service:WANIPConnection:1".to_owned(),
        provider: Same,
    };
    let tcp = PortMappingProtocol::TCP;
    io::run(async {
        let found = gateway.get_external_ip().await.is_ok();
        let added = gateway.add_port(tcp, 4001, router, 7200, "peerage").await.is_ok();
        let removed = gateway.remove_port(tcp, 4001).await.is_ok();
        found || added || removed
    })
}
