//! Vectors of dag-pb blocks that are refused, of multiformats, and of the shard
//! hash. `ipld_vectors.rs` has the dag-pb blocks that are read.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use common::vector;
use peerage_content::dagpb::{self, DagPbError, Link, PbNode};
use peerage_content::hash::{self, Algorithm};
use peerage_content::prefix::PrefixError;
use peerage_content::{Cid, Prefix, cid_text, codec, hamt};
use serde_json::Value;

#[test]
fn dag_pb_negative_fixtures_are_refused() {
    let rows: Value =
        serde_json::from_slice(&vector("ipld/codec-negative-fixtures/dag-pb/decode/edges.json")).unwrap();
    let rows = rows.as_array().unwrap();
    assert_eq!(rows.len(), 9);
    for row in rows {
        let error = dagpb::decode(&hex::decode(row["hex"].as_str().unwrap()).unwrap()).unwrap_err();
        match row["error"].as_str().unwrap() {
            "duplicate Links section" => assert_eq!(error, DagPbError::Order(2), "{row}"),
            _ => assert!(matches!(error, DagPbError::Hash(_)), "{row}: {error}"),
        }
    }
}

#[test]
fn dag_pb_takes_nothing_else() {
    let cid: Cid = cid_text::parse("QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n").unwrap();
    let node = PbNode { links: vec![Link { cid, name: Some(b"n"), tsize: Some(1) }], data: Some(b"d") };
    let good = dagpb::encode(&node);
    let (links, data) = good.split_at(good.len() - 3);
    let hash = &links[2..38];
    let field = |parts: &[&[u8]]| {
        let body = parts.concat();
        [&[0x12, u8::try_from(body.len()).unwrap()][..], &body].concat()
    };
    // Data may come first, as old encoders wrote it.
    assert_eq!(dagpb::decode(&[data, links].concat()), Ok(node));
    for (bytes, error) in [
        ([data, data].concat(), DagPbError::Order(1)),
        ([links, data, links].concat(), DagPbError::Order(2)),
        ([links, data, data].concat(), DagPbError::Order(1)),
        ([data, &[0x18, 0]].concat(), DagPbError::Field(3)),
        (vec![0x08, 0], DagPbError::Field(1)),
        (field(&[b"\x12\x01n", hash]), DagPbError::Order(1)),
        (field(&[hash, hash]), DagPbError::Order(1)),
        (field(&[hash, b"\x18\x01", b"\x12\x01n"]), DagPbError::Order(2)),
        (field(&[hash, b"\x20\x01"]), DagPbError::Field(4)),
        (field(&[hash, b"\x1a\x01n"]), DagPbError::Field(3)),
        (field(&[&[0x0a, 35], &hash[2..], b"\0"]), DagPbError::Hash(cid_text::CidError::Trailing)),
    ] {
        assert_eq!(dagpb::decode(&bytes), Err(error), "{}", hex::encode(&bytes));
    }
}

#[test]
fn multihash_test_cases() {
    let table = String::from_utf8(vector("multiformats/multihash-test_cases.csv")).unwrap();
    let (mut done, mut short, mut unsupported) = (0, 0, 0);
    for line in table.lines().skip(1) {
        let cells: Vec<_> = line.split(',').map(str::trim).collect();
        let [function, _, input, multihash] = cells[..] else { panic!("{line}") };
        let input = input.as_bytes(); // as it stands, not as hexadecimal
        let want = peerage_content::Multihash::from_bytes(&hex::decode(multihash).unwrap()).unwrap();
        let cid = Cid::new_v1(0x55, want);
        match function {
            "sha3" => {
                assert_eq!(hash::digest(want.code(), input), Err(hash::UnsupportedHash(want.code())));
                unsupported += 1;
            }
            _ if want.size() < 20 => {
                assert_eq!(
                    hash::verify(&cid, input),
                    Err(hash::VerifyError::DigestLength(want.size().into()))
                );
                short += 1;
            }
            _ => {
                assert_eq!(hash::verify(&cid, input), Ok(()), "{line}");
                assert_eq!(Prefix::of(&cid).cid_of(input), Ok(cid), "{line}");
                let mut wrong = input.to_vec();
                wrong.push(0);
                assert_eq!(hash::verify(&cid, &wrong), Err(hash::VerifyError::Mismatch));
                done += 1;
            }
        }
    }
    assert_eq!((done, short, unsupported), (120, 60, 80));
}

