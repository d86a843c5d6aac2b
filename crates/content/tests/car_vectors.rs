//! CARs that other software made: go-car, Kubo, boxo, Helia, the
//! specification's own, and those of gateway-conformance. Each is framed,
//! verified block by block, and written again. `car_files` reads the files
//! that they hold.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::car::{Parsed, Section, read, read_by, v2_head, write};
use common::vector;
use peerage_content::car::{
    self, CarError, Event, Fault, Index, IndexError, IndexFault, MULTIHASH_INDEX_SORTED, Options, Part,
    Reader, V2,
};
use peerage_content::hash;
use serde_json::Value;

const WHOLE: Options = Options { zero_ends: false, index: true };

fn rows() -> Vec<Value> {
    let table: Value = serde_json::from_slice(&vector("car/index.json")).unwrap();
    table.as_array().unwrap().clone()
}

fn bytes_of(row: &Value) -> Vec<u8> {
    vector(&format!("car/{}", row["file"].as_str().unwrap()))
}

fn open(file: &str) -> Parsed {
    let parsed = read(&vector(&format!("car/{file}")), WHOLE);
    assert_eq!(parsed.end, Ok(()), "{file}");
    parsed
}

fn options(row: &Value) -> Options {
    Options { zero_ends: row["zero_ends"] == true, ..WHOLE }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

/// Files that [`malformed_files_are_refused`] knows.
const MALFORMED: [&str; 4] = [
    "go-car/badheaderlength.car",
    "go-car/badsectionlength.car",
    "go-car/sample-corrupt-pragma.car",
    "go-car/sample-rootless-v42.car",
];

#[test]
fn every_file_is_tested() {
    fn list(folder: &Path, prefix: &str, out: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                list(&entry.path(), &format!("{name}/"), out);
            } else if name.ends_with(".car") {
                out.insert(name);
            }
        }
    }
    let mut found = BTreeSet::new();
    list(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/vectors/car")), "", &mut found);
    let known = rows().iter().map(|row| row["file"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let known = known.into_iter().chain(MALFORMED.map(str::to_owned));
    assert_eq!(found, known.collect());
}

#[test]
fn every_file_has_its_roots_and_blocks() {
    for row in rows() {
        let (file, bytes) = (row["file"].as_str().unwrap(), bytes_of(&row));
        let parsed = read(&bytes, options(&row));
        assert_eq!(parsed.end, Ok(()), "{file}");
        let header = parsed.header.as_ref().unwrap();
        assert_eq!(header.version(), number(&row["version"]), "{file}");
        let roots: Vec<_> = header.roots.iter().map(ToString::to_string).collect();
        assert_eq!(Value::from(roots), row["roots"], "{file}");
        assert_eq!(parsed.sections.len() as u64, number(&row["blocks"]), "{file}");
        let mut codecs: BTreeMap<String, u64> = BTreeMap::new();
        for Section { cid, data, .. } in &parsed.sections {
            assert_eq!(hash::verify(cid, data), Ok(()), "{file}: {cid}");
            *codecs.entry(cid.codec().to_string()).or_default() += 1;
        }
        assert_eq!(serde_json::to_value(codecs).unwrap(), row["codecs"], "{file}");
        if let Some(v2) = header.v2 {
            let expected = V2 {
                characteristics: [0; 16],
                data_offset: number(&row["data_offset"]),
                data_size: number(&row["data_size"]),
                index_offset: row["index_offset"].as_u64(),
            };
            assert_eq!(v2, expected, "{file}");
            assert!(!v2.fully_indexed());
        }
        let pieces: &[usize] = if bytes.len() < 100_000 { &[1] } else { &[1000, 7] };
        assert_eq!(read_by(&bytes, options(&row), pieces), parsed, "{file}");

        // Everybody writes headers and sections alike.
        let blocks: Vec<_> = parsed.sections.iter().map(|s| (s.cid, s.data.clone())).collect();
        let data = &bytes[usize::try_from(header.data_offset()).unwrap()..];
        let again = write(&header.roots, &blocks);
        let end = header.v2.map_or(bytes.len(), |v2| usize::try_from(v2.data_size).unwrap());
        let zeros = if row["zero_ends"] == true { end - again.len() } else { 0 };
        assert_eq!(data[..end - zeros], again, "{file}");
    }
}

/// Checks an index as whoever uses it does; returns how many entries it has.
fn check_index(parsed: &Parsed) -> Result<usize, IndexError> {
    let header = parsed.header.as_ref().unwrap();
    let mut index = Index::new(header.v2.unwrap().index_offset.unwrap());
    let mut rest = &parsed.index[..];
    let mut count = 0;
    while let Some(entry) = index.next(&mut rest)? {
        let at = header.data_offset() + entry.offset;
        let section = parsed.sections.binary_search_by_key(&at, |section| section.offset).unwrap();
        assert!(entry.matches(&parsed.sections[section].cid));
        count += 1;
    }
    index.finish().map(|()| count)
}

#[test]
fn indexes_lead_to_the_sections() {
    let mut checked = 0;
    for row in rows().iter().filter(|row| row["index_format"].is_u64()) {
        let parsed = read(&bytes_of(row), WHOLE);
        let stored = parsed.sections.iter().filter(|section| hash::inline(&section.cid).is_none()).count();
        let expected = match number(&row["index_format"]) {
            MULTIHASH_INDEX_SORTED => Ok(stored),
            // The specification's example is of a draft, without format number.
            other => Err(IndexError { offset: 499, fault: IndexFault::Format(other) }),
        };
        assert_eq!(check_index(&parsed), expected, "{}", row["file"]);
        checked += 1;
    }
    assert_eq!(checked, 5);
}

#[test]
fn offsets_are_those_of_the_specification() {
    for (name, version) in [("carv1-basic", 1), ("carv2-basic", 2)] {
        let expected: Value = serde_json::from_slice(&vector(&format!("car/ipld-spec/{name}.json"))).unwrap();
        let parsed = open(&format!("ipld-spec/{name}.car"));
        let header = parsed.header.as_ref().unwrap();
        assert_eq!(number(&expected["header"]["version"]), version);
        assert_eq!(header.version(), version);
        let roots: Vec<_> =
            header.roots.iter().map(|root| serde_json::json!({"/": root.to_string()})).collect();
        assert_eq!(Value::from(roots), expected["header"]["roots"]);
        if let Some(v2) = header.v2 {
            assert_eq!(v2.data_offset, number(&expected["header"]["dataOffset"]));
            assert_eq!(v2.data_size, number(&expected["header"]["dataSize"]));
            assert_eq!(v2.index_offset, expected["header"]["indexOffset"].as_u64());
        }
        let blocks = expected["blocks"].as_array().unwrap();
        assert_eq!(parsed.sections.len(), blocks.len());
        for (Section { cid, data, offset }, row) in parsed.sections.iter().zip(blocks) {
            assert_eq!(row["cid"]["/"], cid.to_string());
            let head = car::section_head(cid, data.len()).len() as u64;
            let is = [*offset, head + data.len() as u64, offset + head, data.len() as u64];
            let says = ["offset", "length", "blockOffset", "blockLength"].map(|key| number(&row[key]));
            assert_eq!(is, says, "{name} {cid}");
        }
    }
}

#[test]
fn malformed_files_are_refused() {
    // 7 bits of each of e0 e0 e0 e0 a7 06.
    let huge = 0x60 | 0x60 << 7 | 0x60 << 14 | 0x60 << 21 | 0x27 << 28 | 6 << 35;
    let errors = [
        (0, Fault::HeaderTooLarge(huge)),
        (18, Fault::SectionTooLarge(huge)),
        (0, Fault::Cut(Part::Header)),
        (0, Fault::Version(42)),
    ];
    for (file, (offset, fault)) in MALFORMED.into_iter().zip(errors) {
        let parsed = read(&vector(&format!("car/{file}")), WHOLE);
        assert_eq!(parsed.end, Err(CarError { offset, fault }), "{file}");
        assert_eq!(parsed.sections, []);
    }
}

#[test]
fn gocars_variants_of_its_sample() {
    // go-car has its sample alone, cut, with null padding, in a version 2
    // without an index, and in one whose header is destroyed.
    let wrapped = vector("car/go-car/sample-wrapped-v2.car");
    let sample = &wrapped[51..][..479_907];
    let whole = read(sample, WHOLE);
    assert_eq!((whole.end, whole.sections.len()), (Ok(()), 1049));
    let inline = whole.sections.iter().filter(|section| hash::inline(&section.cid).is_some());
    assert_eq!(inline.count(), 6);

    let cut = read(&sample[..479_894], WHOLE);
    let last = whole.sections.last().unwrap();
    assert_eq!(cut.end, Err(CarError { offset: last.offset, fault: Fault::Cut(Part::Section) }));
    assert_eq!(cut.sections[..], whole.sections[..1048]);

    let padded = [sample, &[0; 2048]].concat();
    let refused = CarError { offset: 479_907, fault: Fault::EmptySection };
    assert_eq!(read(&padded, WHOLE), Parsed { end: Err(refused), ..whole.clone() });
    assert_eq!(read(&padded, Options { zero_ends: true, index: false }), whole);

    let indexless = [&v2_head(51, 479_907, 0), sample].concat();
    let parsed = read(&indexless, WHOLE);
    assert_eq!((parsed.end, parsed.sections.len()), (Ok(()), 1049));
    assert_eq!(parsed.sections[7].offset, whole.sections[7].offset + 51);
    assert_eq!(parsed.header.unwrap().v2.unwrap().index_offset, None);

    let destroyed = [&v2_head(18_446_744_073_709_550_254, 479_907, 478_545), sample].concat();
    let fault = Fault::DataOffset(18_446_744_073_709_550_254);
    assert_eq!(read(&destroyed, WHOLE).end, Err(CarError { offset: 27, fault }));
}

#[test]
fn without_the_index_reading_stops_behind_the_data() {
    let bytes = vector("car/go-car/sample-unixfs-v2.car");
    let mut reader = Reader::new(Options::default());
    assert_eq!(reader.feed(&bytes[..335]), 335);
    let mut events = 0;
    while !matches!(reader.next(), Ok(Some(Event::End))) {
        events += 1;
    }
    assert_eq!((events, reader.space().len()), (4, 0));
}
