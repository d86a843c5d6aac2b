//! Forms of dag-cbor and dag-json that are not canonical: which are read, and
//! as what, and which are refused. That go-ipld-prime 0.24 does the same, but
//! for the differences that the modules name, was found by giving it the same
//! bytes.

use peerage_content::cid_text::CidError;
use peerage_content::ipld::cbor::CborError;
use peerage_content::ipld::json::JsonError;
use peerage_content::ipld::{
    self, EncodeError, IpldError, Kind, PathError, Step, Value, cbor, json, named_links, step,
};
use peerage_content::{Cid, codec};

#[test]
fn dag_cbor_that_is_read() {
    for (read, written) in [
        // Keys in any order.
        ("a2616201616102", "a2616102616201"),
        ("a2626161016162f6", "a26162f662616101"),
        // Floats of 16 and 32 bits (RFC 8949 appendix A).
        ("f93c00", "fb3ff0000000000000"),
        ("f90001", "fb3e70000000000000"),
        ("f90400", "fb3f10000000000000"),
        ("f97bff", "fb40effc0000000000"),
        ("f9c400", "fbc010000000000000"),
        ("f98000", "fb8000000000000000"),
        ("fa47c35000", "fb40f86a0000000000"),
        // Undefined.
        ("f7", "f6"),
        ("a16161f7", "a16161f6"),
        // Strings that are no text.
        ("a161ff61fe", "a161ff61fe"),
        // The ends of the integers, the lowest of which Kubo misreads.
        ("1bffffffffffffffff", "1bffffffffffffffff"),
        ("3bffffffffffffffff", "3bffffffffffffffff"),
        ("d82a450001550000", "d82a450001550000"),
    ] {
        let block = hex::decode(read).unwrap();
        let value = cbor::decode(&block).unwrap_or_else(|error| panic!("{read}: {error}"));
        assert_eq!(hex::encode(cbor::encode(&value).unwrap()), written, "{read}");
        assert!(ipld::links(codec::DAG_CBOR, &block).is_ok(), "{read}");
    }
}

#[test]
fn dag_cbor_that_is_refused() {
    use CborError::{Float, Head, Indefinite, Key, Link, LinkPrefix, NotShortest, Tag, Trailing, Truncated};
    for (block, error) in [
        ("", Truncated),
        ("18", Truncated),
        ("1b00000001000000", Truncated),
        ("6261", Truncated),
        ("82f6", Truncated),
        ("a16161", Truncated),
        ("d82a", Truncated),
        ("d82a4500015500", Truncated),
        ("5bffffffffffffffff", Truncated),
        ("fb3ff00000000000", Truncated),
        ("a000", Trailing),
        ("f6f6", Trailing),
        // Each length and number one byte, or more, too long.
        ("1817", NotShortest),
        ("3817", NotShortest),
        ("1900ff", NotShortest),
        ("1a0000ffff", NotShortest),
        ("1b00000000ffffffff", NotShortest),
        ("780161", NotShortest),
        ("5801aa", NotShortest),
        ("980101", NotShortest),
        ("b801616101", NotShortest),
        ("a178016101", NotShortest),
        ("d9002a450001550000", NotShortest),
        ("d82a58050001550000", NotShortest),
        ("9ff6ff", Indefinite),
        ("bf616101ff", Indefinite),
        ("7f6161ff", Indefinite),
        ("5f41aaff", Indefinite),
        ("d82a5f450001550000ff", Indefinite),
        ("ff", Head(0xff)),
        ("f0", Head(0xf0)),
        ("e0", Head(0xe0)),
        ("f820", Head(0xf8)),
        ("fc", Head(0xfc)),
        ("1c", Head(0x1c)),
        ("1f", Head(0x1f)),
        ("df", Head(0xdf)),
        ("f97e00", Float),
        ("f97c00", Float),
        ("f9fc00", Float),
        ("fa7f800000", Float),
        ("fb7ff8000000000000", Float),
        ("fbfff0000000000000", Float),
        ("c101", Tag(1)),
        ("c249010000000000000000", Tag(2)),
        ("d82a01", Tag(42)),
        ("d82a6161", Tag(42)),
        ("d82ad82a450001550000", Tag(42)),
        ("d82b450001550000", Tag(43)),
        ("d82a40", LinkPrefix),
        ("d82a450101550000", LinkPrefix),
        ("d82a4401550000", LinkPrefix),
        ("d82a4100", Link(CidError::Empty)),
        ("d82a4400015500", Link(CidError::Bytes)),
        ("d82a46000155000000", Link(CidError::Trailing)),
        ("a10101", Key),
        ("a1f601", Key),
        ("a1416101", Key),
        ("a1d82a45000155000001", Key),
    ] {
        let bytes = hex::decode(block).unwrap();
        assert_eq!(cbor::decode(&bytes), Err(IpldError::Cbor(error)), "{block}");
        assert_eq!(ipld::links(codec::DAG_CBOR, &bytes), Err(IpldError::Cbor(error)), "{block}");
    }
    // A key twice, next to each other or not, in a map in a list, too.
    for block in ["a2616101616101", "a3616101616202616103", "a3616202616101616102", "81a2600160f6"] {
        let bytes = hex::decode(block).unwrap();
        assert_eq!(cbor::decode(&bytes), Err(IpldError::DuplicateKey), "{block}");
    }
    // The same key in two maps is no fault.
    assert!(cbor::decode(&hex::decode("a16161a1616101").unwrap()).is_ok());
}

