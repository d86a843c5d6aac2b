//! CARs that are cut, changed, or made to hurt: each is an error with a name
//! and a place, gives what came before it, and costs little.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use bytes::Bytes;
use common::car::{HEADER, Parsed, exact, index_entries, read, read_by, v2_head, write, write_index};
use peerage_content::car::{
    self, CarError, Event, Fault, HeaderFault, IndexEntry, IndexError, IndexFault, Options, Part, Reader,
    VarintError,
};
use peerage_content::limits::{BLOCK_MAX, CAR_BUFFER, CAR_HEADER_MAX, CAR_ROOTS_MAX, CAR_SECTION_MAX};
use peerage_content::{Cid, Multihash, codec, hash};

const WHOLE: Options = Options { zero_ends: false, index: true };

fn block(content: &[u8]) -> (Cid, Bytes) {
    let cid = Cid::new_v1(codec::RAW, hash::digest(hash::SHA2_256, content).unwrap());
    (cid, Bytes::copy_from_slice(content))
}

fn old_block(content: &[u8]) -> (Cid, Bytes) {
    let cid = Cid::new_v0(hash::digest(hash::SHA2_256, content).unwrap()).unwrap();
    (cid, Bytes::copy_from_slice(content))
}

fn small() -> (Vec<Cid>, Vec<(Cid, Bytes)>) {
    let blocks = vec![block(b""), block(b"x"), old_block(&[7; 200]), block(b"x")];
    (vec![blocks[1].0, blocks[2].0], blocks)
}

/// A version 2 with padding and an index, and the offsets of both.
fn small_v2() -> (Vec<u8>, u64, u64) {
    let (roots, blocks) = small();
    let data = write(&roots, &blocks);
    let (start, end) = (60, 60 + data.len() as u64);
    let entries = read(&data, WHOLE).sections.into_iter().map(|section| {
        let hash = section.cid.hash();
        (hash.code(), hash.digest().to_vec(), section.offset)
    });
    let index = write_index(entries.collect());
    ([&v2_head(start, end - start, end + 5)[..], &[9; 9], &data, &[9; 5], &index].concat(), end, end + 5)
}

fn fails(bytes: &[u8], offset: u64, fault: Fault) {
    assert_eq!(read(bytes, WHOLE).end, Err(CarError { offset, fault }));
    assert_eq!(read_by(bytes, WHOLE, &[1]).end, Err(CarError { offset, fault }));
}

#[test]
fn a_version_1_cut_anywhere() {
    let (roots, blocks) = small();
    let bytes = write(&roots, &blocks);
    let whole = read(&bytes, WHOLE);
    assert_eq!((whole.end, whole.sections.len()), (Ok(()), 4));
    let starts: Vec<_> = whole.sections.iter().map(|section| section.offset).collect();
    for cut in 0..bytes.len() {
        let parsed = read(&bytes[..cut], WHOLE);
        let cut = cut as u64;
        let error = |offset, part| Err(CarError { offset, fault: Fault::Cut(part) });
        let end = match starts.iter().rposition(|&start| start <= cut) {
            None => error(0, Part::Header),
            // Between two sections nobody can see that it is cut.
            Some(at) if starts[at] == cut => Ok(()),
            Some(at) => error(starts[at], Part::Section),
        };
        let count = starts.iter().filter(|&&start| start < cut).count();
        let sections = whole.sections[..count - usize::from(end.is_err() && count > 0)].to_vec();
        let header = whole.header.clone().filter(|_| cut >= starts[0]);
        assert_eq!(parsed, Parsed { header, sections, index: Vec::new(), end }, "{cut}");
    }
}

