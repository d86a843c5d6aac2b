//! IPNS records: those of other implementations, and ones that lie.

use minicbor::Encoder;
use minicbor::encode::write::Cursor;
use peerage_base::{Instant, UnixTime};
use peerage_identity::Keypair;
use proptest::prelude::*;

use super::*;

/// 2026-01-01.
const NOW: u64 = 1_767_225_600;

fn at(unix: u64) -> Now {
    Now::new(Instant::START, UnixTime(unix))
}

fn keypair() -> Keypair {
    Keypair::from_seed([5; 32])
}

/// What a record may say.
#[derive(Clone)]
struct Draft {
    value: &'static [u8],
    validity: &'static str,
    kind: i64,
    sequence: u64,
    extra: bool,
}

const DRAFT: Draft = Draft {
    value: b"/ipfs/bafkqaaa",
    validity: "2026-01-02T00:00:00.5Z",
    kind: 0,
    sequence: 3,
    extra: false,
};

impl Draft {
    fn data(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Cursor::new([0; 512]));
        encoder.map(5 + u64::from(self.extra)).unwrap();
        encoder.str("TTL").unwrap().u64(7).unwrap();
        encoder.str("Value").unwrap().bytes(self.value).unwrap();
        if self.extra {
            encoder.str("_more").unwrap().array(2).unwrap().u8(1).unwrap().str("two").unwrap();
        }
        encoder.str("Sequence").unwrap().u64(self.sequence).unwrap();
        encoder.str("Validity").unwrap().bytes(self.validity.as_bytes()).unwrap();
        encoder.str("ValidityType").unwrap().i64(self.kind).unwrap();
        let len = encoder.writer().position();
        encoder.into_writer().into_inner()[..len].to_vec()
    }

    /// Signed, with no field that repeats the data.
    fn record(&self) -> IpnsRecord {
        signed(self.data())
    }

    fn bytes(&self) -> Vec<u8> {
        self.record().encode_to_vec()
    }
}

fn signed(data: Vec<u8>) -> IpnsRecord {
    let signature = keypair().sign(&[SIGNED, &data].concat());
    IpnsRecord {
        signature_v2: Some(signature.to_vec().into()),
        data: Some(data.into()),
        ..IpnsRecord::default()
    }
}

fn validate(record: &IpnsRecord) -> Result<(), ValueError> {
    Names.validate(keypair().peer_id().as_bytes(), &record.encode_to_vec(), at(NOW))
}

#[test]
fn records_of_other_implementations() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors"));
    let index = std::fs::read_to_string(folder.join("ipns/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let rows = index["records"].as_array().unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let file = row["file"].as_str().unwrap();
        let value = std::fs::read(folder.join(file)).unwrap();
        let name = hex::decode(row["name_multihash_hex"].as_str().unwrap()).unwrap();
        let key = hex::decode(row["dht_key_hex"].as_str().unwrap()).unwrap();
        assert_eq!(ipns_key(&PeerId::from_bytes(&name).unwrap()), key);
        let verdict = Names.validate(&name, &value, at(NOW));
        assert_eq!(verdict.is_ok(), row["expect_valid"].as_bool().unwrap(), "{file}: {verdict:?}");
        if verdict.is_ok() {
            let record = IpnsRecord::decode(&value[..]).unwrap();
            let data = Data::read(record.data.as_deref().unwrap()).unwrap();
            assert_eq!(data.value, row["expect_value"].as_str().unwrap().as_bytes(), "{file}");
            // 2123, and then no more.
            assert_eq!(Names.validate(&name, &value, at(NOW + 100 * 366 * 86_400)), Err(ValueError::Expired));
        }
    }
}

#[test]
fn a_record_is_valid_under_its_own_name_until_its_end() {
    assert_eq!(validate(&DRAFT.record()), Ok(()));
    assert_eq!(validate(&Draft { extra: true, ..DRAFT }.record()), Ok(()));
    let bytes = DRAFT.bytes();
    let name = keypair().peer_id();
    assert_eq!(Names.validate(name.as_bytes(), &bytes, at(NOW + 86_400)), Ok(()));
    assert_eq!(Names.validate(name.as_bytes(), &bytes, at(NOW + 86_401)), Err(ValueError::Expired));
    let other = Keypair::from_seed([6; 32]).peer_id();
    assert_eq!(Names.validate(other.as_bytes(), &bytes, at(NOW)), Err(ValueError::Value));
    assert_eq!(Names.validate(b"nobody", &bytes, at(NOW)), Err(ValueError::Key));
    for (kind, validity) in [(1, DRAFT.validity), (0, "tomorrow"), (0, "1969-01-01T00:00:00Z"), (0, "")] {
        assert_eq!(
            validate(&Draft { kind, validity, ..DRAFT }.record()),
            Err(ValueError::Value),
            "{validity}"
        );
    }
}

