//! Does what the engine says. Each output is one line of routing: to a writer,
//! to a worker, to a job's owner.

use std::sync::Arc;

use peerage_content::{Cid, hash, node};
use peerage_engine::{Output, Share, Token};
use peerage_exchange::Served;
use peerage_identity::PeerId;

use super::{Brain, Input, JobEvent};
use crate::net::bitswap_in::Block;
use crate::net::bitswap_out::{BlockOut, Queued};
use crate::net::swarm;

impl Brain {
    pub(super) fn perform_all(&mut self) {
        while let Some(output) = self.engine.poll_output() {
            self.perform(output);
        }
        self.tell_of_us();
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::SendMessage { peer, message } => {
                // Before it is sent, or the answer could be too much.
                let expected = self.engine.exchange().peer_stats(&peer).outstanding_bytes;
                self.registry.expect(&peer, expected);
                self.registry.send(&self.net, &peer, message);
            }
            Output::Lookup { peer, cid } => {
                let (net, store, served) = (Arc::clone(&self.net), self.store.clone(), self.served.clone());
                self.net.pool.post(move || {
                    let len = if served.serves(cid.hash()) { held_len(&store, &cid) } else { None };
                    net.tell(Input::LookedUp { peer, cid, len });
                });
            }
            Output::ServeBlock { peer, cid, .. } => self.serve_block(peer, cid),
            Output::CheckHeld { peer, cid } => {
                // Whoever sends it learns something of what is here, so only
                // what is served or being fetched counts.
                let (net, store, served) = (Arc::clone(&self.net), self.store.clone(), self.served.clone());
                let exports = self.jobs.values().filter_map(|slot| slot.export.as_ref());
                let sets: Vec<_> = exports.map(|export| Arc::clone(export.set())).collect();
                self.net.pool.post(move || {
                    let ours = served.serves(cid.hash()) || sets.iter().any(|set| set.contains(cid.hash()));
                    let held = ours && held_len(&store, &cid).is_some();
                    net.tell(Input::Held { peer, cid, held });
                });
            }
            Output::TakeLocal { job, item, cid, at, entry } => self.take_local(job, item, cid, at, entry),
            Output::MakeDir { job, path, metadata } => {
                // The root's own links say how much there is; a file says its size itself.
                let total = path.is_empty().then(|| self.engine.progress(job)).flatten();
                let total = total.map_or(0, |progress| progress.fetch.total);
                self.export(job, move |export| {
                    export.check_room(total)?;
                    export.make_dir(&path, metadata)
                });
            }
            Output::OpenFile { job, file, path, size, metadata } => {
                // Only noted here; the first write opens it.
                if let Some(export) = self.jobs.get(&job).and_then(|slot| slot.export.as_ref()) {
                    export.note_file(file, &path, size, metadata);
                }
            }
            Output::FinishFile { job, file } => self.export(job, move |export| export.finish_file(file)),
            Output::MakeSymlink { job, path, target, metadata } => {
                if let Some(export) = self.jobs.get(&job).and_then(|slot| slot.export.as_ref()) {
                    export.note_symlink(&path, &target, metadata);
                }
            }
            Output::Write { job, item, file, offset, token, data, cid, held } => {
                let Some(block) = self.payloads.get(&token).cloned() else { return };
                let Some(export) = self.jobs.get(&job).and_then(|slot| slot.export.clone()) else { return };
                let net = Arc::clone(&self.net);
                let len = u32::try_from(block.len()).unwrap_or(u32::MAX);
                self.net.pool.post(move || {
                    let bytes = data.len() as u64;
                    net.tell(match export.write(file, offset, &cid, &block, data, held) {
                        Ok(()) => Input::Written { job, item, cid, bytes, len },
                        Err(error) => Input::Broken { job, error },
                    });
                });
            }
            Output::StoreBlock { job, item, cid, token } => {
                let Some(block) = self.payloads.get(&token).cloned() else { return };
                let Some(export) = self.jobs.get(&job).and_then(|slot| slot.export.clone()) else { return };
                let net = Arc::clone(&self.net);
                let len = u32::try_from(block.len()).unwrap_or(u32::MAX);
                self.net.pool.post(move || {
                    net.tell(match export.store_block(&cid, &block) {
                        Ok(()) => Input::Written { job, item, cid, bytes: 0, len },
                        Err(error) => Input::Broken { job, error },
                    });
                });
            }
            Output::Release { token } => self.release(token),
            Output::QueryBlock { job, cid, token, .. } => {
                if let (Some(slot), Some(data)) = (self.jobs.get(&job), self.payloads.get(&token)) {
                    drop(slot.events.send(JobEvent::Block(cid, data.clone())));
                }
            }
            Output::FetchFinished { job, progress } => {
                self.end_job(job, Some(JobEvent::Finished(progress)));
            }
            Output::JobFailed { job, error } => {
                self.end_job(job, Some(JobEvent::Failed(error)));
            }
            Output::Disconnect { peer, reason } => {
                tracing::info!(%peer, ?reason, "closing the connection");
                self.registry.close(&peer);
            }
            Output::AskSwarm { peer, root, share } => {
                if let (Some(control), Some(scope)) =
                    (self.registry.control(&peer), self.registry.scope(&peer))
                {
                    let ask = swarm::ask(Arc::clone(&self.net), control.clone(), scope, root, share);
                    while self.asking.try_join_next().is_some() {}
                    self.asking.spawn(ask);
                }
            }
            Output::AnswerSwarm { request, records, share } => {
                if let Some(reply) = self.requests.remove(&request) {
                    drop(reply.send(swarm::Answer { records, share }));
                }
            }
            Output::PeerProgressed { root, peer, share } => {
                self.served.leave_to_itself(&root, peer);
                self.tell_watchers(root, peer, share);
            }
            other => self.find_peers(other),
        }
    }

    /// Tells who waits for it how much of a root a peer has.
    pub(super) fn tell_watchers(&mut self, root: Cid, peer: PeerId, share: Share) {
        if let Some(watchers) = self.watchers.get_mut(&root) {
            watchers.retain(|watcher| watcher.send((root, peer, share)).is_ok());
        }
    }

    /// Counts a block that was sent, if that is of interest.
    pub(super) fn count(&self, peer: PeerId, cid: Cid) {
        if !self.served.counts(&peer) {
            return;
        }
        let (net, served) = (Arc::clone(&self.net), self.served.clone());
        self.net.pool.post(move || {
            for sent in served.note_sent(peer, cid.hash()) {
                net.tell(Input::SentAll(sent));
            }
        });
    }

    fn release(&mut self, token: Token) {
        self.payloads.remove(&token);
    }

    fn export<F>(&self, job: peerage_engine::JobId, work: F)
    where
        F: FnOnce(&crate::files::export::Export) -> Result<(), crate::files::export::ExportError>
            + Send
            + 'static,
    {
        let Some(export) = self.jobs.get(&job).and_then(|slot| slot.export.clone()) else { return };
        let net = Arc::clone(&self.net);
        self.net.pool.post(move || {
            net.tell(match work(&export) {
                Ok(()) => Input::Made { job },
                Err(error) => Input::Broken { job, error },
            });
        });
    }

    fn serve_block(&mut self, peer: PeerId, cid: Cid) {
        let net = Arc::clone(&self.net);
        let turn = self.next_turn;
        self.next_turn += 1;
        let Some(queue) = self.registry.blocks(&peer) else {
            return net.tell(Input::Served { peer, cid, served: Served::Failed });
        };
        let (store, served) = (self.store.clone(), self.served.clone());
        // Its root may have been served when it was asked for and not be any more.
        let read = move || if served.serves(cid.hash()) { store.read(cid.hash()) } else { Ok(None) };
        self.net.pool.post(move || match read() {
            Ok(data) if data.is_some() || is_empty(&cid) => {
                let data = data.unwrap_or_default();
                if queue.send(Queued::Block(BlockOut { cid, data, turn })).is_err() {
                    net.tell(Input::Served { peer, cid, served: Served::Failed });
                }
            }
            Ok(_) => net.tell(Input::Served { peer, cid, served: Served::Missing }),
            Err(error) => {
                tracing::warn!(%cid, %error, "cannot read a block that is asked for");
                net.tell(Input::Served { peer, cid, served: Served::Missing });
            }
        });
    }

    fn take_local(
        &self,
        job: peerage_engine::JobId,
        item: peerage_engine::ItemId,
        cid: Cid,
        at: Option<peerage_engine::At>,
        entry: Option<Vec<String>>,
    ) {
        let (net, store) = (Arc::clone(&self.net), self.store.clone());
        let export = self.jobs.get(&job).and_then(|slot| slot.export.clone());
        self.net.pool.post(move || {
            let from_dest = || {
                let export = export.as_ref()?;
                match (at, &entry) {
                    (Some(at), _) => export.read_existing(&cid, at),
                    (None, Some(path)) => export.read_existing_entry(&cid, path),
                    (None, None) => None,
                }
            };
            let data = match hash::inline(&cid) {
                Some(data) => Some(bytes::Bytes::copy_from_slice(data)),
                None if is_empty(&cid) => Some(bytes::Bytes::new()),
                None => from_dest().or_else(|| store.read(cid.hash()).ok().flatten()),
            };
            let found = data.map(|data| Block { cid, node: node::decode(&cid, &data), data });
            net.tell(Input::Local { job, item, cid, found });
        });
    }
}

/// The length of a block that is here. The empty block is everywhere, and kept nowhere.
fn held_len(store: &peerage_store::Store, cid: &Cid) -> Option<u32> {
    if is_empty(cid) {
        return Some(0);
    }
    store.len_of(cid.hash()).unwrap_or_else(|error| {
        tracing::warn!(%cid, %error, "cannot look for a block");
        None
    })
}

fn is_empty(cid: &Cid) -> bool {
    hash::verify(cid, &[]).is_ok()
}
