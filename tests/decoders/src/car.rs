//! `peerage-content`: CAR files and their indexes.

use peerage_content::car::{self, CarError, Event, Header, Index, IndexError, Options, Reader};
use peerage_content::{Cid, Leaf, Profile, limits};

use crate::Decoder;
use crate::input::{Cuts, however_cut};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder { name: "car", run: |input| read(input, Options::default()), seeds: car_seeds },
    Decoder {
        name: "car-whole",
        run: |input| read(input, Options { zero_ends: true, index: true }),
        seeds: car_seeds,
    },
    Decoder { name: "car-index", run: index, seeds: index_seeds },
];

/// What a CAR came to: its header, its blocks, and how it ended.
type Read = (Option<Header>, Vec<(Cid, Vec<u8>, u64)>, Vec<u8>, Result<(), CarError>);

fn read(input: &[u8], options: Options) -> bool {
    let (header, blocks, _, end) = however_cut(input, |pieces| read_pieces(pieces, options));
    if let (Some(header), Ok(())) = (&header, &end)
        && header.v2.is_none()
    {
        // The same once more, in the form that we write.
        let mut bytes = car::header(&header.roots);
        for (cid, data, _) in &blocks {
            bytes.extend(car::section_head(cid, data.len()));
            bytes.extend_from_slice(data);
        }
        let (again, more, _, end) = read_pieces(&mut std::iter::once(&bytes[..]), Options::default());
        assert_eq!((again.as_ref(), end), (Some(header), Ok(())));
        assert!(
            more.iter().map(|(cid, data, _)| (cid, data)).eq(blocks.iter().map(|(cid, data, _)| (cid, data)))
        );
    }
    header.is_some()
}

fn read_pieces(pieces: &mut dyn Iterator<Item = &[u8]>, options: Options) -> Read {
    let mut reader = Reader::new(options);
    let mut out: Read = (None, Vec::new(), Vec::new(), Ok(()));
    let mut piece: &[u8] = &[];
    loop {
        match reader.next() {
            Err(error) => {
                assert_eq!(reader.next(), Err(error), "an error stays");
                out.3 = Err(error);
                return out;
            }
            Ok(Some(Event::End)) => return out,
            Ok(Some(Event::Header(header))) => {
                assert!(out.0.is_none() && header.roots.len() <= limits::CAR_ROOTS_MAX);
                out.0 = Some(header);
            }
            Ok(Some(Event::Block { cid, data, offset })) => {
                assert!(out.0.is_some() && data.len() <= limits::BLOCK_MAX);
                out.1.push((cid, data.to_vec(), offset));
            }
            Ok(Some(Event::Index { data, .. })) => out.2.extend_from_slice(&data),
            Ok(None) => {
                if piece.is_empty() {
                    piece = pieces.next().unwrap_or_default();
                }
                if piece.is_empty() {
                    reader.finish();
                } else {
                    let taken = reader.feed(piece);
                    assert!(taken > 0, "there is room when more is needed");
                    piece = &piece[taken..];
                }
            }
        }
    }
}

fn car_seeds() -> Vec<Vec<u8>> {
    let leaf = Leaf::new(&Profile::default(), b"hello world");
    let section = [&car::section_head(&leaf.cid, 11)[..], b"hello world"].concat();
    let v1 = [&car::header(&[leaf.cid])[..], &section, &section].concat();
    let mut v2 = b"\x0a\xa1\x67version\x02".to_vec();
    v2.extend([0; 16]);
    let index_at = 51 + v1.len() as u64;
    for number in [51, v1.len() as u64, index_at] {
        v2.extend(number.to_le_bytes());
    }
    v2.extend_from_slice(&v1);
    v2.extend(&index_seeds()[0][3..]);
    let cut = v1[..v1.len() - 3].to_vec();
    [v1, v2, cut, car::header(&[])].iter().map(|car| Cuts::seed([1, 7, 32], car)).collect()
}

/// Entries of an index, and how it ended.
fn index(input: &[u8]) -> bool {
    type Entries = (Vec<(Option<u64>, Vec<u8>, u64)>, Result<(), IndexError>);
    let (entries, end): Entries = however_cut(input, |pieces| {
        let (mut index, mut entries) = (Index::new(51), Vec::new());
        for mut piece in pieces {
            loop {
                match index.next(&mut piece) {
                    Ok(None) => break,
                    Ok(Some(entry)) => entries.push((entry.code, entry.digest.to_vec(), entry.offset)),
                    Err(error) => return (entries, Err(error)),
                }
            }
        }
        let end = index.finish();
        (entries, end)
    });
    assert!(entries.iter().all(|(_, digest, _)| digest.len() <= limits::IDENTITY_MAX));
    end.is_ok() || !entries.is_empty()
}

fn index_seeds() -> Vec<Vec<u8>> {
    let sorted = b"\x80\x08\x01\0\0\0\x0a\0\0\0\x0a\0\0\0\0\0\0\0\xab\xcd\x3b\0\0\0\0\0\0\0";
    let by_hash = b"\x81\x08\x01\0\0\0\x12\0\0\0\0\0\0\0\x01\0\0\0\x0a\0\0\0\x0a\0\0\0\0\0\0\0\xab\xcd\x3b\0\0\0\0\0\0\0";
    vec![Cuts::seed([1, 5, 32], sorted), Cuts::seed([2, 3, 32], by_hash)]
}