#[test]
fn fields_that_say_otherwise_than_the_data() {
    let full = IpnsRecord {
        value: Some(Bytes::from_static(DRAFT.value)),
        validity: Some(Bytes::from_static(DRAFT.validity.as_bytes())),
        validity_type: Some(0),
        sequence: Some(3),
        ttl: Some(7),
        signature_v1: Some(Bytes::from_static(b"ignored")),
        pub_key: Some(keypair().public().to_protobuf().into()),
        ..DRAFT.record()
    };
    assert_eq!(validate(&full), Ok(()));
    let other = Some(Bytes::from_static(b"other"));
    let lies = [
        IpnsRecord { value: other.clone(), ..full.clone() },
        IpnsRecord { value: None, ..full.clone() },
        IpnsRecord { validity: other.clone(), ..full.clone() },
        IpnsRecord { validity: None, ..full.clone() },
        IpnsRecord { validity_type: Some(1), ..full.clone() },
        IpnsRecord { sequence: Some(4), ..full.clone() },
        IpnsRecord { sequence: None, ..full.clone() },
        IpnsRecord { ttl: Some(8), ..full.clone() },
        IpnsRecord { pub_key: other.clone(), ..full.clone() },
        IpnsRecord {
            pub_key: Some(Keypair::from_seed([6; 32]).public().to_protobuf().into()),
            ..full.clone()
        },
        IpnsRecord { signature_v2: other.clone(), ..full.clone() },
        IpnsRecord { signature_v2: None, ..full.clone() },
        IpnsRecord { data: None, ..full.clone() },
        // A single field that repeats nothing but a lie.
        IpnsRecord { sequence: Some(4), ..DRAFT.record() },
        IpnsRecord { ttl: Some(0), ..DRAFT.record() },
    ];
    for (n, lie) in lies.iter().enumerate() {
        assert_eq!(validate(lie), Err(ValueError::Value), "{n}");
    }
}

#[test]
fn data_that_is_signed_and_no_map() {
    let good = DRAFT.data();
    let mut trailing = good.clone();
    trailing.push(0);
    // An open end, a key twice, a key that is no text, a field too few.
    let mut open = vec![0xbf];
    open.extend_from_slice(&good[1..]);
    open.push(0xff);
    let mut twice = vec![0xa6];
    twice.extend_from_slice(&good[1..]);
    twice.extend_from_slice(b"\x63TTL\x07");
    let mut number = vec![0xa6, 0x01, 0x01];
    number.extend_from_slice(&good[1..]);
    for data in [trailing, open, twice, number, good[..good.len() - 14].to_vec(), vec![0xbb; 9], Vec::new()] {
        assert_eq!(validate(&signed(data)), Err(ValueError::Value));
    }
}

#[test]
fn the_higher_sequence_is_better_then_the_later_end_then_the_bytes() {
    let bytes = |sequence, validity| Draft { sequence, validity, ..DRAFT }.bytes();
    let late = "2026-01-03T00:00:00Z";
    let order = [
        b"no record".to_vec(),
        bytes(2, late),
        bytes(3, "2026-01-02T00:00:00.25Z"),
        bytes(3, "2026-01-02T00:00:00.5Z"),
        bytes(3, late),
        bytes(4, DRAFT.validity),
    ];
    for (n, left) in order.iter().enumerate() {
        for (m, right) in order.iter().enumerate() {
            assert_eq!(Names.compare(b"", left, right), n.cmp(&m), "{n} {m}");
        }
    }
    let more = Draft { extra: true, ..DRAFT }.bytes();
    assert_eq!(Names.compare(b"", &more, &DRAFT.bytes()), more.cmp(&DRAFT.bytes()));
}

proptest! {
    #[test]
    fn arbitrary_data_never_panics(data in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..200) {
        let _ = Data::read(&data);
        let record = signed(data);
        prop_assert!(validate(&record).is_err());
        let good = DRAFT.bytes();
        prop_assert!(Names.validate(keypair().peer_id().as_bytes(), &good[..cut.min(good.len() - 1)], at(NOW)).is_err());
    }
}
