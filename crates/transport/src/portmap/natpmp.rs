//! The messages of NAT-PMP (RFC 6886), for TCP. Pure.

use std::net::Ipv4Addr;

use super::Failure;

/// Asks for the router's outer address (section 3.2).
pub(crate) const ADDRESS_REQUEST: [u8; 2] = [0, 0];

/// What a mapping is: the outer port, and for how many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) port: u16,
    pub(crate) seconds: u32,
}

/// Asks to map `internal`, if possible to `external` (section 3.3). Zero
/// seconds remove the mapping.
pub(crate) fn map_request(internal: u16, external: u16, seconds: u32) -> Vec<u8> {
    let mut bytes = vec![0, 2, 0, 0];
    bytes.extend(internal.to_be_bytes());
    bytes.extend(external.to_be_bytes());
    bytes.extend(seconds.to_be_bytes());
    bytes
}

/// The answer to [`ADDRESS_REQUEST`]; none if it answers something else.
pub(crate) fn read_address(bytes: &[u8]) -> Option<Result<Ipv4Addr, Failure>> {
    answer(bytes, 128)?;
    Some(check(bytes).and_then(|()| match bytes[8..] {
        [a, b, c, d, ..] => Ok(Ipv4Addr::new(a, b, c, d)),
        _ => Err(Failure::Malformed),
    }))
}

/// The answer to [`map_request`]; none if it answers something else.
pub(crate) fn read_map(bytes: &[u8], internal: u16) -> Option<Result<Mapped, Failure>> {
    answer(bytes, 130)?;
    if let Err(failure) = check(bytes) {
        return Some(Err(failure));
    }
    let &[i0, i1, e0, e1, s0, s1, s2, s3, ..] = &bytes[8..] else { return Some(Err(Failure::Malformed)) };
    let mapped = Mapped { port: u16::from_be_bytes([e0, e1]), seconds: u32::from_be_bytes([s0, s1, s2, s3]) };
    // Late answers to what was asked for another port are not ours.
    (u16::from_be_bytes([i0, i1]) == internal).then_some(Ok(mapped))
}

/// Of this version and to this question, with a result and an epoch.
fn answer(bytes: &[u8], opcode: u8) -> Option<()> {
    (bytes.len() >= 8 && bytes[0] == 0 && bytes[1] == opcode).then_some(())
}

fn check(bytes: &[u8]) -> Result<(), Failure> {
    match u16::from_be_bytes([bytes[2], bytes[3]]) {
        0 => Ok(()),
        1 | 5 => Err(Failure::Unsupported),
        code => Err(Failure::Refused(code.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden() {
        assert_eq!(hex::encode(map_request(4001, 4002, 7200)), "000200000fa10fa200001c20");
        let address = hex::decode("0080000000000e10cb007105").unwrap();
        assert_eq!(read_address(&address), Some(Ok([203, 0, 113, 5].into())));
        let map = hex::decode("0082000000000e100fa10fa300000e10").unwrap();
        assert_eq!(read_map(&map, 4001), Some(Ok(Mapped { port: 4003, seconds: 3600 })));
        assert_eq!(read_map(&map, 4009), None);
        assert_eq!(read_address(&map), None);
        assert_eq!(read_map(&map[..12], 4001), Some(Err(Failure::Malformed)));
        let refused = hex::decode("0082000200000e10").unwrap();
        assert_eq!(read_map(&refused, 4001), Some(Err(Failure::Refused(2))));
        assert_eq!(read_map(&hex::decode("0082000100000e10").unwrap(), 1), Some(Err(Failure::Unsupported)));
        for len in 0..8 {
            assert_eq!(read_map(&map[..len], 4001), None);
        }
    }
}