#[test]
fn dag_json_that_is_read() {
    for (read, written) in [
        (" { \"b\" : [ ] ,\r\n\t\"aa\":{ } } \n", r#"{"aa":{},"b":[]}"#),
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("0e0", "0.0"),
        ("1.0", "1.0"),
        ("1E5", "100000.0"),
        ("12e-1", "1.2"),
        ("100000000000000000000.0", "100000000000000000000.0"),
        ("1e21", "1e+21"),
        ("-1.5e+300", "-1.5e+300"),
        ("0.000001", "0.000001"),
        ("0.0000001", "1e-7"),
        ("1e-400", "0.0"),
        ("5e-324", "5e-324"),
        ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ("18446744073709551615", "18446744073709551615"),
        ("-18446744073709551616", "-18446744073709551616"),
        (r#""\u0041\ud83d\ude00\b\f\n\r\t\"\\\/""#, "\"A😀\\u0008\\u000c\\n\\r\\t\\\"\\\\/\""),
        ("\"\\u2028\u{2029}\\u0000\u{7f}\"", "\"\\u2028\\u2029\\u0000\u{7f}\""),
        // Links and bytes.
        (r#"{"\u002f":"bafkqaaa"}"#, r#"{"/":"bafkqaaa"}"#),
        (r#"{ "/" : "BAFKQAAA" } "#, r#"{"/":"bafkqaaa"}"#),
        (r#"{"/": {"bytes": "AQ"}}"#, r#"{"/":{"bytes":"AQ"}}"#),
        (r#"{"/":{"bytes":"AQ=="}}"#, r#"{"/":{"bytes":"AQ"}}"#),
        (r#"{"/":{"bytes":""}}"#, r#"{"/":{"bytes":""}}"#),
        // Maps that look nearly like those.
        (r#"{"/":true,"bar":1}"#, r#"{"/":true,"bar":1}"#),
        (r#"{"/":{"bytes":true},"bar":1}"#, r#"{"/":{"bytes":true},"bar":1}"#),
        (r#"{"/":{"abar":"x","bytes":"foo"}}"#, r#"{"/":{"abar":"x","bytes":"foo"}}"#),
        (r#"{"/":{"/":"bafkqaaa"}}"#, r#"{"/":{"/":"bafkqaaa"}}"#),
        (r#"{"/":{"/":{"bytes":"AQ"}}}"#, r#"{"/":{"/":{"bytes":"AQ"}}}"#),
        (r#"{"/":{}}"#, r#"{"/":{}}"#),
        (r#"{"/":[]}"#, r#"{"/":[]}"#),
        (r#"{"-":1,"/":"foo"}"#, r#"{"-":1,"/":"foo"}"#),
        (r#"{"":"x","bytes":"foo"}"#, r#"{"":"x","bytes":"foo"}"#),
    ] {
        let value = json::decode(read.as_bytes()).unwrap_or_else(|error| panic!("{read}: {error}"));
        assert_eq!(String::from_utf8(json::encode(&value).unwrap()).unwrap(), written, "{read}");
    }
}

#[test]
fn dag_json_that_is_refused() {
    use JsonError::{Base64, Link, Number, Reserved, Syntax, Truncated};
    for (text, error) in [
        ("", Truncated),
        (" ", Truncated),
        ("[", Truncated),
        ("[1", Truncated),
        ("[1,", Truncated),
        ("{", Truncated),
        (r#"{"a""#, Truncated),
        (r#"{"a":"#, Truncated),
        (r#"{"/":"bafkqaaa""#, Truncated),
        (r#"{"/":{"bytes":"AQ"}"#, Truncated),
        ("\"a", Truncated),
        (r#""\"#, Truncated),
        (r#""\u00"#, Truncated),
        ("nul", Truncated),
        ("-", Truncated),
        ("1.", Truncated),
        ("1e", Truncated),
        ("1e+", Truncated),
        ("1 2", Syntax(2)),
        ("{}x", Syntax(2)),
        ("{}\0", Syntax(2)),
        ("\u{feff}1", Syntax(0)),
        ("nulL", Syntax(3)),
        ("NaN", Syntax(0)),
        ("Infinity", Syntax(0)),
        ("-Infinity", Syntax(1)),
        ("+1", Syntax(0)),
        ("01", Syntax(1)),
        (".5", Syntax(0)),
        ("5.e1", Syntax(2)),
        ("0x10", Syntax(1)),
        ("'a'", Syntax(0)),
        ("[1,]", Syntax(3)),
        ("[,1]", Syntax(1)),
        ("[1 2]", Syntax(3)),
        ("[1}", Syntax(2)),
        ("]", Syntax(0)),
        (r#"{"a":1,}"#, Syntax(7)),
        (r#"{"a" 1}"#, Syntax(5)),
        (r#"{"a":1 "b":2}"#, Syntax(7)),
        (r#"{"a":}"#, Syntax(5)),
        ("{1:2}", Syntax(1)),
        ("{,}", Syntax(1)),
        (r#""\x""#, Syntax(2)),
        (r#""\u00g0""#, Syntax(5)),
        (r#""\ud800""#, Syntax(7)),
        (r#""\ud800\u0041""#, Syntax(2)),
        (r#""\udc00""#, Syntax(2)),
        ("\"\n\"", Syntax(1)),
        ("\"\u{1f}\"", Syntax(1)),
        ("18446744073709551616", Number(0)),
        ("[-18446744073709551617]", Number(1)),
        ("1e400", Number(0)),
        (r#"{"/":"foo","bar":"baz"}"#, Reserved(0)),
        (r#"[{"/":"bafkqaaa","bar":"baz"}]"#, Reserved(1)),
        (r#"{"/":{"bytes":"foo","bar":"baz"}}"#, Reserved(0)),
        (r#"{"/":{"bytes":"foo"},"bar":"baz"}"#, Reserved(0)),
        (r#"{"/":""}"#, Link(CidError::Empty)),
        (r#"{"/":"foo"}"#, Link(CidError::Base)),
        (r#"{"/":"bafkq"}"#, Link(CidError::Bytes)),
        (r#"{"/":{"bytes":"A"}}"#, Base64),
        (r#"{"/":{"bytes":"AQ="}}"#, Base64),
        (r#"{"/":{"bytes":"AR"}}"#, Base64),
        (r#"{"/":{"bytes":"A\nQ"}}"#, Base64),
        (r#"{"/":{"bytes":"-_"}}"#, Base64),
    ] {
        assert_eq!(json::decode(text.as_bytes()), Err(IpldError::Json(error)), "{text}");
        assert_eq!(ipld::links(codec::DAG_JSON, text.as_bytes()), Err(IpldError::Json(error)), "{text}");
    }
    for text in [r#"{"a":1,"a":1}"#, r#"{"b":1,"a":2,"\u0062":3}"#, r#"[{"/":1,"/":"x"}]"#] {
        assert_eq!(json::decode(text.as_bytes()), Err(IpldError::DuplicateKey), "{text}");
    }
}

#[test]
fn values_that_cannot_be_written() {
    let map = |key: &str, value| Value::Map([(key, value)].into());
    let range = -(1_i128 << 64)..1 << 64;
    for value in [range.start - 1, range.end, i128::MIN, i128::MAX] {
        assert_eq!(cbor::encode(&Value::Integer(value)), Err(EncodeError::Integer), "{value}");
        assert_eq!(json::encode(&Value::Integer(value)), Err(EncodeError::Integer), "{value}");
    }
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert_eq!(cbor::encode(&Value::Float(value)), Err(EncodeError::Float), "{value}");
        assert_eq!(json::encode(&Value::Float(value)), Err(EncodeError::Float), "{value}");
    }
    // dag-cbor has maps that dag-json would take for something else.
    let text = Value::from("foo");
    for (value, block) in [
        (map("/", text.clone()), "a1612f63666f6f"),
        (map("/", map("bytes", text.clone())), "a1612fa165627974657363666f6f"),
        // Read in this order they are a map, but written in the other.
        (json::decode(br#"{"0":1,"/":"foo"}"#).unwrap(), "a2612f63666f6f613001"),
    ] {
        assert_eq!(json::encode(&value), Err(EncodeError::Reserved), "{value:?}");
        assert_eq!(hex::encode(cbor::encode(&value).unwrap()), block);
    }
    assert_eq!(ipld::encode(codec::RAW, &text), Err(EncodeError::Raw(Kind::String)));
    assert_eq!(ipld::encode(codec::RAW, &Value::Bytes(vec![1])), Ok(vec![1]));
    assert_eq!(ipld::encode(0x51, &text), Err(EncodeError::Codec(0x51)));
    assert_eq!(ipld::decode(0x51, b"\xf6"), Err(IpldError::Codec(0x51)));
}

fn path(text: &str) -> Vec<&str> {
    text.split('/').collect()
}

#[test]
fn paths_lead_to_links_to_values_or_nowhere() {
    let (a, b): (Cid, Cid) = ("bafkqaaa".parse().unwrap(), "bafkqaaic".parse().unwrap());
    let text = format!(
        r#"{{"map":{{"list":[1,{{"/":"{a}"}},[{{"/":"{b}"}}]],"":{{"x":null}},"0":"zero"}},"n":1.5,"y":{{"/":{{"bytes":"AQ"}}}}}}"#
    );
    let value = json::decode(text.as_bytes()).unwrap();
    for code in [codec::DAG_CBOR, codec::DAG_JSON] {
        let block = ipld::encode(code, &value).unwrap();
        for (at, cid, used) in [
            ("map/list/1", a, 3),
            ("map/list/1/more/of/it", a, 3),
            ("map/list/2/0", b, 4),
            ("map/list/2/0/", b, 4),
        ] {
            assert_eq!(step(code, &block, &path(at)), Ok(Step::Link { cid, used }), "{at}");
        }
        assert_eq!(step::<String>(code, &block, &[]), Ok(Step::Inside(Kind::Map)));
        for (at, kind) in [
            ("map", Kind::Map),
            ("map/list", Kind::List),
            ("map/list/0", Kind::Integer),
            ("map/list/2", Kind::List),
            ("map/", Kind::Map),
            ("map//x", Kind::Null),
            ("map/0", Kind::String),
            ("n", Kind::Float),
            ("y", Kind::Bytes),
        ] {
            assert_eq!(step(code, &block, &path(at)), Ok(Step::Inside(kind)), "{at}");
        }
        for (at, component) in [
            ("x", 0),
            ("list", 0),
            ("", 0),
            ("map/list/3", 2),
            ("map/list/-1", 2),
            ("map/list/+1", 2),
            ("map/list/01", 2),
            ("map/list/1.0", 2),
            ("map/list/", 2),
            ("map/list/99999999999999999999", 2),
            ("map/1", 1),
            ("map//y", 2),
        ] {
            assert_eq!(step(code, &block, &path(at)), Err(PathError::NotFound { component }), "{at}");
        }
        for (at, component, kind) in
            [("n/x", 1, Kind::Float), ("y/bytes", 1, Kind::Bytes), ("map/0/0/0", 2, Kind::String)]
        {
            let error = PathError::NotAMap { component, kind };
            assert_eq!(step(code, &block, &path(at)), Err(error), "{at}");
        }
        let named = [("map/list/1".to_owned(), a), ("map/list/2/0".to_owned(), b)];
        assert_eq!(named_links(code, &block).as_deref(), Ok(&named[..]));
        // The end of the block is checked though the path ends before it.
        let cut = &block[..block.len() - 1];
        assert!(matches!(step(code, cut, &path("map/list/1")), Err(PathError::Block(_))));
    }
    let message = step(codec::DAG_JSON, text.as_bytes(), &["n", "x"]).unwrap_err().to_string();
    assert_eq!(message, "component 1 of the path is inside a float");
}

#[test]
fn a_block_can_be_a_link_or_bytes() {
    let cid: Cid = "bafkqaaa".parse().unwrap();
    for code in [codec::DAG_CBOR, codec::DAG_JSON] {
        let block = ipld::encode(code, &Value::from(cid)).unwrap();
        assert_eq!(step::<&str>(code, &block, &[]), Ok(Step::Link { cid, used: 0 }));
        assert_eq!(step(code, &block, &["a"]), Ok(Step::Link { cid, used: 0 }));
        assert_eq!(named_links(code, &block), Ok(vec![(String::new(), cid)]));
    }
    assert_eq!(ipld::decode(codec::RAW, b"ab"), Ok(Value::Bytes(b"ab".to_vec())));
    assert_eq!(step::<&str>(codec::RAW, b"ab", &[]), Ok(Step::Inside(Kind::Bytes)));
    let error = PathError::NotAMap { component: 0, kind: Kind::Bytes };
    assert_eq!(step(codec::RAW, b"ab", &["a"]), Err(error));
}
