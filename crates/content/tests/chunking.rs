//! Properties of chunkers: cuts depend on the content alone, chunks are what
//! the parameters say, and together they are the file.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use common::keystream;
use peerage_content::{Chunker, Splitter};
use proptest::collection::vec;
use proptest::prelude::*;

fn chunkers() -> impl Strategy<Value = Chunker> {
    let rabin = (16..200_usize, 1..5000_usize, 1..5000_usize).prop_map(|(min, avg, max)| Chunker::Rabin {
        min,
        avg: min + avg,
        max: min + avg + max,
    });
    prop_oneof![
        2 => (1..9000_usize).prop_map(Chunker::Size),
        4 => rabin,
        1 => Just("rabin".parse().unwrap()),
        2 => Just(Chunker::Buzhash),
    ]
}

/// Noise and runs of one byte, in which no chunker of content finds a cut.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        3 => (any::<u32>(), 0..400_000_usize).prop_map(|(seed, len)| keystream(&seed.to_string(), len)),
        1 => (any::<u8>(), 0..600_000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ];
    vec(part, 0..4).prop_map(|parts| parts.concat())
}

/// Lengths of the chunks when the whole file is there at once.
fn cut(chunker: Chunker, content: &[u8]) -> Vec<usize> {
    let mut splitter = Splitter::new(chunker);
    let mut rest = content;
    let mut lens = Vec::new();
    while let Some(len) = splitter.next_cut(rest, true) {
        lens.push(len);
        rest = &rest[len..];
    }
    lens
}

fn bounds(chunker: Chunker) -> (usize, usize) {
    match chunker {
        Chunker::Size(size) => (size, size),
        Chunker::Rabin { min, max, .. } => (min, max),
        Chunker::Buzhash => (128 * 1024, 512 * 1024),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunks_are_the_file_and_within_bounds(chunker in chunkers(), content in contents()) {
        let lens = cut(chunker, &content);
        prop_assert_eq!(lens.iter().sum::<usize>(), content.len());
        let (min, max) = bounds(chunker);
        prop_assert_eq!(max, chunker.max_len());
        if let Some((last, others)) = lens.split_last() {
            prop_assert!((1..=max).contains(last), "{last}");
            prop_assert!(others.iter().all(|len| (min..=max).contains(len)), "{lens:?}");
            if let Some(size) = chunker.fixed_len() {
                prop_assert!(others.iter().all(|&len| len == size));
            }
        }
    }

    #[test]
    fn cuts_do_not_depend_on_how_the_window_grows(
        chunker in chunkers(),
        content in contents(),
        steps in vec(0..70_000_usize, 1..20),
    ) {
        let mut splitter = Splitter::new(chunker);
        let (mut start, mut end) = (0, 0);
        let mut lens = Vec::new();
        let mut steps = steps.iter().cycle();
        loop {
            let at_end = end == content.len();
            match splitter.next_cut(&content[start..end], at_end) {
                Some(len) => {
                    lens.push(len);
                    start += len;
                }
                None if at_end => break,
                // Enough bytes for the longest chunk always tell.
                None => {
                    prop_assert!(end - start < chunker.max_len());
                    end = content.len().min(end + 1 + steps.next().unwrap());
                }
            }
        }
        prop_assert_eq!(lens, cut(chunker, &content));
    }

    /// Neither parameters that no text gives nor windows that do not follow
    /// from one another make it panic, or cut what is not there.
    #[test]
    fn no_use_makes_a_splitter_panic(
        chunker in prop_oneof![
            any::<usize>().prop_map(Chunker::Size),
            (0..60_usize, any::<usize>(), 0..9000_usize)
                .prop_map(|(min, avg, max)| Chunker::Rabin { min, avg, max }),
            any::<(usize, usize, usize)>().prop_map(|(min, avg, max)| Chunker::Rabin { min, avg, max }),
            Just(Chunker::Size(0)),
            Just(Chunker::Buzhash),
        ],
        content in contents(),
        windows in vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<bool>()), 0..40),
    ) {
        let mut splitter = Splitter::new(chunker);
        for (a, b, at_end) in windows {
            let (a, b) = (a.index(content.len() + 1), b.index(content.len() + 1));
            let window = &content[a.min(b)..a.max(b)];
            match splitter.next_cut(window, at_end) {
                Some(len) => prop_assert!((1..=window.len()).contains(&len), "{len} of {}", window.len()),
                None => prop_assert!(!at_end || window.is_empty()),
            }
        }
    }

    /// Cuts that the content makes come again after something was put before it.
    #[test]
    fn cuts_of_content_are_found_again(
        seed in any::<u32>(),
        before in 1..5000_usize,
        shift in 5..11_u32,
    ) {
        let chunker = Chunker::Rabin { min: 16, avg: 1 << shift, max: 1 << 20 };
        let content = keystream(&seed.to_string(), 60_000);
        let moved = [&vec![0; before], &content[..]].concat();
        let ends = |content: &[u8], less: usize| -> Vec<usize> {
            let sums = cut(chunker, content).into_iter().scan(0, |sum, len| {
                *sum += len;
                Some(*sum)
            });
            sums.filter_map(|end| end.checked_sub(less)).collect()
        };
        let (plain, moved) = (ends(&content, 0), ends(&moved, before));
        let again = plain.iter().filter(|end| moved.contains(end)).count();
        prop_assert!(again * 2 > plain.len(), "{again} of {}", plain.len());
    }
}
