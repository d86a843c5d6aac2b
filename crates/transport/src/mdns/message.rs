//! mDNS packets: what we ask and answer, and what of others' packets matters.
//!
//! libp2p specs `discovery/mdns.md` r2, RFC 6762 for the packets. Pure: bytes
//! in, values out. Deployed peers differ: rust-libp2p sends one TXT record an
//! address and a new name each time, js-libp2p puts TXT records among the
//! answers, go-libp2p sends one TXT record of many strings, SRV and A records
//! beside it, and reads no second TXT record of a name. We send as go does,
//! without SRV and A, which nobody reads, and take all of them.

use std::collections::BTreeMap;
use std::time::Duration;

use hickory_proto::op::{Message as Packet, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::{PTR, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use peerage_identity::{Multiaddr, PeerId};

use super::limits::{MAX_ADDRS, MAX_INSTANCES, MAX_KNOWN, MAX_OWN_PACKET, MAX_PACKET, MAX_RECORDS, MAX_TXT};

/// The service by which peers find each other.
const SERVICE: &str = "_p2p._udp.local.";
/// The name that lists all services (RFC 6763 section 9).
const SERVICES: &str = "_services._dns-sd._udp.local.";
/// What the strings of a TXT record begin with.
const PREFIX: &str = "dnsaddr=";
/// How long an answer to a plain DNS client may be kept (RFC 6762 section 6.7).
const LEGACY_TTL: u32 = 10;

/// What a peer calls itself in these packets; compared without regard to case.
/// By the spec it is a label before the service's name; rust-libp2p leaves the
/// service's name out.
pub(crate) type Instance = Name;

/// What a packet says, as far as it concerns peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Somebody asks.
    Question(Question),
    /// Somebody answers.
    Answer(Answer),
}

/// What somebody wants to know.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Question {
    /// To be repeated to a plain DNS client.
    pub(crate) id: u16,
    /// The peers that are there.
    pub(crate) peers: bool,
    /// The services that are there.
    pub(crate) services: bool,
    /// The details of these instances.
    pub(crate) instances: Vec<Instance>,
    /// These instances are known to the asker, for so many seconds to come.
    pub(crate) known: Vec<(Instance, u32)>,
}

/// What somebody says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Answer {
    /// Peers that are there.
    pub(crate) peers: Vec<Announcement>,
    /// Instances that are there no more.
    pub(crate) gone: Vec<Instance>,
}

/// A peer that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announcement {
    /// What it calls itself in these packets.
    pub(crate) instance: Instance,
    /// Who it is, by its own account.
    pub(crate) peer: PeerId,
    /// Its addresses, without `/p2p`.
    pub(crate) addrs: Vec<Multiaddr>,
    /// How long this holds.
    pub(crate) ttl: Duration,
}

/// Why a packet was not understood: always the sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PacketError {
    /// Longer than [`MAX_PACKET`].
    #[error("longer than {MAX_PACKET} bytes")]
    TooLong,
    /// More than [`MAX_RECORDS`].
    #[error("more than {MAX_RECORDS} records")]
    TooManyRecords,
    /// Not DNS.
    #[error("not a DNS message")]
    Malformed,
}

/// Reads a packet. What it says of other services is passed over.
pub(crate) fn parse(bytes: &[u8]) -> Result<Message, PacketError> {
    if bytes.len() > MAX_PACKET {
        return Err(PacketError::TooLong);
    }
    let counts = bytes.get(4..12).ok_or(PacketError::Malformed)?;
    let records: usize = counts.chunks(2).map(|pair| usize::from(pair[0]) << 8 | usize::from(pair[1])).sum();
    if records > MAX_RECORDS {
        return Err(PacketError::TooManyRecords);
    }
    let packet = Packet::from_vec(bytes).map_err(|_| PacketError::Malformed)?;
    if packet.metadata.op_code != OpCode::Query || packet.metadata.response_code != ResponseCode::NoError {
        return Err(PacketError::Malformed); // RFC 6762 sections 18.3 and 18.11
    }
    Ok(match packet.metadata.message_type {
        MessageType::Query => Message::Question(question(&packet)),
        MessageType::Response => Message::Answer(answer(&packet)),
    })
}

fn question(packet: &Packet) -> Question {
    let service = service();
    let mut question = Question { id: packet.metadata.id, ..Question::default() };
    for asked in &packet.queries {
        let pointers = matches!(asked.query_type, RecordType::PTR | RecordType::ANY);
        let texts = matches!(asked.query_type, RecordType::TXT | RecordType::ANY);
        if pointers && asked.name == service {
            question.peers = true;
        } else if pointers && asked.name == services() {
            question.services = true;
        } else if texts && question.instances.len() < MAX_INSTANCES {
            question.instances.push(asked.name.clone());
        }
    }
    question.known = pointers(&packet.answers, &service).collect();
    question
}

