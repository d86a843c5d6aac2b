//! `peerage-content`: CIDs, and single blocks.

use peerage_content::dagpb::{self, Link, PbNode};
use peerage_content::resolve::{Lookup, ResolveError, Step};
use peerage_content::unixfs::{Data, Kind, Mtime};
use peerage_content::{
    Bucket, Cid, DirectoryBuilder, Leaf, Metadata, Node, Prefix, Profile, cid_text, codec, hash, limits,
    name, node, symlink,
};

use crate::input::Values;
use crate::{Decoder, hexes, text, texts};

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder { name: "cid", run: cid, seeds: || CIDS.iter().map(|text| parsed(text).to_bytes()).collect() },
    Decoder { name: "cid-text", run: cid_text, seeds: || texts(CIDS) },
    Decoder { name: "cid-prefix", run: prefix, seeds: prefix_seeds },
    Decoder { name: "hash", run: verified, seeds: hash_seeds },
    Decoder { name: "dag-pb", run: dag_pb, seeds: || blocks().map(|(_, block)| block).collect() },
    Decoder { name: "unixfs", run: unixfs, seeds: unixfs_seeds },
    Decoder { name: "node", run: read_node, seeds: node_seeds },
    Decoder {
        name: "name",
        run: names,
        seeds: || texts(&["a.txt", "..", "a/b", "\u{202e}gpj.exe", "tab\there", "Ünï", "a\\n"]),
    },
];

const CIDS: &[&str] = &[
    "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n",
    "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
    "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
    "zb2rhe5P4gXftAwvA4eXQ5HJwsER2owDyS9sKaQRRVQPn93bA",
    "bafkqaaa",
    "bafkqac3imvwgy3zao5xxe3de",
    "f01551220b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9",
    "uAVUSILlNJ7mTTT4IpS5S19p9q_rEhO_jelOA7pCI96zi783p",
];

fn parsed(text: &str) -> Cid {
    cid_text::parse(text).expect("seeds are CIDs")
}

fn cid(bytes: &[u8]) -> bool {
    let Ok(cid) = cid_text::from_bytes(bytes) else { return false };
    assert_eq!(cid.to_bytes(), bytes, "a CID has one form");
    check_cid(&cid);
    true
}

fn check_cid(cid: &Cid) {
    assert_eq!(cid_text::parse(&cid_text::native(cid)).as_ref(), Ok(cid));
    let v1 = cid_text::to_v1(cid);
    assert_eq!(cid_text::parse(&cid_text::canonical(cid)), Ok(v1));
    assert!(cid_text::to_v0(&v1).is_none_or(|v0| cid_text::to_v1(&v0) == v1));
    assert_eq!(Prefix::parse(&Prefix::of(cid).encode()), Ok(Prefix::of(cid)));
    if hash::wire_allowed(cid).is_ok() {
        assert!(cid.encoded_len() <= limits::CID_WIRE_MAX && hash::inline(cid).is_none());
    }
}

fn cid_text(bytes: &[u8]) -> bool {
    let Some(cid) = text(bytes).and_then(|text| cid_text::parse(text).ok()) else { return false };
    check_cid(&cid);
    true
}

/// A prefix, and behind it the data that it is said of.
fn prefix(input: &[u8]) -> bool {
    let mut values = Values(input);
    let bytes = values.bytes();
    let Ok(prefix) = Prefix::parse(bytes) else { return false };
    assert_eq!(prefix.encode(), bytes, "a prefix has one form");
    if let Ok(cid) = prefix.cid_of(values.0) {
        assert_eq!(Prefix::of(&cid), prefix);
        assert_eq!(hash::verify(&cid, values.0), Ok(()));
    }
    true
}

fn prefix_seeds() -> Vec<Vec<u8>> {
    let all = CIDS.iter().map(|text| Prefix::of(&parsed(text)).encode());
    all.map(|prefix| [&[u8::try_from(prefix.len()).unwrap_or(0)], &prefix[..], b"hello"].concat()).collect()
}

