//! The components of an address: codes, binary values and text values.
//! Spec: multiformats/multiaddr `protocols.csv`; where the table leaves a form
//! open (memory, unix, http-path, onion, garlic) it is go-multiaddr's.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr};

use peerage_wire::varint;

use super::MultiaddrError;
use super::value;
use crate::PeerId;

/// Declares [`Protocol`] and its table from one list.
macro_rules! protocols {
    (
        values { $($(#[$vdoc:meta])* $variant:ident($vty:ty) = $vcode:literal $vname:literal,)* }
        flags { $($(#[$fdoc:meta])* $flag:ident = $fcode:literal $fname:literal,)* }
    ) => {
        /// One component of an address. Text values are borrowed from it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Protocol<'a> {
            $($(#[$vdoc])* $variant($vty),)*
            $($(#[$fdoc])* $flag,)*
        }

        impl Protocol<'_> {
            /// The number in the multicodec table.
            #[must_use]
            pub const fn code(&self) -> u64 {
                match self {
                    $(Self::$variant(_) => $vcode,)*
                    $(Self::$flag => $fcode,)*
                }
            }

            /// The name in text.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $vname,)*
                    $(Self::$flag => $fname,)*
                }
            }
        }

        /// The components without value, by code and by name.
        const FLAGS: &[Protocol<'static>] = &[$(Protocol::$flag,)*];
    };
}

protocols! {
    values {
        /// An IPv4 address.
        Ip4(Ipv4Addr) = 4 "ip4",
        /// A TCP port.
        Tcp(u16) = 6 "tcp",
        /// A DCCP port.
        Dccp(u16) = 33 "dccp",
        /// An IPv6 address.
        Ip6(Ipv6Addr) = 41 "ip6",
        /// The zone (interface) of the IPv6 address that follows.
        Ip6Zone(&'a str) = 42 "ip6zone",
        /// Length of a network prefix, in bits.
        IpCidr(u8) = 43 "ipcidr",
        /// A name with addresses of either family.
        Dns(&'a str) = 53 "dns",
        /// A name with IPv4 addresses.
        Dns4(&'a str) = 54 "dns4",
        /// A name with IPv6 addresses.
        Dns6(&'a str) = 55 "dns6",
        /// A name whose TXT records hold addresses.
        Dnsaddr(&'a str) = 56 "dnsaddr",
        /// An SCTP port.
        Sctp(u16) = 132 "sctp",
        /// A UDP port.
        Udp(u16) = 273 "udp",
        /// The path of a Unix socket, from `/`.
        Unix(&'a str) = 400 "unix",
        /// The id of a peer.
        P2p(PeerId) = 421 "p2p",
        /// A Tor service, version 2: 10 bytes of hash, and a port (big endian).
        Onion(&'a [u8; 12]) = 444 "onion",
        /// A Tor service, version 3: 35 bytes of key, and a port (big endian).
        Onion3(&'a [u8; 37]) = 445 "onion3",
        /// An I2P destination.
        Garlic64(&'a [u8]) = 446 "garlic64",
        /// The hash of an I2P destination.
        Garlic32(&'a [u8]) = 447 "garlic32",
        /// The name to ask for in TLS.
        Sni(&'a str) = 449 "sni",
        /// The multihash of a certificate.
        Certhash(&'a [u8]) = 466 "certhash",
        /// The path of an HTTP resource, decoded.
        HttpPath(&'a str) = 481 "http-path",
        /// A channel within one process.
        Memory(u64) = 777 "memory",
    }
    flags {
        /// WebRTC with a star server, obsolete.
        P2pWebRtcStar = 275 "p2p-webrtc-star",
        /// WebRTC over HTTP, obsolete.
        P2pWebRtcDirect = 276 "p2p-webrtc-direct",
        /// Stardust, obsolete.
        P2pStardust = 277 "p2p-stardust",
        /// WebRTC without a signalling server.
        WebRtcDirect = 280 "webrtc-direct",
        /// WebRTC.
        WebRtc = 281 "webrtc",
        /// Through the relay before it, to the peer behind it.
        P2pCircuit = 290 "p2p-circuit",
        /// UDT.
        Udt = 301 "udt",
        /// uTP.
        Utp = 302 "utp",
        /// HTTPS; the same as `tls/http`.
        Https = 443 "https",
        /// TLS.
        Tls = 448 "tls",
        /// Noise.
        Noise = 454 "noise",
        /// QUIC, draft 29.
        Quic = 460 "quic",
        /// QUIC, RFC 9000.
        QuicV1 = 461 "quic-v1",
        /// WebTransport.
        WebTransport = 465 "webtransport",
        /// WebSocket.
        Ws = 477 "ws",
        /// WebSocket over TLS; the same as `tls/ws`.
        Wss = 478 "wss",
        /// WebSocket with a star server, obsolete.
        P2pWebSocketStar = 479 "p2p-websocket-star",
        /// HTTP.
        Http = 480 "http",
    }
}

impl<'a> Protocol<'a> {
    /// Takes a component off the front of `bytes`.
    pub(super) fn take(bytes: &mut &'a [u8]) -> Result<Self, MultiaddrError> {
        let code = varint::take(bytes).ok_or(MultiaddrError::Truncated)?;
        if let Some(&flag) = FLAGS.iter().find(|flag| flag.code() == code) {
            return Ok(flag);
        }
        Ok(match code {
            4 => Self::Ip4(Ipv4Addr::from(*fixed::<4>(bytes)?)),
            6 => Self::Tcp(port(bytes)?),
            33 => Self::Dccp(port(bytes)?),
            41 => Self::Ip6(Ipv6Addr::from(*fixed::<16>(bytes)?)),
            42 => Self::Ip6Zone(text(bytes, "ip6zone", value::is_word)?),
            43 => Self::IpCidr(fixed::<1>(bytes)?[0]),
            53 => Self::Dns(text(bytes, "dns", value::is_dns_name)?),
            54 => Self::Dns4(text(bytes, "dns4", value::is_dns_name)?),
            55 => Self::Dns6(text(bytes, "dns6", value::is_dns_name)?),
            56 => Self::Dnsaddr(text(bytes, "dnsaddr", value::is_dns_name)?),
            132 => Self::Sctp(port(bytes)?),
            273 => Self::Udp(port(bytes)?),
            400 => Self::Unix(text(bytes, "unix", value::is_unix_path)?),
            421 => {
                let id = PeerId::from_bytes(prefixed(bytes)?);
                Self::P2p(id.map_err(|_| MultiaddrError::Value("p2p"))?)
            }
            444 => Self::Onion(ported(fixed(bytes)?, "onion")?),
            445 => Self::Onion3(ported(fixed(bytes)?, "onion3")?),
            446 => Self::Garlic64(checked(prefixed(bytes)?, "garlic64", value::is_garlic64)?),
            447 => Self::Garlic32(checked(prefixed(bytes)?, "garlic32", value::is_garlic32)?),
            449 => Self::Sni(text(bytes, "sni", value::is_dns_name)?),
            466 => Self::Certhash(checked(prefixed(bytes)?, "certhash", value::is_multihash)?),
            481 => Self::HttpPath(text(bytes, "http-path", value::is_http_path)?),
            777 => Self::Memory(u64::from_be_bytes(*fixed::<8>(bytes)?)),
            code => return Err(MultiaddrError::UnknownCode(code)),
        })
    }

    /// Appends the binary form. Does not check text values.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        varint::put(out, self.code());
        match *self {
            Self::Ip4(ip) => out.extend(ip.octets()),
            Self::Ip6(ip) => out.extend(ip.octets()),
            Self::Tcp(port) | Self::Dccp(port) | Self::Sctp(port) | Self::Udp(port) => {
                out.extend(port.to_be_bytes());
            }
            Self::IpCidr(bits) => out.push(bits),
            Self::Memory(channel) => out.extend(channel.to_be_bytes()),
            Self::Onion(bytes) => out.extend(bytes),
            Self::Onion3(bytes) => out.extend(bytes),
            Self::P2p(id) => put_prefixed(out, id.as_bytes()),
            Self::Ip6Zone(text)
            | Self::Dns(text)
            | Self::Dns4(text)
            | Self::Dns6(text)
            | Self::Dnsaddr(text)
            | Self::Unix(text)
            | Self::Sni(text)
            | Self::HttpPath(text) => put_prefixed(out, text.as_bytes()),
            Self::Garlic64(bytes) | Self::Garlic32(bytes) | Self::Certhash(bytes) => {
                put_prefixed(out, bytes);
            }
            _ => debug_assert!(FLAGS.contains(self), "a component whose value was forgotten"),
        }
    }

    /// The text form, from the slash before the name.
    fn write_text(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.name())?;
        match *self {
            Self::Ip4(ip) => write!(f, "/{ip}"),
            Self::Ip6(ip) => write!(f, "/{ip}"),
            Self::Tcp(port) | Self::Dccp(port) | Self::Sctp(port) | Self::Udp(port) => write!(f, "/{port}"),
            Self::IpCidr(bits) => write!(f, "/{bits}"),
            Self::Memory(channel) => write!(f, "/{channel}"),
            Self::P2p(id) => write!(f, "/{id}"),
            Self::Ip6Zone(text)
            | Self::Dns(text)
            | Self::Dns4(text)
            | Self::Dns6(text)
            | Self::Dnsaddr(text)
            | Self::Sni(text) => write!(f, "/{text}"),
            // The path brings its own slash.
            Self::Unix(path) => f.write_str(path),
            Self::HttpPath(path) => {
                f.write_char('/')?;
                value::write_percent_encoded(f, path)
            }
            Self::Onion(bytes) => value::write_onion(f, bytes),
            Self::Onion3(bytes) => value::write_onion(f, bytes),
            Self::Garlic64(bytes) => write!(f, "/{}", value::garlic64_text(bytes)),
            Self::Garlic32(bytes) => write!(f, "/{}", value::garlic32_text(bytes)),
            Self::Certhash(hash) => write!(f, "/{}", multibase::encode(multibase::Base::Base64Url, hash)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Protocol<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_text(f)
    }
}

/// Reads the component called `name` from text and appends its binary form;
/// `rest` holds what follows the name and its slash, `None` at the end.
/// Leaves in `rest` what follows the component.
pub(super) fn parse_into<'t>(
    out: &mut Vec<u8>,
    name: &str,
    rest: &mut Option<&'t str>,
) -> Result<(), MultiaddrError> {
    if let Some(flag) = FLAGS.iter().find(|flag| flag.name() == name) {
        flag.put(out);
        return Ok(());
    }
    let name = known_value_name(name).ok_or_else(|| MultiaddrError::unknown_name(name))?;
    let bad = MultiaddrError::Value(name);
    let all: &'t str = rest.take().ok_or(MultiaddrError::MissingValue(name))?;
    if name == "unix" {
        // A path takes all that is left.
        let path = format!("/{all}");
        Protocol::Unix(&path).put(out);
        return Ok(());
    }
    let (text, tail) = all.split_once('/').map_or((all, None), |(text, tail)| (text, Some(tail)));
    *rest = tail;
    match name {
        "ip4" => Protocol::Ip4(text.parse().map_err(|_| bad)?).put(out),
        "ip6" => Protocol::Ip6(text.parse().map_err(|_| bad)?).put(out),
        "tcp" => Protocol::Tcp(value::number(text).ok_or(bad)?).put(out),
        "udp" => Protocol::Udp(value::number(text).ok_or(bad)?).put(out),
        "dccp" => Protocol::Dccp(value::number(text).ok_or(bad)?).put(out),
        "sctp" => Protocol::Sctp(value::number(text).ok_or(bad)?).put(out),
        "ipcidr" => Protocol::IpCidr(value::number(text).ok_or(bad)?).put(out),
        "memory" => Protocol::Memory(value::number(text).ok_or(bad)?).put(out),
        "ip6zone" => Protocol::Ip6Zone(text).put(out),
        "dns" => Protocol::Dns(text).put(out),
        "dns4" => Protocol::Dns4(text).put(out),
        "dns6" => Protocol::Dns6(text).put(out),
        "dnsaddr" => Protocol::Dnsaddr(text).put(out),
        "sni" => Protocol::Sni(text).put(out),
        "p2p" => Protocol::P2p(text.parse().map_err(|_| bad)?).put(out),
        "http-path" => Protocol::HttpPath(&value::percent_decode(text).ok_or(bad)?).put(out),
        "onion" => Protocol::Onion(&value::onion_bytes(text).ok_or(bad)?).put(out),
        "onion3" => Protocol::Onion3(&value::onion_bytes(text).ok_or(bad)?).put(out),
        "garlic64" => Protocol::Garlic64(&value::garlic64_bytes(text).ok_or(bad)?).put(out),
        "garlic32" => Protocol::Garlic32(&value::garlic32_bytes(text).ok_or(bad)?).put(out),
        "certhash" => {
            let (_, hash) = multibase::decode(text).map_err(|_| bad)?;
            Protocol::Certhash(&hash).put(out);
        }
        _ => return Err(MultiaddrError::unknown_name(name)),
    }
    Ok(())
}

/// The table's own spelling of a name with a value; `ipfs` is the old one of `p2p`.
fn known_value_name(name: &str) -> Option<&'static str> {
    const NAMES: &[&str] = &[
        "ip4",
        "tcp",
        "dccp",
        "ip6",
        "ip6zone",
        "ipcidr",
        "dns",
        "dns4",
        "dns6",
        "dnsaddr",
        "sctp",
        "udp",
        "unix",
        "p2p",
        "onion",
        "onion3",
        "garlic64",
        "garlic32",
        "sni",
        "certhash",
        "http-path",
        "memory",
    ];
    if name == "ipfs" {
        return Some("p2p");
    }
    NAMES.iter().copied().find(|&known| known == name)
}

fn fixed<'a, const N: usize>(bytes: &mut &'a [u8]) -> Result<&'a [u8; N], MultiaddrError> {
    let (value, rest) = bytes.split_first_chunk().ok_or(MultiaddrError::Truncated)?;
    *bytes = rest;
    Ok(value)
}

fn port(bytes: &mut &[u8]) -> Result<u16, MultiaddrError> {
    Ok(u16::from_be_bytes(*fixed::<2>(bytes)?))
}

fn prefixed<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], MultiaddrError> {
    let len = varint::take(bytes).ok_or(MultiaddrError::Truncated)?;
    let len = usize::try_from(len).map_err(|_| MultiaddrError::Truncated)?;
    let (value, rest) = bytes.split_at_checked(len).ok_or(MultiaddrError::Truncated)?;
    *bytes = rest;
    Ok(value)
}

fn put_prefixed(out: &mut Vec<u8>, value: &[u8]) {
    varint::put(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn checked<'a>(
    value: &'a [u8],
    name: &'static str,
    valid: fn(&[u8]) -> bool,
) -> Result<&'a [u8], MultiaddrError> {
    if valid(value) { Ok(value) } else { Err(MultiaddrError::Value(name)) }
}

fn text<'a>(
    bytes: &mut &'a [u8],
    name: &'static str,
    valid: fn(&str) -> bool,
) -> Result<&'a str, MultiaddrError> {
    let text = std::str::from_utf8(prefixed(bytes)?).map_err(|_| MultiaddrError::Value(name))?;
    if valid(text) { Ok(text) } else { Err(MultiaddrError::Value(name)) }
}

/// A Tor address must end in a port other than 0.
fn ported<'a, const N: usize>(value: &'a [u8; N], name: &'static str) -> Result<&'a [u8; N], MultiaddrError> {
    if value.ends_with(&[0, 0]) { Err(MultiaddrError::Value(name)) } else { Ok(value) }
}
