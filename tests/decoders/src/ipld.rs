//! `peerage-content`: blocks of other codecs, and paths in them.

use peerage_content::ipld::{self, Step, Value, cbor, json};
use peerage_content::{codec, limits, node};

use crate::input::Values;
use crate::{Decoder, hexes, text, texts};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder { name: "dag-cbor", run: |block| block_of(codec::DAG_CBOR, block), seeds: cbor_seeds },
    Decoder { name: "dag-json", run: |block| block_of(codec::DAG_JSON, block), seeds: || texts(JSON) },
    Decoder { name: "dag-pb-form", run: |block| block_of(codec::DAG_PB, block), seeds: pb_seeds },
    Decoder { name: "ipld-path", run: path, seeds: path_seeds },
    Decoder { name: "chunker", run: chunker, seeds: || texts(CHUNKERS) },
    Decoder {
        name: "ignore",
        run: ignored,
        seeds: || texts(&["*.o\n!keep.o\n/target/\na/**/z", "a[z-a]", "\\#x"]),
    },
];

const JSON: &[&str] = &[
    r#"{"a":[1,-2,3.5,true,null,"x"],"b":{"/":{"bytes":"AQID"}}}"#,
    r#"{"/":"bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e"}"#,
    r#"{"deep":[[[[{"k":{"/":"QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n"}}]]]]}"#,
    "\"\\ud83d\\ude00 \\u0000\"",
    "18446744073709551615",
    "-18446744073709551616",
    "1e-323",
    "[ 1 , 2 ]",
];

const CHUNKERS: &[&str] =
    &["default", "size-1024", "rabin", "rabin-1000", "rabin-min:16-avg:32-max:64", "buzhash", "size-0"];

fn cbor_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        JSON.iter().filter_map(|text| cbor::encode(&json::decode(text.as_bytes()).ok()?).ok()).collect();
    seeds.extend(hexes(&["a0", "f6", "fb7ff0000000000000", "5fff", "d82a5825000155", "1b00000000000000ff"]));
    seeds
}

fn pb_seeds() -> Vec<Vec<u8>> {
    hexes(&[
        "0a020801",
        "122e0a24015512206d2bba3ebc5dfc5ed1fa4ef9d5d5d6d9d0f5b0b1b2b3b4b5b6b7b8b9babbbcbd12016118060a020801",
        "",
    ])
}

/// A block alone, and searched as it stands.
fn block_of(codec: u64, block: &[u8]) -> bool {
    let links = ipld::links(codec, block);
    let named = ipld::named_links(codec, block);
    if let (Ok(links), Ok(named)) = (&links, &named) {
        assert!(links.iter().eq(named.iter().map(|(_, cid)| cid)), "the same links, with names");
        assert!(links.len() <= limits::LINKS_MAX);
    }
    let Ok(value) = ipld::decode(codec, block) else { return links.is_ok() };
    assert!(links.is_ok(), "what can be read can be searched");
    // Some of what is read cannot be written: text that is no UTF-8 in JSON, for one.
    for code in [codec, codec::DAG_CBOR, codec::DAG_JSON] {
        if let Ok(bytes) = ipld::encode(code, &value)
            && bytes.len() <= limits::BLOCK_MAX
        {
            let again = ipld::decode(code, &bytes).expect("what is written can be read");
            assert_eq!(ipld::encode(code, &again).as_ref(), Ok(&bytes), "canonical form is one");
            if code == codec {
                assert_eq!(again, value);
            }
        }
    }
    true
}

/// A path, and the block that it leads through.
fn path(input: &[u8]) -> bool {
    let mut values = Values(input);
    let codec = *values.pick(&[codec::DAG_CBOR, codec::DAG_JSON, codec::DAG_PB]).unwrap_or(&codec::DAG_CBOR);
    let path = String::from_utf8_lossy(values.bytes()).into_owned();
    let path: Vec<&str> = path.split('/').collect();
    let block = values.0;
    let Ok(step) = ipld::step(codec, block, &path) else { return false };
    let value = ipld::decode(codec, block);
    match step {
        Step::Link { cid, used } => {
            assert!(used <= path.len());
            let cid = peerage_content::Cid::new_v1(codec, *cid.hash());
            assert!(node::links(&cid, b"").is_ok() || codec != codec::DAG_PB);
        }
        Step::Inside(kind) => {
            if let Ok(value) = &value {
                let end = path.iter().try_fold(value, |at, component| at.child(component));
                assert_eq!(end.map(Value::kind), Some(kind), "the value at the end of the path");
            }
        }
    }
    true
}

fn path_seeds() -> Vec<Vec<u8>> {
    let with = |codec: u8, path: &str, block: &[u8]| {
        let len = u8::try_from(path.len()).unwrap_or(0);
        [&[codec, len], path.as_bytes(), block].concat()
    };
    vec![with(1, "a/3", JSON[0].as_bytes()), with(1, "deep/0/0", JSON[2].as_bytes()), with(0, "a", &[0xa0])]
}

fn chunker(bytes: &[u8]) -> bool {
    let Some(chunker) = text(bytes).and_then(|text| text.parse::<peerage_content::Chunker>().ok()) else {
        return false;
    };
    assert_eq!(chunker.to_string().parse(), Ok(chunker));
    assert!(
        (1..=limits::CHUNK_MAX).contains(&chunker.max_len()) && chunker.single_max() <= chunker.max_len()
    );
    true
}

/// Lines of patterns of what is left out.
fn ignored(bytes: &[u8]) -> bool {
    text(bytes).is_some_and(|text| peerage_peer::Ignored::new(text.lines()).is_ok())
}
