//! Sockets and streams: everything that speaks to other peers.
//!
//! One task accepts, one drives each connection, one reads each stream, two
//! write to each peer. None of them decides anything: what they learn goes to
//! the brain as an [`Input`], and what is to be said comes from there.

pub(crate) mod accept;
pub(crate) mod autonat;
pub(crate) mod bitswap_in;
pub(crate) mod bitswap_out;
pub(crate) mod connection;
pub(crate) mod dht;
pub(crate) mod dial;
pub(crate) mod identity;
pub(crate) mod interfaces;
pub(crate) mod mapping;
pub(crate) mod nearby;
pub(crate) mod pace;
mod payload;
pub(crate) mod routers;
pub(crate) mod streams;
pub(crate) mod swarm;
pub(crate) mod told;

use std::sync::Arc;

use peerage_base::SharedBudget;
use peerage_identity::Keypair;
use peerage_transport::Clock;
use peerage_transport::autonat::v2::DialBacks;
use tokio::sync::{Semaphore, mpsc};

use crate::brain::Input;
use crate::config::{Config, Limits};
use crate::pool::Pool;
use crate::router::Router;
use identity::LocalInfo;
use pace::Paced;

/// What every network task needs.
pub(crate) struct Net {
    pub(crate) keypair: Keypair,
    pub(crate) inbox: mpsc::UnboundedSender<Input>,
    pub(crate) pool: Pool,
    pub(crate) inbound: SharedBudget,
    pub(crate) limits: Limits,
    pub(crate) paced: Arc<Paced>,
    pub(crate) transport: peerage_transport::Config,
    pub(crate) perf: bool,
    pub(crate) local: LocalInfo,
    /// Probes that wait for a number to be brought back.
    pub(crate) backs: DialBacks,
    pub(crate) routers: Vec<Router>,
    /// Places for TCP connections that are being made.
    pub(crate) sockets: Semaphore,
}

impl Net {
    pub(crate) fn new(
        config: &Config,
        keypair: Keypair,
        pool: Pool,
        inbox: mpsc::UnboundedSender<Input>,
    ) -> Arc<Self> {
        Arc::new(Self {
            local: LocalInfo::new(keypair.clone(), config),
            backs: DialBacks::new(),
            keypair,
            inbox,
            pool,
            inbound: SharedBudget::new(config.limits.inbound),
            limits: config.limits.clone(),
            paced: Paced::new(config.rates, Clock::start()),
            transport: config.transport.clone(),
            perf: config.perf,
            routers: config.routers.clone(),
            sockets: Semaphore::new(dial::SOCKETS_MAX),
        })
    }

    /// Tells the brain. It outlives all tasks but at the very end, when nobody cares.
    pub(crate) fn tell(&self, input: Input) {
        drop(self.inbox.send(input));
    }
}
