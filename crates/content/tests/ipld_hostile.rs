//! dag-cbor and dag-json blocks that somebody made to hurt: deep, wide, long,
//! or claiming to be. Each is an error with a name, and costs little.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use common::cid_of;
use peerage_content::ipld::cbor::CborError;
use peerage_content::ipld::json::JsonError;
use peerage_content::ipld::{self, EncodeError, IpldError, PathError, Step, Text, Value, cbor, json};
use peerage_content::limits::{BLOCK_MAX, IPLD_DEPTH_MAX, IPLD_PATHS_MAX, IPLD_VALUES_MAX, LINKS_MAX};
use peerage_content::node::{self, DecodeError};
use peerage_content::walk::WalkError;
use peerage_content::{Cid, Walk, codec};

const BOTH: [u64; 2] = [codec::DAG_CBOR, codec::DAG_JSON];

/// Everything that can be done with a block, up to its error.
fn read_all(code: u64, block: &[u8]) -> Result<(), IpldError> {
    let found = ipld::links(code, block);
    let cid = cid_of(code, block);
    assert_eq!(node::links(&cid, block), found.clone().map_err(DecodeError::Ipld));
    let error = found.err();
    assert_eq!(ipld::named_links(code, block).err(), error);
    assert_eq!(
        ipld::step(code, block, &["0", "a"]).err().filter(|e| matches!(e, PathError::Block(_))),
        error.map(PathError::Block)
    );
    assert_eq!(ipld::decode(code, block).err(), error);
    error.map_or(Ok(()), Err)
}