#[test]
fn a_version_2_cut_anywhere() {
    let (bytes, data_end, index_at) = small_v2();
    let whole = read(&bytes, WHOLE);
    assert_eq!(whole.end, Ok(()));
    assert_eq!(index_entries(&whole.index, index_at), Ok(4));
    let starts: Vec<_> = whole.sections.iter().map(|section| section.offset).collect();
    for cut in 0..bytes.len() {
        let parsed = read(&bytes[..cut], WHOLE);
        let without_index = read(&bytes[..cut], Options::default());
        let cut = cut as u64;
        let error = |offset, part| Err(CarError { offset, fault: Fault::Cut(part) });
        let end = match cut {
            0..11 => error(0, Part::Header),
            11..51 => error(11, Part::HeaderV2),
            51..60 => error(cut, Part::Padding),
            _ if cut < starts[0] => error(60, Part::Header),
            _ if cut < data_end => match starts.iter().rfind(|&&start| start <= cut) {
                Some(&start) if start < cut => error(start, Part::Section),
                _ => error(cut, Part::Data),
            },
            _ if cut < index_at => error(cut, Part::Padding),
            _ => Ok(()),
        };
        assert_eq!(parsed.end, end, "{cut}");
        assert_eq!(without_index.end, if cut < data_end { end } else { Ok(()) }, "{cut}");
        let ends = starts[1..].iter().chain([&data_end]);
        let count = ends.filter(|&&end| end <= cut).count();
        assert_eq!(parsed.sections[..], whole.sections[..count], "{cut}");
        assert_eq!(without_index.sections, parsed.sections, "{cut}");
        if end.is_ok() {
            let fault = IndexFault::Cut;
            assert_eq!(index_entries(&parsed.index, index_at), Err(IndexError { offset: cut, fault }));
        }
    }
}

#[test]
fn any_byte_changed() {
    let (roots, blocks) = small();
    for (bytes, index_at) in [(write(&roots, &blocks), None), {
        let (bytes, _, index_at) = small_v2();
        (bytes, Some(index_at))
    }] {
        for at in 0..bytes.len() {
            for mask in (0..8).map(|bit| 1 << bit).chain([0xff]) {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                let parsed = read(&changed, WHOLE);
                assert!(exact(&changed, &parsed), "{at} {mask:x}");
                assert_eq!(read_by(&changed, WHOLE, &[1]), parsed, "{at} {mask:x}");
                if let Some(index_at) = index_at {
                    // Whatever it says, it says so without a panic.
                    let _ = index_entries(&parsed.index, index_at);
                }
            }
        }
    }
}

#[test]
fn headers_that_cannot_be() {
    let eleven = [0xff; 11];
    let gib = b"\x80\x80\x80\x80\x04"; // 2^30
    fails(&eleven, 0, Fault::Length(VarintError::TooLong));
    fails(b"\x91\x00", 0, Fault::Length(VarintError::NotMinimal));
    fails(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 0, Fault::Length(VarintError::Overflow));
    fails(gib, 0, Fault::HeaderTooLarge(1 << 30));
    fails(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 0, Fault::HeaderTooLarge(u64::MAX));
    fails(b"\0", 1, Fault::Header(HeaderFault::Cut));
    fails(b"", 0, Fault::Cut(Part::Header));
    fails(b"<!DOCTYPE html><html>", 0, Fault::Cut(Part::Header));
    fails(b"\x05hello", 1, Fault::Header(HeaderFault::NotAMap));
    fails(b"\x0a\xa1\x67version\x00", 0, Fault::Version(0));
    fails(b"\x0a\xa1\x67version\x03", 0, Fault::Version(3));
    fails(b"\x0b\xa1\x67version\x18\x02", 0, Fault::Pragma);
    fails(b"\x11\xa2\x65roots\x80\x67version\x02", 0, Fault::Pragma);

    let root = block(b"x").0;
    let most = car::header(&vec![root; CAR_ROOTS_MAX]);
    let parsed = read(&most, WHOLE);
    assert_eq!((parsed.end, parsed.roots().len()), (Ok(()), CAR_ROOTS_MAX));
    let more = car::header(&vec![root; CAR_ROOTS_MAX + 1]);
    fails(&more, 3 + 7, Fault::Header(HeaderFault::TooManyRoots));
    let largest = vec![root; CAR_HEADER_MAX / 41 + 1];
    let len = car::header(&largest).len() - 3;
    fails(&car::header(&largest), 0, Fault::HeaderTooLarge(len as u64));
    // A header that is cut in the middle of its claim.
    fails(&most[..most.len() - 1], 0, Fault::Cut(Part::Header));
}

