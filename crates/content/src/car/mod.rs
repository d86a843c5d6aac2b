//! CAR files: blocks with their CIDs, one after the other (ipld/ipld
//! specs/transport/car/carv1 and carv2). What is read here is what go-car
//! reads, save the smaller limits of [`crate::limits`].
//!
//! - [`Reader`] takes a file or stream in pieces of any size and hands out its
//!   header and blocks; versions 1 and 2, in constant memory.
//! - [`Index`] does the same for the index of a version 2.
//! - [`header`] and [`section_head`] write version 1.
//!
//! Left out on purpose: writing version 2, whose index anyone can make again
//! from the blocks; blocks over [`crate::limits::BLOCK_MAX`].
//!
//! A CAR proves nothing: its roots may be absent or of other DAGs, its blocks
//! may be others than their CIDs say, twice, in any order, or too few. So a
//! reader verifies each block ([`crate::verify`], on any thread), and a
//! receiver walks from the root that it asked for.
//!
//! # Reading a file out of a CAR
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::io::Read;
//! use peerage_content::car::{Event, Options, Reader};
//! use peerage_content::{FileReader, hash, verify};
//! # use peerage_content::{FileBuilder, Leaf, Profile, car};
//! # let profile = Profile { chunker: peerage_content::Chunker::Size(4), ..Profile::default() };
//! # let (mut file, mut sections) = (FileBuilder::new(&profile), Vec::new());
//! # for chunk in b"hello world".chunks(4) {
//! #     let leaf = Leaf::new(&profile, chunk);
//! #     sections.extend(car::section_head(&leaf.cid, chunk.len()));
//! #     sections.extend(chunk);
//! #     file.push(&leaf);
//! # }
//! # let built = file.finish()?;
//! # for block in &built.blocks {
//! #     sections.extend(car::section_head(&block.cid, block.data.len()));
//! #     sections.extend(&block.data);
//! # }
//! # let bytes = [car::header(&[built.cid]), sections].concat();
//! # let mut input = &bytes[..];
//!
//! let mut reader = Reader::new(Options::default());
//! let (mut roots, mut blocks) = (Vec::new(), BTreeMap::new());
//! loop {
//!     match reader.next()? {
//!         None => match input.read(reader.space())? {
//!             0 => reader.finish(),
//!             len => reader.filled(len),
//!         },
//!         Some(Event::Header(header)) => roots = header.roots,
//!         Some(Event::Block { cid, data, .. }) => {
//!             verify(&cid, &data)?;
//!             blocks.insert(cid, data);
//!         }
//!         Some(Event::Index { .. }) => {} // not asked for in the options
//!         Some(Event::End) => break,
//!     }
//! }
//!
//! let mut content = Vec::new();
//! let mut file = FileReader::new(roots[0], 0..u64::MAX);
//! while let Some(cid) = file.need() {
//!     let stored = || blocks.get(&cid).map(|data| &data[..]);
//!     let block = hash::inline(&cid).or_else(stored).ok_or("a block is missing")?;
//!     if let Some(piece) = file.supply(block)? {
//!         content.extend_from_slice(&block[piece.range]);
//!     }
//! }
//! assert_eq!(content, b"hello world");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Writing a CAR
//!
//! [`crate::Walk`] visits a DAG depth first, each node before its children,
//! links in their order. Blocks written in this order, each at its first
//! visit, make what trustless gateways call `order=dfs; dups=n`: a receiver
//! can check and use each block as it comes, without keeping those before.
//! Identity CIDs hold their block, which is walked but not written.
//!
//! ```
//! use std::collections::{BTreeMap, BTreeSet};
//! use peerage_content::{DirectoryBuilder, Leaf, Profile, Walk, car, hash};
//! # let profile = Profile::default();
//! # let file = Leaf::new(&profile, b"x");
//! # let mut folder = DirectoryBuilder::new(&profile);
//! # folder.add("a", file.cid, 1)?;
//! # folder.add("b", file.cid, 1)?;
//! # let built = folder.finish()?;
//! # let (root, folder) = (built.cid, built.blocks[0].data.clone());
//! # let blocks = BTreeMap::from([(root, folder.clone()), (file.cid, "x".into())]);
//!
//! let mut out = car::header(&[root]);
//! let (mut walk, mut seen) = (Walk::new(root), BTreeSet::new());
//! while let Some(visit) = walk.next() {
//!     if !seen.insert(visit.cid) {
//!         continue;
//!     }
//!     if let Some(block) = hash::inline(&visit.cid) {
//!         walk.enter(&visit, block)?;
//!         continue;
//!     }
//!     let block = blocks.get(&visit.cid).ok_or("a block is missing")?;
//!     walk.enter(&visit, block)?;
//!     out.extend_from_slice(&car::section_head(&visit.cid, block.len()));
//!     out.extend_from_slice(block);
//! }
//! # let sections = [(root, folder), (file.cid, "x".into())];
//! # let sections = sections.map(|(cid, data)| [&car::section_head(&cid, data.len()), &data[..]].concat());
//! # assert_eq!(out, [car::header(&[root]), sections.concat()].concat());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod event;
mod header;
mod index;
mod input;
mod parse;
mod reader;
mod writer;

pub use error::{CarError, Fault, HeaderFault, Part, VarintError};
pub use event::{Event, Options};
pub use header::{Header, V2};
pub use index::{INDEX_SORTED, Index, IndexEntry, IndexError, IndexFault, MULTIHASH_INDEX_SORTED};
pub use reader::Reader;
pub use writer::{header, section_head};