#[test]
fn depth_is_bounded() {
    let link = r#"{"/":"bafkqaaa"}"#;
    for (open, inner, close, levels) in
        [("[", "0", "]", 1), (r#"{"a":"#, "0", "}", 1), (r#"[{"a":"#, link, "}]", 2)]
    {
        let nested = |times: usize| format!("{}{inner}{}", open.repeat(times), close.repeat(times));
        let deepest = nested(IPLD_DEPTH_MAX / levels);
        assert_eq!(read_all(codec::DAG_JSON, deepest.as_bytes()), Ok(()));
        let value = json::decode(deepest.as_bytes()).unwrap();
        assert_eq!(json::encode(&value).unwrap(), deepest.as_bytes());
        let block = cbor::encode(&value).unwrap();
        assert_eq!(read_all(codec::DAG_CBOR, &block), Ok(()));
        assert_eq!(cbor::decode(&block).as_ref(), Ok(&value));

        let deeper = Value::List(vec![value]);
        assert_eq!(cbor::encode(&deeper), Err(EncodeError::TooDeep));
        assert_eq!(json::encode(&deeper), Err(EncodeError::TooDeep));
        let block = [&[0x81], &block[..]].concat();
        assert_eq!(read_all(codec::DAG_CBOR, &block), Err(IpldError::TooDeep));
        let text = nested(BLOCK_MAX / 16);
        assert_eq!(read_all(codec::DAG_JSON, text.as_bytes()), Err(IpldError::TooDeep));
    }
    let bottomless = vec![0x81; BLOCK_MAX];
    assert_eq!(read_all(codec::DAG_CBOR, &bottomless), Err(IpldError::TooDeep));
    let brackets = vec![b'['; BLOCK_MAX];
    assert_eq!(read_all(codec::DAG_JSON, &brackets), Err(IpldError::TooDeep));
}

#[test]
fn lengths_that_are_only_claimed_cost_nothing() {
    for head in [
        "9a00100000",
        "9bffffffffffffffff",
        "ba00100000",
        "bbffffffffffffffff",
        "5a7fffffff",
        "7bffffffffffffffff",
    ] {
        let head = hex::decode(head).unwrap();
        for block in [head.clone(), head.repeat(1000), [&head[..], &[0xf6; 1000]].concat()] {
            assert_eq!(read_all(codec::DAG_CBOR, &block), Err(CborError::Truncated.into()), "{head:?}");
        }
    }
}

#[test]
fn values_are_counted_when_they_are_kept() {
    // The list's own beginning and end count, too.
    let full = IPLD_VALUES_MAX - 2;
    let list = |count: usize| {
        let head = [0x9a].into_iter().chain(u32::try_from(count).unwrap().to_be_bytes());
        head.chain(std::iter::repeat_n(0xf6, count)).collect::<Vec<u8>>()
    };
    let json = |count| format!("[{}0]", "0,".repeat(count - 1)).into_bytes();
    for (code, most, more) in
        [(codec::DAG_CBOR, list(full), list(full + 1)), (codec::DAG_JSON, json(full), json(full + 1))]
    {
        assert_eq!(read_all(code, &most), Ok(()));
        assert_eq!(ipld::decode(code, &more), Err(IpldError::TooManyValues));
        // Searches keep nothing, and go through.
        assert_eq!(ipld::links(code, &more), Ok(vec![]));
        assert!(matches!(ipld::step(code, &more, &["7"]), Ok(Step::Inside(_))));
    }
    assert_eq!(ipld::links(codec::DAG_CBOR, &list(BLOCK_MAX - 5)), Ok(vec![]));
    // A value is as small as the limit's reason says.
    assert_eq!(size_of::<Value>(), 32);
}

#[test]
fn links_and_paths_are_bounded() {
    let tiny: Cid = "bafkqaaa".parse().unwrap();
    let links = |count| Value::List(vec![Value::from(tiny); count]);
    let (most, more) = (links(LINKS_MAX), links(LINKS_MAX + 1));
    for code in BOTH {
        let block = ipld::encode(code, &most).unwrap();
        assert_eq!(ipld::links(code, &block).map(|links| links.len()), Ok(LINKS_MAX));
        let named = ipld::named_links(code, &block).unwrap();
        assert_eq!(named.last(), Some(&((LINKS_MAX - 1).to_string(), tiny)));
        let block = ipld::encode(code, &more).unwrap();
        assert_eq!(ipld::links(code, &block), Err(IpldError::TooManyLinks));
        assert_eq!(ipld::named_links(code, &block), Err(IpldError::TooManyLinks));

        // One long key above many links.
        let key = "k".repeat(IPLD_PATHS_MAX / LINKS_MAX);
        let block = ipld::encode(code, &Value::Map([(key, most.clone())].into())).unwrap();
        assert_eq!(ipld::links(code, &block).map(|links| links.len()), Ok(LINKS_MAX));
        assert_eq!(ipld::named_links(code, &block), Err(IpldError::LongPaths));
    }
}

#[test]
fn blocks_that_are_too_large_are_not_read() {
    let huge = vec![b' '; BLOCK_MAX + 1];
    for code in [codec::DAG_CBOR, codec::DAG_JSON, codec::DAG_PB, codec::RAW] {
        assert_eq!(ipld::decode(code, &huge), Err(IpldError::TooLarge(BLOCK_MAX + 1)));
        assert_eq!(ipld::links(code, &huge), Err(IpldError::TooLarge(BLOCK_MAX + 1)));
    }
    let cid = cid_of(codec::DAG_JSON, &huge);
    assert_eq!(node::links(&cid, &huge), Err(DecodeError::TooLarge(BLOCK_MAX + 1)));
}

#[test]
fn strings_that_are_no_text_are_kept_but_are_no_json() {
    let cid: Cid = "bafkqaaa".parse().unwrap();
    // {"\xff": [link, "\xfe"]}
    let block = hex::decode("a161ff82d82a45000155000061fe").unwrap();
    assert_eq!(ipld::links(codec::DAG_CBOR, &block), Ok(vec![cid]));
    assert_eq!(ipld::named_links(codec::DAG_CBOR, &block), Ok(vec![("\u{fffd}/0".into(), cid)]));
    let step = ipld::step(codec::DAG_CBOR, &block, &["\u{fffd}"]);
    assert_eq!(step, Err(PathError::NotFound { component: 0 }));
    let value = cbor::decode(&block).unwrap();
    let Value::Map(entries) = &value else { panic!("{value:?}") };
    assert_eq!(entries.iter().next().unwrap().0, &Text::from(b"\xff".to_vec()));
    assert_eq!(cbor::encode(&value), Ok(block));
    assert_eq!(json::encode(&value), Err(EncodeError::NotUtf8));

    for (text, at) in [(&b"{\"\xff\":1}"[..], 1), (b"[\"a\\n\xfe\"]", 1), (b"{\"/\":\"bafkqaa\xff\"}", 5)] {
        assert_eq!(read_all(codec::DAG_JSON, text), Err(JsonError::NotUtf8(at).into()));
    }
}

#[test]
fn walks_enter_blocks_of_each_codec() {
    let raw: Cid = "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e".parse().unwrap();
    let json = json::encode(&Value::List(vec![Value::from(raw)])).unwrap();
    let json_cid = cid_of(codec::DAG_JSON, &json);
    let hash = [("Hash", Value::from(json_cid))];
    let links = [("Links", Value::List(vec![Value::Map(hash.into())]))];
    let pb = ipld::encode(codec::DAG_PB, &Value::Map(links.into())).unwrap();
    let pb_cid = cid_of(codec::DAG_PB, &pb);
    let cbor = cbor::encode(&Value::List(vec![Value::from(pb_cid), Value::from(raw)])).unwrap();
    let cbor_cid = cid_of(codec::DAG_CBOR, &cbor);

    let mut walk = Walk::new(cbor_cid);
    let mut seen = Vec::new();
    while let Some(visit) = walk.next() {
        seen.push((visit.cid, visit.depth, visit.leaf));
        let block =
            [(cbor_cid, &cbor), (pb_cid, &pb), (json_cid, &json)].into_iter().find(|b| b.0 == visit.cid);
        if let Some((_, block)) = block {
            walk.enter(&visit, block).unwrap();
        }
    }
    let order =
        [(cbor_cid, 0, false), (pb_cid, 1, false), (json_cid, 2, false), (raw, 3, true), (raw, 1, true)];
    assert_eq!(seen, order);

    // A block that is not what its codec says ends there, and says so.
    for code in BOTH {
        let cid = cid_of(code, b"x");
        let mut walk = Walk::new(cid);
        let visit = walk.next().unwrap();
        let error = walk.enter(&visit, b"x").unwrap_err();
        let WalkError::Decode { error, .. } = error else { panic!("{error}") };
        assert!(matches!(*error, DecodeError::Ipld(_)), "{error}");
    }
}
