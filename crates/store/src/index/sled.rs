//! The index cache on `sled` 0.34: the only file that names it.
//!
//! It is beta software with known crash problems, and its memory grows with
//! what it holds, so it holds little, and nothing depends on it.

use std::fs;
use std::io;
use std::path::Path;

use sled::{Config, Db};

use super::{Index, IndexSource, Item};

/// Bytes of sled's own cache. 1 MiB: tables are small, and the checkpoint is
/// written once and read once.
const CACHE_BYTES: u64 = 1 << 20;
/// Bytes by which sled's file grows. 64 KiB instead of 512: the file of a
/// fresh repository stays small.
const SEGMENT_BYTES: usize = 64 << 10;

/// Opens sled.
#[derive(Debug)]
pub(super) struct Sled;

impl IndexSource for Sled {
    fn open(&self, dir: &Path) -> io::Result<Box<dyn Index>> {
        let config = Config::new().path(dir).cache_capacity(CACHE_BYTES).segment_size(SEGMENT_BYTES);
        Ok(Box::new(config.flush_every_ms(None).open()?))
    }

    fn move_aside(&self, from: &Path, to: &Path) -> io::Result<()> {
        // What cannot be removed makes the renaming fail.
        drop(fs::remove_dir_all(to));
        fs::rename(from, to)
    }

    fn bytes(&self, dir: &Path) -> u64 {
        let Ok(entries) = fs::read_dir(dir) else { return 0 };
        let bytes = entries.flatten().map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => self.bytes(&entry.path()),
            Ok(meta) if meta.is_file() => meta.len(),
            _ => 0,
        });
        bytes.sum()
    }
}

impl Index for Db {
    fn get(&self, table: &[u8], key: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.open_tree(table)?.get(key)?.map(|value| value.to_vec()))
    }

    fn put(&self, table: &[u8], key: &[u8], value: &[u8]) -> io::Result<()> {
        self.open_tree(table)?.insert(key, value)?;
        Ok(())
    }

    fn remove(&self, table: &[u8], key: &[u8]) -> io::Result<()> {
        self.open_tree(table)?.remove(key)?;
        Ok(())
    }

    fn clear(&self, table: &[u8]) -> io::Result<()> {
        Ok(self.open_tree(table)?.clear()?)
    }

    fn scan(&self, table: &[u8], prefix: &[u8], limit: usize) -> io::Result<Vec<Item>> {
        let mut items = Vec::new();
        for item in self.open_tree(table)?.scan_prefix(prefix).take(limit) {
            let (key, value) = item?;
            items.push((key.to_vec(), value.to_vec()));
        }
        Ok(items)
    }

    fn flush(&self) -> io::Result<()> {
        sled::Tree::flush(self)?;
        Ok(())
    }
}
