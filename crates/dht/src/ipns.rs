//! Values of the namespace `/ipns/`: signed records that say what a peer's name
//! points to. Spec: ipfs/specs `ipns/ipns-record.md`, "Record verification";
//! the choice between two is boxo's.
//!
//! A record is signed over its `data`, DAG-CBOR. Whatever its protobuf fields
//! repeat of that must be the same, since old readers read only those.
//!
//! Left out on purpose: making records, what a name resolves to, and version 1
//! signatures, which modern readers ignore: a record with only such is invalid.

use std::cmp::Ordering;
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use minicbor::Decoder;
use minicbor::data::Type;
use peerage_base::Now;
use peerage_identity::{PeerId, PublicKey};
use peerage_wire::Message as _;
use peerage_wire::ipns::IpnsRecord;

use crate::values::{Validator, ValueError};

/// What stands before `data` in what is signed.
const SIGNED: &[u8] = b"ipns-signature:";

/// The only kind of validity: until a date.
const UNTIL: i64 = 0;

/// The validator of `/ipns/`.
#[derive(Debug)]
pub(crate) struct Names;

impl Validator for Names {
    fn validate(&self, name: &[u8], value: &[u8], now: Now) -> Result<(), ValueError> {
        let peer = PeerId::from_bytes(name).map_err(|_| ValueError::Key)?;
        let record = IpnsRecord::decode(value).map_err(|_| ValueError::Value)?;
        let data = record.data.as_deref().ok_or(ValueError::Value)?;
        let signature = record.signature_v2.as_deref().ok_or(ValueError::Value)?;
        let key = signer(&peer, record.pub_key.as_deref()).ok_or(ValueError::Value)?;
        if !key.verify(&[SIGNED, data].concat(), signature) {
            return Err(ValueError::Value);
        }
        let data = Data::read(data).ok_or(ValueError::Value)?;
        if !data.is_repeated_by(&record) {
            return Err(ValueError::Value);
        }
        // The second in which it ends is its last.
        if now.unix.0 > data.valid_until().ok_or(ValueError::Value)?.0 {
            return Err(ValueError::Expired);
        }
        Ok(())
    }

    fn compare(&self, _name: &[u8], left: &[u8], right: &[u8]) -> Ordering {
        rank(left).cmp(&rank(right)).then_with(|| left.cmp(right))
    }
}

/// The key that the name stands for: in the name itself if it is short.
fn signer(peer: &PeerId, told: Option<&[u8]>) -> Option<PublicKey> {
    match told.filter(|bytes| !bytes.is_empty()) {
        Some(bytes) => PublicKey::from_protobuf(bytes).ok().filter(|key| key.peer_id() == *peer),
        None => peer.public_key(),
    }
}

/// What decides between valid records: sequence, then the later end. Records
/// that are none are worse than all.
fn rank(value: &[u8]) -> Option<(u64, (u64, u32))> {
    let record = IpnsRecord::decode(value).ok()?;
    let data = Data::read(record.data.as_deref()?)?;
    Some((data.sequence, data.valid_until()?))
}

/// The signed part, as far as we read it.
#[derive(Debug, PartialEq, Eq)]
struct Data<'b> {
    value: &'b [u8],
    validity: &'b [u8],
    validity_type: i64,
    sequence: u64,
    /// In nanoseconds.
    ttl: Option<u64>,
}

impl<'b> Data<'b> {
    /// Reads a map of definite length with text keys, none twice; unknown ones
    /// are left alone, as they are signed too.
    fn read(bytes: &'b [u8]) -> Option<Self> {
        let mut decoder = Decoder::new(bytes);
        let (mut value, mut validity, mut validity_type, mut sequence, mut ttl) =
            (None, None, None, None, None);
        for _ in 0..decoder.map().ok()?? {
            if decoder.datatype().ok()? != Type::String {
                return None;
            }
            let is_new = match decoder.str().ok()? {
                "Value" => value.replace(decoder.bytes().ok()?).is_none(),
                "Validity" => validity.replace(decoder.bytes().ok()?).is_none(),
                "ValidityType" => validity_type.replace(decoder.i64().ok()?).is_none(),
                "Sequence" => sequence.replace(decoder.u64().ok()?).is_none(),
                "TTL" => ttl.replace(decoder.u64().ok()?).is_none(),
                _ => decoder.skip().is_ok(),
            };
            if !is_new {
                return None;
            }
        }
        let all_read = decoder.position() == bytes.len();
        let (value, validity, validity_type) = (value?, validity?, validity_type?);
        Some(Self { value, validity, validity_type, sequence: sequence?, ttl }).filter(|_| all_read)
    }

    /// Whether the protobuf fields say the same. A record for readers of
    /// version 1 has to say everything, and what is missing is protobuf's zero.
    fn is_repeated_by(&self, record: &IpnsRecord) -> bool {
        let ttl = self.ttl.unwrap_or(0);
        let same = record.value.as_deref().is_none_or(|value| value == self.value)
            && record.validity.as_deref().is_none_or(|validity| validity == self.validity)
            && record.validity_type.is_none_or(|kind| i64::from(kind) == self.validity_type)
            && record.sequence.is_none_or(|sequence| sequence == self.sequence)
            && record.ttl.is_none_or(|told| told == ttl);
        let old = record.signature_v1.is_some() || record.value.is_some();
        let whole = record.value.as_deref().unwrap_or(b"") == self.value
            && record.validity.as_deref().unwrap_or(b"") == self.validity
            && record.sequence.unwrap_or(0) == self.sequence
            && record.ttl.unwrap_or(0) == ttl;
        same && (whole || !old)
    }

    /// The end, in seconds of unix time and nanoseconds.
    fn valid_until(&self) -> Option<(u64, u32)> {
        if self.validity_type != UNTIL {
            return None;
        }
        let date = humantime::parse_rfc3339(std::str::from_utf8(self.validity).ok()?).ok()?;
        let since = date.duration_since(UNIX_EPOCH).ok()?;
        Some((since.as_secs(), since.subsec_nanos()))
    }
}

/// The key under which a peer's IPNS record stands.
#[must_use]
pub fn ipns_key(peer: &PeerId) -> Bytes {
    [b"/ipns/", peer.as_bytes()].concat().into()
}

#[cfg(test)]
#[path = "ipns_tests.rs"]
mod tests;
