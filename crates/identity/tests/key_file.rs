//! The key file on a real file system.

use std::fs;
use std::sync::Barrier;

use peerage_identity::keyfile::{self, KeyFileError};
use peerage_identity::{Keypair, PrivateKeyError};

#[test]
fn made_once_and_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    assert!(keyfile::load(&path).unwrap().is_none());
    let made = keyfile::load_or_create(&path).unwrap();
    assert_eq!(fs::read(&path).unwrap(), *made.to_protobuf());
    assert_eq!(keyfile::load(&path).unwrap().unwrap().peer_id(), made.peer_id());
    assert_eq!(keyfile::load_or_create(&path).unwrap().peer_id(), made.peer_id());
    let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["key"], "nothing of the staging is left");
}

#[test]
fn all_who_race_end_with_one_key() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = dir.path().join(format!("key{round}"));
        let start = Barrier::new(8);
        let ids: Vec<_> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        keyfile::load_or_create(&path).unwrap().peer_id()
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(keyfile::load(&path).unwrap().unwrap().peer_id(), ids[0]);
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 20);
}

#[test]
fn what_is_no_key_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let rsa = [0x08, 0x00, 0x12, 0x01, 0x00];
    for (name, contents, expected) in [
        ("empty", &b""[..], PrivateKeyError::Protobuf),
        ("text", b"hello", PrivateKeyError::Protobuf),
        ("rsa", &rsa, PrivateKeyError::Unsupported(peerage_identity::KeyType::Rsa)),
        ("huge", &[0; 100_000], PrivateKeyError::TooLong(8193)),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, contents).unwrap();
        set_mode(&path, 0o600);
        match keyfile::load_or_create(&path) {
            Err(KeyFileError::Contents { source, .. }) => assert_eq!(source, expected, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(fs::read(&path).unwrap(), contents);
    }
    assert!(matches!(keyfile::load_or_create(dir.path()), Err(KeyFileError::NotAFile(_))));
    let nowhere = dir.path().join("no/such/folder/key");
    let error = keyfile::load_or_create(&nowhere).unwrap_err();
    assert!(error.to_string().contains("no/such/folder"), "{error}");
}

#[test]
fn what_a_crash_left_behind_is_swept_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let long_ago = std::time::SystemTime::UNIX_EPOCH;
    let old = ["key.0123456789abcdef.tmp", "key.tmp", "key.0123.tmp", "key2.0123456789abcdef.tmp", "other"];
    for name in old {
        fs::File::create(dir.path().join(name)).unwrap().set_modified(long_ago).unwrap();
    }
    fs::write(dir.path().join("key.1123456789abcdef.tmp"), b"someone is at work").unwrap();
    keyfile::load_or_create(&dir.path().join("key")).unwrap();
    let mut left: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(
        left,
        ["key", "key.0123.tmp", "key.1123456789abcdef.tmp", "key.tmp", "key2.0123456789abcdef.tmp", "other"]
    );
}

#[cfg(unix)]
fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own file");
}

#[cfg(not(unix))]
fn set_mode(_path: &std::path::Path, _mode: u32) {}

#[cfg(unix)]
#[test]
fn a_new_file_is_private_and_an_exposed_one_is_refused() {
    use std::os::unix::fs::MetadataExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let made = keyfile::load_or_create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
    for mode in [0o644, 0o640, 0o604, 0o620, 0o601] {
        set_mode(&path, mode);
        let error = keyfile::load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Exposed { mode: found, .. } if found == mode), "{error}");
        let message = error.to_string();
        assert!(message.contains("chmod 600") && message.contains("key"), "{message}");
    }
    set_mode(&path, 0o400);
    assert_eq!(keyfile::load_or_create(&path).unwrap().peer_id(), made.peer_id());
}

#[test]
fn the_file_is_what_other_programs_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let keypair = Keypair::from_seed([4; 32]);
    let public = &keypair.public().to_protobuf()[4..];
    let legacy = [&[8, 1, 0x12, 96][..], &[4; 32], public, public].concat();
    fs::write(&path, legacy).unwrap();
    set_mode(&path, 0o600);
    assert_eq!(keyfile::load_or_create(&path).unwrap().peer_id(), keypair.peer_id());
}
