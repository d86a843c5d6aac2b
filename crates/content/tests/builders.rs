//! What builders do with what they should not be given: an error with a name, and
//! never a block that nobody reads.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use common::Store;
use peerage_content::file::FinishError;
use peerage_content::folder::AddError;
use peerage_content::limits::{BLOCK_MADE_MAX, LINKS_MAX};
use peerage_content::name::NameError;
use peerage_content::profile::{ProfileError, ShardRule};
use peerage_content::resolve::{Lookup, Step};
use peerage_content::shard::ShardError;
use peerage_content::unixfs::Metadata;
use peerage_content::{
    Chunker, Cid, DirectoryBuilder, FileBuilder, Layout, Leaf, Node, Profile, Splitter, node, symlink,
};

fn leaf(content: &[u8]) -> Cid {
    Leaf::new(&Profile::default(), content).cid
}

#[test]
fn builders_refuse_what_cannot_be() {
    let profile = Profile::default();
    let x = leaf(b"x");
    let mut folder = DirectoryBuilder::new(&profile);
    folder.add("a", x, 1).unwrap();
    assert_eq!(folder.add("a", leaf(b"y"), 1), Err(AddError::Duplicate));
    for (name, error) in [
        ("", NameError::Empty),
        ("..", NameError::Dots),
        ("a/b", NameError::Separator),
        ("\0", NameError::Control),
        (&"n".repeat(256), NameError::TooLong),
    ] {
        assert_eq!(folder.add(name, x, 1), Err(AddError::Name(error)));
    }
    assert_eq!(folder.len(), 1);

    for len in [0, 4097] {
        assert!(symlink(&profile, &vec![b'a'; len], Metadata::default()).is_err());
    }

    assert_eq!(FileBuilder::new(&profile).finish(), Err(FinishError::NoLeaf));
    let kept = Metadata { mode: Some(0o755), mtime: None };
    let (plain, with) = (Leaf::new(&profile, b"x"), Leaf::only(&profile, b"x", kept));
    let finish = |metadata, leaves: &[Leaf]| {
        let mut file = FileBuilder::with_metadata(&profile, metadata);
        for leaf in leaves {
            file.push(leaf);
        }
        file.finish().map(|built| built.cid)
    };
    assert_eq!(finish(kept, &[with]), Ok(with.cid));
    assert_eq!(finish(kept, &[plain]), Err(FinishError::Metadata));
    assert_eq!(finish(Metadata::default(), &[with]), Err(FinishError::Metadata));
    assert_eq!(finish(kept, &[with, plain]), Err(FinishError::Metadata));
    assert!(finish(kept, &[plain, plain]).is_ok());
}

#[test]
fn an_empty_leaf_is_alone_in_either_layout() {
    for layout in [Layout::Balanced, Layout::Trickle] {
        let profile = Profile { layout, ..Profile::default() };
        let finish = |leaves: &[&[u8]]| {
            let mut file = FileBuilder::new(&profile);
            for leaf in leaves {
                file.push(&Leaf::new(&profile, leaf));
            }
            file.finish().map(|built| built.size)
        };
        assert_eq!(finish(&[b""]), Ok(0));
        assert_eq!(finish(&[b"x"]), Ok(1));
        for leaves in [[&b""[..], b"x"], [b"x", b""], [b"", b""]] {
            assert_eq!(finish(&leaves), Err(FinishError::EmptyLeaf), "{layout:?} {leaves:?}");
        }
    }
}

#[test]
fn a_profile_that_cannot_be_ends_in_an_error() {
    for layout in [Layout::Balanced, Layout::Trickle] {
        for max_links in [0, 1, 70_000] {
            let profile = Profile { max_links, layout, ..Profile::default() };
            let mut file = FileBuilder::new(&profile);
            for byte in 0..100 {
                assert_eq!(file.push(&Leaf::new(&profile, &[byte])), []);
            }
            assert_eq!(file.finish(), Err(FinishError::Profile(ProfileError::Links(max_links))));
        }
    }
    for hamt_fanout in [0, 1, 3, 12, 2048] {
        let profile = Profile { hamt_fanout, shard_above: 1, ..Profile::default() };
        let mut folder = DirectoryBuilder::new(&profile);
        folder.add("a", leaf(b"x"), 1).unwrap();
        assert_eq!(folder.finish(), Err(ShardError::Profile(ProfileError::Fanout(hamt_fanout))));
    }
    let mut splitter = Splitter::new(Chunker::Size(0));
    assert_eq!((splitter.next_cut(b"abc", false), splitter.next_cut(b"abc", true)), (None, Some(3)));
}

/// How many files with this content a folder has when it is sharded, and the bytes
/// of the block that it would be.
fn sharded_with(profile: &Profile, content: &[u8]) -> (usize, usize) {
    let mut folder = DirectoryBuilder::new(profile);
    let mut basic = DirectoryBuilder::new(profile);
    let mut store = Store::default();
    let file = common::file(&mut store, profile, content, Metadata::default());
    while !folder.is_sharded() {
        let name = folder.len().to_string();
        folder.add(&name, file.cid, file.tsize).unwrap();
        basic.add(&name, file.cid, file.tsize).unwrap();
    }
    let of_block = (folder.len(), basic.finish_basic().blocks[0].data.len());
    let built = folder.finish().unwrap();
    assert!(built.blocks.iter().all(|block| block.data.len() <= BLOCK_MADE_MAX));
    for block in built.blocks {
        store.put(block);
    }
    let (mut at, mut lookup) = (built.cid, Lookup::new("7"));
    let found = loop {
        let node = node::decode(&at, store.block(&at)).unwrap();
        assert!(matches!(node, Node::Shard { .. }));
        match lookup.step(&node).unwrap() {
            Step::Found(entry) => break entry.cid,
            Step::Descend(next) => at = next,
        }
    };
    assert_eq!(found, file.cid);
    of_block
}

#[test]
fn a_folder_that_no_block_holds_is_sharded_under_every_profile() {
    let profile = |shard_rule| Profile {
        shard_above: usize::MAX,
        shard_rule,
        inline_max: 32,
        ..Profile::UNIXFS_V1_2025
    };
    for rule in [ShardRule::BlockBytes, ShardRule::LinksBytes] {
        // Small entries: too many for who reads.
        let (count, len) = sharded_with(&profile(rule), b"");
        assert!(count == LINKS_MAX + 1 && len < BLOCK_MADE_MAX, "{count} {len}");
        // Large ones: too many bytes, and not before.
        let (count, len) = sharded_with(&profile(rule), &[7; 33]);
        assert!(count < LINKS_MAX && len > BLOCK_MADE_MAX && len < BLOCK_MADE_MAX + 100, "{count} {len}");
    }
}
