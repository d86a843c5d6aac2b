//! Input to CID: every row of the vectors, and each of them read back, except
//! for the files of 256 MiB and 1 GiB, which are only hashed, in one pass.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use common::{Added, Form, Keystream, Store, file, folder, keystream, vector};
use peerage_content::profile::ShardRule;
use peerage_content::resolve::{Lookup, Step};
use peerage_content::unixfs::{Metadata, Mtime};
use peerage_content::{
    Chunker, Cid, FileBuilder, Layout, Leaf, Node, Prefix, Profile, Version, Walk, cid_text, codec, hash,
    node, symlink,
};
use serde_json::Value;

/// Files of more bytes are not read back, and not held in memory.
const LARGE: u64 = 1 << 26;

const NONE: Metadata = Metadata { mode: None, mtime: None };

fn table() -> Value {
    serde_json::from_slice(&vector("unixfs/input-to-cid.json")).unwrap()
}

fn rows(key: &str) -> Vec<Value> {
    table()[key].as_array().unwrap().clone()
}

fn expected(row: &Value) -> Cid {
    let cid = cid_text::parse(row["expect"].as_str().unwrap()).unwrap();
    assert_eq!(cid_text::native(&cid), row["expect"]);
    cid
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn profile(options: &Value) -> Profile {
    let mut profile = Profile {
        cid_version: if options["cid-version"] == 0 { Version::V0 } else { Version::V1 },
        raw_leaves: options["raw-leaves"].as_bool().unwrap(),
        chunker: options["chunker"].as_str().map_or(Chunker::Size(262_144), |text| text.parse().unwrap()),
        layout: if options["trickle"] == true { Layout::Trickle } else { Layout::Balanced },
        max_links: options["max-file-links"].as_u64().map_or(174, |links| usize::try_from(links).unwrap()),
        inline_max: if options["inline"] == true { 32 } else { 0 },
        shard_rule: ShardRule::LinksBytes,
        ..Profile::UNIXFS_V1_2025
    };
    if let Some(name) = options["hash"].as_str() {
        profile.hash = name.parse().unwrap();
    }
    if let Some(fanout) = options["hamt-fanout"].as_u64() {
        profile.hamt_fanout = u32::try_from(fanout).unwrap();
    }
    profile
}

fn metadata(row: &Value) -> Metadata {
    let mode = row["mode"].as_str().map(|text| match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).unwrap(),
        None => u32::from_str_radix(text, 8).unwrap(),
    });
    let mtime = row["mtime"].as_array().map(|pair| Mtime {
        seconds: pair[0].as_i64().unwrap(),
        nanoseconds: u32::try_from(pair[1].as_u64().unwrap()).unwrap(),
    });
    Metadata { mode, mtime }
}

fn input(row: &Value) -> Option<Vec<u8>> {
    if let Some(hex) = row["input_hex"].as_str() {
        return Some(hex::decode(hex).unwrap());
    }
    if let Some(path) = row["input_file"].as_str() {
        return Some(vector(path));
    }
    if let Some(seed) = row["chacha_seed"].as_str() {
        return Some(keystream(seed, number(&row["size"])));
    }
    row["input_utf8"].as_str().map(|text| text.as_bytes().to_vec())
}

/// A tree as the table writes it: text is a file, an object a folder, or one
/// of the forms with a special key.
fn tree(store: &mut Store, profile: &Profile, value: &Value, kept: Metadata) -> Added {
    let Value::Object(map) = value else {
        return file(store, profile, value.as_str().unwrap().as_bytes(), kept);
    };
    if let Some(target) = value["symlink"].as_str() {
        return link(store, profile, target, kept);
    }
    if let Some(path) = value["file"].as_str() {
        return file(store, profile, &vector(path), kept);
    }
    if let Some(hex) = value["hex"].as_str() {
        return file(store, profile, &hex::decode(hex).unwrap(), kept);
    }
    let entries: Vec<_> =
        map.iter().map(|(name, value)| (name.clone(), tree(store, profile, value, NONE))).collect();
    folder(store, profile, &entries, Form::ByRule, kept)
}