/// A header and a section with this length and body.
fn section(len: u64, body: &[u8]) -> Vec<u8> {
    let mut buffer = unsigned_varint::encode::u64_buffer();
    [HEADER, unsigned_varint::encode::u64(len, &mut buffer), body].concat()
}

#[test]
fn sections_that_cannot_be() {
    let at = HEADER.len() as u64;
    fails(&[HEADER, &[0xff; 11]].concat(), at, Fault::Length(VarintError::TooLong));
    fails(&[HEADER, b"\xa5\x00"].concat(), at, Fault::Length(VarintError::NotMinimal));
    // Ten bytes whose low 64 bits are 0, which is no null padding.
    let overflow = [HEADER, &[0x80; 9], &[2]].concat();
    fails(&overflow, at, Fault::Length(VarintError::Overflow));
    for len in [u64::MAX, 1 << 63, 1 << 32, CAR_SECTION_MAX as u64 + 1] {
        fails(&section(len, b""), at, Fault::SectionTooLarge(len));
    }
    fails(&section(0, b""), at, Fault::EmptySection);
    let cid = block(b"x").0.to_bytes();
    for len in 1..cid.len() {
        fails(&section(len as u64, &cid), at, Fault::SectionTooShort);
    }
    assert_eq!(read(&section(cid.len() as u64, &cid), WHOLE).end, Ok(()));
    for body in [
        &[0, 0x55, 0x12, 0][..],            // version 0, spelt out
        &[2, 0x55, 0x12, 0],                // version 2
        &[1, 0xd5, 0x00, 0x12, 0],          // a codec that is not minimal
        &[1, 0x55, 0x12, 0xff, 0xff, 0x03], // a digest of 65,535 bytes
        &[1, 0x55, 0, 0x81, 0x01],          // identity, 129 bytes
        // Codec 2^63, and a hash function of that number: one more than any CID has.
        &[&[1][..], &[0x80; 9], &[1, 0, 0]].concat()[..],
        &[&[1, 0x55][..], &[0x80; 9], &[1, 0]].concat()[..],
    ] {
        fails(&section(body.len() as u64, body), at, Fault::Cid);
    }
    let identity = Cid::new_v1(codec::RAW, Multihash::wrap(0, &[5; 128]).unwrap());
    let parsed = read(&write(&[], &[(identity, vec![5; 128].into())]), WHOLE);
    assert_eq!((parsed.end, parsed.sections[0].cid), (Ok(()), identity));
}

#[test]
fn the_largest_block_is_read_and_a_larger_one_is_not() {
    let (cid, _) = block(b"x");
    let blocks = |len| vec![(cid, Bytes::from(vec![3; len])), block(b"y")];
    let parsed = read(&write(&[], &blocks(BLOCK_MAX)), WHOLE);
    assert_eq!((parsed.end, parsed.sections.len()), (Ok(()), 2));
    assert_eq!(parsed.sections[0].data, vec![3; BLOCK_MAX]);
    let larger = write(&[], &blocks(BLOCK_MAX + 1));
    let fault = Fault::SectionTooLarge(BLOCK_MAX as u64 + 1 + 36);
    assert_eq!(read(&larger, WHOLE).end, Err(CarError { offset: 18, fault }));
    // Known before the block has come.
    assert_eq!(read(&larger[..300], WHOLE).end, Err(CarError { offset: 18, fault }));
    let cut = write(&[], &blocks(BLOCK_MAX));
    fails(&cut[..BLOCK_MAX], 18, Fault::Cut(Part::Section));
}

