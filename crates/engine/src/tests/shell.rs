//! Does what an engine says, the way a real shell does: payloads under tokens,
//! every answer some time later.

use std::time::Duration;

use bytes::Bytes;
use peerage_content::{Prefix, hash, node};
use peerage_dht::{Answer, Failure};
use peerage_exchange::{Incoming, Served};

use super::dag::Tree;
use super::world::{Fault, Input, World, addr, peer_id};
use crate::*;

impl World {
    pub(super) fn handle(&mut self, n: usize, input: Input) {
        let now = self.clock();
        let protocols: Vec<Protocols> = self.peers.iter().map(|peer| peer.protocols).collect();
        let peer = &mut self.peers[n];
        match input {
            Input::Connected(connected) => peer.engine.handle_connected(&connected, now),
            Input::Identified(other) => {
                let identified =
                    Identified { protocols: protocols[other], addrs: vec![addr(other)], observed: None };
                peer.engine.handle_identified(peer_id(other), &identified, now);
            }
            Input::Disconnected(other) => peer.engine.handle_disconnected(peer_id(other), now),
            Input::DialFailed(dial, failure) => peer.engine.handle_dial_failed(dial, failure, "refused", now),
            Input::Message(other, message) => {
                if peer.fault != Fault::Mute {
                    peer.engine.handle_message(peer_id(other), &message, now);
                }
            }
            Input::Block(other, prefix, data) => {
                let cid = prefix.cid_of(&data).unwrap();
                *peer.came.entry(*cid.hash()).or_default() += 1;
                let arrived = self.arrive(n, &cid, data);
                self.peers[n].engine.handle_block(peer_id(other), cid, &arrived, now);
            }
            Input::Local(job, item, cid) => {
                let data = hash::inline(&cid).map(Bytes::copy_from_slice);
                let data = data.or_else(|| peer.store.get(cid.hash()).cloned());
                let arrived = data.map(|data| self.arrive(n, &cid, data));
                self.peers[n].engine.handle_local(job, item, cid, arrived.as_ref(), now);
            }
            Input::Written(job, item, cid, bytes, block) => {
                let len = u32::try_from(block.len()).unwrap();
                peer.store.insert(*cid.hash(), block);
                peer.engine.handle_written(job, item, cid, bytes, len, now);
            }
            Input::Made(job) => peer.engine.handle_made(job, now),
            Input::LookedUp(other, cid) => {
                let len = peer.store.get(cid.hash()).map(|block| u32::try_from(block.len()).unwrap());
                peer.engine.handle_lookup(peer_id(other), &cid, len, now);
            }
            Input::Served(other, cid, served) => peer.engine.handle_served(peer_id(other), &cid, served, now),
            Input::Held(other, cid) => {
                let held = peer.store.contains_key(cid.hash());
                peer.engine.handle_held(peer_id(other), &cid, held, now);
            }
            Input::SwarmRequested(other, root, share) => {
                let request = RequestId(peer.next);
                peer.next += 1;
                peer.requests.insert(request, (other, root));
                let record = vec![u8::try_from(other).unwrap()].into();
                peer.engine.handle_swarm_request(
                    request,
                    peer_id(other),
                    addr(other).scope(),
                    root,
                    Some(record),
                    share,
                    now,
                );
                self.perform_all(n);
                // No answer by now: the real shell drops the stream.
                self.peers[n].requests.remove(&request);
            }
            Input::DhtRequested(other, network, id, request) => {
                let answer = peer.engine.handle_dht_request(network, peer_id(other), &request, now);
                let answer = match answer {
                    Answer::Respond(response) => Input::DhtAnswered(network, id, response),
                    Answer::Nothing => return,
                    Answer::Reset => Input::DhtFailed(network, id, Failure::Unsupported),
                    Answer::Later(pause) => {
                        return self.later(n, pause, Input::DhtRequested(other, network, id, request));
                    }
                };
                self.send(n, other, Duration::ZERO, answer);
            }
            Input::DhtAnswered(network, id, response) => {
                peer.engine.handle_dht_response(network, id, response, now);
            }
            Input::DhtSent(network, id) => peer.engine.handle_dht_sent(network, id, now),
            Input::DhtFailed(network, id, failure) => {
                peer.engine.handle_dht_failed(network, id, failure, now);
            }
            Input::SwarmAnswered(other, root, records) => {
                let record = |envelope: Bytes| {
                    let other = usize::from(envelope[0]);
                    Record { peer: peer_id(other), addrs: vec![addr(other)], envelope }
                };
                let records = records.into_iter().map(record).collect();
                peer.engine.handle_swarm_answer(&peer_id(other), &root, records, now);
            }
        }
    }

