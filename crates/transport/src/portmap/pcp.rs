//! The messages of PCP (RFC 6887): MAP, for TCP over IPv4. Pure.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use sha2::{Digest as _, Sha256};

use super::Failure;

/// What tells our mapping from others' (section 11.2).
pub(crate) type Nonce = [u8; 12];

/// MAP is the first opcode; the top bit marks answers.
const MAP: u8 = 1;
const ANSWER: u8 = 0x80;
/// TCP, by its number among IP's protocols.
const TCP: u8 = 6;

/// What a mapping is: the outer address, and for how many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) external: SocketAddrV4,
    pub(crate) seconds: u32,
}

/// The nonce of `internal`: nobody can guess it, and whoever has the secret has
/// it again after a restart, as the router refuses a mapping that it has for
/// another nonce (section 11.3).
pub(crate) fn nonce(secret: &[u8], internal: SocketAddrV4) -> Nonce {
    let digest = Sha256::new()
        .chain_update("peerage PCP nonce")
        .chain_update(internal.ip().octets())
        .chain_update(internal.port().to_be_bytes())
        .chain_update(secret)
        .finalize();
    std::array::from_fn(|at| digest[at])
}

/// Asks to map `internal`, if possible to `external`. Zero seconds remove it.
pub(crate) fn map_request(
    nonce: Nonce,
    internal: SocketAddrV4,
    external: SocketAddrV4,
    seconds: u32,
) -> Vec<u8> {
    let mut bytes = vec![2, MAP, 0, 0];
    bytes.extend(seconds.to_be_bytes());
    bytes.extend(internal.ip().to_ipv6_mapped().octets());
    bytes.extend(nonce);
    bytes.extend([TCP, 0, 0, 0]);
    bytes.extend(internal.port().to_be_bytes());
    bytes.extend(external.port().to_be_bytes());
    bytes.extend(external.ip().to_ipv6_mapped().octets());
    bytes
}

/// The answer to [`map_request`]; none if it answers something else.
pub(crate) fn read_map(bytes: &[u8], nonce: &Nonce, internal: u16) -> Option<Result<Mapped, Failure>> {
    match *bytes {
        // Older than PCP: NAT-PMP answers in its own form (section 9).
        [0, ..] => return Some(Err(Failure::Unsupported)),
        [2, opcode, ..] if opcode == ANSWER | MAP && bytes.len() >= 24 => {}
        _ => return None,
    }
    // An error may come without the rest, but not for another's question.
    let body = bytes.get(24..60);
    let own = |body: &[u8]| body[..12] == *nonce && body[12] == TCP && body[16..18] == internal.to_be_bytes();
    if body.is_some_and(|body| !own(body)) {
        return None;
    }
    match bytes[3] {
        0 => {}
        1 | 4 => return Some(Err(Failure::Unsupported)),
        code => return Some(Err(Failure::Refused(code.into()))),
    }
    Some(body.and_then(|body| mapped(bytes, body)).ok_or(Failure::Malformed))
}

fn mapped(bytes: &[u8], body: &[u8]) -> Option<Mapped> {
    let seconds = u32::from_be_bytes(bytes[4..8].try_into().ok()?);
    let port = u16::from_be_bytes(body[18..20].try_into().ok()?);
    let ip = <[u8; 16]>::try_from(&body[20..36]).ok()?;
    let ip: Ipv4Addr = Ipv6Addr::from(ip).to_ipv4_mapped()?;
    Some(Mapped { external: SocketAddrV4::new(ip, port), seconds })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NONCE: Nonce = [7; 12];
    const REQUEST: &str = "020100000000 1c2000000000000000000000ffffc0a80105 070707070707070707070707 06000000 \
        0fa1 0fa2 00000000000000000000ffff00000000";
    const ANSWERED: &str = "028100000000 0e1000000001000000000000000000000000 070707070707070707070707 06000000 \
        0fa1 0fa3 00000000000000000000ffffcb007105";

    fn bytes(hex: &str) -> Vec<u8> {
        hex::decode(hex.replace(' ', "")).unwrap()
    }

    #[test]
    fn golden() {
        let internal = SocketAddrV4::new([192, 168, 1, 5].into(), 4001);
        let wanted = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 4002);
        assert_eq!(map_request(NONCE, internal, wanted, 7200), bytes(REQUEST));
        let external = SocketAddrV4::new([203, 0, 113, 5].into(), 4003);
        let answer = bytes(ANSWERED);
        assert_eq!(read_map(&answer, &NONCE, 4001), Some(Ok(Mapped { external, seconds: 3600 })));
        // Another's, a question, another opcode.
        assert_eq!(read_map(&answer, &[8; 12], 4001), None);
        assert_eq!(read_map(&answer, &NONCE, 4002), None);
        assert_eq!(read_map(&bytes(REQUEST), &NONCE, 4001), None);
        let mut refused = answer.clone();
        refused[3] = 2;
        assert_eq!(read_map(&refused, &NONCE, 4001), Some(Err(Failure::Refused(2))));
        assert_eq!(read_map(&refused[..24], &NONCE, 4001), Some(Err(Failure::Refused(2))));
        assert_eq!(read_map(&answer[..40], &NONCE, 4001), Some(Err(Failure::Malformed)));
        assert_eq!(read_map(&bytes("0081000100000000"), &NONCE, 4001), Some(Err(Failure::Unsupported)));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = read_map(&bytes, &NONCE, 4001);
            let _ = super::super::natpmp::read_map(&bytes, 4001);
            let _ = super::super::natpmp::read_address(&bytes);
        }
    }
}
