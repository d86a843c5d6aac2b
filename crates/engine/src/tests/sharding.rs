//! Sharded folders that no writer makes: a fetch makes only what a look-up finds.

use peerage_content::hamt::Misfit;
use peerage_content::unixfs::{Data, Kind};
use peerage_content::{codec, dagpb, hash};

use super::dag::{Dag, Tree, build, small};
use super::world::{World, hints};
use crate::*;

/// A shard of 256 buckets with these links, each a bucket and the rest of a name.
fn shard(links: &[(&str, &Dag)]) -> Dag {
    let mut data = Data::new(Kind::HamtShard);
    (data.hash_type, data.fanout) = (Some(0x22), Some(256));
    let data = data.encode();
    let node = dagpb::PbNode {
        links: links
            .iter()
            .map(|(name, dag)| dagpb::Link {
                cid: dag.root,
                name: Some(name.as_bytes()),
                tsize: Some(dag.tsize),
            })
            .collect(),
        data: Some(&data),
    };
    let block = dagpb::encode(&node);
    let hash = hash::digest(hash::SHA2_256, &block).unwrap();
    let mut blocks: super::dag::Blocks = links.iter().flat_map(|(_, dag)| dag.blocks.clone()).collect();
    let tsize = block.len() as u64 + links.iter().map(|(_, dag)| dag.tsize).sum::<u64>();
    blocks.insert(hash, block.into());
    Dag { root: peerage_content::Cid::new_v1(codec::DAG_PB, hash), blocks, tsize }
}

fn fetch(dag: &Dag) -> (World, Result<JobProgress, JobError>) {
    let mut world = World::new(1, 2);
    world.share(0, dag);
    world.fetch(1, 1, dag.root, hints([0]));
    let outcome = world.run(1, 1, 60).clone();
    (world, outcome)
}

// Buckets of "470.txt" by 256: 00, 6E, 88, DF, 58, 47, E6, 7C.

#[test]
fn an_entry_where_no_look_up_finds_it_is_an_error_that_names_the_node() {
    let file = build(&Tree::File(vec![1]), &small());
    let below = shard(&[("6E470.txt", &file)]);
    for fits in [shard(&[("00470.txt", &file)]), shard(&[("00", &below)])] {
        let (world, outcome) = fetch(&fits);
        outcome.unwrap();
        assert_eq!(world.export(1, 1).flat(), Tree::dir([("470.txt", Tree::File(vec![1]))]).flat());
    }
    let deep = shard(&[("6F470.txt", &file)]);
    let cases = [
        shard(&[("01470.txt", &file)]),
        // The right bucket below a wrong one, and the other way round.
        shard(&[("01", &below)]),
        shard(&[("00", &deep)]),
        // The name twice, once where it belongs.
        shard(&[("00470.txt", &file), ("01470.txt", &file)]),
        // A node of nothing, which could go on for ever.
        shard(&[("00", &shard(&[]))]),
    ];
    let at_fault = [cases[0].root, below.root, deep.root, cases[3].root, shard(&[]).root];
    for (dag, node) in cases.iter().zip(at_fault) {
        for inside in [false, true] {
            let outer = Dag::folder([("inside".to_owned(), dag)]);
            let (world, outcome) = fetch(if inside { &outer } else { dag });
            let path = if inside { vec!["inside".to_owned()] } else { Vec::new() };
            let Err(error) = outcome else { panic!("{:?}", world.export(1, 1).flat()) };
            assert_eq!(error, JobError::BadShard { shard: Misfit(node), path });
            let said = format!("{node} is a part of a sharded folder that does not fit in where it lies");
            assert_eq!(error.to_string(), format!("{}{said}", if inside { "inside: " } else { "" }));
            assert!(world.export(1, 1).flat().values().all(|tree| matches!(tree, Tree::Dir(_))));
        }
    }
}
