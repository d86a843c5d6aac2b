//! Properties of the IPLD codecs: what is written reads back, what is found
//! without reading a whole value is what the value has, and no bytes make a
//! reader panic.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use common::{cid_of, cids, links_of};
use peerage_content::ipld::{self, EncodeError, IpldError, PathError, Step, Text, Value, cbor, json};
use peerage_content::{codec, node};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Keys, the two with a meaning in dag-json among them.
fn keys() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-c]{0,3}",
        1 => any::<String>(),
        1 => select(vec!["/".to_owned(), "bytes".to_owned()]),
    ]
}

/// Strings, few of which are no UTF-8.
fn texts() -> impl Strategy<Value = Text> {
    prop_oneof![
        20 => keys().prop_map(Text::from),
        20 => "[\\x00-\\x7f\u{2027}-\u{202a}]{0,9}".prop_map(Text::from),
        1 => vec(any::<u8>(), 0..4).prop_map(Text::from),
    ]
}

/// Whether all strings in it are UTF-8.
fn is_text(value: &Value) -> bool {
    match value {
        Value::String(text) => text.as_str().is_some(),
        Value::List(items) => items.iter().all(is_text),
        Value::Map(entries) => entries.iter().all(|(key, value)| key.as_str().is_some() && is_text(value)),
        _ => true,
    }
}

fn values() -> impl Strategy<Value = Value> {
    let integers = prop_oneof![
        any::<u64>().prop_map(i128::from),
        any::<u64>().prop_map(|number| -1 - i128::from(number)),
        -70_000..70_000_i128,
    ];
    let floats = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite());
    let round = (-1000..1000_i32).prop_map(|value| f64::from(value) / 4.0);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        integers.prop_map(Value::Integer),
        prop_oneof![floats, round].prop_map(Value::Float),
        texts().prop_map(Value::String),
        vec(any::<u8>(), 0..70).prop_map(Value::Bytes),
        cids().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::List),
            vec((texts(), inner), 0..6).prop_map(|entries| Value::Map(entries.into_iter().collect())),
        ]
    })
}

/// Whether a map in it looks like a link or bytes to a reader of dag-json.
fn has_reserved(value: &Value) -> bool {
    let first = |value: &Value, wanted: &str| match value {
        Value::Map(entries) => {
            entries.iter().next().filter(|entry| entry.0.as_str() == Some(wanted)).map(|e| e.1.clone())
        }
        _ => None,
    };
    let reserved = match first(value, "/") {
        Some(Value::String(_)) => true,
        Some(inner) => matches!(first(&inner, "bytes"), Some(Value::String(_))),
        None => false,
    };
    reserved
        || match value {
            Value::List(items) => items.iter().any(has_reserved),
            Value::Map(entries) => entries.iter().any(|entry| has_reserved(entry.1)),
            _ => false,
        }
}

/// Every way to read a block, which have to agree.
fn read_all(code: u64, block: &[u8], path: &[String]) {
    let links = ipld::links(code, block);
    let value = ipld::decode(code, block);
    let named = ipld::named_links(code, block);
    let step = ipld::step(code, block, path);
    match &value {
        Ok(value) => {
            let mut expected = Vec::new();
            links_of(code, value, &[], &mut expected);
            let mut found = links.clone().unwrap();
            let mut expected: Vec<_> = expected.into_iter().map(|link| link.1).collect();
            // Maps of a stranger are in an order of their own.
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
            let here = path.iter().try_fold(value, |value, component| value.child(component));
            match (step, here) {
                (Ok(Step::Inside(kind)), Some(here)) => assert_eq!(kind, here.kind()),
                (Ok(Step::Link { cid, used }), _) => {
                    let here = path[..used].iter().try_fold(value, |value, component| value.child(component));
                    assert_eq!(here, Some(&Value::from(cid)));
                }
                (Err(PathError::NotFound { .. } | PathError::NotAMap { .. }), None) => {}
                other => panic!("{other:?}"),
            }
        }
        Err(error) => {
            assert_eq!(links, Err(*error));
            assert_eq!(step, Err(PathError::Block(*error)));
        }
    }
    assert_eq!(named.map(|links| links.into_iter().map(|link| link.1).collect()), links);
    let _ = node::links(&cid_of(code, block), block);
    let _ = node::decode(&cid_of(code, block), block);
}