fn link(store: &mut Store, profile: &Profile, target: &str, kept: Metadata) -> Added {
    let block = symlink(profile, target.as_bytes(), kept).unwrap();
    let added = Added { cid: block.cid, tsize: block.data.len() as u64 };
    let decoded = node::decode(&block.cid, &block.data).unwrap();
    assert_eq!(decoded, Node::Symlink { target: target.to_owned().into(), metadata: kept });
    store.put(block);
    added
}

/// Names and contents of the rows that are described in words.
fn generated(store: &mut Store, profile: &Profile, row: &Value) -> Added {
    let name = row["name"].as_str().unwrap();
    let form = match row["sharded"].as_bool() {
        _ if name.starts_with("js-links-bytes") => Form::ByRule,
        Some(true) => Form::Sharded,
        _ => Form::Basic,
    };
    let names: Vec<(String, String)> = match name {
        "dir2000-basic-v0" | "dir2000-hamt-v0" | "dir2000-hamt-v1" => {
            (1..=2000).map(|i| (format!("file{i}"), format!("{i}\n"))).collect()
        }
        "js-links-bytes-1343" | "js-links-bytes-1344" => {
            let (count, rest) = row["generator"].as_str().unwrap().split_once(" entries").unwrap();
            let text = rest.split_once(": ").unwrap().1.strip_suffix("%d").unwrap();
            (0..count.parse::<u32>().unwrap()).map(|i| (format!("{text}{i}"), format!("{text}{i}"))).collect()
        }
        "js-hamt-fanout16" => {
            let chars = (0x20..=0x7e_u8).map(char::from).filter(|c| !['.', '/'].contains(c));
            chars.map(|c| (c.to_string(), c.to_string())).collect()
        }
        "boxo-hamt-200-emptydirs" => {
            let empty = folder(store, profile, &[], Form::Basic, NONE);
            let entries: Vec<_> = (0..200).map(|i| (format!("DIRNAME{i}"), empty)).collect();
            return folder(store, profile, &entries, form, NONE);
        }
        "zeros-45.9MB-balanced-174" | "zeros-45.9MB-balanced-1024" | "zeros-45.9MB-trickle-174" => {
            return file(store, profile, &vec![0; 45_900_000], NONE);
        }
        "tree-preserve-mode-mtime" => return preserved(store, profile),
        other => panic!("no generator for {other}"),
    };
    let mut entries: Vec<_> = names
        .into_iter()
        .map(|(name, content)| (name, file(store, profile, content.as_bytes(), NONE)))
        .collect();
    entries.reverse(); // any order gives the same folder
    folder(store, profile, &entries, form, NONE)
}

/// The tree of kubo's test of `--preserve-mode --preserve-mtime`.
fn preserved(store: &mut Store, profile: &Profile) -> Added {
    let kept = |mode, after: i64| Metadata {
        mode,
        mtime: Some(Mtime { seconds: 1_655_158_632 + after, nanoseconds: 0 }),
    };
    let dir = |store: &mut Store, mode, after, entries: &[(&str, Added)]| {
        let entries: Vec<_> = entries.iter().map(|&(name, added)| (name.to_owned(), added)).collect();
        folder(store, profile, &entries, Form::ByRule, kept(Some(mode), after))
    };
    let file3 = file(store, profile, b"", kept(Some(0o644), 10));
    let link1 = link(store, profile, "../sub2/file3", kept(None, 20));
    let sub2 = dir(store, 0o755, 30, &[("file3", file3)]);
    let sub1 = dir(store, 0o755, 40, &[("link1", link1), ("sub2", sub2)]);
    let dir2 = dir(store, 0o755, 50, &[("sub1", sub1)]);
    let file2 = file(store, profile, b"", kept(Some(0o644), 60));
    let dir3 = dir(store, 0o755, 70, &[("file2", file2)]);
    let file1 = file(store, profile, b"", kept(Some(0o644), 80));
    let dir1 = dir(store, 0o755, 90, &[]);
    dir(store, 0o700, 0, &[("dir1", dir1), ("dir2", dir2), ("dir3", dir3), ("file1", file1)])
}

