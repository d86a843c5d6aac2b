//! A peer made of connections alone, which does what a test wants of it: it
//! answers identify, dials others for AutoNAT or says that it cannot, and
//! writes down what it is asked in the DHTs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use peerage_base::SharedBudget;
use peerage_dht::{Network, Request, Response, codec};
use peerage_identity::{Keypair, Multiaddr, PeerId};
use peerage_transport::autonat::v1;
use peerage_transport::autonat::v2::{self, DialBacks};
use peerage_transport::tcp::{self, Listener};
use peerage_transport::yamux::{GoAwayCode, ResetCode};
use peerage_transport::{Config, Connection, Control, Role, Stream, identify, upgrade};
use peerage_wire::frame::Assembler;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// The DHTs' protocols.
pub(crate) const DHTS: [&str; 2] = ["/ipfs/kad/1.0.0", "/ipfs/lan/kad/1.0.0"];

#[derive(Clone)]
pub(crate) struct Bare(Arc<Inner>);

struct Inner {
    keypair: Keypair,
    listen: Multiaddr,
    protocols: Vec<&'static str>,
    backs: DialBacks,
    /// Says of every address that it cannot be reached.
    fails: AtomicBool,
    /// What the last peer that said something of itself speaks.
    told: watch::Sender<Vec<String>>,
    requests: Mutex<Vec<(Network, Request)>>,
}

