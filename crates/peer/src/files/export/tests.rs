//! The way to the disk, with what stands at the destination.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use peerage_content::codec;
use peerage_content::hash;
use peerage_content::limits::BLOCK_MAX;
use peerage_content::unixfs::Mtime;
use peerage_engine::At;
use peerage_store::{Config, Durability};

use super::*;

struct Bench {
    _dir: tempfile::TempDir,
    dest: PathBuf,
    store: Store,
}

const ROOT: &[u8] = b"any root";

fn raw(bytes: &[u8]) -> Cid {
    Cid::new_v1(codec::RAW, hash::digest(0x12, bytes).unwrap())
}

fn names(path: &[&str]) -> Vec<String> {
    path.iter().map(|name| (*name).to_owned()).collect()
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&dir.path().join("repo"), Config::default()).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        Self { dest: dir.path().join("out/dest"), store, _dir: dir }
    }

    fn export(&self, overwrite: bool) -> Export {
        let destination =
            Destination { path: self.dest.clone(), folder: None, overwrite, unsafe_symlinks: false };
        Export::new(Claims::new(self.store.clone()), &raw(ROOT), destination).unwrap()
    }

    fn opened(&self, path: &Path) -> Result<Export, ExportError> {
        let destination =
            Destination { path: path.to_path_buf(), folder: None, overwrite: false, unsafe_symlinks: false };
        Export::new(Claims::new(self.store.clone()), &raw(ROOT), destination)
    }

    /// What is in the destination's folder, staging included.
    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dest.parent().unwrap()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn put(export: &Export, file: FileKey, offset: u64, bytes: &[u8], held: bool) -> Result<(), ExportError> {
    let block = Bytes::copy_from_slice(bytes);
    export.write(file, offset, &raw(bytes), &block, 0..bytes.len(), held)
}

/// Writes a whole file in pieces of four bytes.
fn file(export: &Export, key: u64, path: &[&str], bytes: &[u8]) -> Result<(), ExportError> {
    let key = FileKey(key);
    export.note_file(key, &names(path), bytes.len() as u64, Metadata::default());
    for (nth, piece) in bytes.chunks(4).enumerate() {
        put(export, key, nth as u64 * 4, piece, false)?;
    }
    export.finish_file(key)
}

