//! Files and folders read out of CARs that other software made, compared with
//! what the recipes and tests beside those CARs say of them.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::car::{Parsed, read};
use common::{Store, vector};
use peerage_content::car::Options;
use peerage_content::name::NameError;
use peerage_content::node::{self, Bucket, DecodeError};
use peerage_content::resolve::{Lookup, ResolveError, Step};
use peerage_content::unixfs::{Metadata, Mtime};
use peerage_content::{Cid, FileReader, Node, Walk, cid_text, codec};

fn open(file: &str) -> Parsed {
    let parsed = read(&vector(&format!("car/{file}")), Options::default());
    assert_eq!(parsed.end, Ok(()), "{file}");
    parsed
}

/// The blocks and the one root of a file.
fn dag(file: &str) -> (Store, Cid) {
    let parsed = open(file);
    let [root] = parsed.roots()[..] else { panic!("{file}") };
    (parsed.store(), root)
}

fn cid(text: &str) -> Cid {
    cid_text::parse(text).unwrap()
}

/// What is at a path of a DAG.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    File(String),
    Link(String),
    Folder,
    Missing,
    /// Not to be decoded.
    Refused(DecodeError),
}

/// Everything in a folder by path, each entry found by its name as well.
fn tree(store: &Store, root: Cid) -> BTreeMap<String, (Cid, Found)> {
    let mut out = BTreeMap::new();
    let mut todo = vec![(String::new(), root)];
    while let Some((path, cid)) = todo.pop() {
        let Some(block) = store.0.get(&cid) else {
            out.insert(path, (cid, Found::Missing));
            continue;
        };
        let found = match node::decode(&cid, block) {
            Ok(Node::Leaf { .. } | Node::File { .. }) => {
                Found::File(String::from_utf8(store.read(cid, 0..u64::MAX)).unwrap())
            }
            Ok(Node::Symlink { target, .. }) => Found::Link(String::from_utf8(target.to_vec()).unwrap()),
            Ok(Node::Directory { .. } | Node::Shard { .. }) => {
                for (name, child) in entries(store, cid) {
                    assert_eq!(resolve(store, cid, &name), Ok(child));
                    todo.push((format!("{path}/{name}"), child));
                }
                Found::Folder
            }
            Ok(other) => panic!("{path}: {other:?}"),
            Err(error) => Found::Refused(error),
        };
        assert_eq!(out.insert(path, (cid, found)), None);
    }
    out
}

fn entries(store: &Store, root: Cid) -> Vec<(String, Cid)> {
    let mut out = Vec::new();
    let mut todo = vec![root];
    while let Some(cid) = todo.pop() {
        match node::decode(&cid, &store.0[&cid]).unwrap() {
            Node::Directory { entries, .. } => out.extend(entries.into_iter().map(|e| (e.name, e.cid))),
            Node::Shard { entries, .. } => {
                for entry in entries {
                    match entry.value {
                        Bucket::Sub(cid, _) => todo.push(cid),
                        Bucket::Value(entry) => out.push((entry.name, entry.cid)),
                    }
                }
            }
            other => panic!("no folder: {other:?}"),
        }
    }
    out
}

fn resolve(store: &Store, folder: Cid, name: &str) -> Result<Cid, ResolveError> {
    let mut lookup = Lookup::new(name);
    let mut at = folder;
    loop {
        match lookup.step(&node::decode(&at, &store.0[&at]).unwrap())? {
            Step::Found(entry) => return Ok(entry.cid),
            Step::Descend(cid) => at = cid,
        }
    }
}

/// The files of a CAR with one root: paths and contents, nothing else.
fn files(file: &str) -> Vec<(String, String)> {
    let (store, root) = dag(file);
    let files = tree(&store, root).into_iter().filter_map(|(path, (_, found))| match found {
        Found::File(content) => Some((path, content)),
        Found::Folder => None,
        other => panic!("{file}: {path}: {other:?}"),
    });
    files.collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(path, content)| (path.to_owned(), content.to_owned())).collect()
}

