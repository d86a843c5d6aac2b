//! AutoNAT's messages as what they mean. Addresses that we cannot read are
//! left out, the places of the others kept; codes that we do not know make a
//! message malformed, as the spec of v2 wants.

use bytes::Bytes;
use peerage_identity::{Multiaddr, PeerId};
use peerage_wire::autonat as wire1;
use peerage_wire::autonat_v2 as wire2;
use peerage_wire::{Message, scan};

use super::{AutonatError, v1, v2};

/// Fields of a request with its addresses: many more than are looked at, and
/// far fewer than the empty ones that 8 KiB could hold.
const MAX_FIELDS: usize = 512;

pub(crate) fn v1_request(local: PeerId, addrs: &[Multiaddr]) -> wire1::Message {
    let addrs = addrs.iter().map(bytes_of).collect();
    let peer = wire1::message::PeerInfo { id: Some(Bytes::from(local.to_bytes())), addrs };
    wire1::Message {
        r#type: Some(wire1::message::MessageType::Dial.into()),
        dial: Some(wire1::message::Dial { peer: Some(peer) }),
        dial_response: None,
    }
}

/// What `peer` asks for: it may name nobody but itself.
pub(crate) fn read_v1_request(bytes: &[u8], peer: &PeerId) -> Result<v1::Request, AutonatError> {
    // The addresses lie two messages deep, where `scan` does not count; 4 KiB
    // hold 2,000 empty ones, which is bearable.
    let message = wire1::Message::decode(bytes).map_err(|_| AutonatError::Malformed)?;
    let dial = message.dial.filter(|_| message.r#type == Some(wire1::message::MessageType::Dial.into()));
    let info = dial.and_then(|dial| dial.peer).ok_or(AutonatError::Malformed)?;
    if info.id.is_some_and(|id| PeerId::from_bytes(&id).ok().as_ref() != Some(peer)) {
        return Err(AutonatError::Malformed);
    }
    Ok(v1::Request { addrs: read_addrs(&info.addrs, v1::MAX_ADDRS) })
}

pub(crate) fn v1_response(response: &v1::Response) -> wire1::Message {
    use wire1::message::ResponseStatus;
    let (status, text, addr) = match response {
        v1::Response::Reached(addr) => (ResponseStatus::Ok, None, Some(bytes_of(addr))),
        v1::Response::Unreached => (ResponseStatus::EDialError, Some("dial failed"), None),
        v1::Response::Refused => (ResponseStatus::EDialRefused, Some("dial refused"), None),
        v1::Response::BadRequest => (ResponseStatus::EBadRequest, Some("bad request"), None),
    };
    let response = wire1::message::DialResponse {
        status: Some(status.into()),
        status_text: text.map(str::to_owned),
        addr,
    };
    wire1::Message {
        r#type: Some(wire1::message::MessageType::DialResponse.into()),
        dial: None,
        dial_response: Some(response),
    }
}

pub(crate) fn read_v1_response(bytes: &[u8]) -> Result<v1::Outcome, AutonatError> {
    use wire1::message::ResponseStatus;
    let message = wire1::Message::decode(bytes).map_err(|_| AutonatError::Malformed)?;
    let is_response = message.r#type == Some(wire1::message::MessageType::DialResponse.into());
    let response = message.dial_response.filter(|_| is_response).ok_or(AutonatError::Malformed)?;
    let status = response.status.and_then(|code| ResponseStatus::try_from(code).ok());
    let addr = response.addr.and_then(|addr| Multiaddr::from_bytes(&addr).ok());
    Ok(match (status.ok_or(AutonatError::Malformed)?, addr) {
        (ResponseStatus::Ok, Some(addr)) => v1::Outcome::Reached(addr),
        (ResponseStatus::EDialError, _) => v1::Outcome::Unreached,
        (ResponseStatus::EDialRefused, _) => v1::Outcome::Refused,
        (ResponseStatus::Ok | ResponseStatus::EBadRequest | ResponseStatus::EInternalError, _) => {
            v1::Outcome::Inconclusive
        }
    })
}

pub(crate) fn v2_request(addrs: &[Multiaddr], nonce: u64) -> wire2::Message {
    let addrs = addrs.iter().map(bytes_of).collect();
    message(wire2::message::Msg::DialRequest(wire2::DialRequest { addrs, nonce }))
}

pub(crate) fn read_v2_request(bytes: &[u8]) -> Result<v2::Request, AutonatError> {
    // Of the fields of the message, those within the request count.
    scan::fields(bytes, &[1], MAX_FIELDS).ok_or(AutonatError::Malformed)?;
    match decode(bytes)? {
        wire2::message::Msg::DialRequest(request) => {
            Ok(v2::Request { addrs: read_addrs(&request.addrs, v2::MAX_ADDRS), nonce: request.nonce })
        }
        _ => Err(AutonatError::Malformed),
    }
}

/// What a server says to a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum V2Reply {
    Response(v2::Response),
    /// So many bytes are wanted for the address in this place.
    WantsData(u32, u64),
}