#[test]
fn unsigned_varints() {
    let table: Value = serde_json::from_slice(&vector("multiformats/unsigned-varint.json")).unwrap();
    // The codec of a CID, and of a prefix, is such a number.
    let digest = [&[0x12, 32][..], &[7; 32]].concat();
    let around = |varint: &[u8]| ([&[1], varint, &digest[..]].concat(), [&[1], varint, &[0x12, 32]].concat());
    for row in table["valid"].as_array().unwrap() {
        let value: u64 = row["value"].as_str().unwrap().parse().unwrap();
        let (cid, prefix) = around(&hex::decode(row["hex"].as_str().unwrap()).unwrap());
        assert_eq!(cid_text::from_bytes(&cid).map(|cid| cid.codec()), Ok(value), "{row}");
        assert_eq!(cid_text::from_bytes(&cid).unwrap().to_bytes(), cid, "{row}");
        assert_eq!(Prefix::parse(&prefix).map(|prefix| prefix.codec), Ok(value), "{row}");
        assert_eq!(Prefix::parse(&prefix).unwrap().encode(), prefix, "{row}");
    }
    for row in table["invalid"].as_array().unwrap() {
        let varint = hex::decode(row["hex"].as_str().unwrap()).unwrap();
        // Without a varint, what follows is taken for it, and lacks in the end.
        let (cid, prefix) = around(&varint);
        assert!(cid_text::from_bytes(&cid).is_err(), "{row}");
        assert_eq!(Prefix::parse(&prefix), Err(PrefixError::Malformed), "{row}");
    }
}

#[test]
fn codes_are_those_of_the_multicodec_table() {
    let table = String::from_utf8(vector("multiformats/multicodec-table.csv")).unwrap();
    let code = |name: &str| {
        let mut lines = table.lines().map(|line| line.split(',').map(str::trim).collect::<Vec<_>>());
        let cells = lines.find(|cells| cells[0] == name).unwrap();
        u64::from_str_radix(cells[2].strip_prefix("0x").unwrap(), 16).unwrap()
    };
    for (name, ours) in [
        ("raw", codec::RAW),
        ("dag-pb", codec::DAG_PB),
        ("dag-cbor", codec::DAG_CBOR),
        ("libp2p-key", codec::LIBP2P_KEY),
        ("dag-json", codec::DAG_JSON),
        ("identity", hash::IDENTITY),
        ("sha2-256", hash::SHA2_256),
        ("sha1", Algorithm::Sha1.code()),
        ("sha2-256", Algorithm::Sha2_256.code()),
        ("sha2-512", Algorithm::Sha2_512.code()),
        ("blake3", Algorithm::Blake3.code()),
        ("dbl-sha2-256", Algorithm::DoubleSha2_256.code()),
        ("blake2b-256", Algorithm::Blake2b256.code()),
        ("blake2b-512", Algorithm::Blake2b512.code()),
        ("blake2s-256", Algorithm::Blake2s256.code()),
        ("murmur3-x64-64", hamt::MURMUR3_X64_64),
    ] {
        assert_eq!(ours, code(name), "{name}");
    }
}

#[test]
fn shard_hashes() {
    let table: Value = serde_json::from_slice(&vector("unixfs/murmur3-hamt.json")).unwrap();
    let rows = table.as_object().unwrap().values().find_map(Value::as_array).unwrap();
    assert!(rows.len() >= 7);
    for row in rows {
        let h = hamt::hash(row["input_utf8"].as_str().unwrap().as_bytes());
        assert_eq!(row["murmur3_x64_128_h1_big_endian_hex"], format!("{h:016x}"));
        for (depth, bucket) in row["fanout256_path"].as_array().unwrap().iter().enumerate() {
            assert_eq!(*bucket, format!("{:02X}", hamt::bucket(h, 256, depth).unwrap()));
        }
    }
}