/// CIDs of the first bytes of a key stream, so many and so many.
fn hash_only(seed: &str, sizes: &[u64], profile: &Profile) -> Vec<String> {
    let chunk = profile.chunker.fixed_len().unwrap();
    let mut stream = Keystream::new(seed);
    let mut files: Vec<_> = sizes.iter().map(|&size| (size, FileBuilder::new(profile))).collect();
    let mut buffer = vec![0; chunk];
    while files.iter().any(|(left, _)| *left > 0) {
        stream.fill(&mut buffer);
        let whole = Leaf::new(profile, &buffer);
        for (left, file) in &mut files {
            let len = usize::try_from(*left).unwrap().min(chunk);
            match len {
                0 => continue,
                _ if len == chunk => file.push(&whole),
                _ => file.push(&Leaf::new(profile, &buffer[..len])),
            };
            *left -= len as u64;
        }
    }
    files.into_iter().map(|(_, file)| file.finish().unwrap().cid.to_string()).collect()
}

/// Walks everything under `added`; returns what the tsize must be.
fn total(store: &Store, root: Cid) -> u64 {
    let mut walk = Walk::new(root);
    let mut sum = 0;
    while let Some(visit) = walk.next() {
        let block = store.block(&visit.cid);
        sum += block.len() as u64;
        if !visit.leaf {
            walk.enter(&visit, block).unwrap();
        }
        node::decode(&visit.cid, block).unwrap();
    }
    sum
}

#[test]
fn every_row_gives_its_cid() {
    let mut large = Vec::new();
    let mut done = 0;
    for row in rows("vectors") {
        let name = row["name"].as_str().unwrap();
        let options = &row["options"];
        if row["size"].as_u64() > Some(LARGE) {
            large.push((
                row["chacha_seed"].clone(),
                row["size"].clone(),
                profile(options),
                row["expect"].clone(),
            ));
            continue;
        }
        let want = expected(&row);
        let input = input(&row);
        done += 1;
        // Rows that are one block with a codec or hash, not files that were added.
        if let Some(len) = options["mhlen"].as_u64() {
            let prefix = Prefix { version: 1, codec: codec::RAW, mh_code: 0x1e, mh_len: len };
            assert_eq!(prefix.cid_of(&input.unwrap()), Ok(want), "{name}");
            continue;
        }
        if options["hash"] == "identity" {
            assert_eq!(hash::inline(&want), input.as_deref(), "{name}");
            continue;
        }
        if options["codec"] == "dag-pb" {
            assert_eq!(Prefix::of(&want).cid_of(b""), Ok(want), "{name}");
            continue;
        }
        let profile = profile(options);
        let mut store = Store::default();
        let kept = metadata(&row);
        let added = if row["tree"].is_object() || row["tree"].is_string() {
            tree(&mut store, &profile, &row["tree"], kept)
        } else if let Some(target) = row["symlink_target"].as_str() {
            link(&mut store, &profile, target, kept)
        } else if row["generator"].is_string() {
            generated(&mut store, &profile, &row)
        } else {
            let content = input.unwrap_or_else(|| panic!("{name}: no input"));
            let added = file(&mut store, &profile, &content, kept);
            assert_eq!(store.read(added.cid, 0..u64::MAX), content, "{name}");
            added
        };
        assert_eq!(added.cid.to_string(), want.to_string(), "{name}");
        assert_eq!(added.tsize, total(&store, added.cid), "{name}");
        let root = store.block(&added.cid);
        if let Some(hex) = row["block_hex"].as_str() {
            assert_eq!(hex::encode(root), hex, "{name}");
        }
        if name != "tree-preserve-mode-mtime" {
            assert_eq!(node::decode(&added.cid, root).unwrap().metadata(), kept, "{name}");
        }
    }
    for (seed, size, profile, expect) in &large {
        let sizes = [size.as_u64().unwrap()];
        assert_eq!(hash_only(seed.as_str().unwrap(), &sizes, profile), [expect.as_str().unwrap()]);
    }
    assert_eq!(done + large.len(), rows("vectors").len());
}

