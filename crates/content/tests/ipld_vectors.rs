//! Vectors of the IPLD codecs: ipld/codec-fixtures, read and written in each
//! codec that a fixture has, the refused ones, and what Kubo's sharness tests
//! expect of `dag put`, `dag get` and paths.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use common::{cid_of, links_of, list, vector};
use peerage_content::dagpb;
use peerage_content::ipld::pb::FormError;
use peerage_content::ipld::{self, EncodeError, IpldError, Kind, Step, Value, cbor, json};
use peerage_content::{Cid, cid_text, codec, node};

const CODECS: [(&str, u64); 3] =
    [("dag-cbor", codec::DAG_CBOR), ("dag-json", codec::DAG_JSON), ("dag-pb", codec::DAG_PB)];

/// The forms of a fixture: codec, CID from the file's name, block.
fn forms(fixture: &str) -> Vec<(u64, Cid, Vec<u8>)> {
    let folder = format!("ipld/codec-fixtures/{fixture}");
    let form = |file: &String| {
        let (cid, name) = file.split_once('.').unwrap();
        let codec = CODECS.iter().find(|codec| codec.0 == name).unwrap().1;
        (codec, cid_text::parse(cid).unwrap(), vector(&format!("{folder}/{file}")))
    };
    list(&folder).iter().map(form).collect()
}

#[test]
fn fixtures_are_read_and_written_in_each_codec() {
    let (mut fixtures, mut done) = (0, 0);
    for fixture in list("ipld/codec-fixtures") {
        let forms = forms(&fixture);
        assert!(forms.len() >= 2, "{fixture}");
        for (codec, cid, block) in &forms {
            assert_eq!(cid_of(*codec, block), *cid, "{fixture}");
            let value = ipld::decode(*codec, block).unwrap_or_else(|error| panic!("{fixture}: {error}"));
            for (other, _, expected) in &forms {
                let written = ipld::encode(*other, &value);
                assert_eq!(written.as_ref(), Ok(expected), "{fixture}: 0x{codec:x} to 0x{other:x}");
                done += 1;
            }
        }
        fixtures += 1;
    }
    // Three forms each of the 17 dag-pb fixtures, two of the others.
    assert_eq!((fixtures, done), (128, 17 * 9 + 111 * 4));
}

#[test]
fn the_links_of_fixtures_are_found_and_lead_back_to_themselves() {
    let mut found = 0;
    for fixture in list("ipld/codec-fixtures") {
        for (codec, cid, block) in forms(&fixture) {
            let mut expected = Vec::new();
            links_of(codec, &ipld::decode(codec, &block).unwrap(), &[], &mut expected);
            let cids: Vec<_> = expected.iter().map(|link| link.1).collect();
            assert_eq!(ipld::links(codec, &block).as_ref(), Ok(&cids), "{fixture}");
            assert_eq!(node::links(&cid, &block).as_ref(), Ok(&cids), "{fixture}");
            let named: Vec<_> = expected.iter().map(|(path, cid)| (path.join("/"), *cid)).collect();
            assert_eq!(ipld::named_links(codec, &block), Ok(named), "{fixture}");
            for (path, cid) in expected {
                let step = Step::Link { cid, used: path.len() };
                assert_eq!(ipld::step(codec, &block, &path), Ok(step), "{fixture}: {path:?}");
                let longer = [&path[..], &["more".into()]].concat();
                assert_eq!(ipld::step(codec, &block, &longer), Ok(step), "{fixture}: {path:?}");
                found += 1;
            }
        }
    }
    assert_eq!(found, 286);
}

#[test]
fn dag_pb_fixtures_are_nodes_with_a_length() {
    for fixture in list("ipld/codec-fixtures").iter().filter(|name| name.starts_with("dagpb_")) {
        let block = forms(fixture).into_iter().find(|form| form.0 == codec::DAG_PB).unwrap().2;
        let node = dagpb::decode(&block).unwrap();
        assert_eq!(dagpb::encode(&node), block, "{fixture}");
        assert_eq!(dagpb::encoded_len(&node), block.len(), "{fixture}");
    }
}

/// The rows of a file of negative fixtures: what is written there, its error.
fn negative(path: &str, field: &str) -> Vec<(Value, String)> {
    let Value::List(rows) = json::decode(&vector(&format!("ipld/codec-negative-fixtures/{path}"))).unwrap()
    else {
        panic!("{path}")
    };
    let row = |row: &Value| {
        let Some(Value::String(error)) = row.child("error") else { panic!("{row:?}") };
        (row.child(field).unwrap().clone(), error.to_string())
    };
    rows.iter().map(row).collect()
}

#[test]
fn keys_that_are_there_twice_are_refused() {
    for (name, codec) in &CODECS[..2] {
        let rows = negative(&format!("{name}/decode/duplicate-keys.json"), "hex");
        assert_eq!(rows.len(), 1);
        for (row, _) in rows {
            let Value::String(hex) = row else { panic!("{row:?}") };
            let block = hex::decode(hex.as_bytes()).unwrap();
            assert_eq!(ipld::decode(*codec, &block), Err(IpldError::DuplicateKey), "{name}");
            assert_eq!(ipld::links(*codec, &block), Err(IpldError::DuplicateKey), "{name}");
        }
    }
}

