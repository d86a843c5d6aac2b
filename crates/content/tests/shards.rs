//! Sharded folders that no builder makes: what a listing shows, a search finds, and
//! what a search does not find is an error of the listing.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod common;

use std::collections::BTreeMap;

use common::block;
use peerage_content::resolve::{Lookup, ResolveError, Step};
use peerage_content::unixfs::{Data, Kind};
use peerage_content::{Block, Cid, Leaf, Listing, Profile, node};

fn leaf(content: &[u8]) -> Cid {
    Leaf::new(&Profile::default(), content).cid
}

fn shard(fanout: u64, links: &[(&str, Cid)]) -> Block {
    let mut data = Data::new(Kind::HamtShard);
    (data.hash_type, data.fanout) = (Some(0x22), Some(fanout));
    block(&data, links)
}

/// Lists the folder of these blocks, the root last, and looks for all of its names.
fn list(blocks: &[Block]) -> Result<Vec<String>, ResolveError> {
    let store: BTreeMap<_, _> = blocks.iter().map(|block| (block.cid, &block.data)).collect();
    let decode = |cid: &Cid| node::decode(cid, store[cid]).unwrap();
    let root = blocks.last().unwrap().cid;
    let mut listing = Listing::new(root);
    let mut names = Vec::new();
    while let Some(cid) = listing.need() {
        names.extend(listing.supply(decode(&cid))?.into_iter().map(|entry| entry.name));
    }
    for name in &names {
        let (mut at, mut lookup) = (root, Lookup::new(name));
        while let Step::Descend(next) = lookup.step(&decode(&at)).unwrap() {
            at = next;
        }
    }
    Ok(names)
}

// Buckets of "470.txt" by 256: 00, 6E, 88, DF, 58, 47, E6, 7C; by 16: 0, 0, 6, E, ..

#[test]
fn an_entry_is_listed_only_where_it_is_looked_for() {
    let x = leaf(b"x");
    let names = Ok(vec!["470.txt".to_owned()]);
    assert_eq!(list(&[shard(256, &[("00470.txt", x)])]), names);
    assert_eq!(list(&[shard(256, &[("01470.txt", x)])]), Err(ResolveError::BadShard));
    let below = shard(256, &[("6E470.txt", x)]);
    let right = shard(256, &[("00", below.cid)]);
    assert_eq!(list(&[below.clone(), right]), names);
    // The right bucket below a wrong one, and the other way round.
    let wrong = shard(256, &[("01", below.cid)]);
    assert_eq!(list(&[below, wrong]), Err(ResolveError::BadShard));
    let below = shard(256, &[("6F470.txt", x)]);
    let root = shard(256, &[("00", below.cid)]);
    assert_eq!(list(&[below, root]), Err(ResolveError::BadShard));
}

#[test]
fn nodes_that_do_not_fit_together_are_not_listed() {
    let x = leaf(b"x");
    // Another fanout below, though the bits would be right.
    let below = shard(16, &[("6470.txt", x)]);
    let root = shard(256, &[("00", below.cid)]);
    assert_eq!(list(&[below, root]), Err(ResolveError::BadShard));
    let basic = block(&Data::new(Kind::Directory), &[("470.txt", x)]);
    let root = shard(256, &[("00", basic.cid)]);
    assert_eq!(list(&[basic.clone(), root]), Err(ResolveError::BadShard));
    assert_eq!(list(&[basic]), Ok(vec!["470.txt".to_owned()]));
    let file = Leaf::new(&Profile::default(), b"x").cid;
    assert_eq!(Listing::new(file).supply(node::decode(&file, b"x").unwrap()), Err(ResolveError::NotAFolder));
}

/// However deep somebody nests nodes, a listing goes no deeper than hashes have bits.
#[test]
fn a_listing_ends_where_the_hashes_do() {
    let path = ["00", "6E", "88", "DF", "58", "47", "E6", "7C"];
    let nest = |names: &[&str]| {
        let mut blocks = vec![shard(256, &[(names[names.len() - 1], leaf(b"x"))])];
        for name in names.iter().rev().skip(1) {
            let below = blocks[blocks.len() - 1].cid;
            blocks.push(shard(256, &[(name, below)]));
        }
        blocks
    };
    let mut full = path;
    full[7] = "7C470.txt";
    assert_eq!(list(&nest(&full)), Ok(vec!["470.txt".to_owned()]));
    let deeper = [&path[..], &["00470.txt"]].concat();
    assert_eq!(list(&nest(&deeper)), Err(ResolveError::BadShard));
}