#[test]
fn offsets_that_cannot_be() {
    let data = write(&[], &[block(b"x")]);
    let len = data.len() as u64;
    let max = i64::MAX as u64;
    for (head, offset, fault) in [
        ((0, 0, 0), 27, Fault::DataOffset(0)), // a file that go-car did not finish
        ((50, len, 0), 27, Fault::DataOffset(50)),
        ((u64::MAX, len, 0), 27, Fault::DataOffset(u64::MAX)),
        ((u64::MAX - 5, 6, 0), 27, Fault::DataOffset(u64::MAX - 5)),
        ((max + 1, 1, 0), 27, Fault::DataOffset(max + 1)),
        ((51, 0, 51), 35, Fault::DataSize(0)),
        ((51, u64::MAX, 0), 35, Fault::DataSize(u64::MAX)),
        ((51, u64::MAX - 50, 0), 35, Fault::DataSize(u64::MAX - 50)),
        ((max, 1, 0), 35, Fault::DataSize(1)),
        ((51, len, 50 + len), 43, Fault::IndexOffset(50 + len)),
        ((51, len, 1), 43, Fault::IndexOffset(1)),
        ((51, len, u64::MAX), 43, Fault::IndexOffset(u64::MAX)),
    ] {
        let bytes = [&v2_head(head.0, head.1, head.2), &data[..]].concat();
        fails(&bytes, offset, fault);
        // Where an index is nobody needs to know who does not read it.
        let without = read(&bytes, Options::default());
        match fault {
            Fault::IndexOffset(_) => assert_eq!((without.end, without.sections.len()), (Ok(()), 1)),
            _ => assert_eq!(without.end, Err(CarError { offset, fault })),
        }
    }
    let whole = [&v2_head(51, len, 51 + len), &data[..]].concat();
    let parsed = read(&whole, WHOLE);
    assert_eq!((parsed.end, parsed.sections.len(), parsed.index.len()), (Ok(()), 1, 0));
}

#[test]
fn data_that_does_not_fit_its_size() {
    let data = write(&[], &[block(b"x"), block(b"y")]);
    let len = data.len() as u64;
    let v2 = |size, index, rest: &[u8]| [&v2_head(51, size, index), &data[..], rest].concat();
    let second = 51 + 18 + 38;
    fails(&v2(10, 0, b""), 51, Fault::BeyondData(Part::Header));
    fails(&v2(18 + 20, 0, b""), 51 + 18, Fault::BeyondData(Part::Section));
    fails(&v2(len - 1, 0, b""), second, Fault::BeyondData(Part::Section));
    // The size ends inside of a length of two bytes.
    let long = write(&[], &[block(&[0; 200])]);
    fails(&[&v2_head(51, 19, 0), &long[..]].concat(), 51 + 18, Fault::BeyondData(Part::Section));

    fails(&v2(len + 1, 0, b""), 51 + len, Fault::Cut(Part::Data));
    fails(&v2(len + 1, 0, b"\0"), 51 + len, Fault::EmptySection);
    fails(&v2(len, 0, b"\0\0\x01"), 51 + len + 2, Fault::Trailing);
    assert_eq!(read(&v2(len, 0, &[0; 70_000]), WHOLE).end, Ok(()));
    assert_eq!(read(&v2(len, 0, b"more"), Options::default()).end, Ok(()));

    let inner = |inner: &[u8]| [&v2_head(51, inner.len() as u64, 0), inner].concat();
    fails(&inner(b"\x0a\xa1\x67version\x02"), 51, Fault::InnerVersion(2));
    fails(&inner(b"\x0a\xa1\x67version\x00"), 51, Fault::InnerVersion(0));
    fails(&inner(&[0xff; 11]), 51, Fault::Length(VarintError::TooLong));
}

#[test]
fn null_padding_is_only_zeros() {
    let data = write(&[], &[block(b"x")]);
    let len = data.len() as u64;
    let zero_ends = Options { zero_ends: true, index: true };
    let end = |bytes: &[u8]| read(bytes, zero_ends).end;
    assert_eq!(end(&[&data[..], &[0; 100_000]].concat()), Ok(()));
    // Blocks behind a zero are not lost without a word.
    let again = [&data[..], &[0, 0], &data[18..]].concat();
    assert_eq!(end(&again), Err(CarError { offset: len + 2, fault: Fault::Trailing }));

    let v2 = |size, rest: &[u8]| [&v2_head(51, size, 0), &data[..], rest].concat();
    assert_eq!(end(&v2(len + 9, &[0; 9])), Ok(()));
    assert_eq!(end(&v2(len + 9, &[0; 12])), Ok(()));
    let cut = CarError { offset: 51 + len + 8, fault: Fault::Cut(Part::Data) };
    assert_eq!(end(&v2(len + 9, &[0; 8])), Err(cut));
    let filled = CarError { offset: 51 + len + 3, fault: Fault::Trailing };
    assert_eq!(end(&v2(len + 9, b"\0\0\0\x01\0\0\0\0\0")), Err(filled));
}

