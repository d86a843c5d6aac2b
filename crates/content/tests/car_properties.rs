//! CARs: what is written reads back, in pieces of any size, and no bytes make
//! a reader panic or pass anything over.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use bytes::Bytes;
use common::car::{HEADER, exact, index_entries, read, read_by, v2_head, write, write_index};
use peerage_content::car::{self, Index, Options};
use peerage_content::limits::VARINT_MAX;
use peerage_content::{Cid, Multihash, cid_text, codec, hash};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index as Pick, select};

const WHOLE: Options = Options { zero_ends: false, index: true };

fn cids() -> impl Strategy<Value = Cid> {
    let codes = select(vec![codec::RAW, codec::DAG_PB, codec::DAG_CBOR, VARINT_MAX]);
    let hashes = select(vec![hash::IDENTITY, hash::SHA2_256, 0x1e, VARINT_MAX]);
    (codes, hashes, vec(any::<u8>(), 0..=128), any::<bool>()).prop_map(|(codec, code, digest, old)| {
        let cid = Cid::new_v1(codec, Multihash::wrap(code, &digest).unwrap());
        if old { cid_text::to_v0(&cid).unwrap_or(cid) } else { cid }
    })
}

fn blocks() -> impl Strategy<Value = Vec<(Cid, Bytes)>> {
    // Around the sizes at which a block stops waiting in the buffer.
    let sizes = prop_oneof![8 => 0..300_usize, 2 => 32_000..33_500_usize, 1 => 60_000..200_000_usize];
    let data = (any::<u8>(), sizes).prop_map(|(byte, size)| Bytes::from(vec![byte; size]));
    vec((cids(), data), 0..20)
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while number > 0x7f {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
    out
}

/// A number, which may be too large for a CID, or not in its shortest form.
fn numbers() -> impl Strategy<Value = Vec<u8>> {
    let known =
        select(vec![0, 1, hash::SHA2_256, codec::RAW, 127, 128, VARINT_MAX, VARINT_MAX + 1, u64::MAX]);
    (prop_oneof![known, 0..140_u64, any::<u64>()], 0..20_u8).prop_map(|(number, form)| {
        let mut out = varint(number);
        if form == 0 {
            *out.last_mut().unwrap() |= 0x80;
            out.push(0);
        }
        out
    })
}

/// What is a CID or nearly one.
fn nearly_cids() -> impl Strategy<Value = Vec<u8>> {
    let made = (vec(numbers(), 4), vec(any::<u8>(), 0..140))
        .prop_map(|(numbers, digest)| [numbers.concat(), digest].concat());
    let version_1 = (numbers(), numbers(), vec(any::<u8>(), 0..=130)).prop_map(|(codec, code, digest)| {
        [vec![1], codec, code, varint(digest.len() as u64), digest].concat()
    });
    let changed = (cids(), any::<Pick>(), any::<u8>()).prop_map(|(cid, at, byte)| {
        let mut bytes = cid.to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![2 => made, 4 => version_1, 2 => changed, 1 => vec(any::<u8>(), 1..170)]
}

proptest! {
    /// A CAR has no CIDs that others of our decoders do not take, and lacks none.
    #[test]
    fn a_section_and_a_root_take_the_cids_that_are_any(bytes in nearly_cids()) {
        let cid = cid_text::from_bytes(&bytes);
        let parsed = read(&[HEADER, &varint(bytes.len() as u64), &bytes].concat(), WHOLE);
        let sections: Vec<Cid> = parsed.sections.iter().map(|section| section.cid).collect();
        let whole = parsed.sections.iter().all(|section| section.data.is_empty());
        prop_assert_eq!(cid.ok(), sections.first().copied().filter(|_| whole));
        for other in sections {
            prop_assert_eq!(cid_text::from_bytes(&other.to_bytes()), Ok(other));
        }
        let mut root = b"\xa2\x65roots\x81\xd8\x2a\x58".to_vec();
        root.extend_from_slice(&[u8::try_from(bytes.len()).unwrap() + 1, 0]);
        root.extend_from_slice(&bytes);
        root.extend_from_slice(b"\x67version\x01");
        let parsed = read(&[varint(root.len() as u64), root].concat(), WHOLE);
        prop_assert_eq!(parsed.header.map(|header| header.roots), cid.ok().map(|cid| vec![cid]));
        // What the `cid` crate reads is the same, where it drops nothing.
        if let Ok(theirs) = Cid::try_from(&bytes[..])
            && theirs.to_bytes() == bytes
            && theirs.codec() <= VARINT_MAX
            && theirs.hash().code() <= VARINT_MAX
        {
            prop_assert_eq!(cid, Ok(theirs));
        }
    }

    #[test]
    fn what_is_written_is_read(roots in vec(cids(), 0..30), blocks in blocks(), pieces in vec(1..70_000_usize, 1..9)) {
        let bytes = write(&roots, &blocks);
        let parsed = read_by(&bytes, WHOLE, &pieces);
        prop_assert_eq!(parsed.end, Ok(()));
        prop_assert_eq!(parsed.roots(), roots);
        let mut at = car::header(&parsed.roots()).len() as u64;
        prop_assert_eq!(parsed.sections.len(), blocks.len());
        for (section, (cid, data)) in parsed.sections.iter().zip(&blocks) {
            prop_assert_eq!((&section.cid, &section.data, section.offset), (cid, data, at));
            at += (car::section_head(cid, data.len()).len() + data.len()) as u64;
        }
    }

    #[test]
    fn pieces_make_no_difference(
        blocks in blocks(),
        pieces in vec(1..5000_usize, 1..20),
        cut in any::<Pick>(),
        changes in vec((any::<Pick>(), any::<u8>()), 0..3),
    ) {
        let data = write(&[], &blocks);
        let v2 = [&v2_head(70, data.len() as u64, 0)[..], &[1; 19], &data].concat();
        for mut bytes in [data, v2] {
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes.truncate(cut.index(2 * bytes.len()).max(1));
            for zero_ends in [false, true] {
                let options = Options { zero_ends, index: true };
                let parsed = read(&bytes, options);
                prop_assert!(exact(&bytes, &parsed));
                prop_assert_eq!(&read_by(&bytes, options, &pieces), &parsed);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..600), kind in 0..4) {
        let bytes = match kind {
            0 => bytes,
            1 => [HEADER, &bytes].concat(),
            2 => [&v2_head(51, 300, 400)[..], HEADER, &bytes].concat(),
            _ => [b"\x0a\xa1\x67version\x02".to_vec(), bytes].concat(),
        };
        let parsed = read(&bytes, WHOLE);
        prop_assert!(exact(&bytes, &parsed));
        prop_assert_eq!(read_by(&bytes, WHOLE, &[1, 3]), parsed);
    }

    #[test]
    fn indexes_round_trip(entries in vec((0..3_u64, vec(0..3_u8, 0..4), any::<u64>()), 0..50), junk in vec(any::<u8>(), 0..99)) {
        let bytes = write_index(entries.clone());
        let (mut index, mut read) = (Index::new(0), Vec::new());
        for mut piece in bytes.chunks(5) {
            while let Some(entry) = index.next(&mut piece).unwrap() {
                read.push((entry.code.unwrap(), entry.digest.to_vec(), entry.offset));
            }
        }
        prop_assert_eq!(index.finish(), Ok(()));
        let sorted = |mut list: Vec<_>| { list.sort(); list };
        prop_assert_eq!(sorted(read), sorted(entries));
        for start in [&b"\x80\x08\x01\0\0\0"[..], b"\x81\x08\x01\0\0\0", b""] {
            let _ = index_entries(&[start, &junk].concat(), u64::MAX - 50);
        }
    }
}