fn differing(result: Result<impl std::fmt::Debug, ExportError>) -> Vec<PathBuf> {
    match result {
        Err(ExportError::Differs(paths)) => paths,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_folder_that_cannot_fit_fails_before_any_of_it_comes() {
    let bench = Bench::new();
    let export = bench.export(false);
    let error = export.check_room(1 << 60).unwrap_err();
    assert!(matches!(error, ExportError::NoSpace { needed, .. } if needed == 1 << 60), "{error}");
    export.check_room(1).unwrap();
    drop(export);
    assert!(bench.beside().is_empty());
}

#[test]
fn nothing_there_is_renamed_to() {
    let bench = Bench::new();
    let export = bench.export(false);
    file(&export, 1, &[], b"0123456789").unwrap();
    assert!(!bench.dest.exists(), "not before it is whole");
    export.complete(&|_| Ok(())).unwrap();
    assert_eq!(fs::read(&bench.dest).unwrap(), b"0123456789");
    drop(export);
    assert_eq!(bench.beside(), ["dest"]);
}

#[test]
fn an_equal_file_is_left_as_it_is() {
    let bench = Bench::new();
    fs::write(&bench.dest, b"0123456789").unwrap();
    let before = Stat::of(&fs::metadata(&bench.dest).unwrap());
    let export = bench.export(false);
    file(&export, 1, &[], b"0123456789").unwrap();
    export.complete(&|_| Ok(())).unwrap();
    drop(export);
    assert_eq!(Stat::of(&fs::metadata(&bench.dest).unwrap()), before);
    assert_eq!(bench.beside(), ["dest"]);
    assert_eq!(
        bench.store.read(raw(b"4567").hash()).unwrap().unwrap(),
        &b"4567"[..],
        "it is served from there"
    );
}

#[test]
fn a_block_of_the_file_that_is_there_need_not_be_fetched() {
    let bench = Bench::new();
    fs::write(&bench.dest, b"0123456789").unwrap();
    let export = bench.export(false);
    export.note_file(FileKey(1), &[], 10, Metadata::default());
    let at = |offset, len| At { file: FileKey(1), offset, len };
    assert_eq!(export.read_existing(&raw(b"4567"), at(4, 4)).unwrap(), &b"4567"[..]);
    assert_eq!(export.read_existing(&raw(b"4567"), at(5, 4)), None);
    assert_eq!(export.read_existing(&raw(b"4567"), at(u64::MAX, 4)), None);
    assert_eq!(export.read_existing_entry(&raw(b"0123456789"), &[]).unwrap(), &b"0123456789"[..]);
    assert_eq!(export.read_existing_entry(&raw(b"other"), &[]), None);
}

#[test]
fn a_block_that_an_earlier_run_staged_need_not_be_fetched() {
    let bench = Bench::new();
    let export = bench.export(false);
    export.make_dir(&[], Metadata::default()).unwrap();
    file(&export, 1, &["a"], b"0123456789").unwrap();
    drop(export);
    let export = bench.export(false);
    assert_eq!(export.read_existing_entry(&raw(b"0123456789"), &names(&["a"])).unwrap(), &b"0123456789"[..]);
    assert_eq!(export.read_existing_entry(&raw(b"other"), &names(&["a"])), None);
    assert_eq!(export.read_existing_entry(&raw(b""), &[]), None, "a folder");
    export.note_file(FileKey(1), &names(&["a"]), 10, Metadata::default());
    let at = |offset, len| At { file: FileKey(1), offset, len };
    assert_eq!(export.read_existing(&raw(b"4567"), at(4, 4)).unwrap(), &b"4567"[..]);
    assert_eq!(export.read_existing(&raw(b"4567"), at(4, u64::MAX)), None);
}

#[test]
fn no_more_than_a_block_is_read_at_once() {
    let too_long = BLOCK_MAX + 1;
    let zeros = vec![0; too_long];
    let bench = Bench::new();
    let export = bench.export(false);
    export.note_file(FileKey(1), &[], too_long as u64, Metadata::default());
    put(&export, FileKey(1), 0, &[0], false).unwrap();
    drop(export);
    for in_place in [false, true] {
        if in_place {
            fs::write(&bench.dest, &zeros).unwrap();
        }
        let export = bench.export(false);
        export.note_file(FileKey(1), &[], too_long as u64, Metadata::default());
        let read = |len: usize| {
            let at = At { file: FileKey(1), offset: 0, len: len as u64 };
            export.read_existing(&raw(&zeros[..len]), at).is_some()
        };
        assert!(read(BLOCK_MAX));
        assert!(!read(too_long), "in place: {in_place}");
    }
}

#[test]
fn a_prefix_is_completed() {
    let bench = Bench::new();
    fs::write(&bench.dest, b"01234").unwrap();
    let export = bench.export(false);
    file(&export, 1, &[], b"0123456789").unwrap();
    assert_eq!(fs::read(&bench.dest).unwrap(), b"01234", "by way of staging");
    export.complete(&|_| Ok(())).unwrap();
    assert_eq!(fs::read(&bench.dest).unwrap(), b"0123456789");
}

#[test]
fn a_file_that_differs_is_named_and_left_alone() {
    for there in [&b"0123x56789"[..], b"0123x", b"01234567890", b"x"] {
        let bench = Bench::new();
        fs::write(&bench.dest, there).unwrap();
        let export = bench.export(false);
        drop(file(&export, 1, &[], b"0123456789"));
        assert_eq!(differing(export.complete(&|_| Ok(()))), [bench.dest.as_path()]);
        assert_eq!(fs::read(&bench.dest).unwrap(), there);
    }
}

#[test]
fn what_differs_at_once_leaves_nothing_beside_it() {
    let bench = Bench::new();
    fs::write(&bench.dest, b"x123456789").unwrap();
    let export = bench.export(false);
    drop(file(&export, 1, &[], b"0123456789"));
    differing(export.complete(&|_| Ok(())));
    drop(export);
    assert_eq!(bench.beside(), ["dest"]);
    assert!(bench.store.downloads().is_empty());
}

#[test]
fn overwrite_replaces_what_differs_and_keeps_what_agrees() {
    for there in [&b"0123456x89"[..], b"0123x", b"0123456789abc", b"0123456789"] {
        let bench = Bench::new();
        fs::write(&bench.dest, there).unwrap();
        let export = bench.export(true);
        file(&export, 1, &[], b"0123456789").unwrap();
        assert_eq!(fs::read(&bench.dest).unwrap(), there);
        export.complete(&|_| Ok(())).unwrap();
        assert_eq!(fs::read(&bench.dest).unwrap(), b"0123456789", "{there:?}");
    }
}

#[test]
fn a_folder_is_never_replaced_by_a_file_or_symlink() {
    for overwrite in [false, true] {
        let bench = Bench::new();
        fs::create_dir_all(bench.dest.join("sub/deep")).unwrap();
        fs::write(bench.dest.join("sub/deep/mine"), b"mine").unwrap();
        let export = bench.export(overwrite);
        let error = file(&export, 1, &[], b"0123").unwrap_err();
        assert!(matches!(&error, ExportError::Folder(path) if *path == bench.dest), "{error}");
        assert!(error.to_string().contains(&format!("-o {}/", bench.dest.display())), "{error}");
        drop(export);
        let export = bench.export(overwrite);
        export.note_symlink(&[], b"sub", Metadata::default());
        drop(export.complete(&|_| Ok(())));
        drop(export);
        let export = bench.export(overwrite);
        export.make_dir(&[], Metadata::default()).unwrap();
        export.note_symlink(&names(&["sub", "deep"]), b"..", Metadata::default());
        drop(export.complete(&|_| Ok(())).unwrap_err());
        drop(export);
        assert_eq!(fs::read(bench.dest.join("sub/deep/mine")).unwrap(), b"mine");
    }
    let bench = Bench::new();
    fs::create_dir_all(bench.dest.join("sub")).unwrap();
    let export = bench.export(true);
    export.make_dir(&[], Metadata::default()).unwrap();
    let error = file(&export, 1, &["sub"], b"0123").unwrap_err();
    assert!(matches!(error, ExportError::FolderInTheWay(_)), "{error}");
}

#[test]
fn a_folder_that_appears_meanwhile_is_not_replaced() {
    let bench = Bench::new();
    let export = bench.export(true);
    file(&export, 1, &[], b"0123").unwrap();
    fs::create_dir(&bench.dest).unwrap();
    assert!(export.complete(&|_| Ok(())).is_err());
    assert!(bench.dest.is_dir());
}

#[test]
fn overwrite_replaces_a_symlink() {
    let bench = Bench::new();
    let outside = bench.dest.with_file_name("outside");
    fs::write(&outside, b"outside").unwrap();
    symlink(&outside, &bench.dest).unwrap();
    let export = bench.export(true);
    file(&export, 1, &[], b"4567").unwrap();
    export.complete(&|_| Ok(())).unwrap();
    assert!(fs::symlink_metadata(&bench.dest).unwrap().is_file(), "the link is replaced");
    assert_eq!(fs::read(&outside).unwrap(), b"outside", "not what it leads to");
}

#[test]
fn a_folder_is_completed_and_the_rest_of_it_left_alone() {
    let bench = Bench::new();
    fs::create_dir_all(bench.dest.join("sub")).unwrap();
    fs::write(bench.dest.join("same"), b"same").unwrap();
    fs::write(bench.dest.join("sub/part"), b"par").unwrap();
    fs::write(bench.dest.join("sub/mine"), b"mine").unwrap();
    symlink("same", bench.dest.join("link")).unwrap();
    let export = bench.export(false);
    export.make_dir(&[], Metadata::default()).unwrap();
    export.make_dir(&names(&["sub"]), Metadata::default()).unwrap();
    export.make_dir(&names(&["new"]), Metadata::default()).unwrap();
    file(&export, 1, &["same"], b"same").unwrap();
    file(&export, 2, &["sub", "part"], b"partly").unwrap();
    file(&export, 3, &["sub", "absent"], b"absent").unwrap();
    export.note_symlink(&names(&["link"]), b"same", Metadata::default());
    export.note_symlink(&names(&["other"]), b"sub/part", Metadata::default());
    export.complete(&|_| Ok(())).unwrap();
    let read = |path: &str| String::from_utf8(fs::read(bench.dest.join(path)).unwrap()).unwrap();
    let all = ["same", "sub/part", "sub/absent", "sub/mine", "link", "other"].map(read);
    assert_eq!(all, ["same", "partly", "absent", "mine", "same", "partly"]);
    assert!(bench.dest.join("new").is_dir());
    drop(export);
    assert_eq!(bench.beside(), ["dest"]);
}

#[test]
fn a_folder_that_differs_is_not_touched_and_up_to_ten_paths_are_listed() {
    let bench = Bench::new();
    fs::create_dir_all(bench.dest.join("dir")).unwrap();
    for nth in 0..12 {
        fs::write(bench.dest.join(format!("f{nth:02}")), b"mine").unwrap();
    }
    symlink("mine", bench.dest.join("link")).unwrap();
    let export = bench.export(false);
    export.make_dir(&[], Metadata::default()).unwrap();
    file(&export, 100, &["absent"], b"absent").unwrap();
    file(&export, 101, &["dir"], b"a file").unwrap();
    export.note_symlink(&names(&["link"]), b"theirs", Metadata::default());
    let mut ended = Ok(());
    for nth in 0..12 {
        ended = ended.and_then(|()| file(&export, nth, &[&format!("f{nth:02}")], b"them"));
    }
    let listed = differing(ended);
    assert_eq!(listed.len(), 10);
    assert_eq!(listed[0], bench.dest.join("dir"));
    assert_eq!(differing(export.complete(&|_| Ok(()))).len(), 10);
    assert!(!bench.dest.join("absent").exists(), "nothing is written before");
    assert_eq!(fs::read(bench.dest.join("f00")).unwrap(), b"mine");
}

#[test]
fn a_folder_for_which_a_file_stands_fails_at_once_and_leaves_nothing() {
    let bench = Bench::new();
    fs::write(&bench.dest, b"mine").unwrap();
    let export = bench.export(false);
    assert_eq!(differing(export.make_dir(&[], Metadata::default())), [bench.dest.as_path()]);
    assert_eq!(differing(file(&export, 1, &["a"], b"0123")), [bench.dest.as_path()]);
    drop(export);
    assert_eq!(bench.beside(), ["dest"]);
}

#[test]
fn a_folder_that_is_not_there_is_to_be_made_first() {
    let bench = Bench::new();
    let error = bench.opened(&bench.dest.join("new/name")).err().unwrap();
    assert!(matches!(&error, ExportError::NoFolder(path) if *path == bench.dest.join("new")), "{error}");
    assert!(error.to_string().contains("make it first"), "{error}");
}

#[test]
fn after_a_difference_not_everything_is_fetched() {
    let bench = Bench::new();
    fs::create_dir(&bench.dest).unwrap();
    fs::write(bench.dest.join("a"), b"mine").unwrap();
    let export = bench.export(false);
    file(&export, 1, &["a"], b"them").unwrap();
    let piece = vec![7; 1 << 20];
    export.note_file(FileKey(2), &names(&["b"]), 1 << 30, Metadata::default());
    let fetched =
        (0..1024).take_while(|nth| put(&export, FileKey(2), nth << 20, &piece, false).is_ok()).count();
    assert_eq!(fetched as u64 + 1, LOOK_FURTHER >> 20);
}

#[test]
fn what_appears_meanwhile_is_not_replaced() {
    let bench = Bench::new();
    let export = bench.export(false);
    file(&export, 1, &[], b"0123").unwrap();
    fs::write(&bench.dest, b"mine").unwrap();
    let changed = export.complete(&|_| Ok(()));
    assert!(matches!(&changed, Err(ExportError::Changed(path)) if *path == bench.dest), "{changed:?}");
    assert_eq!(fs::read(&bench.dest).unwrap(), b"mine");
    drop(export);
    assert_eq!(bench.beside().len(), 2, "what has come is kept");
    // With --overwrite it goes on from there.
    let export = bench.export(true);
    export.note_file(FileKey(1), &[], 4, Metadata::default());
    let found = export.read_existing(&raw(b"0123"), At { file: FileKey(1), offset: 0, len: 4 });
    assert_eq!(found.unwrap(), &b"0123"[..]);
    put(&export, FileKey(1), 0, b"0123", true).unwrap();
    export.finish_file(FileKey(1)).unwrap();
    export.complete(&|_| Ok(())).unwrap();
    assert_eq!(fs::read(&bench.dest).unwrap(), b"0123");
}

#[test]
fn what_an_earlier_run_staged_never_replaces_what_agrees() {
    for overwrite in [false, true] {
        let bench = Bench::new();
        let export = bench.export(overwrite);
        export.make_dir(&[], Metadata::default()).unwrap();
        export.note_file(FileKey(1), &names(&["holed"]), 8, Metadata::default());
        put(&export, FileKey(1), 0, b"0123", false).unwrap();
        file(&export, 2, &["needed"], b"4567").unwrap();
        let staged = bench.dest.with_file_name(&export.staging.entry).join("dest");
        drop(export);
        symlink("/etc", staged.join("link")).unwrap();
        fs::create_dir(staged.join("other")).unwrap();
        fs::create_dir(&bench.dest).unwrap();
        fs::write(bench.dest.join("holed"), b"01234567").unwrap();

        let export = bench.export(overwrite);
        export.make_dir(&[], Metadata::default()).unwrap();
        file(&export, 1, &["holed"], b"01234567").unwrap();
        file(&export, 2, &["needed"], b"4567").unwrap();
        export.note_symlink(&names(&["link"]), b"/etc", Metadata::default());
        assert_eq!(export.complete(&|_| Ok(())).unwrap().unsafe_links, [bench.dest.join("link")]);
        drop(export);
        assert_eq!(fs::read(bench.dest.join("holed")).unwrap(), b"01234567");
        assert_eq!(fs::read(bench.dest.join("needed")).unwrap(), b"4567");
        assert_eq!(fs::read_dir(&bench.dest).unwrap().count(), 2, "nothing else was moved");
        assert_eq!(bench.beside(), ["dest"]);
    }
}

#[test]
fn what_appears_in_a_folder_meanwhile_is_not_replaced_either() {
    let bench = Bench::new();
    fs::create_dir(&bench.dest).unwrap();
    fs::write(bench.dest.join("part"), b"01").unwrap();
    let export = bench.export(false);
    file(&export, 1, &["new"], b"0123").unwrap();
    file(&export, 2, &["part"], b"0123").unwrap();
    fs::write(bench.dest.join("new"), b"mine").unwrap();
    assert!(matches!(export.complete(&|_| Ok(())), Err(ExportError::Changed(_))));
    assert_eq!(fs::read(bench.dest.join("new")).unwrap(), b"mine");
    assert_eq!(fs::read(bench.dest.join("part")).unwrap(), b"01", "looked at before anything is moved");
}

#[test]
fn a_file_that_is_written_to_while_it_is_compared_is_not_taken() {
    let bench = Bench::new();
    fs::write(&bench.dest, b"01234567").unwrap();
    let export = bench.export(false);
    export.note_file(FileKey(1), &[], 8, Metadata::default());
    put(&export, FileKey(1), 0, b"0123", false).unwrap();
    fs::write(&bench.dest, b"other length").unwrap();
    drop(put(&export, FileKey(1), 4, b"4567", false));
    assert!(export.finish_file(FileKey(1)).is_err() || export.complete(&|_| Ok(())).is_err());
    assert_eq!(fs::read(&bench.dest).unwrap(), b"other length");
}

#[test]
fn modes_and_times_come_last() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let metadata = |mode| Metadata { mode: Some(mode), mtime: Some(Mtime { seconds: 1234, nanoseconds: 5 }) };
    for into_existing in [false, true] {
        let bench = Bench::new();
        let staged = |export: &Export| bench.dest.with_file_name(&export.staging.entry).join("dest");
        if into_existing {
            fs::create_dir(&bench.dest).unwrap();
        }
        let begin = || {
            let export = bench.export(true);
            export.make_dir(&[], metadata(0o555)).unwrap();
            export.make_dir(&names(&["sub"]), metadata(0o500)).unwrap();
            export.note_file(FileKey(1), &names(&["sub", "file"]), 4, metadata(0o444));
            put(&export, FileKey(1), 0, b"0123", false).unwrap();
            export.finish_file(FileKey(1)).unwrap();
            export
        };
        let export = begin();
        for path in ["", "sub", "sub/file"] {
            assert_eq!(mode(&staged(&export).join(path)) & 0o200, 0o200, "{path} can be taken up again");
        }
        drop(export);
        let export = begin();
        export.complete(&|_| Ok(())).unwrap();
        drop(export);
        let file = bench.dest.join("sub/file");
        assert_eq!((mode(&bench.dest.join("sub")), mode(&file)), (0o500, 0o444));
        for path in [&file, &bench.dest.join("sub")] {
            assert_eq!(fs::metadata(path).unwrap().mtime(), 1234, "{}", path.display());
        }
        assert_eq!(mode(&bench.dest) == 0o555, !into_existing, "a folder of the user's is left as it is");
        let (tree, _) =
            bench.store.trees().into_iter().find(|(_, base)| base == bench.dest.parent().unwrap()).unwrap();
        let known = bench.store.files_of(tree).remove(0);
        assert_eq!(
            bench.store.seen(known.id),
            Some(Stat::of(&fs::metadata(&file).unwrap()).into()),
            "what was registered is what is there"
        );
        assert_eq!(bench.beside(), ["dest"]);
    }
}

#[test]
fn a_run_that_goes_on_finds_the_names_of_the_files_that_were_staged_or_says_why_not() {
    let bench = Bench::new();
    let begin = || {
        let export = bench.export(false);
        export.make_dir(&[], Metadata::default()).unwrap();
        export
    };
    let export = begin();
    let tree = export.staging.tree;
    file(&export, 1, &["a"], b"0123").unwrap();
    drop(export);
    let export = begin();
    file(&export, 1, &["a"], b"0123").unwrap();
    file(&export, 2, &["b"], b"4567").unwrap();
    drop(export);
    let files = || bench.store.files_of(tree).into_iter().map(|file| file.path).collect::<Vec<_>>();
    assert_eq!(files(), [Path::new("dest/a"), Path::new("dest/b")]);

    let export = begin();
    bench.store.commit(Durability::Buffered).unwrap();
    // One of the two would be enough.
    for name in ["journal", "journal.mirror"] {
        let journal = bench.store.dir().join(name);
        fs::write(&journal, vec![0; fs::read(&journal).unwrap().len()]).unwrap();
    }
    let lost = file(&export, 1, &["a"], b"0123").unwrap_err();
    assert!(matches!(lost, ExportError::Unread(_)), "{lost}");
}

#[test]
fn two_entries_of_one_name_are_an_error() {
    let bench = Bench::new();
    let export = bench.export(false);
    export.make_dir(&[], Metadata::default()).unwrap();
    file(&export, 1, &["a"], b"0123").unwrap();
    assert!(matches!(file(&export, 2, &["a"], b"4567"), Err(ExportError::Collision(_))));
    assert!(matches!(export.complete(&|_| Ok(())), Err(ExportError::Collision(_))));
    assert!(!bench.dest.exists());
}

/// What opening `new` is where case is not told apart, if `old` is there.
fn same_file(export: &Export, bench: &Bench, old: &str, new: &str) {
    let staged = bench.dest.with_file_name(&export.staging.entry).join("dest");
    fs::hard_link(staged.join(old), staged.join(new)).unwrap();
}

#[test]
fn two_names_of_one_file_are_an_error() {
    let bench = Bench::new();
    let export = bench.export(false);
    export.make_dir(&[], Metadata::default()).unwrap();
    file(&export, 1, &["a"], b"0123").unwrap();
    same_file(&export, &bench, "a", "A");
    assert!(matches!(file(&export, 2, &["A"], b"4567"), Err(ExportError::Collision(_))));
}

#[test]
fn a_symlink_takes_no_other_entrys_place() {
    for existing in ["file", "link", "dir"] {
        let bench = Bench::new();
        let export = bench.export(false);
        export.make_dir(&[], Metadata::default()).unwrap();
        export.make_dir(&names(&["dir"]), Metadata::default()).unwrap();
        file(&export, 1, &["file"], b"0123").unwrap();
        // Of a name that this file system takes for the same.
        let staged = bench.dest.with_file_name(&export.staging.entry).join("dest");
        match existing {
            "dir" => fs::create_dir(staged.join("DIR")).unwrap(),
            "file" => same_file(&export, &bench, "file", "FILE"),
            _ => {
                symlink("file", staged.join("LINK")).unwrap();
                let made = fs::symlink_metadata(staged.join("LINK")).unwrap();
                export.staged(Path::new("dest/link"), (made.dev(), made.ino())).unwrap();
            }
        }
        export.note_symlink(&names(&[&existing.to_uppercase()]), b"dir", Metadata::default());
        let error = export.complete(&|_| Ok(())).unwrap_err();
        assert!(matches!(error, ExportError::Collision(_)), "{existing}: {error}");
    }
}

#[test]
fn a_symlink_that_leaves_is_reported_and_not_made() {
    let bench = Bench::new();
    let export = bench.export(false);
    export.make_dir(&[], Metadata::default()).unwrap();
    export.note_symlink(&names(&["out"]), b"../../etc/passwd", Metadata::default());
    export.note_symlink(&names(&["abs"]), b"/etc/passwd", Metadata::default());
    export.note_symlink(&names(&["in"]), b"a", Metadata::default());
    let finished = export.complete(&|_| Ok(())).unwrap();
    assert_eq!(finished.unsafe_links, [bench.dest.join("out"), bench.dest.join("abs")]);
    assert!(bench.dest.join("out").symlink_metadata().is_err());
    assert_eq!(fs::read_link(bench.dest.join("in")).unwrap(), Path::new("a"));
}

#[test]
fn a_root_that_is_a_symlink_is_made_only_if_asked_for() {
    let bench = Bench::new();
    let export = bench.export(false);
    export.note_symlink(&[], b"/etc/passwd", Metadata::default());
    let error = export.complete(&|_| Ok(())).unwrap_err();
    assert!(matches!(error, ExportError::UnsafeRoot { .. }), "{error}");
    assert!(error.to_string().contains("/etc/passwd"), "{error}");
    drop(export);
    assert!(bench.beside().is_empty());

    let destination =
        Destination { path: bench.dest.clone(), folder: None, overwrite: false, unsafe_symlinks: true };
    let export = Export::new(Claims::new(bench.store.clone()), &raw(ROOT), destination).unwrap();
    export.note_symlink(&[], b"/etc/passwd", Metadata::default());
    export.complete(&|_| Ok(())).unwrap();
    assert_eq!(fs::read_link(&bench.dest).unwrap(), Path::new("/etc/passwd"));
}

#[test]
fn a_symlinks_target_need_not_be_text() {
    let bench = Bench::new();
    let export = bench.export(false);
    export.make_dir(&[], Metadata::default()).unwrap();
    export.note_symlink(&names(&["in"]), b"sub/\xff", Metadata::default());
    export.note_symlink(&names(&["out"]), b"../\xff", Metadata::default());
    assert_eq!(export.complete(&|_| Ok(())).unwrap().unsafe_links, [bench.dest.join("out")]);
    assert_eq!(fs::read_link(bench.dest.join("in")).unwrap().as_os_str().as_bytes(), b"sub/\xff");
}

#[test]
fn a_fetch_that_ends_early_closes_its_files() {
    let bench = Bench::new();
    let export = bench.export(false);
    export.note_file(FileKey(1), &[], 8, Metadata::default());
    put(&export, FileKey(1), 0, b"0123", false).unwrap();
    let open = || {
        let open =
            fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.unwrap().path()).ok());
        open.filter(|path| path.starts_with(bench.dest.parent().unwrap()) && path.ends_with("dest")).count()
    };
    assert_eq!(open(), 1);
    assert_eq!(bench.store.read(raw(b"0123").hash()).unwrap().unwrap(), &b"0123"[..]);
    drop(export);
    assert_eq!(open(), 0);
    assert_eq!(
        bench.store.read(raw(b"0123").hash()).unwrap().unwrap(),
        &b"0123"[..],
        "still served, by its path"
    );
}

#[test]
fn a_second_fetch_to_one_destination_names_the_first() {
    let bench = Bench::new();
    let _first = bench.export(false);
    let second = bench.opened(&bench.dest);
    let pid = std::process::id();
    assert!(matches!(second, Err(ExportError::Busy { pid: named, .. }) if named == pid));
}