pub(crate) fn v2_reply(reply: &V2Reply) -> wire2::Message {
    use wire2::dial_response::ResponseStatus;
    let response = match reply {
        V2Reply::WantsData(index, bytes) => {
            let request = wire2::DialDataRequest { addr_idx: *index, num_bytes: *bytes };
            return message(wire2::message::Msg::DialDataRequest(request));
        }
        V2Reply::Response(response) => response,
    };
    let (status, addr_idx, dial_status) = match response {
        v2::Response::Failed => (ResponseStatus::EInternalError, 0, wire2::DialStatus::Unused),
        v2::Response::Busy => (ResponseStatus::ERequestRejected, 0, wire2::DialStatus::Unused),
        v2::Response::Refused => (ResponseStatus::EDialRefused, 0, wire2::DialStatus::Unused),
        v2::Response::Dialled(index, status) => {
            let status = match status {
                v2::DialStatus::Reached => wire2::DialStatus::Ok,
                v2::DialStatus::NotDelivered => wire2::DialStatus::EDialBackError,
                v2::DialStatus::Unreached => wire2::DialStatus::EDialError,
            };
            (ResponseStatus::Ok, *index, status)
        }
    };
    let (status, dial_status) = (status.into(), dial_status.into());
    message(wire2::message::Msg::DialResponse(wire2::DialResponse { status, addr_idx, dial_status }))
}

pub(crate) fn read_v2_reply(bytes: &[u8]) -> Result<V2Reply, AutonatError> {
    use wire2::dial_response::ResponseStatus;
    let response = match decode(bytes)? {
        wire2::message::Msg::DialDataRequest(request) => {
            return Ok(V2Reply::WantsData(request.addr_idx, request.num_bytes));
        }
        wire2::message::Msg::DialResponse(response) => response,
        _ => return Err(AutonatError::Malformed),
    };
    let status = ResponseStatus::try_from(response.status).map_err(|_| AutonatError::Malformed)?;
    let dialled = || match wire2::DialStatus::try_from(response.dial_status) {
        Ok(wire2::DialStatus::Ok) => Ok(v2::DialStatus::Reached),
        Ok(wire2::DialStatus::EDialBackError) => Ok(v2::DialStatus::NotDelivered),
        Ok(wire2::DialStatus::EDialError) => Ok(v2::DialStatus::Unreached),
        Ok(wire2::DialStatus::Unused) | Err(_) => Err(AutonatError::Malformed),
    };
    Ok(V2Reply::Response(match status {
        ResponseStatus::EInternalError => v2::Response::Failed,
        ResponseStatus::ERequestRejected => v2::Response::Busy,
        ResponseStatus::EDialRefused => v2::Response::Refused,
        ResponseStatus::Ok => v2::Response::Dialled(response.addr_idx, dialled()?),
    }))
}

pub(crate) fn v2_data(data: Bytes) -> wire2::Message {
    message(wire2::message::Msg::DialDataResponse(wire2::DialDataResponse { data }))
}

/// The length of the data: all that matters of it.
pub(crate) fn read_v2_data(bytes: &[u8]) -> Result<usize, AutonatError> {
    match decode(bytes)? {
        wire2::message::Msg::DialDataResponse(response) => Ok(response.data.len()),
        _ => Err(AutonatError::Malformed),
    }
}

fn message(msg: wire2::message::Msg) -> wire2::Message {
    wire2::Message { msg: Some(msg) }
}

fn decode(bytes: &[u8]) -> Result<wire2::message::Msg, AutonatError> {
    let message = wire2::Message::decode(bytes).map_err(|_| AutonatError::Malformed)?;
    message.msg.ok_or(AutonatError::Malformed)
}

fn bytes_of(addr: &Multiaddr) -> Bytes {
    Bytes::copy_from_slice(addr.as_bytes())
}

/// The addresses among the first `max` that can be read, with their places.
fn read_addrs(addrs: &[Bytes], max: usize) -> Vec<(u32, Multiaddr)> {
    let addrs = addrs.iter().take(max).zip(0..);
    addrs.filter_map(|(bytes, index)| Some((index, Multiaddr::from_bytes(bytes).ok()?))).collect()
}