impl Bare {
    /// A peer on loopback that offers these protocols beside identify.
    pub(crate) fn start(protocols: &[&'static str]) -> Self {
        let listener = Listener::bind(&"/ip4/127.0.0.1/tcp/0".parse().unwrap()).unwrap();
        let mut all = vec![identify::PROTOCOL, identify::PUSH_PROTOCOL, v2::BACK_PROTOCOL];
        all.extend(protocols);
        let bare = Self(Arc::new(Inner {
            keypair: Keypair::generate().unwrap(),
            listen: listener.bound_addr(),
            protocols: all,
            backs: DialBacks::new(),
            fails: AtomicBool::new(false),
            told: watch::Sender::new(Vec::new()),
            requests: Mutex::default(),
        }));
        let accepting = bare.clone();
        tokio::spawn(async move {
            loop {
                let (socket, from) = listener.accept().await.unwrap();
                if let Some(made) = accepting.upgrade(socket, Role::Listener, None).await {
                    tokio::spawn(accepting.clone().run(made, from));
                }
            }
        });
        bare
    }

    pub(crate) fn id(&self) -> PeerId {
        self.0.keypair.peer_id()
    }

    /// Where it listens.
    pub(crate) fn addr(&self) -> Multiaddr {
        self.0.listen.clone()
    }

    /// The same, with its name.
    pub(crate) fn full_addr(&self) -> Multiaddr {
        self.addr().with_peer(self.id())
    }

    /// From now on it says that it reaches nobody.
    pub(crate) fn fail(&self) {
        self.0.fails.store(true, Ordering::Relaxed);
    }

    /// What others say by identify that they speak.
    pub(crate) fn told(&self) -> watch::Receiver<Vec<String>> {
        self.0.told.subscribe()
    }

    /// Every request of a DHT so far.
    pub(crate) fn requests(&self) -> Vec<(Network, Request)> {
        self.0.requests.lock().unwrap().clone()
    }

    /// Numbers that it waits for.
    pub(crate) fn backs(&self) -> &DialBacks {
        &self.0.backs
    }

    /// Connects to a peer, and answers what that asks.
    pub(crate) async fn connect(&self, addr: &Multiaddr) -> Control {
        let made = self.dial(addr, addr.peer_id()).await.unwrap();
        let control = made.control.clone();
        tokio::spawn(self.clone().run(made, addr.without_peer()));
        // Whoever is asked who he is asks the same.
        let mut stream = control.open(identify::PROTOCOL).await.unwrap();
        stream.finish();
        identify::receive(&mut stream, identify::TIMEOUT).await.unwrap();
        control
    }

    async fn dial(&self, addr: &Multiaddr, peer: Option<PeerId>) -> Option<Connection<TcpStream>> {
        let socket = tcp::dial(addr).await.ok()?;
        self.upgrade(socket, Role::Dialer, peer).await
    }

    async fn upgrade(
        &self,
        socket: TcpStream,
        role: Role,
        peer: Option<PeerId>,
    ) -> Option<Connection<TcpStream>> {
        let budget = SharedBudget::new(1 << 20);
        upgrade(socket, role, &self.0.keypair, peer, Config::default(), budget).await.ok()
    }

    async fn run(self, made: Connection<TcpStream>, remote: Multiaddr) {
        let Connection { peer, control: _control, mut incoming, driver, .. } = made;
        tokio::spawn(driver);
        while let Some(stream) = incoming.next().await {
            let (bare, remote) = (self.clone(), remote.clone());
            tokio::spawn(bare.serve(peer, remote, stream));
        }
    }

    /// Serves one stream; none if it came to nothing.
    async fn serve(self, peer: PeerId, remote: Multiaddr, mut stream: Stream) -> Option<()> {
        let ours = &self.0.protocols;
        let protocol = stream.accept(|name| ours.iter().copied().find(|own| *own == name)).await.ok()?;
        match protocol {
            identify::PROTOCOL => {
                identify::send(&mut stream, &self.info(remote)).await.ok()?;
                stream.finish();
            }
            identify::PUSH_PROTOCOL => {
                stream.finish();
                let info = identify::receive(&mut stream, identify::TIMEOUT).await.ok()?;
                self.0.told.send_replace(info.protocols);
            }
            v1::PROTOCOL => {
                let (serving, request) = v1::Serving::receive(stream, &peer).await.ok()?;
                let addr = request.addrs.into_iter().next()?.1;
                self.dial(&addr, Some(peer)).await?;
                serving.answer(&v1::Response::Reached(addr)).await.ok()?;
            }
            v2::DIAL_PROTOCOL => self.serve_v2(peer, stream).await?,
            v2::BACK_PROTOCOL => v2::receive_dial_back(stream, &self.0.listen, &self.0.backs).await.ok()?,
            _ => {
                let network = if protocol == DHTS[0] { Network::Wan } else { Network::Lan };
                self.serve_dht(network, stream).await?;
            }
        }
        Some(())
    }

    fn info(&self, observed: Multiaddr) -> identify::Info {
        identify::Info {
            public_key: Some(self.0.keypair.public()),
            listen_addrs: vec![self.0.listen.clone()],
            protocols: self.0.protocols.iter().map(ToString::to_string).collect(),
            observed_addr: Some(observed),
            ..identify::Info::default()
        }
    }

    async fn serve_v2(&self, peer: PeerId, stream: Stream) -> Option<()> {
        let (serving, request) = v2::Serving::receive(stream).await.ok()?;
        let (index, addr) = request.addrs.into_iter().next()?;
        let mut status = v2::DialStatus::Unreached;
        if !self.0.fails.load(Ordering::Relaxed) {
            let Connection { control, driver, .. } = self.dial(&addr, Some(peer)).await?;
            tokio::spawn(driver);
            let (back, _) = control.open_any(&[v2::BACK_PROTOCOL]).await.ok()?;
            v2::dial_back(back, request.nonce).await.ok()?;
            control.close(GoAwayCode::NORMAL);
            status = v2::DialStatus::Reached;
        }
        serving.answer(v2::Response::Dialled(index, status)).await.ok()
    }

    /// Knows nobody and nothing, and keeps what it is asked in mind.
    async fn serve_dht(&self, network: Network, mut stream: Stream) -> Option<()> {
        let mut frames = Assembler::new(64 << 10);
        while let Some(mut chunk) = stream.read_chunk(64 << 10).await.ok()? {
            while !chunk.is_empty() {
                let Some(message) = frames.push(&mut chunk).ok()? else { continue };
                let request = codec::decode_request(message).unwrap();
                self.0.requests.lock().unwrap().push((network, request.clone()));
                let closer = Vec::new();
                let response = match &request {
                    Request::FindNode { .. } => Response::Closest { closer },
                    Request::GetProviders { .. } => Response::Providers { providers: Vec::new(), closer },
                    Request::GetValue { .. } => Response::Value { record: None, closer },
                    Request::Ping => Response::Pong,
                    Request::AddProvider { .. } => continue,
                    Request::PutValue { .. } => {
                        stream.reset(ResetCode::PROTOCOL_VIOLATION);
                        return None;
                    }
                };
                stream.write_chunk(codec::encode_response(&request, &response)).await.ok()?;
            }
        }
        stream.finish();
        Some(())
    }
}