const ASCII: &str = "hello application/vnd.ipld.car\n";

#[test]
fn whole_trees_come_out() {
    for (file, expected) in [
        (
            "go-car/simple-unixfs.car",
            &[
                ("/a/1/A.txt", "a1A\n"),
                ("/a/2/B.txt", "a2B\n"),
                ("/a/3/C.txt", "a3C\n"),
                ("/b/4/D.txt", "b4D\n"),
                ("/b/5/E.txt", "b5E\n"),
                ("/b/6/F.txt", "b6F\n"),
                ("/c/7/G.txt", "c7G\n"),
                ("/c/8/H.txt", "c8H\n"),
                ("/c/9/I.txt", "c9I\n"),
            ][..],
        ),
        ("go-car/sample-unixfs-v2.car", &[("/a/b.txt", "hello world\n")]),
        ("boxo-gateway/hello.car", &[("", "hello world")]),
        (
            "boxo-gateway/dir-special-chars.car",
            &[("/file.txt", "1"), ("/foo? #<'/bar/file.txt", "3"), ("/foo? #<'/file.txt", "2")],
        ),
        ("boxo-gateway/ipns-hostname-redirects.car", &[("/_", ""), ("/foo/index.html", "")]),
        (
            "gateway-conformance/gateway-raw-block.car",
            &[("/dir/ascii.txt", "hello application/vnd.ipld.raw\n")],
        ),
        (
            "gateway-conformance/dir_listing/fixtures.car",
            &[
                ("/api/file.txt", "I am a txt file in confusing /api dir\n"),
                ("/ipfs/file.txt", "I am a txt file in confusing /ipfs dir\n"),
                ("/ipns/file.txt", "I am a txt file in confusing /ipns dir\n"),
                ("/ą/ę/file-źł.txt", "I am a txt file on path with utf8\n"),
            ],
        ),
        ("gateway-conformance/gateway-cache/fixtures.car", &[("/root2/root3/root4/index.html", "hello\n")]),
        (
            "gateway-conformance/path_gateway_unixfs/dir-with-percent-encoded-filename.car",
            &[("/Portugal%2C+España=Peninsula Ibérica.txt", "hello from a percent encoded filename\n")],
        ),
        (
            "gateway-conformance/redirects_file/redirects-spa.car",
            &[
                ("/_redirects", "# Map SPA routes to the main index HTML file.\n/* /index.html 200\n"),
                ("/index.html", "hello world\n"),
            ],
        ),
        (
            "gateway-conformance/subdomain_gateway/fixtures.car",
            &[
                ("/hello-CIDv0", "hello\n"),
                ("/hello-CIDv0to1", "hello\n"),
                ("/hello-CIDv1", "hello\n"),
                ("/hello-CIDv1_TOO_LONG", "hello\n"),
                ("/testdirlisting/api/file.txt", "I am a txt file\n"),
                ("/testdirlisting/hello", "hello\n"),
                ("/testdirlisting/ipfs/file.txt", "I am a txt file\n"),
                ("/testdirlisting/ipfs/ipns/bar", "text-file-content\n"),
            ],
        ),
        (
            "gateway-conformance/trustless_gateway_car/subdir-with-two-single-block-files.car",
            &[("/subdir/ascii.txt", ASCII), ("/subdir/hello.txt", "hello world\n")],
        ),
    ] {
        assert_eq!(files(file), owned(expected), "{file}");
    }
}