#[test]
fn every_row_of_the_profiles_gives_its_cid() {
    let mut done = 0;
    let mut large = Vec::new();
    for row in rows("ipip_499") {
        let profile: Profile = row["profile"].as_str().unwrap().parse().unwrap();
        let what = row["what"].as_str().unwrap();
        let mut store = Store::default();
        let added = if let Some(files) = row["files"].as_u64() {
            let files = usize::try_from(files).unwrap();
            let len = number(&row["name_len"]);
            let last = row["last_name_len"].as_u64().map_or(len, |len| usize::try_from(len).unwrap());
            let alphabet = b"abcdefghijklmnopqrstuvwxyz01234567890-_";
            let bytes = keystream(row["seed"].as_str().unwrap(), (files - 1) * len + last);
            let text: String = bytes.iter().map(|b| char::from(alphabet[usize::from(*b) % 39])).collect();
            let x = file(&mut store, &profile, b"x", NONE);
            let entries: Vec<_> = (0..files)
                .map(|i| (text[i * len..i * len + if i + 1 == files { last } else { len }].to_owned(), x))
                .collect();
            let added = folder(&mut store, &profile, &entries, Form::ByRule, NONE);
            assert_eq!(store.0.len() > 2, what.contains("HAMT"), "{what}");
            for (name, _) in entries.iter().step_by(97) {
                assert_eq!(find(&store, added.cid, name), Some(x.cid), "{name}");
            }
            assert_eq!(find(&store, added.cid, "not there"), None);
            added
        } else if let Some(size) = row["size"].as_u64() {
            if size > LARGE {
                large.push((row["seed"].clone(), size, profile, row["expect"].clone()));
                continue;
            }
            let content = keystream(row["seed"].as_str().unwrap(), usize::try_from(size).unwrap());
            let sum = hash::digest(hash::SHA2_256, &content).unwrap();
            assert_eq!(row["input_sha256"], hex::encode(sum.digest()));
            let added = file(&mut store, &profile, &content, NONE);
            assert!(store.read(added.cid, 0..u64::MAX) == content);
            added
        } else {
            file(&mut store, &profile, b"hello world", NONE)
        };
        assert_eq!(row["expect"], added.cid.to_string(), "{what}");
        assert_eq!(added.tsize, total(&store, added.cid), "{what}");
        done += 1;
    }
    // Two of one stream, of 1 GiB and a byte more.
    let [(seed, _, profile, _), (same, ..)] = &large[..] else { panic!("{large:?}") };
    assert_eq!(seed, same);
    let sizes: Vec<_> = large.iter().map(|row| row.1).collect();
    let expect: Vec<_> = large.iter().map(|row| row.3.as_str().unwrap()).collect();
    assert_eq!(hash_only(seed.as_str().unwrap(), &sizes, profile), expect);
    assert_eq!(done + large.len(), rows("ipip_499").len());
}

fn find(store: &Store, root: Cid, name: &str) -> Option<Cid> {
    let mut lookup = Lookup::new(name);
    let mut at = root;
    loop {
        match lookup.step(&node::decode(&at, &store.0[&at]).unwrap()) {
            Ok(Step::Found(entry)) => return Some(entry.cid),
            Ok(Step::Descend(next)) => at = next,
            Err(_) => return None,
        }
    }
}

#[test]
fn texts_of_one_cid() {
    for row in rows("cid_conversions") {
        let text = |key: &str| row[key].as_str().unwrap_or_else(|| panic!("{key}"));
        let v1 = cid_text::parse(text("v1_base32")).unwrap();
        assert_eq!(cid_text::to_v0(&v1).unwrap().to_string(), text("v0_base58btc"));
        assert_eq!(cid_text::canonical(&cid_text::parse(text("v0_base58btc")).unwrap()), text("v1_base32"));
        for key in ["v1_base36", "v1_base58btc", "v1_base16"] {
            if row[key].is_string() {
                assert_eq!(cid_text::parse(text(key)), Ok(v1), "{key}");
            }
        }
        assert_eq!(hex::encode(v1.hash().to_bytes()), text("multihash_hex"));
        assert_eq!(Cid::new_v1(codec::RAW, *v1.hash()).to_string(), text("raw_base32"));
    }
    // IPIP-0512: up to 128 bytes of data in an identity CID.
    for row in rows("identity_limits") {
        let text = |key: &str| row[key].as_str().unwrap_or_else(|| panic!("{key}"));
        assert!(hash::inline(&cid_text::parse(text("valid")).unwrap()).is_some());
        assert_eq!(cid_text::parse(text("invalid")), Err(cid_text::CidError::Bytes));
    }
}
