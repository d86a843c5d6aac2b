//! Adds N files of one small block each by reference, then opens the repository in
//! a process of its own, looks all up and changes all; prints times and the peak
//! of resident memory.
//!
//! `cargo run --release -p peerage-store --example files -- 1000000`

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use peerage_content::Cid;
use peerage_store::{Config, Durability, Multihash, Reference, Root, RootKind, Seen, Stat, Store};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A hundred files a folder, names as photographs have them.
fn path(n: u64) -> PathBuf {
    format!("folder-{:05}/IMG_{n:08}.jpeg", n / 100).into()
}

fn hash(n: u64) -> Result<Multihash> {
    Ok(peerage_content::hash::digest(0x12, &n.to_le_bytes())?)
}

/// Peak and present resident memory of this process, in MiB.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let kib = status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
        kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
    };
    format!("{:.1} MiB at most, {:.1} now", of("VmHWM:"), of("VmRSS:"))
}

/// Seconds that the processor worked for this process, to a hundredth.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn timed<T>(what: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let (start, before) = (Instant::now(), cpu());
    let done = run()?;
    let (wall, cpu) = (start.elapsed().as_secs_f64(), cpu() - before);
    println!("{what:<22} {wall:>7.3} s ({cpu:>5.2} s of work)   {}", memory());
    Ok(done)
}

/// What is seen of a file the `again`th time.
fn seen(n: u64, again: i64) -> Result<Seen> {
    let time = 1_700_000_000_000_000_000 + again;
    let stat = Stat { device: 2050, inode: 5_000_000 + n, size: 8, mtime: time, ctime: time };
    Ok(Seen { stat, root: Some(Cid::new_v1(0x55, hash(n)?)) })
}

fn add(dir: &Path, count: u64) -> Result {
    let (store, _) = Store::open(dir, Config::default())?;
    timed("an empty repository", || Ok(()))?;
    let tree = store.add_tree(Path::new("/home/user/pictures"))?;
    let set = store.root_set_builder();
    timed("files and references", || {
        for n in 0..count {
            let mh = hash(n)?;
            let file = store.add_file(tree, &path(n), Some(seen(n, 0)?))?;
            store.put_reference(&mh, &Reference { file, offset: 0, len: 8, head: vec![], tail: vec![] })?;
            set.insert(&mh)?;
        }
        Ok(())
    })?;
    let root = Root {
        cid: Cid::new_v1(0x55, hash(count)?),
        kind: RootKind::Shared,
        path: None,
        name: String::new(),
        announce: false,
        keep: true,
        size: count * 8,
        tree: Some(tree),
        added: 0,
    };
    timed("root", || Ok(store.add_root(&root, &set)?))?;
    drop(set);
    timed("sync", || Ok(store.commit(Durability::Durable)?))?;
    timed("maintain", || {
        while store.maintain()? {}
        Ok(())
    })?;
    println!("{:?}", store.sizes());
    Ok(())
}

fn open(dir: &Path, count: u64) -> Result {
    let (store, _) = timed("open", || Ok(Store::open(dir, Config::default())?))?;
    let (tree, _) = store.trees().remove(0);
    timed("all files", || {
        let files = store.files_in(tree).try_fold(0, |sum, file| file.map(|_| sum + 1))?;
        assert_eq!(files, count);
        Ok(())
    })?;
    timed("paths that are there", || {
        for n in 0..count {
            let file = store.file_by_path(tree, &path(n))?.ok_or("a path is lost")?;
            assert_eq!(store.seen(file), Some(seen(n, 0)?));
        }
        Ok(())
    })?;
    timed("paths that are not", || {
        for n in count..2 * count {
            assert_eq!(store.file_by_path(tree, &path(n))?, None);
        }
        Ok(())
    })?;
    timed("files seen again", || {
        for file in store.files_in(tree) {
            let file = file?.id;
            store.set_seen(file, seen(0, 1)?)?;
        }
        Ok(store.commit(Durability::Buffered)?)
    })?;
    drop(timed("open again", || Ok(Store::open(dir, Config::default())?))?);
    timed("journal rewritten", || {
        while store.maintain()? {}
        Ok(())
    })?;
    println!("{} bytes of journal", store.sizes().journal_bytes);
    Ok(())
}

fn main() -> Result {
    let args: Vec<String> = std::env::args().collect();
    let count = args.get(1).map_or(Ok(200_000), |arg| arg.parse())?;
    if let Some(dir) = args.get(2) {
        return open(Path::new(dir), count);
    }
    let temp = tempfile::tempdir()?;
    add(temp.path(), count)?;
    let status = Command::new(&args[0]).arg(count.to_string()).arg(temp.path()).status()?;
    assert!(status.success());
    Ok(())
}