fn answer(packet: &Packet) -> Answer {
    let service = service();
    let records = || packet.answers.iter().chain(&packet.additionals);
    let mut answer = Answer::default();
    let mut there = BTreeMap::new();
    for (instance, ttl) in pointers(records(), &service).take(MAX_INSTANCES) {
        if ttl == 0 {
            answer.gone.push(instance);
        } else {
            there.insert(instance, (ttl, Vec::new()));
        }
    }
    for record in records() {
        // One without time to live takes back what it says (RFC 6762 section 10.1).
        if let RData::TXT(txt) = &record.data
            && record.ttl > 0
            && let Some((ttl, addrs)) = there.get_mut(&record.name)
        {
            *ttl = record.ttl.min(*ttl);
            let room = MAX_ADDRS - addrs.len();
            addrs.extend(txt.txt_data.iter().filter_map(|text| read_addr(text)).take(room));
        }
    }
    for (instance, (ttl, addrs)) in there {
        let Some(peer) = addrs.first().and_then(Multiaddr::peer_id) else { continue };
        // An instance is one peer; a second one in it is a mistake.
        let addrs = addrs.iter().filter(|addr| addr.peer_id() == Some(peer));
        let addrs = addrs.map(Multiaddr::without_peer).collect();
        answer.peers.push(Announcement { instance, peer, addrs, ttl: Duration::from_secs(ttl.into()) });
    }
    answer
}

/// The instances that `records` point to, and for how many seconds.
fn pointers<'a>(
    records: impl IntoIterator<Item = &'a Record>,
    service: &Name,
) -> impl Iterator<Item = (Instance, u32)> {
    records.into_iter().filter_map(move |record| match &record.data {
        RData::PTR(PTR(target)) if record.name == *service => Some((target.clone(), record.ttl)),
        _ => None,
    })
}

fn read_addr(text: &[u8]) -> Option<Multiaddr> {
    let addr: Multiaddr = std::str::from_utf8(text).ok()?.strip_prefix(PREFIX)?.parse().ok()?;
    addr.peer_id().is_some().then_some(addr)
}

/// Asks which peers are there, except for those `known`, each with the seconds
/// that it is known for. More than [`MAX_KNOWN`] are not named.
pub(crate) fn ask(known: &[(Instance, u32)]) -> Vec<u8> {
    let mut packet = Packet::new(0, MessageType::Query, OpCode::Query);
    packet.add_query(Query::query(service(), RecordType::PTR));
    for (instance, ttl) in known.iter().take(MAX_KNOWN) {
        packet.add_answer(Record::from_rdata(service(), *ttl, RData::PTR(PTR(instance.clone()))));
    }
    encode(&packet)
}

/// To whom an answer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// To all, by multicast.
    Multicast,
    /// To one that knows nothing of mDNS and asked with this id for the peers
    /// (RFC 6762 section 6.7).
    Legacy(u16),
}

/// Says that we are there. Addresses that find no room are left out, from the
/// end; so are those that a TXT record cannot hold. A `ttl` of zero says that
/// we are there no more.
pub(crate) fn announce(
    instance: &Instance,
    local: PeerId,
    addrs: &[Multiaddr],
    ttl: Duration,
    form: Form,
) -> Vec<u8> {
    let ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    let ttl = if form == Form::Multicast { ttl } else { ttl.min(LEGACY_TTL) };
    let mut packet = start(form, service());
    packet.add_answer(Record::from_rdata(service(), ttl, RData::PTR(PTR(instance.clone()))));
    // Names, type, class, time and length of the TXT record, uncompressed.
    let mut room = MAX_OWN_PACKET.saturating_sub(encode(&packet).len() + instance.len() + 10);
    let mut texts = Vec::new();
    for addr in addrs.iter().take(MAX_ADDRS) {
        let text = format!("{PREFIX}{}", addr.with_peer(local));
        if text.len() <= MAX_TXT && text.len() < room {
            room -= text.len() + 1;
            texts.push(text);
        }
    }
    // A TXT record without a string is none; who leaves needs none.
    if !texts.is_empty() {
        let mut record = Record::from_rdata(instance.clone(), ttl, RData::TXT(TXT::new(texts)));
        record.mdns_cache_flush = form == Form::Multicast;
        packet.add_additional(record);
    }
    encode(&packet)
}

/// Says which service we offer, for tools that list services.
pub(crate) fn announce_service(ttl: Duration, form: Form) -> Vec<u8> {
    let ttl = u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    let mut packet = start(form, services());
    packet.add_answer(Record::from_rdata(services(), ttl, RData::PTR(PTR(service()))));
    encode(&packet)
}

fn start(form: Form, asked: Name) -> Packet {
    let mut packet = Packet::new(0, MessageType::Response, OpCode::Query);
    if let Form::Legacy(id) = form {
        packet.metadata.id = id;
        packet.add_query(Query::query(asked, RecordType::PTR));
    }
    authoritative(&mut packet.metadata);
    packet
}

/// Every answer is (RFC 6762 section 18.4).
fn authoritative(metadata: &mut Metadata) {
    metadata.authoritative = true;
}

fn encode(packet: &Packet) -> Vec<u8> {
    // Only names that are too long fail, and ours are not; an empty packet is not sent.
    packet.to_vec().unwrap_or_default()
}

fn service() -> Name {
    Name::from_ascii(SERVICE).unwrap_or_default()
}

fn services() -> Name {
    Name::from_ascii(SERVICES).unwrap_or_default()
}

/// The instance whose first label is `label`: at most 63 bytes of ASCII.
pub(crate) fn instance(label: &[u8]) -> Instance {
    service().prepend_label(label).unwrap_or_default()
}

#[cfg(test)]
mod tests;