#[test]
fn endless_padding_takes_no_memory() {
    let mut reader = Reader::new(WHOLE);
    reader.feed(&v2_head(1 << 50, 100, 0));
    for _ in 0..100 {
        assert_eq!(reader.next(), Ok(None));
        let len = reader.space().len();
        assert_eq!(len, CAR_BUFFER);
        reader.filled(len);
    }
    reader.finish();
    let offset = 51 + 100 * CAR_BUFFER as u64;
    assert_eq!(reader.next(), Err(CarError { offset, fault: Fault::Cut(Part::Padding) }));
}

#[test]
fn indexes_that_cannot_be() {
    fn le(width: u32, len: u64, rest: &[u8]) -> Vec<u8> {
        [&b"\x80\x08\x01\0\0\0"[..], &width.to_le_bytes(), &len.to_le_bytes(), rest].concat()
    }
    use IndexFault as F;
    for (bytes, offset, fault) in [
        (vec![], 0, F::Cut),
        (vec![0xff; 11], 0, F::Number(VarintError::TooLong)),
        (b"\x82\x08".to_vec(), 0, F::Format(0x402)),
        (b"\x80\x08\xff\xff\xff\xff".to_vec(), 2, F::Count(u32::MAX)),
        (b"\x81\x08\0\0\0\x80".to_vec(), 2, F::Count(1 << 31)),
        (b"\x81\x08\x01\0\0\0\x12\0\0\0\0\0\0\0\xff\xff\xff\xff".to_vec(), 14, F::Count(u32::MAX)),
        (le(7, 7, b""), 6, F::Width(7)),
        (le(0, 0, b""), 6, F::Width(0)),
        (le(137, 137, b""), 6, F::Width(137)),
        (le(u32::MAX, 0, b""), 6, F::Width(u32::MAX)),
        (le(40, 41, b""), 10, F::Length { len: 41, width: 40 }),
        (le(8, 1 << 63, b""), 10, F::Length { len: 1 << 63, width: 8 }),
        (le(9, 18, b"b\0\0\0\0\0\0\0\0a\0\0\0\0\0\0\0\0"), 27, F::Order),
        (le(9, 9, b"b\0\0\0\0\0\0\0\0a"), 27, F::Trailing),
        (le(9, 18, b"b\0\0\0\0\0\0\0\0"), 27, F::Cut),
        (le(40, 40 << 50, b""), 18, F::Cut),
    ] {
        assert_eq!(index_entries(&bytes, 0), Err(IndexError { offset, fault }), "{bytes:x?}");
    }
    assert_eq!(index_entries(&le(9, 18, b"b\0\0\0\0\0\0\0\0b\0\0\0\0\0\0\0\0"), 0), Ok(2));
    assert_eq!(index_entries(&le(9, 0, b""), 0), Ok(0));
    assert_eq!(index_entries(b"\x81\x08\0\0\0\0", 0), Ok(0));
}

#[test]
fn an_index_entry_names_a_hash() {
    let (cid, _) = block(b"x");
    let digest = cid.hash().digest();
    let entry = |code, digest| IndexEntry { code, digest, offset: 0 };
    assert!(entry(Some(hash::SHA2_256), digest).matches(&cid));
    assert!(entry(None, digest).matches(&cid));
    assert!(!entry(Some(0x1e), digest).matches(&cid));
    assert!(!entry(None, &digest[..31]).matches(&cid));
}

#[test]
fn a_reader_that_is_misused_stays_sane() {
    let bytes = write(&[], &[block(b"x")]);
    let mut reader = Reader::new(WHOLE);
    reader.feed(&bytes);
    reader.filled(0);
    assert!(matches!(reader.next(), Ok(Some(Event::Header(_)))));
    reader.finish();
    assert!(matches!(reader.next(), Ok(Some(Event::Block { .. }))));
    assert_eq!((reader.space().len(), reader.feed(b"more")), (0, 0));
    assert_eq!(reader.next(), Ok(Some(Event::End)));
}