const CODECS: [u64; 4] = [codec::DAG_CBOR, codec::DAG_JSON, codec::DAG_PB, codec::RAW];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn dag_cbor_reads_back(value in values()) {
        let block = cbor::encode(&value).unwrap();
        let read = cbor::decode(&block).unwrap();
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(cbor::encode(&read).unwrap(), block);
    }

    #[test]
    fn dag_json_reads_back(value in values()) {
        match json::encode(&value) {
            Err(EncodeError::Reserved) => prop_assert!(has_reserved(&value)),
            Err(EncodeError::NotUtf8) => prop_assert!(!is_text(&value)),
            Err(error) => panic!("{error}"),
            Ok(text) => {
                prop_assert!(!has_reserved(&value) && is_text(&value));
                let read = json::decode(&text).unwrap();
                prop_assert_eq!(&read, &value);
                prop_assert_eq!(json::encode(&read).unwrap(), text.clone());
                // Others take it for JSON, too.
                let theirs: serde_json::Value = serde_json::from_slice(&text).unwrap();
                if let Value::String(string) = &value {
                    prop_assert_eq!(theirs.as_str(), string.as_str());
                }
                if let Value::Float(float) = &value {
                    let text = String::from_utf8(text).unwrap();
                    prop_assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(float.to_bits()));
                }
            }
        }
    }

    #[test]
    fn links_are_those_of_the_value_and_paths_lead_to_them(value in values()) {
        for code in [codec::DAG_CBOR, codec::DAG_JSON] {
            let Ok(block) = ipld::encode(code, &value) else { continue };
            let mut expected = Vec::new();
            links_of(code, &value, &[], &mut expected);
            let cids: Vec<_> = expected.iter().map(|link| link.1).collect();
            prop_assert_eq!(ipld::links(code, &block), Ok(cids.clone()));
            prop_assert_eq!(node::links(&cid_of(code, &block), &block), Ok(cids));
            let named = expected.iter().map(|(path, cid)| (path.join("/"), *cid)).collect();
            prop_assert_eq!(ipld::named_links(code, &block), Ok(named));
            // Paths are text, so that no other key can be in one.
            for (path, cid) in expected.into_iter().filter(|_| is_text(&value)) {
                let step = Step::Link { cid, used: path.len() };
                prop_assert_eq!(ipld::step(code, &block, &path), Ok(step));
            }
        }
    }

    #[test]
    fn keys_may_come_in_any_order_but_not_twice(
        entries in btree_map(keys(), 0..300_u16, 1..23),
        order in vec(any::<u64>(), 23),
        again in any::<Index>(),
    ) {
        let value = Value::Map(entries.iter().map(|(key, n)| (Text::from(&key[..]), Value::Integer((*n).into()))).collect());
        let mut parts: Vec<_> = entries.iter().zip(order).collect();
        parts.sort_by_key(|part| part.1);
        let cbor_parts = parts.iter().map(|((key, n), _)| {
            [cbor::encode(&Value::from(&key[..])), cbor::encode(&Value::Integer((**n).into()))].map(Result::unwrap).concat()
        });
        let json_parts = parts.iter().map(|((key, n), _)| format!("{}:{n}", serde_json::to_string(key).unwrap()));
        let (mut cbor_parts, mut json_parts) = (cbor_parts.collect::<Vec<_>>(), json_parts.collect::<Vec<_>>());
        let whole = |parts: &[Vec<u8>]| [&[0xa0 + u8::try_from(parts.len()).unwrap()], &parts.concat()[..]].concat();
        prop_assert_eq!(cbor::decode(&whole(&cbor_parts)), Ok(value.clone()));
        prop_assert_eq!(json::decode(format!("{{{}}}", json_parts.join(",")).as_bytes()), Ok(value));

        cbor_parts.push(cbor_parts[again.index(cbor_parts.len())].clone());
        json_parts.push(json_parts[again.index(json_parts.len())].clone());
        prop_assert_eq!(cbor::decode(&whole(&cbor_parts)), Err(IpldError::DuplicateKey));
        prop_assert_eq!(json::decode(format!("{{{}}}", json_parts.join(",")).as_bytes()), Err(IpldError::DuplicateKey));
    }

    #[test]
    fn no_bytes_make_a_reader_panic(bytes in vec(any::<u8>(), 0..60), path in vec(keys(), 0..3)) {
        for code in CODECS {
            read_all(code, &bytes, &path);
        }
    }

    #[test]
    fn no_damage_makes_a_reader_panic(
        value in values(),
        damage in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in any::<Index>(),
        path in vec(prop_oneof![keys(), "[0-3]"], 0..4),
    ) {
        for code in [codec::DAG_CBOR, codec::DAG_JSON] {
            let Ok(mut block) = ipld::encode(code, &value) else { continue };
            read_all(code, &block, &path);
            for (at, byte) in &damage {
                let at = at.index(block.len());
                block[at] = *byte;
                read_all(code, &block, &path);
            }
            block.truncate(cut.index(block.len() + 1));
            read_all(code, &block, &path);
        }
    }

    #[test]
    fn words_of_json_in_any_order_make_no_reader_panic(
        words in vec(select(vec![
            "{", "}", "[", "]", ",", ":", " ", "\"/\"", "\"bytes\"", "\"AQ\"", "\"bafkqaaa\"", "\"", "\\", "\\u",
            "00", "d8", "-", "1", ".", "e", "null", "true", "tru", "\n", "\u{2028}", "{\"/\":{\"bytes\":\"AQ\"}}",
        ]), 0..20),
        path in vec(keys(), 0..3),
    ) {
        read_all(codec::DAG_JSON, words.concat().as_bytes(), &path);
    }
}
