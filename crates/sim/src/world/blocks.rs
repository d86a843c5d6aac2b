//! Blocks, without their bytes: what there is, who has it, and what becomes of
//! what an engine wants done with it. Disks take their time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use peerage_content::node::FileChild;
use peerage_content::unixfs::Metadata;
use peerage_content::{Cid, Multihash, Node};
use peerage_engine::{Arrived, ItemId, JobError, JobId, JobProgress, Order, Output, Sources, Token};
use peerage_exchange::{Incoming, Served};
use peerage_identity::PeerId;

use super::{Event, World};
use crate::host::{HostId, number};
use crate::hostile::Behaviour;

/// What reading or writing a block takes where the page cache has it.
pub(crate) const CACHED: Duration = Duration::from_micros(500);

const RAW: u64 = 0x55;
const DAG_PB: u64 = 0x70;

/// A block as the world knows it.
#[derive(Debug, Clone)]
struct Block {
    len: u32,
    node: Node,
}

/// All blocks that there are.
#[derive(Debug, Default)]
pub(crate) struct Library {
    blocks: BTreeMap<Multihash, Block>,
}

/// What a host has on its disk and in memory.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    stored: BTreeSet<Multihash>,
    /// What the bytes under a token hash to.
    payloads: BTreeMap<Token, Multihash>,
    next: u64,
    /// What reading or writing a block takes.
    disk: Duration,
    /// Blocks served, to make every so-manieth wrong.
    served: u64,
    /// Bytes of blocks sent.
    pub(crate) sent: u64,
    /// Fetches begun.
    pub(crate) begun: u64,
    /// How they ended.
    pub(crate) ended: BTreeMap<JobId, Result<JobProgress, JobError>>,
}

/// Something that a host's disk has done.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Disk {
    Local { job: JobId, item: ItemId, cid: Cid },
    Written { job: JobId, item: ItemId, cid: Cid, bytes: u64 },
    Made { job: JobId },
    LookedUp { peer: PeerId, cid: Cid },
    Held { peer: PeerId, cid: Cid },
    Served { peer: PeerId, cid: Cid, served: Served },
}

impl Shelf {
    /// Blocks whose bytes are in memory.
    pub(crate) fn payloads(&self) -> usize {
        self.payloads.len()
    }

    /// The process has ended: what was in memory is gone, and if its disk is
    /// `lost` what was on that. Fetches are not taken up again.
    pub(super) fn crash(&mut self, lost: bool) {
        self.payloads.clear();
        self.begun = self.ended.len() as u64;
        if lost {
            self.stored.clear();
        }
    }
}

impl World {
    /// Adds a file of so many blocks of `len` bytes; its root, and all its hashes.
    pub(crate) fn add_file(&mut self, leaves: u32, len: u32) -> (Cid, BTreeSet<Multihash>) {
        let mut hashes = BTreeSet::new();
        let mut children = Vec::new();
        for _ in 0..leaves {
            let cid = Cid::new_v1(RAW, self.random_hash());
            let node = Node::Leaf { data: 0..len as usize, metadata: Metadata::default() };
            self.library.blocks.insert(*cid.hash(), Block { len, node });
            hashes.insert(*cid.hash());
            children.push(FileChild { cid, size: len.into() });
        }
        let size = u64::from(leaves) * u64::from(len);
        let root = Cid::new_v1(DAG_PB, self.random_hash());
        let node = Node::File { data: 0..0, size, children, metadata: Metadata::default() };
        self.library.blocks.insert(*root.hash(), Block { len: 60 * leaves + 40, node });
        hashes.insert(*root.hash());
        (root, hashes)
    }

    pub(super) fn random_hash(&mut self) -> Multihash {
        let mut digest = [0; 32];
        self.rng.fill(&mut digest);
        Multihash::wrap(0x12, &digest).expect("32 bytes fit")
    }

    /// Gives a host blocks of a root, and has it serve them.
    pub(crate) fn share(&mut self, host: HostId, root: Cid, hashes: &BTreeSet<Multihash>, disk: Duration) {
        let shelf = self.host_mut(host).shelf.get_or_insert_default();
        shelf.stored.extend(hashes.iter().copied());
        shelf.disk = disk;
        let blocks = hashes.iter().filter_map(|hash| self.library.blocks.get(hash));
        let total = blocks.map(|block| u64::from(block.len)).sum();
        self.act(host, |node, _| node.engine.serve_root(root, total));
    }