#[test]
fn values_of_another_form_are_no_dag_pb() {
    let mut done = 0;
    for file in ["basic-datamodel-kinds.json", "invalid-forms.json"] {
        for (value, error) in negative(&format!("dag-pb/encode/{file}"), "dag-json") {
            let expected = match error.strip_prefix("Invalid DAG-PB form").unwrap() {
                "" | " (extraneous properties)" => FormError::Node,
                " (Data must be bytes)" => FormError::Data,
                " (Links must be a list)" => FormError::Links,
                " (bad link)" | " (extraneous properties on link)" => FormError::Link,
                " (link must have a Hash)" | " (link Hash must be a CID)" => FormError::Hash,
                " (link Name must be a string)" => FormError::Name,
                " (link Tsize must be an integer)" | " (link Tsize cannot be negative)" => FormError::Tsize,
                " (links must be sorted by Name bytes)" => FormError::Order,
                other => panic!("{other}"),
            };
            let written = ipld::encode(codec::DAG_PB, &value);
            assert_eq!(written, Err(EncodeError::DagPb(expected)), "{value:?}");
            done += 1;
        }
    }
    assert_eq!(done, 78);
}

/// CID of a file with these bytes, added as Kubo does by default in its tests.
fn file(content: &[u8]) -> Cid {
    let mut store = common::Store::default();
    let profile = peerage_content::Profile::UNIXFS_V0_2015;
    common::file(&mut store, &profile, content, peerage_content::Metadata::default()).cid
}

/// The CID of a JSON text that is stored in another codec.
fn put(text: &str, codec: u64) -> String {
    let value = json::decode(text.as_bytes()).unwrap();
    cid_of(codec, &ipld::encode(codec, &value).unwrap()).to_string()
}

fn path(text: &str) -> Vec<String> {
    text.split('/').map(str::to_owned).collect()
}

#[test]
fn objects_have_the_cids_and_paths_of_kubo() {
    let [foo, bar, baz] = ["foo\n", "bar\n", "baz\n"].map(|content| file(content.as_bytes()));
    let text = format!(
        r#"{{"hello":"world","cats":[{{"/":"{foo}"}},{{"water":{{"/":"{bar}"}}}}],"magic":{{"/":"{baz}"}},"sub":{{"dict":"ionary","beep":[0,"bop"]}}}}"#
    );
    assert_eq!(put(&text, codec::DAG_CBOR), "bafyreiblwimnjbqcdoeafiobk6q27jcw64ew7n2fmmhdpldd63edmjecde");
    assert_eq!(put(&text, codec::DAG_JSON), "baguqeera6gviseelmbzn2ugoddo5vulxlshqs3kw5ymgsb6w4cabnoh4ldpa");
    assert_eq!(
        put(r#"{"foo":"bar"}"#, codec::DAG_CBOR),
        "bafyreiblaotetvwobe7cu2uqvnddr6ew2q3cu75qsoweulzku2egca4dxq"
    );
    assert_eq!(
        put(r#"{"foo":"baz"}"#, codec::DAG_CBOR),
        "bafyreibqp7zvp6dvrqhtkbwuzzk7jhtmfmngtiqjajqpm6gtw55o7kqzfi"
    );

    let value = json::decode(text.as_bytes()).unwrap();
    for codec in [codec::DAG_CBOR, codec::DAG_JSON] {
        let block = ipld::encode(codec, &value).unwrap();
        for (at, cid, used) in
            [("cats/0", foo, 2), ("cats/1/water", bar, 3), ("magic", baz, 1), ("magic/Links/0", baz, 1)]
        {
            assert_eq!(ipld::step(codec, &block, &path(at)), Ok(Step::Link { cid, used }), "{at}");
        }
        for (at, text) in [
            ("hello", r#""world""#),
            ("sub", r#"{"beep":[0,"bop"],"dict":"ionary"}"#),
            ("sub/beep", r#"[0,"bop"]"#),
            ("sub/beep/0", "0"),
            ("sub/beep/1", r#""bop""#),
        ] {
            let found = path(at).iter().try_fold(&value, |value, component| value.child(component)).unwrap();
            assert_eq!(json::encode(found).unwrap(), text.as_bytes(), "{at}");
            assert_eq!(ipld::step(codec, &block, &path(at)), Ok(Step::Inside(found.kind())), "{at}");
        }
    }
}

#[test]
fn blocks_of_kubo() {
    // Keys that are not sorted are read, and sorted when written.
    let block = vector("ipld/non-canon.cbor");
    let value = cbor::decode(&block).unwrap();
    let written = cbor::encode(&value).unwrap();
    assert_ne!(written, block);
    assert_eq!(
        cid_of(codec::DAG_CBOR, &written).to_string(),
        "bafyreiawx7ona7oa2ptcoh6vwq4q6bmd7x2ibtkykld327bgb7t73ayrqm"
    );
    assert_eq!(json::encode(value.child("arr").unwrap()).unwrap(), b"[]");
    let cid = ipld::links(codec::DAG_CBOR, &block).unwrap()[0];
    let step = Ok(Step::Link { cid, used: 1 });
    assert_eq!(ipld::step(codec::DAG_CBOR, &block, &path("alink/x")), step);
    assert_eq!(ipld::step(codec::DAG_CBOR, &written, &path("alink/x")), step);

    // A dag-pb node that is no UnixFS.
    let block = vector("ipld/testPut.pb");
    let value = ipld::decode(codec::DAG_PB, &block).unwrap();
    assert_eq!(
        json::encode(&value).unwrap(),
        br#"{"Data":{"/":{"bytes":"dGVzdCBqc29uIGZvciBzaGFybmVzcyB0ZXN0"}},"Links":[]}"#
    );
    assert_eq!(ipld::encode(codec::DAG_PB, &value), Ok(block.clone()));
    assert_eq!(ipld::step(codec::DAG_PB, &block, &path("Data")), Ok(Step::Inside(Kind::Bytes)));
}
