//! What Kubo makes of files and folders: each row gives the flags of its
//! `ipfs add`, and we get its CID, read the file back, and find that no block
//! is stored that a CID holds.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use std::collections::BTreeMap;

use common::{Added, Form, Store, file, folder, keystream, vector};
use peerage_content::hash::Algorithm;
use peerage_content::profile::ShardRule;
use peerage_content::{Chunker, Layout, Metadata, Mtime, Node, Profile, Version, node, symlink};
use serde_json::Value;

const NONE: Metadata = Metadata { mode: None, mtime: None };

fn number(value: &Value) -> Option<usize> {
    value.as_u64().map(|number| usize::try_from(number).unwrap())
}

/// As in `1KiB` and `954B`.
fn bytes(text: &str) -> usize {
    match text.strip_suffix("KiB") {
        Some(kibibytes) => kibibytes.parse::<usize>().unwrap() << 10,
        None => text.strip_suffix('B').unwrap().parse().unwrap(),
    }
}

/// The parameters that flags mean, by Kubo's rules for those that are missing.
fn profile(row: &Value, metadata: Metadata) -> Profile {
    let (options, config) = (&row["options"], &row["config"]);
    let hash = options["hash"].as_str().map_or(Algorithm::Sha2_256, |name| name.parse().unwrap());
    let v1 = options["cid-version"].as_u64().map_or(hash != Algorithm::Sha2_256, |version| version == 1);
    let raw_leaves = options["raw-leaves"].as_bool().unwrap_or(v1 && metadata.is_empty());
    let inline_max = number(&options["inline-limit"]).unwrap_or(32);
    Profile {
        cid_version: if v1 { Version::V1 } else { Version::V0 },
        hash,
        raw_leaves,
        chunker: options["chunker"].as_str().map_or(Chunker::Size(262_144), |text| text.parse().unwrap()),
        layout: if options["trickle"] == true { Layout::Trickle } else { Layout::Balanced },
        max_links: number(&options["max-file-links"]).unwrap_or(174),
        inline_max: if options["inline"] == true { inline_max } else { 0 },
        hamt_fanout: number(&options["max-hamt-fanout"]).map_or(256, |fanout| u32::try_from(fanout).unwrap()),
        shard_above: config["Import.UnixFSHAMTDirectorySizeThreshold"].as_str().map_or(262_144, bytes),
        shard_rule: match config["Import.UnixFSHAMTDirectorySizeEstimation"].as_str() {
            Some("block") => ShardRule::BlockBytes,
            None | Some("links") => ShardRule::LinksBytes,
            Some(other) => panic!("{other}"),
        },
    }
}

fn metadata(kept: &Value) -> Metadata {
    Metadata {
        mode: kept["mode"].as_u64().map(|mode| u32::try_from(mode).unwrap()),
        mtime: kept["mtime"].as_array().map(|time| Mtime {
            seconds: time[0].as_i64().unwrap(),
            nanoseconds: u32::try_from(time[1].as_u64().unwrap()).unwrap(),
        }),
    }
}

#[test]
fn files_get_the_cids_that_kubo_gives_them() {
    let table: Value = serde_json::from_slice(&vector("unixfs/kubo-file-cids.json")).unwrap();
    let rows = table["files"].as_array().unwrap();
    assert!(rows.len() > 1000);
    let mut streams = BTreeMap::new();
    for row in rows {
        if let Some(seed) = row["seed"].as_str() {
            let longest = streams.entry(seed).or_insert(0);
            *longest = number(&row["size"]).unwrap().max(*longest);
        }
    }
    let streams: BTreeMap<_, _> =
        streams.into_iter().map(|(seed, longest)| (seed, keystream(seed, longest))).collect();
    for row in rows {
        let size = number(&row["size"]).unwrap();
        let repeated = row["byte"].as_u64().map(|byte| vec![u8::try_from(byte).unwrap(); size]);
        let content = repeated.as_deref().unwrap_or_else(|| &streams[row["seed"].as_str().unwrap()][..size]);
        let kept = metadata(&row["metadata"]);
        let profile = profile(row, kept);
        let mut store = Store::default();
        let added = file(&mut store, &profile, content, kept);
        assert_eq!(row["cid"], added.cid.to_string(), "{row}");
        assert!(store.read(added.cid, 0..u64::MAX) == content, "{row}");
        let root = node::decode(&added.cid, store.block(&added.cid)).unwrap();
        // A file's mode 0 is not kept.
        let kept = Metadata { mode: kept.mode.filter(|mode| *mode != 0), ..kept };
        assert_eq!(root.metadata(), kept, "{row}");
        assert!(store.0.values().all(|block| !profile.inlines(block.len())), "{row}");
    }
}

fn tree(store: &mut Store, profile: &Profile, value: &Value) -> Added {
    let Value::Object(map) = value else {
        return file(store, profile, value.as_str().unwrap().as_bytes(), NONE);
    };
    if let Some(target) = value["symlink"].as_str() {
        let block = symlink(profile, target.as_bytes(), NONE).unwrap();
        let added = Added { cid: block.cid, tsize: block.data.len() as u64 };
        store.put(block);
        return added;
    }
    let entries: Vec<_> =
        map.iter().map(|(name, value)| (name.clone(), tree(store, profile, value))).collect();
    folder(store, profile, &entries, Form::ByRule, NONE)
}

#[test]
fn folders_get_the_cids_that_kubo_gives_them() {
    let table: Value = serde_json::from_slice(&vector("unixfs/kubo-file-cids.json")).unwrap();
    let rows = table["trees"].as_array().unwrap();
    assert!(rows.len() > 50);
    let mut sharded = 0;
    for row in rows {
        let (kept, in_files) = (metadata(&row["metadata"]), metadata(&row["files_metadata"]));
        let profile = profile(row, kept);
        let mut store = Store::default();
        let added = if let Some(count) = row["files"].as_u64() {
            let width = number(&row["content_len"]).unwrap();
            let entries = (0..count).map(|number| {
                let content = if width == 0 { String::new() } else { format!("{number:0width$}") };
                (format!("file{number}"), file(&mut store, &profile, content.as_bytes(), in_files))
            });
            let entries: Vec<_> = entries.collect();
            folder(&mut store, &profile, &entries, Form::ByRule, kept)
        } else {
            tree(&mut store, &profile, &row["tree"])
        };
        assert_eq!(row["cid"], added.cid.to_string(), "{row}");
        assert!(store.0.values().all(|block| !profile.inlines(block.len())), "{row}");
        let root = node::decode(&added.cid, store.block(&added.cid)).unwrap();
        assert_eq!(root.metadata(), kept, "{row}");
        sharded += usize::from(matches!(root, Node::Shard { .. }));
    }
    assert!(sharded > 30, "{sharded}");
}