/// A CID, and data that it may be the name of.
fn verified(input: &[u8]) -> bool {
    let mut values = Values(input);
    let Ok(cid) = cid_text::from_bytes(values.bytes()) else { return false };
    let verified = hash::verify(&cid, values.0).is_ok();
    let (code, digest) = (cid.hash().code(), cid.hash().digest());
    if verified && code != hash::IDENTITY {
        assert!(digest.len() >= limits::DIGEST_MIN, "a short digest says nothing");
        let own = hash::digest(code, values.0).expect("it was verified with this function");
        // BLAKE3 has as many bytes as one asks for.
        let both = digest.len().min(own.digest().len());
        assert_eq!(own.digest()[..both], digest[..both]);
    }
    if let Some(inline) = hash::inline(&cid) {
        assert_eq!(verified, inline == values.0);
    }
    verified
}

fn hash_seeds() -> Vec<Vec<u8>> {
    let cid = |code| Cid::new_v1(codec::RAW, hash::digest(code, b"hello").expect("a function of ours"));
    let codes = [0x11, 0x12, 0x13, 0x1e, 0x56, 0xb220, 0xb240, 0xb260];
    let cids = codes.into_iter().map(cid).chain([parsed("bafkqac3imvwgy3zao5xxe3de")]);
    let cids = cids.map(|cid| cid.to_bytes());
    cids.map(|cid| [&[u8::try_from(cid.len()).unwrap_or(0)], &cid[..], b"hello"].concat()).collect()
}

fn dag_pb(block: &[u8]) -> bool {
    let Ok(node) = dagpb::decode(block) else { return false };
    assert!(node.links.len() <= limits::LINKS_MAX);
    let again = dagpb::encode(&node);
    assert_eq!(again.len(), dagpb::encoded_len(&node));
    assert!(again.len() <= block.len(), "the canonical form is the shortest");
    assert_eq!(dagpb::decode(&again), Ok(node));
    true
}

fn unixfs(bytes: &[u8]) -> bool {
    let Ok(data) = Data::decode(bytes) else { return false };
    assert_eq!(Data::decode(&data.encode()), Ok(data));
    true
}

/// Every kind of block, by codec.
pub(crate) fn blocks() -> impl Iterator<Item = (u64, Vec<u8>)> {
    let profile = Profile::UNIXFS_V0_2015;
    let leaf = Leaf::new(&profile, b"hello world");
    let leaf_block = {
        let mut data = Data::new(Kind::File);
        (data.data, data.filesize) = (Some(&b"hello world"[..]), Some(11));
        dagpb::encode(&PbNode { links: Vec::new(), data: Some(&data.encode()) })
    };
    let file = {
        let mut data = Data::new(Kind::File);
        (data.filesize, data.blocksizes) = (Some(22), vec![11, 11]);
        data.metadata = Metadata { mode: Some(0o644), mtime: Some(Mtime { seconds: -7, nanoseconds: 9 }) };
        let link = Link { cid: leaf.cid, name: Some(b""), tsize: Some(19) };
        dagpb::encode(&PbNode { links: vec![link, link], data: Some(&data.encode()) })
    };
    let folder = |entries: u32, sharded| {
        let mut folder = DirectoryBuilder::new(&profile);
        for entry in 0..entries {
            folder.add(&format!("file {entry}"), leaf.cid, 19).expect("names differ");
        }
        let built =
            if sharded { folder.finish_sharded().expect("names differ") } else { folder.finish_basic() };
        built.blocks.into_iter().map(|block| block.data.to_vec())
    };
    let link = symlink(&profile, b"../there", Metadata::default()).expect("a fine target");
    let all = [leaf_block, file, link.data.to_vec(), Vec::new()].into_iter();
    let all = all.chain(folder(0, false)).chain(folder(3, false)).chain(folder(40, true).take(4));
    all.map(|block| (codec::DAG_PB, block))
}