    /// Has a host fetch a root, from wherever it is.
    pub(crate) fn fetch(&mut self, host: HostId, job: JobId, root: Cid, disk: Duration) {
        let shelf = self.host_mut(host).shelf.get_or_insert_default();
        shelf.disk = disk;
        shelf.begun += 1;
        let sources = Sources { find: true, ..Sources::default() };
        self.act(host, |node, now| {
            node.engine.start_fetch(job, root, sources, true, Order::RarestFirst, now);
        });
    }

    /// Has a host fetch a root by a link that names the hosts `from` alone; if these
    /// are not there it gives up, or waits for so long.
    pub(crate) fn fetch_from(
        &mut self,
        host: HostId,
        job: JobId,
        root: Cid,
        from: &[HostId],
        wait: Option<Duration>,
    ) {
        let shelf = self.host_mut(host).shelf.get_or_insert_default();
        shelf.disk = CACHED;
        shelf.begun += 1;
        let named = from.iter().map(|&host| self.host(host));
        let hints = named.map(|named| named.addr.with_peer(named.peer)).collect();
        let sources = Sources { hints, wait, ..Sources::default() };
        self.act(host, |node, now| {
            node.engine.start_fetch(job, root, sources, true, Order::RarestFirst, now);
        });
    }

    /// True if a host has all of these.
    pub(crate) fn holds(&self, host: HostId, hashes: &BTreeSet<Multihash>) -> bool {
        self.host(host).shelf.as_ref().is_some_and(|shelf| hashes.is_subset(&shelf.stored))
    }

    /// True if a host has this block.
    pub(crate) fn has(&self, host: HostId, hash: &Multihash) -> bool {
        self.host(host).shelf.as_ref().is_some_and(|shelf| shelf.stored.contains(hash))
    }

    /// How many blocks a host has.
    pub(crate) fn held(&self, host: HostId) -> usize {
        self.host(host).shelf.as_ref().map_or(0, |shelf| shelf.stored.len())
    }

    pub(super) fn message(&mut self, from: HostId, to: HostId, message: &Incoming) {
        let peer = self.host(from).peer;
        let heard = match self.host(to).behaviour {
            Behaviour::FreeRider => &Incoming { presences: message.presences.clone(), ..Incoming::default() },
            _ => message,
        };
        self.act(to, |node, now| node.engine.handle_message(peer, heard, now));
    }

    /// A block has arrived whose bytes hash to this.
    pub(super) fn block_arrived(&mut self, from: HostId, to: HostId, cid: Cid, len: u32) {
        let node = self.library.blocks.get(cid.hash()).map(|block| block.node.clone());
        let whole = Node::Leaf { data: 0..len as usize, metadata: Metadata::default() };
        let peer = self.host(from).peer;
        let token = self.keep(to, *cid.hash());
        let arrived = Arrived { token, len, node: Ok(node.unwrap_or(whole)) };
        self.act(to, |node, now| node.engine.handle_block(peer, cid, &arrived, now));
    }

    fn keep(&mut self, host: HostId, hash: Multihash) -> Token {
        let shelf = self.host_mut(host).shelf.get_or_insert_default();
        let token = Token(shelf.next);
        shelf.next += 1;
        shelf.payloads.insert(token, hash);
        token
    }

    fn disk(&mut self, host: HostId, done: Disk) {
        let took = self.host(host).shelf.as_ref().map_or(Duration::ZERO, |shelf| shelf.disk);
        self.disk_after(host, took, done);
    }

    fn disk_after(&mut self, host: HostId, took: Duration, done: Disk) {
        let session = self.host(host).session;
        self.queue.push(self.now + took, Event::Disk { host, session, done });
    }

    /// A disk has done something.
    pub(super) fn disk_done(&mut self, host: HostId, done: Disk) {
        let has = |world: &Self, cid: &Cid| world.has(host, cid.hash());
        match done {
            Disk::Local { job, item, cid } => {
                let block = self.library.blocks.get(cid.hash()).filter(|_| has(self, &cid)).cloned();
                let found = block.map(|block| {
                    let token = self.keep(host, *cid.hash());
                    Arrived { token, len: block.len, node: Ok(block.node) }
                });
                self.act(host, |node, now| node.engine.handle_local(job, item, cid, found.as_ref(), now));
            }
            Disk::Written { job, item, cid, bytes } => {
                let len = self.library.blocks.get(cid.hash()).map_or(0, |block| block.len);
                self.host_mut(host).shelf.get_or_insert_default().stored.insert(*cid.hash());
                self.act(host, |node, now| node.engine.handle_written(job, item, cid, bytes, len, now));
            }
            Disk::Made { job } => drop(self.act(host, |node, now| node.engine.handle_made(job, now))),
            Disk::LookedUp { peer, cid } => {
                let block = self.library.blocks.get(cid.hash()).filter(|_| has(self, &cid));
                let len = block.map(|block| block.len);
                self.act(host, |node, now| node.engine.handle_lookup(peer, &cid, len, now));
            }
            Disk::Held { peer, cid } => {
                let held = has(self, &cid);
                self.act(host, |node, now| node.engine.handle_held(peer, &cid, held, now));
            }
            Disk::Served { peer, cid, served } => {
                self.act(host, |node, now| node.engine.handle_served(peer, &cid, served, now));
            }
        }
    }