#[test]
fn paths_have_the_cids_of_the_recipes() {
    let (store, root) = dag("gateway-conformance/gateway-cache/fixtures.car");
    let tree = tree(&store, root);
    for (path, expected) in [
        ("", "bafybeib3ffl2teiqdncv3mkz4r23b5ctrwkzrrhctdbne6iboayxuxk5ui"),
        ("/root2", "bafybeih2w7hjocxjg6g2ku25hvmd53zj7og4txpby3vsusfefw5rrg5sii"),
        ("/root2/root3", "bafybeiawdvhmjcz65x5egzx4iukxc72hg4woks6v6fvgyupiyt3oczk5ja"),
        ("/root2/root3/root4", "bafybeifq2rzpqnqrsdupncmkmhs3ckxxjhuvdcbvydkgvch3ms24k5lo7q"),
        ("/root2/root3/root4/index.html", "bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am"),
    ] {
        assert_eq!(tree[path].0, cid(expected), "{path}");
    }
    let (store, root) = dag("gateway-conformance/path_gateway_dag/gateway-json-cbor.car");
    let expected = cid("bafkreibrppizs3g7axs2jdlnjua6vgpmltv7k72l7v7sa6mmht6mne3qqe");
    let content = Found::File("{ \"test\": \"i am a plain json file\" }\n".to_owned());
    assert_eq!(self::tree(&store, root)["/ą/ę/t.json"], (expected, content));
}

#[test]
fn files_of_several_blocks_are_joined() {
    // The recipe cuts the same text into 256-byte blocks; boxo's has it, too.
    let file = "gateway-conformance/path_gateway_unixfs/dir-with-files.car";
    let listed = files(file);
    let text = listed[3].1.clone();
    assert_eq!(
        (text.len(), &text[..27], &text[1012..]),
        (1026, "Lorem ipsum dolor sit amet,", "habitant amet.")
    );
    let names = ["/ascii-copy.txt", "/ascii.txt", "/hello.txt", "/multiblock.txt"];
    let contents = [ASCII, ASCII, "hello world\n", &text];
    assert_eq!(listed, owned(&std::array::from_fn::<_, 4, _>(|i| (names[i], contents[i]))));

    let mixed = files("gateway-conformance/trustless_gateway_car/subdir-with-mixed-block-files.car");
    assert_eq!(mixed[2], ("/subdir/multiblock.txt".to_owned(), text.clone()));

    let layered = files("boxo-gateway/directory-with-multilayer-hamt-and-multiblock-files.car");
    let paths: Vec<_> = layered.iter().map(|(path, content)| (&path[..], content.len())).collect();
    let expected = [
        ("/basicDir/exampleA", 1026),
        ("/basicDir/exampleB", 887),
        ("/hamtDir/exampleA", 1026),
        ("/hamtDir/exampleB", 887),
        ("/hamtDir/exampleC-hamt-collide-exampleA-seed-52", 962),
        ("/hamtDir/exampleD-hamt-collide-exampleB-seed-364", 1283),
    ];
    assert_eq!(paths, expected);
    assert_eq!((&layered[0].1, &layered[2].1), (&text, &text));
    assert_eq!(layered[1].1, layered[3].1);
}

#[test]
fn a_sharded_folder_of_a_thousand_files() {
    let (store, root) =
        dag("gateway-conformance/trustless_gateway_car/single-layer-hamt-with-multi-block-files.car");
    let file = cid("bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa");
    let found: BTreeMap<_, _> = entries(&store, root).into_iter().collect();
    assert_eq!(found, (1..=1000).map(|i| (format!("{i}.txt"), file)).collect());
    for name in found.keys() {
        assert_eq!(resolve(&store, root, name), Ok(file));
    }
    assert_eq!(resolve(&store, root, "1001.txt"), Err(ResolveError::NotFound));
    assert_eq!(store.read(file, 1012..u64::MAX), b"habitant amet.");

    // Helia has the folder without the file, and boxo inside of another.
    let (shards, same) = dag("helia/bafybeidbclfqleg2uojchspzd4bob56dqetqjsj27gy2cq3klkkgxtpn4i.car");
    assert_eq!((same, entries(&shards, same).len()), (root, 1000));
    assert!(!shards.0.contains_key(&file));
    let (store, outer) = dag("boxo-gateway/headers-test.car");
    assert_eq!(resolve(&store, outer, "hamt"), Ok(root));
    assert_eq!(entries(&store, root).len(), 1000);
}

