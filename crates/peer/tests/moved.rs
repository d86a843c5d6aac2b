//! Users' files that were moved are found again.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use peerage_content::Cid;
use peerage_peer::{AddOptions, Config, Finding, FoundAgain, Peer, Sources};
use tempfile::TempDir;

struct World {
    peer: Peer,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { peer: Peer::start(Config::new(dir.path().join("repo"))).await.unwrap(), dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::create_dir_all(self.path(to).parent().unwrap()).unwrap();
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// Shares it, to be kept.
    async fn add(&self, name: &str) -> Cid {
        let paths = vec![self.path(name)];
        self.peer.share(paths, AddOptions::default(), true, |_| {}).await.unwrap().roots()[0].cid
    }

    /// What is told, without progress.
    async fn find(&self, folder: &str) -> (FoundAgain, Vec<Finding>) {
        let told = Arc::new(Mutex::new(Vec::new()));
        let findings = Arc::clone(&told);
        let tell = move |finding| {
            if !matches!(finding, Finding::Progress { .. }) {
                findings.lock().unwrap().push(finding);
            }
            ControlFlow::Continue(())
        };
        let sum = self.peer.find_moved(vec![self.path(folder)], tell).await.unwrap();
        let told = told.lock().unwrap().clone();
        (sum, told)
    }

    fn moved(&self, from: &str, to: &str, files: u64) -> Finding {
        Finding::Moved { from: self.path(from), to: self.path(to), files }
    }

    async fn read(&self, root: Cid) -> Option<Vec<u8>> {
        let mut query = self.peer.query(root, Sources::default());
        let mut all = Vec::new();
        let mut reading = query.read(root, 0..u64::MAX);
        while let Some(piece) = reading.next().await.ok()? {
            all.extend_from_slice(&piece);
        }
        Some(all)
    }

    /// Missing blocks, as a verification counts them.
    async fn missing(&self) -> u64 {
        self.peer.verify(|_| ControlFlow::Continue(())).await.unwrap().missing
    }

    fn root_path(&self, root: Cid) -> Option<PathBuf> {
        self.peer.shares().into_iter().find(|entry| entry.root.cid == root)?.root.path
    }
}

fn content(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|n| u8::try_from(n * n % 251).unwrap() ^ seed).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_was_renamed_is_one_move() {
    let world = World::new().await;
    for (seed, name) in [(1, "photos/a"), (2, "photos/summer/a"), (3, "photos/summer/b")] {
        world.write(name, &content(seed, 5000));
    }
    let root = world.add("photos").await;
    let trees = world.peer.store().trees().len();
    world.rename("photos", "archive/2024/pictures");
    assert_eq!(world.missing().await, 3);
    assert_eq!(world.find("repo").await, (FoundAgain { found: 0, lost: 3 }, Vec::new()));
    let moved = world.moved("photos", "archive/2024/pictures", 3);
    assert_eq!(world.find("archive").await, (FoundAgain { found: 3, lost: 0 }, vec![moved]));
    assert_eq!(world.missing().await, 0);
    assert_eq!(world.root_path(root), Some(world.path("archive/2024/pictures")));
    // An import of it finds what it would have added.
    assert_eq!(world.add("archive/2024/pictures").await, root);
    assert_eq!((world.peer.store().trees().len(), world.peer.shares().len()), (trees, 1));
    assert_eq!(world.find("archive").await, (FoundAgain::default(), Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_found_by_their_bytes_among_others_of_the_same_size_and_name() {
    let world = World::new().await;
    for (seed, name) in [(1, "work/renamed"), (2, "work/copied"), (3, "work/deleted"), (4, "work/stays")] {
        world.write(name, &content(seed, 3000));
    }
    world.write("alone", &content(5, 4000));
    let (root, alone) = (world.add("work").await, world.add("alone").await);
    world.rename("work/renamed", "other/deep/er/name");
    world.write("other/copied", &content(9, 3000));
    fs::copy(world.path("work/copied"), world.path("other/deep/copied")).unwrap();
    fs::remove_file(world.path("work/copied")).unwrap();
    fs::remove_file(world.path("work/deleted")).unwrap();
    world.write("other/deleted", &content(8, 3000));
    world.rename("alone", "other/no longer alone");
    assert_eq!(world.missing().await, 4);
    let (sum, mut told) = world.find("other").await;
    told.sort_by_key(|finding| format!("{finding:?}"));
    assert_eq!(sum, FoundAgain { found: 3, lost: 1 });
    assert_eq!(
        told,
        [
            world.moved("alone", "other/no longer alone", 1),
            world.moved("work/copied", "other/deep/copied", 1),
            world.moved("work/renamed", "other/deep/er/name", 1),
        ]
    );
    assert_eq!(world.missing().await, 1);
    assert_eq!(world.read(alone).await, Some(content(5, 4000)));
    assert_eq!(world.root_path(alone), Some(world.path("other/no longer alone")));
    // What is still there is where it was.
    assert_eq!(world.root_path(root), Some(world.path("work")));
    assert_eq!(fs::read(world.path("other/deleted")).unwrap(), content(8, 3000));
    // A folder that is not there is told.
    let (sum, told) = world.find("nowhere").await;
    assert_eq!(sum, FoundAgain { found: 0, lost: 1 });
    assert!(matches!(&told[..], [Finding::Unreadable { path, .. }] if *path == world.path("nowhere")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_is_still_known_after_a_restart() {
    let world = World::new().await;
    world.write("folder/file", &content(1, 5000));
    let root = world.add("folder/file").await;
    world.rename("folder/file", "folder/other");
    assert_eq!(world.find("folder").await.0, FoundAgain { found: 1, lost: 0 });
    let World { peer, dir } = world;
    peer.shutdown().await;
    let world = World { peer: Peer::start(Config::new(dir.path().join("repo"))).await.unwrap(), dir };
    assert_eq!(world.read(root).await, Some(content(1, 5000)));
    assert_eq!(world.find(Path::new("folder").to_str().unwrap()).await, (FoundAgain::default(), Vec::new()));
}