    /// What an engine wants done with blocks and files.
    pub(super) fn perform_blocks(&mut self, host: HostId, output: Output) {
        match output {
            Output::SendMessage { peer, message } => {
                let Some(to) = number(&peer) else { return };
                let count = message.wants.len() + message.cancels.len() + message.presences.len();
                let message = Incoming {
                    full: message.full,
                    wants: message.wants,
                    cancels: message.cancels,
                    presences: message.presences,
                    ..Incoming::default()
                };
                if let Some((at, generation)) = self.arrival(host, to, 20 + 45 * count as u64) {
                    self.queue.push(at, Event::Message { from: host, to, generation, message });
                }
            }
            Output::Lookup { peer, cid } => self.disk(host, Disk::LookedUp { peer, cid }),
            Output::CheckHeld { peer, cid } => self.disk(host, Disk::Held { peer, cid }),
            Output::TakeLocal { job, item, cid, .. } => self.disk(host, Disk::Local { job, item, cid }),
            Output::ServeBlock { peer, cid, len } => self.serve(host, &peer, cid, len),
            Output::Write { job, item, token, data, cid, .. } => {
                self.check_payload(host, token, &cid);
                self.disk(host, Disk::Written { job, item, cid, bytes: data.len() as u64 });
            }
            Output::StoreBlock { job, item, cid, token } => {
                self.check_payload(host, token, &cid);
                self.disk(host, Disk::Written { job, item, cid, bytes: 0 });
            }
            Output::Release { token } => {
                let shelf = self.host_mut(host).shelf.get_or_insert_default();
                assert!(shelf.payloads.remove(&token).is_some(), "host {host}: a payload released twice");
            }
            Output::MakeDir { job, .. } | Output::FinishFile { job, .. } => {
                self.disk(host, Disk::Made { job });
            }
            Output::FetchFinished { job, progress } => {
                self.host_mut(host).shelf.get_or_insert_default().ended.insert(job, Ok(progress));
            }
            Output::JobFailed { job, error } => {
                self.host_mut(host).shelf.get_or_insert_default().ended.insert(job, Err(error));
            }
            // Files are not kept as such.
            _ => {}
        }
    }

    /// No block is accepted that is not what its CID says.
    fn check_payload(&self, host: HostId, token: Token, cid: &Cid) {
        let hash = self.host(host).shelf.as_ref().and_then(|shelf| shelf.payloads.get(&token));
        assert!(hash == Some(cid.hash()), "host {host}: bytes are used for {cid} that hash to {hash:?}");
    }

    fn serve(&mut self, host: HostId, peer: &PeerId, cid: Cid, len: u32) {
        if self.host(host).behaviour == Behaviour::Promiser {
            return;
        }
        let shelf = self.host_mut(host).shelf.get_or_insert_default();
        let (disk, has) = (shelf.disk, shelf.stored.contains(cid.hash()));
        shelf.served += 1;
        shelf.sent += u64::from(len);
        let served = shelf.served;
        let to = number(peer).filter(|_| has);
        let sent = to.and_then(|to| Some((to, self.arrival(host, to, u64::from(len) + 60)?)));
        let Some((to, (at, generation))) = sent else {
            let served = if has { Served::Failed } else { Served::Missing };
            return self.disk(host, Disk::Served { peer: *peer, cid, served });
        };
        let arrives = match self.host(host).behaviour {
            Behaviour::Corrupter(every) if served.is_multiple_of(u64::from(every)) => {
                Cid::new_v1(cid.codec(), self.random_hash())
            }
            _ => cid,
        };
        self.queue.push(at + disk, Event::Block { from: host, to, generation, cid: arrives, len });
        // Taken by the line, which is not yet arrived.
        let taken = self.host(host).up_free.since(self.now) + disk;
        self.disk_after(host, taken, Disk::Served { peer: *peer, cid, served: Served::Sent(len) });
    }
}