#[test]
fn symlinks_modes_and_times_are_kept() {
    let (store, root) = dag("gateway-conformance/path_gateway_unixfs/symlink.car");
    let tree = tree(&store, root);
    assert_eq!(tree["/bar"].1, Found::Link("foo".to_owned()));
    assert_eq!(tree["/foo"].1, Found::File("content\n".to_owned()));

    let (store, root) = dag("boxo-gateway/unixfs-dir-with-mode-mtime.car");
    let tree = self::tree(&store, root);
    assert_eq!(tree["/dir2/sub1/link1"].1, Found::Link("../sub2/file3".to_owned()));
    for (path, mode, seconds) in
        [("", 0o700, 1_655_158_632), ("/dir1", 0o755, 1_655_158_722), ("/file1", 0o644, 1_655_158_712)]
    {
        let cid = tree[path].0;
        let mtime = Some(Mtime { seconds, nanoseconds: 0 });
        let expected = Metadata { mode: Some(mode), mtime };
        assert_eq!(node::decode(&cid, &store.0[&cid]).unwrap().metadata(), expected, "{path}");
    }
}

#[test]
fn what_is_missing_is_missed() {
    let (store, root) = dag("go-car/simple-unixfs-missing-blocks.car");
    let missing = tree(&store, root).into_iter().filter(|(_, (_, found))| *found == Found::Missing);
    let paths: Vec<_> = missing.map(|(path, _)| path).collect();
    assert_eq!(paths, ["/b/4", "/b/5/E.txt", "/b/6"]);

    // Of three blocks of 1 KiB the second was taken out.
    let (store, root) =
        dag("gateway-conformance/trustless_gateway_car/file-3k-and-3-blocks-missing-block.car");
    assert_eq!(store.read(root, 0..1024).len(), 1024);
    assert_eq!(store.read(root, 2048..u64::MAX).len(), 1024);
    let mut reader = FileReader::new(root, 0..u64::MAX);
    let mut supplied = 0;
    while let Some(block) = store.0.get(&reader.need().unwrap()) {
        reader.supply(block).unwrap();
        supplied += 1;
    }
    assert_eq!((supplied, reader.size()), (2, Some(3072)));
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let refused =
        |name: &str| Found::Refused(DecodeError::Name { name: name.to_owned(), error: NameError::Separator });
    let (store, root) = dag("gateway-conformance/path_gateway_tar/outside-root.car");
    assert_eq!(tree(&store, root)[""].1, refused("../foo"));
    // This one stays inside of the root, but is no name either.
    let (store, root) = dag("gateway-conformance/path_gateway_tar/inside-root.car");
    assert_eq!(tree(&store, root)["/foobar/directory"].1, refused("../file"));
}

#[test]
fn a_walk_visits_blocks_in_the_order_of_kubos_exports() {
    let mut checked = 0;
    for file in [
        "boxo-gateway/dir-special-chars.car",
        "boxo-gateway/directory-with-multilayer-hamt-and-multiblock-files.car",
        "gateway-conformance/dir_listing/fixtures.car",
        "gateway-conformance/path_gateway_unixfs/dir-with-files.car",
        "gateway-conformance/redirects_file/redirects.car",
        "gateway-conformance/subdomain_gateway/fixtures.car",
        "gateway-conformance/trustless_gateway_car/single-layer-hamt-with-multi-block-files.car",
    ] {
        let parsed = open(file);
        let (store, mut seen, mut visited) = (parsed.store(), BTreeSet::new(), Vec::new());
        let mut walk = Walk::new(parsed.roots()[0]);
        while let Some(visit) = walk.next() {
            assert!([codec::RAW, codec::DAG_PB].contains(&visit.cid.codec()));
            if seen.insert(visit.cid) {
                visited.push(visit.cid);
                walk.enter(&visit, &store.0[&visit.cid]).unwrap();
            }
        }
        let sections: Vec<_> = parsed.sections.iter().map(|section| section.cid).collect();
        assert_eq!(visited, sections, "{file}");
        checked += sections.len();
    }
    assert!(checked > 300);
}