fn unixfs_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> =
        blocks().filter_map(|(_, block)| dagpb::decode(&block).ok()?.data.map(<[u8]>::to_vec)).collect();
    seeds.extend(hexes(&["2204 0102ac02 18af02 9a060178 0802"]));
    seeds
}

/// Which codec, then the block.
fn read_node(input: &[u8]) -> bool {
    let mut values = Values(input);
    let code = values.pick(&[codec::DAG_PB, codec::RAW, codec::DAG_CBOR]).copied().unwrap_or(codec::RAW);
    let block = values.0;
    let digest = hash::digest(hash::SHA2_256, block).expect("a function of ours");
    let cid = Cid::new_v1(code, digest);
    let links = node::links(&cid, block);
    let Ok(node) = node::decode(&cid, block) else { return false };
    if matches!(node, Node::Opaque { .. }) {
        return links.is_ok();
    }
    let links = links.expect("what is UnixFS is dag-pb");
    match &node {
        Node::Leaf { data, .. } => {
            assert!(block.get(data.clone()).is_some(), "the data lies in the block");
            assert!(links.is_empty());
        }
        Node::File { data, size, children, .. } => {
            assert!(block.get(data.clone()).is_some(), "the data lies in the block");
            let below = children.iter().try_fold(data.len() as u64, |sum, child| sum.checked_add(child.size));
            assert_eq!(below, Some(*size));
            assert!(children.iter().map(|child| child.cid).eq(links));
        }
        Node::Directory { entries, .. } => {
            assert!(entries.iter().map(|entry| entry.cid).eq(links));
            for entry in entries.iter().take(16) {
                assert!(!entry.name.is_empty() && !entry.name.contains(['/', '\0']));
                let Ok(Step::Found(found)) = Lookup::new(&entry.name).step(&node) else {
                    panic!("what is listed is found")
                };
                assert_eq!(found.name, entry.name);
            }
        }
        Node::Shard { entries, fanout, .. } => {
            assert_eq!(entries.len(), links.len());
            assert!(entries.iter().all(|entry| entry.bucket < *fanout));
            assert!(entries.is_sorted_by(|a, b| a.bucket < b.bucket));
            for entry in entries.iter().take(16) {
                let Bucket::Value(entry) = &entry.value else { continue };
                let found = Lookup::new(&entry.name).step(&node);
                // Unless it lies where it does not belong.
                let found = found.is_ok_and(|step| step == Step::Found(entry.clone()));
                assert!(found || Lookup::new(&entry.name).step(&node) != Err(ResolveError::NotAFolder));
            }
        }
        Node::Symlink { target, .. } => assert!((1..=limits::SYMLINK_MAX).contains(&target.len())),
        Node::Opaque { codec: of } => assert_eq!(*of, codec::DAG_CBOR),
    }
    assert!(
        node.file_size().is_none_or(|size| matches!(node, Node::File { .. }) || size <= block.len() as u64)
    );
    true
}

fn node_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = blocks().map(|(_, block)| [&[0], &block[..]].concat()).collect();
    seeds.extend(texts(&["\u{1}raw", "\u{2}cbor"]));
    seeds
}

fn names(bytes: &[u8]) -> bool {
    let shown = name::escape_bytes(bytes);
    assert!(!shown.chars().any(char::is_control), "nothing reaches a terminal raw");
    let valid = name::check_bytes(bytes).is_ok();
    let Some(text) = text(bytes) else {
        assert!(!valid);
        return false;
    };
    assert_eq!(shown, name::escape(text));
    assert_eq!(name::check(text).is_ok(), valid);
    if valid {
        assert!(name::check_entry(text).is_ok(), "what may be written may be listed");
        let mut parts = std::path::Path::new(text).components();
        let part = parts.next();
        assert!(
            matches!(part, Some(std::path::Component::Normal(only)) if only == text)
                && parts.next().is_none()
        );
    }
    valid
}
