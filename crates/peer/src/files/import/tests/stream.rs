//! What is read to its end: pipes, and files whose size is not what they hold.

use std::io::Write as _;

use peerage_content::Chunker;

use super::*;
use crate::files::import::import_stream;

fn streamed(content: &[u8], options: &ImportOptions, target: &Target) -> Imported {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let content = content.to_vec();
    let writing = std::thread::spawn(move || writer.write_all(&content));
    let file = File::from(std::os::fd::OwnedFd::from(reader));
    let workers = Inline(Cell::new(0), |_| ());
    let none = AtomicBool::new(false);
    let mut imported =
        import_stream(file, Some("name".to_owned()), options, target, &workers, &|_| {}, &none).unwrap();
    writing.join().unwrap().unwrap();
    imported.pop().unwrap()
}

#[test]
fn a_pipe_gives_the_file_that_it_would_be_on_disk() {
    for ImportOptions { mut profile, .. } in both() {
        for (chunker, lens) in [
            (profile.chunker, &[0, 1, 262_144, 1 << 20, (1 << 20) + 1, 5_000_000][..]),
            (Chunker::Size(1000), &[999, 1000, 1001, 3_000_000]),
            (Chunker::Size(2_000_000), &[1_999_999, 2_000_000, 2_000_001]),
            ("rabin".parse().unwrap(), &[0, 10_000, 3_000_000]),
        ] {
            profile.chunker = chunker;
            let options = ImportOptions { profile: profile.clone(), ..ImportOptions::default() };
            for len in lens {
                let dir = tempfile::tempdir().unwrap();
                let (path, content) = (dir.path().join("file"), bytes(*len));
                fs::write(&path, &content).unwrap();
                let want = one(&path, &options, &Target::OnlyHash);
                let store = open_store(dir.path());
                for target in [Target::OnlyHash, Target::Copy(store.clone())] {
                    let got = streamed(&content, &options, &target);
                    assert_eq!(
                        (got.cid, got.size, got.dag_size),
                        (want.cid, want.size, want.dag_size),
                        "{chunker:?} {len}"
                    );
                    assert_eq!((got.name.as_deref(), got.paths.len()), (Some("name"), 0));
                    if target.store().is_some() {
                        assert_eq!(blocks(&store, &got).values().sum::<usize>() as u64, got.dag_size);
                    }
                }
            }
        }
    }
}

#[test]
fn a_pipe_that_says_nothing_can_be_given_up() {
    let (reader, _writer) = std::io::pipe().unwrap();
    let file = File::from(std::os::fd::OwnedFd::from(reader));
    let workers = Inline(Cell::new(0), |_| ());
    let (options, cancelled) = (ImportOptions::default(), AtomicBool::new(true));
    let result = import_stream(file, None, &options, &Target::OnlyHash, &workers, &|_| {}, &cancelled);
    assert!(matches!(result, Err(ImportError::Cancelled)), "{result:?}");
}

/// The kernel says 0 bytes of it, and gives a line.
#[test]
fn a_file_whose_size_is_a_lie_is_read_to_its_end_or_refused() {
    let path = Path::new("/proc/version");
    let content = fs::read(path).unwrap();
    assert!(fs::metadata(path).unwrap().len() == 0 && !content.is_empty());
    let dir = tempfile::tempdir().unwrap();
    let store = open_store(dir.path());
    let options = ImportOptions::default();
    let (cid, tsize) = file_cid(&options.profile, &content);
    for target in [Target::OnlyHash, Target::Copy(store.clone())] {
        let imported = one(path, &options, &target);
        assert_eq!((imported.cid, imported.size), (cid, content.len() as u64));
        assert_eq!(imported.dag_size, tsize);
    }
    let error = run(&[path], &options, &by_reference(&store)).unwrap_err();
    assert!(matches!(error, ImportError::Size { .. }), "{error}");
    assert!(error.to_string().contains("copy it into a file first"), "{error}");
    // Behind a symlink that is followed, too.
    let link = dir.path().join("link");
    symlink(path, &link).unwrap();
    assert_eq!(one(&link, &options, &Target::OnlyHash).cid, cid);
}
