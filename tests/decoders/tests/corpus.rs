//! Every input that is kept, through its decoder; and that each decoder has some.

use std::collections::BTreeSet;
use std::fs;

use peerage_decoders::{corpus, decoders};

/// Fewest inputs of a decoder: those that it began with and what came of them.
const FEW: usize = 2;
/// Bytes of one input, and of all: they are cloned with the repository.
const INPUT_MAX: u64 = 16 * 1024;
const CORPUS_MAX: u64 = 3 << 20;

#[test]
fn every_input_is_decoded_without_a_panic() {
    let mut total = 0;
    for decoder in decoders() {
        let folder = corpus(decoder.name);
        let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let (mut inputs, mut meant) = (0, 0);
        for file in files {
            let path = file.unwrap().path();
            let input = fs::read(&path).unwrap();
            assert!(input.len() as u64 <= INPUT_MAX, "{} is too large", path.display());
            // Said before, so that a panic comes with its input.
            eprintln!("{}", path.display());
            inputs += 1;
            meant += usize::from((decoder.run)(&input));
            total += input.len() as u64;
        }
        assert!(inputs >= FEW, "{} has {inputs} inputs", folder.display());
        assert!(meant > 0, "no input of {} means anything", decoder.name);
    }
    assert!(total <= CORPUS_MAX, "a corpus of {total} bytes");
}

#[test]
fn names_are_unique_and_each_folder_is_of_a_decoder() {
    let names: BTreeSet<&str> = decoders().map(|decoder| decoder.name).collect();
    assert_eq!(names.len(), decoders().count(), "two decoders of one name");
    let word = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    assert!(names.iter().all(word), "{names:?}");
    for folder in fs::read_dir(corpus("")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&*name), "fuzz/corpus/{name} is of no decoder");
    }
}
