//! UPnP: finding the gateway's service, and giving it orders.
//!
//! `igd-next` searches, reads what the router says of itself, and gives the
//! orders (UPnP Device Architecture 1.1, WANIPConnection 1 and 2, WANPPPConnection
//! 1). It goes to no other host than the one that answered, and reads at most
//! 1 MiB of each page; that this one is the gateway is seen to here.

use std::fmt;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, GetExternalIpError, RemovePortError, RequestError, SearchError, SearchOptions};

use super::{Config, Failure, Gateway};

/// How long the gateway alone is waited for, if only it is asked (a search of
/// UPnP 1.1), and then if all are (of 1.0; others that answer are passed over).
const ALONE: Duration = Duration::from_millis(1500);
/// See [`ALONE`].
const ALL: Duration = Duration::from_millis(2500);
/// Outer ports that are tried when others have the first ones.
const PORTS: u16 = 4;
/// What others see in the router's list of mappings.
const NAME: &str = "peerage";
/// We may not (WANIPConnection 2, section 2.5).
const NOT_AUTHORIZED: u32 = 606;
/// No such mapping.
const NO_SUCH_ENTRY: u32 = 714;
/// The port is another's.
const CONFLICT: u32 = 718;
/// It is for the same port on both sides, or for ever, or not at all.
const SAME_PORT: u32 = 724;
const ONLY_PERMANENT: u32 = 725;

/// Where the gateway takes orders.
#[derive(Clone, PartialEq)]
pub(super) struct Control(Arc<igd_next::aio::Gateway<Tokio>>);

impl Eq for Control {}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Control({}{})", self.0.addr, self.0.control_url)
    }
}

/// What was asked for and given.
#[derive(Debug)]
pub(super) struct Mapped {
    pub(super) external: SocketAddrV4,
    pub(super) control: Control,
}

/// Finds where the gateway takes orders.
pub(super) async fn find(config: &Config, gateway: Gateway) -> Result<Control, Failure> {
    let alone = SocketAddrV4::new(gateway.ip, config.ssdp.port());
    let mut failure = Failure::Silent;
    for (to, wait) in [(alone, ALONE), (config.ssdp, ALL)] {
        let mut options = SearchOptions::default();
        // Bound to our address on its network, it goes out there, wherever routes lead.
        options.bind_addr = (gateway.local, 0).into();
        options.broadcast_address = to.into();
        options.timeout = Some(wait);
        options.single_search_timeout = Some(wait);
        options.allowed_gateway_ips = vec![IpAddr::V4(gateway.ip)];
        match search_gateway(options).await {
            Ok(found) if found.addr.ip() == IpAddr::V4(gateway.ip) => return Ok(Control(Arc::new(found))),
            Ok(_) => failure = Failure::Elsewhere,
            Err(SearchError::NoResponseWithinTimeout) => {}
            Err(SearchError::IoError(error)) => failure = Failure::Io(error.kind()),
            Err(_) => failure = Failure::Malformed,
        }
    }
    Err(failure)
}

/// Maps `port`, to the outer port `wanted` if nobody else has it.
pub(super) async fn map(
    control: Control,
    gateway: Gateway,
    port: u16,
    wanted: u16,
    seconds: u32,
) -> Result<Mapped, Failure> {
    let IpAddr::V4(ip) = control.0.get_external_ip().await? else { return Err(Failure::Malformed) };
    let (mut external, mut seconds) = (wanted, seconds);
    let mut tries = 0;
    loop {
        let local = (gateway.local, port).into();
        tries += 1;
        match control.0.add_port(igd_next::PortMappingProtocol::TCP, external, local, seconds, NAME).await {
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
    Ok(control.0.remove_port(igd_next::PortMappingProtocol::TCP, external).await?)
}

impl From<RequestError> for Failure {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::ErrorCode(code, _) => Self::Refused(code.into()),
            RequestError::UnsupportedAction(_) => Self::Unsupported,
            RequestError::IoError(error) if error.kind() == ErrorKind::TimedOut => Self::Silent,
            RequestError::IoError(error) => Self::Io(error.kind()),
            RequestError::HyperClientError(error) if error.is_connect() => Self::Silent,
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