    fn arrive(&mut self, n: usize, cid: &peerage_content::Cid, data: Bytes) -> Arrived {
        let peer = &mut self.peers[n];
        let token = Token(peer.next);
        peer.next += 1;
        let len = u32::try_from(data.len()).unwrap();
        let node = node::decode(cid, &data);
        peer.payloads.insert(token, data);
        Arrived { token, len, node }
    }

    pub(super) fn perform_all(&mut self, n: usize) {
        while let Some(output) = self.peers[n].engine.poll_output() {
            for byte in format!("{n}{output:?}").bytes() {
                self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
            self.perform(n, output);
        }
    }

    fn perform(&mut self, n: usize, output: Output) {
        let disk = self.peers[n].disk + Duration::from_nanos(self.rng.below(200_000));
        match output {
            Output::SendMessage { peer, message } => {
                let (full, wants, cancels) = (message.full, message.wants, message.cancels);
                let presences = message.presences;
                let incoming = Incoming { full, wants, cancels, presences, ..Incoming::default() };
                let to = self.number(&peer);
                self.send(n, to, Duration::ZERO, Input::Message(n, incoming));
            }
            Output::Lookup { peer, cid } => {
                let other = self.number(&peer);
                self.later(n, disk, Input::LookedUp(other, cid));
            }
            Output::ServeBlock { peer, cid, len } => {
                let to = self.number(&peer);
                let Some(block) = self.peers[n].store.get(cid.hash()).cloned() else {
                    return self.later(n, disk, Input::Served(to, cid, Served::Missing));
                };
                assert_eq!(block.len(), len as usize);
                self.serve(n, to, cid, block);
            }
            Output::CheckHeld { peer, cid } => {
                let other = self.number(&peer);
                self.later(n, disk, Input::Held(other, cid));
            }
            Output::TakeLocal { job, item, cid, .. } => self.later(n, disk, Input::Local(job, item, cid)),
            Output::Write { job, item, file, offset, token, data, cid, .. } => {
                let block = self.peers[n].payloads[&token].clone();
                let bytes = data.len() as u64;
                if let Some(export) = self.peers[n].exports.get_mut(&job) {
                    export.write(file, offset, &block[data]);
                    self.later(n, disk, Input::Written(job, item, cid, bytes, block));
                }
            }
            Output::StoreBlock { job, item, cid, token } => {
                let block = self.peers[n].payloads[&token].clone();
                if let Some(export) = self.peers[n].exports.get_mut(&job) {
                    export.kept += 1;
                    self.later(n, disk, Input::Written(job, item, cid, 0, block));
                }
            }
            Output::Release { token } => {
                assert!(self.peers[n].payloads.remove(&token).is_some(), "released twice");
            }
            Output::QueryBlock { job, cid, token, node } => {
                assert!(self.peers[n].payloads.contains_key(&token), "a payload that is gone");
                self.peers[n].answers.push((job, cid, node.is_ok()));
            }
            Output::Dial { dial, addrs, .. } => self.dial(n, dial, &addrs),
            Output::CancelDial { dial } => self.cancel_dial(n, dial),
            Output::DhtRequest { network, id, peer, request } => {
                let to = self.number(&peer);
                self.peers[n].asked.push((to, request.clone()));
                if !request.is_answered() {
                    self.later(n, Duration::ZERO, Input::DhtSent(network, id));
                }
                self.send(n, to, Duration::ZERO, Input::DhtRequested(n, network, id, request));
            }
            // Answers that nobody waits for come to nothing.
            Output::DhtCancel { .. }
            | Output::ServeDht { .. }
            | Output::ListKeys { .. }
            | Output::ReachChanged { .. } => {}
            Output::Probe(_) => panic!("nobody speaks AutoNAT here"),
            Output::AskRouters { .. } | Output::CancelRouters { .. } => panic!("there are no routers"),
            Output::Find { find, event } => self.peers[n].found.push((find, event)),
            Output::Disconnect { peer, reason: DisconnectReason::Surplus } => {
                self.peers[n].trimmed += 1;
                let other = self.number(&peer);
                self.cut(n, other);
            }
            Output::Disconnect { peer, .. } => self.disconnect(n, &peer),
            Output::AskSwarm { peer, root, share } => {
                let to = self.number(&peer);
                self.send(n, to, Duration::ZERO, Input::SwarmRequested(n, root, share));
            }
            Output::AnswerSwarm { request, records, .. } => {
                let (to, root) = self.peers[n].requests.remove(&request).expect("answered twice");
                assert!(records.len() <= self.config.swarm_records);
                self.send(n, to, Duration::ZERO, Input::SwarmAnswered(n, root, records));
            }
            Output::PeerProgressed { peer, share, .. } => self.peers[n].progressed.push((peer, share)),
            output => self.perform_export(n, output),
        }
    }

    fn serve(&mut self, n: usize, to: usize, cid: peerage_content::Cid, block: Bytes) {
        let after = self.uplink(n, block.len());
        let peer = &mut self.peers[n];
        peer.sent_blocks += 1;
        peer.sent_bytes += block.len() as u64;
        let (sent, len) = (peer.sent_blocks, u32::try_from(block.len()).unwrap());
        let mut prefix = Prefix::of(&cid);
        let mut data = block;
        match peer.fault {
            Fault::Corrupt(every) if sent % every == 0 => data = [&data[..], b"!"].concat().into(),
            Fault::CallsAllRaw => prefix = Prefix { version: 1, codec: 0x55, ..prefix },
            Fault::HangsUp(every) if sent % every == 0 => return self.cut(n, to),
            _ => {}
        }
        self.send(n, to, after, Input::Block(n, prefix, data));
        self.later(n, after, Input::Served(to, cid, Served::Sent(len)));
    }

    fn perform_export(&mut self, n: usize, output: Output) {
        if let Output::MakeDir { job, .. } | Output::FinishFile { job, .. } = &output {
            let disk = self.peers[n].disk;
            self.later(n, disk, Input::Made(*job));
        }
        if let Output::FetchFinished { job, .. } = &output {
            assert!(!self.is_making(n, *job), "finished before everything is in place");
        }
        let exports = &mut self.peers[n].exports;
        match output {
            Output::MakeDir { job, path, .. } => {
                if let Some(export) = exports.get_mut(&job) {
                    export.add(path, Tree::Dir([].into()));
                }
            }
            Output::OpenFile { job, file, path, size, .. } => {
                if let Some(export) = exports.get_mut(&job) {
                    export.open(file, path, size);
                }
            }
            Output::FinishFile { job, file } => {
                if let Some(export) = exports.get_mut(&job) {
                    export.finish(file);
                }
            }
            Output::MakeSymlink { job, path, target, .. } => {
                if let Some(export) = exports.get_mut(&job) {
                    export.add(path, Tree::Link(String::from_utf8(target.to_vec()).unwrap()));
                }
            }
            Output::FetchFinished { job, progress } => {
                assert!(self.peers[n].ended.insert(job, Ok(progress)).is_none(), "ended twice");
            }
            Output::JobFailed { job, error } => {
                assert!(self.peers[n].ended.insert(job, Err(error)).is_none(), "ended twice");
            }
            other => panic!("not performed: {other:?}"),
        }
    }
}
