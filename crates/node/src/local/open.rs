//! Starting the peer of a repository: where it listens, and what its user is
//! told of its opening.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use peerage_identity::{Multiaddr, Scope};
use peerage_peer::router::Router;
use peerage_peer::{Config, DhtMode, Heard, Peer, StartError, public_peers};
use peerage_store::{Change, LockError, Notice, Owner, RepoLock};

use super::failure::Fails as _;
use crate::api::{Dht, Event, Failure, Kind, Network, NoticeKind, Request};
use crate::backend::Sink;
use crate::cli::values;
use crate::execution::OpenError;

/// The port of a repository, drawn at first use.
const PORT_FILE: &str = "port";

/// Ports to draw from: those that no service is registered for.
const PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;

/// Names the peers to connect to at start, unless `--bootstrap` does.
const BOOTSTRAP: &str = "PEERAGE_BOOTSTRAP";

/// Stretches the workers' time, for tests of slow machines.
const SLOW_WORKERS: &str = "PEERAGE_TEST_WORKER_SLOWDOWN";

/// Silences the local network, as `--no-mdns` does.
const MDNS: &str = "PEERAGE_MDNS";

/// What the flags say, and where they say nothing, the environment. That is
/// not used if another process owns `repo`: then that one's counts.
pub(super) fn network(repo: &Path, flags: &Network) -> Result<Network, OpenError> {
    let variable = |name: &str| std::env::var_os(name);
    completed(flags, variable)
        .map_err(|failure| RepoLock::holder(repo).map_or(OpenError::Failed(failure), held))
}

/// Flags, completed by the environment, and by what follows from them.
fn completed(flags: &Network, variable: impl Fn(&str) -> Option<OsString>) -> Result<Network, Failure> {
    let mut network = flags.clone();
    if network.bootstrap.is_none()
        && let Some(value) = variable(BOOTSTRAP)
    {
        network.bootstrap = Some(bootstrap(&value)?);
    }
    if !network.no_mdns
        && let Some(value) = variable(MDNS)
    {
        network.no_mdns = is_off(&value)?;
    }
    if is_alone(&network) {
        // Nobody else would hear it.
        network.no_mdns = true;
    }
    Ok(network)
}

/// Whether only this machine can reach it.
fn is_alone(network: &Network) -> bool {
    let is_loopback =
        |text: &String| text.parse::<Multiaddr>().is_ok_and(|addr| addr.scope() == Scope::Loopback);
    !network.listen.is_empty() && network.listen.iter().all(is_loopback)
}

/// What [`MDNS`] says.
fn is_off(variable: &OsStr) -> Result<bool, Failure> {
    match variable.to_str() {
        Some("off") => Ok(true),
        Some("" | "on") => Ok(false),
        _ => {
            let value = peerage_content::name::escape(&variable.to_string_lossy());
            Err(Failure::usage(format!("{MDNS}: `{value}` is neither on nor off")))
        }
    }
}

/// The peers that [`BOOTSTRAP`] names.
fn bootstrap(variable: &OsStr) -> Result<Vec<String>, Failure> {
    let peers = variable.to_string_lossy().split(',').map(values::bootstrap).collect::<Result<_, _>>();
    peers.map(values::without_none).map_err(|error| Failure::usage(format!("{BOOTSTRAP}: {error}")))
}

fn held(owner: Owner) -> OpenError {
    OpenError::Held { pid: owner.pid, command: owner.command }
}

/// Starts the peer that is to do what `request` asks first. Beside it
/// comes the port that it should have and that another program has.
pub(super) async fn peer(
    repo: &Path,
    network: &Network,
    request: &Request,
) -> Result<(Peer, Option<u16>), OpenError> {
    let mut config = configuration(repo, network)?;
    // Whoever needs others has them met, also if he comes later and attaches.
    config.quiet = true;
    config.command = command_line();
    config.worker_slowdown =
        std::env::var(SLOW_WORKERS).ok().and_then(|text| text.parse().ok()).unwrap_or(config.worker_slowdown);
    let given = parse(&network.listen)?;
    let port = Port::of(repo);
    let kept = Some(port.number).filter(|_| given.is_empty() && !port.is_new);
    let mut choices = if given.is_empty() { defaults(&[port.number, draw(), 0]) } else { vec![given] };
    if !request.needs_network() {
        choices.push(Vec::new());
    }
    if request.is_about_owner() {
        // It says that nobody listens.
        choices = vec![Vec::new()];
    }
    let mut last = None;
    for listen in choices {
        config.listen = listen;
        match Peer::start(config.clone()).await {
            Ok(peer) => {
                port.keep(repo);
                let taken = kept.filter(|kept| !listens(peer.bound_addrs(), *kept));
                return Ok((peer, taken));
            }
            Err(StartError::Listen(error)) => last = Some(StartError::Listen(error)),
            Err(StartError::Lock(LockError::Held(owner))) => return Err(held(owner)),
            Err(error) => return Err(OpenError::Failed(error.failure())),
        }
    }
    let failure =
        last.map_or_else(|| Failure::new(Kind::Failed, "nowhere to listen"), |error| error.failure());
    Err(OpenError::Failed(failure))
}

/// How the network flags set up a peer, but for where it listens.
fn configuration(repo: &Path, network: &Network) -> Result<Config, OpenError> {
    let mut config = Config::new(repo);
    config.perf = network.perf;
    config.store.max_bytes = network.max_store;
    config.rates = super::limits::at_start(network);
    if let Some(most) = network.max_peers {
        config.limit_connections(usize::try_from(most).unwrap_or(usize::MAX));
    }
    if let Some(bytes) = network.max_memory {
        config.fit_memory(bytes);
    }
    match &network.bootstrap {
        Some(peers) => config.bootstrap = parse(peers)?,
        None if is_alone(network) => {}
        None => config.seeds = public_peers(),
    }
    config.mdns = !network.no_mdns;
    let router = |url: &String| Router::new(url).map_err(|error| Failure::usage(format!("{url}: {error}")));
    config.routers =
        network.routers.iter().map(router).collect::<Result<_, _>>().map_err(OpenError::Failed)?;
    let routing = &mut config.engine.routing;
    routing.mode = match network.dht.unwrap_or_default() {
        Dht::Off => DhtMode::Off,
        Dht::Client => DhtMode::Client,
        Dht::Server => DhtMode::Server,
        Dht::Auto => DhtMode::Auto,
    };
    Arc::make_mut(&mut routing.wan).private_addresses = network.dht_private_addresses;
    Ok(config)
}

/// All addresses on the first of the ports that is free. Systems without IPv6
/// have a line of their own.
fn defaults(ports: &[u16]) -> Vec<Vec<Multiaddr>> {
    let on = |families: &[&str], port: u16| {
        families.iter().filter_map(|family| format!("{family}/tcp/{port}").parse().ok()).collect::<Vec<_>>()
    };
    let (both, four) = (["/ip4/0.0.0.0", "/ip6/::"], ["/ip4/0.0.0.0"]);
    ports.iter().flat_map(|&port| [on(&both, port), on(&four, port)]).collect()
}

/// Whether a peer that is bound there uses the port, or needs none.
fn listens(bound: &[Multiaddr], port: u16) -> bool {
    let mut ports = bound.iter().filter_map(Multiaddr::to_tcp_addr).map(|addr| addr.port());
    bound.is_empty() || ports.any(|bound| bound == port)
}

/// A port by chance; 0, which stands for any, if there is no chance.
fn draw() -> u16 {
    let mut bytes = [0; 2];
    match getrandom::fill(&mut bytes) {
        Ok(()) => PORTS.start() + u16::from_le_bytes(bytes) % (PORTS.end() - PORTS.start()),
        Err(_) => 0,
    }
}

/// The port of a repository.
struct Port {
    /// 0 if none could be drawn.
    number: u16,
    /// Drawn now, and in no file yet.
    is_new: bool,
}

impl Port {
    /// Reads or draws it. Nothing is written: the folder may not exist, or be
    /// another process's.
    fn of(repo: &Path) -> Self {
        let kept = fs::read_to_string(repo.join(PORT_FILE)).ok().and_then(|text| text.trim().parse().ok());
        if let Some(number) = kept.filter(|port| *port > 0) {
            return Self { number, is_new: false };
        }
        let number = draw();
        Self { number, is_new: number > 0 }
    }

    /// Writes it down, for whoever owns the repository. One that cannot keep
    /// it has another port each time, which is no error.
    fn keep(&self, repo: &Path) {
        if self.is_new {
            let path = repo.join(PORT_FILE);
            if let Err(error) = fs::write(&path, format!("{}\n", self.number)) {
                tracing::debug!(%error, "cannot keep the port");
            }
        }
    }
}

fn parse(addrs: &[String]) -> Result<Vec<Multiaddr>, OpenError> {
    let one = |text: &String| {
        text.parse().map_err(|error| OpenError::Failed(Failure::usage(format!("{text}: {error}"))))
    };
    addrs.iter().map(one).collect()
}

fn command_line() -> String {
    let args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    args.collect::<Vec<_>>().join(" ")
}

/// Tells that links which were given away do not lead here now.
pub(super) async fn report_taken(port: u16, out: &Sink) {
    let message = format!(
        "port {port} of this repository is taken by another program, so another one is used: links that were \
         given away before do not lead here until that program ends and this one is started again"
    );
    out.send(Event::notice(NoticeKind::Reachability, message)).await;
}

/// Tells what opening mended, and what the store noticed since.
pub(super) async fn report(peer: &Peer, heard: &mut Heard, out: &Sink) {
    let report = peer.open_report();
    if report.is_notable() {
        let mut said = Vec::new();
        if let Some(path) = &report.index_moved_to {
            said.push(format!(
                "the index could not be used: it was moved to {} and rebuilt, and nothing is missing",
                path.display()
            ));
        }
        if report.index_lost && report.index_moved_to.is_none() {
            said.push("the index could not be used, nor moved aside; nothing is missing".into());
        }
        if let Some(error) = &report.unsettled {
            said.push(format!(
                "the disk had failed to keep what an earlier command wrote, and that could not be written again \
                 ({error}): nothing is kept for certain until it is; check the disk"
            ));
        }
        if report.journal_restored {
            said.push(
                "a file of the journal was damaged and made anew from its twin; nothing is missing".into(),
            );
        }
        if report.settled {
            said.push(
                "the disk had failed to keep what an earlier command wrote, so that was written again: check the disk"
                    .into(),
            );
        }
        if let Some(path) = &report.journal_copied_to {
            said.push(format!("the journal was damaged; a copy is at {}", path.display()));
        }
        if !report.rebuilt_packs.is_empty() {
            let packs: Vec<_> = report.rebuilt_packs.iter().map(|path| path.display().to_string()).collect();
            said.push(format!("the index of {} was damaged and rebuilt from its blocks", packs.join(", ")));
        }
        if report.damaged_bytes > 0 {
            said.push(format!("{} bytes of packs cannot be read", report.damaged_bytes));
        }
        for cid in &report.lost_root_sets {
            said.push(format!("{cid} is not served until it is added again"));
        }
        out.send(Event::notice(NoticeKind::Store, said.join("; "))).await;
    }
    notices(peer, heard, out).await;
}

/// Tells what happened to files that are shared.
pub(super) async fn notices(peer: &Peer, heard: &mut Heard, out: &Sink) {
    for notice in peer.notices(heard) {
        let (kind, message) = match notice {
            Notice::FileChanged { path, change, .. } => {
                let how = match change {
                    Change::Content => "has changed",
                    Change::Shrunk => "has become shorter",
                    Change::NotAFile => "is no regular file any more",
                    Change::Missing => "is not there any more",
                };
                let path = peerage_content::name::escape(&path.to_string_lossy());
                (NoticeKind::Changed, format!("{path} {how}; what it was is not served. Share it again"))
            }
            Notice::RecordDamaged { pack, .. } => {
                (NoticeKind::Store, format!("a block in {} is damaged and not served", pack.display()))
            }
            Notice::PackIndexDamaged { pack } => {
                (NoticeKind::Store, format!("the index of {} is damaged and being rebuilt", pack.display()))
            }
            Notice::IndexLost { .. } => {
                (NoticeKind::Store, "the index was lost and rebuilt; nothing of value was in it".to_owned())
            }
        };
        out.send(Event::notice(kind, message)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_get_one_port_and_another_is_noticed() {
        let text =
            |addrs: &Vec<Multiaddr>| addrs.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let choices = defaults(&[50_000, 50_001]);
        assert_eq!(
            choices.iter().map(text).collect::<Vec<_>>(),
            [
                "/ip4/0.0.0.0/tcp/50000 /ip6/::/tcp/50000",
                "/ip4/0.0.0.0/tcp/50000",
                "/ip4/0.0.0.0/tcp/50001 /ip6/::/tcp/50001",
                "/ip4/0.0.0.0/tcp/50001"
            ]
        );
        assert!(listens(&choices[0], 50_000) && listens(&choices[1], 50_000) && listens(&[], 50_000));
        assert!(!listens(&choices[2], 50_000));
    }

    fn network(flags: &Network, variables: &[(&str, &str)]) -> Result<Network, Failure> {
        completed(flags, |name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        })
    }

    fn listening(addrs: &[&str]) -> Network {
        Network { listen: addrs.iter().map(|&addr| addr.to_owned()).collect(), ..Network::default() }
    }

    #[test]
    fn flags_beat_the_environment_and_loopback_is_alone() {
        let everywhere = network(&Network::default(), &[]).unwrap();
        assert_eq!((everywhere.bootstrap, everywhere.no_mdns), (None, false));
        for alone in [&["/ip4/127.0.0.1/tcp/0"][..], &["/ip6/::1/tcp/0", "/ip4/127.0.0.2/tcp/1"]] {
            let alone = network(&listening(alone), &[(MDNS, "on")]).unwrap();
            assert_eq!((&alone.bootstrap, alone.no_mdns), (&None, true));
            assert_eq!(configuration(Path::new("/r"), &alone).unwrap().seeds, []);
        }
        let mixed = listening(&["/ip4/127.0.0.1/tcp/0", "/ip4/192.0.2.1/tcp/0"]);
        let mixed = network(&mixed, &[(BOOTSTRAP, "none"), (MDNS, "off")]).unwrap();
        assert_eq!((mixed.bootstrap, mixed.no_mdns), (Some(vec![]), true));
        let flags = Network { bootstrap: Some(vec!["/ip4/192.0.2.1/tcp/1".into()]), ..Network::default() };
        let given = network(&flags, &[(BOOTSTRAP, "nonsense"), (MDNS, "")]).unwrap();
        assert_eq!(given, flags);
        let failure = network(&Network::default(), &[(MDNS, "no")]).unwrap_err();
        assert!(failure.kind == Kind::Usage && failure.message.contains(MDNS), "{failure}");
    }

    #[test]
    fn whom_a_peer_begins_with() {
        let of = |network: &Network| configuration(Path::new("/r"), network).unwrap();
        let public = of(&Network::default());
        assert_eq!((public.seeds, public.bootstrap, public.mdns), (public_peers(), vec![], true));
        let none = of(&Network { bootstrap: Some(vec![]), no_mdns: true, ..Network::default() });
        assert_eq!((none.seeds, none.bootstrap, none.mdns), (vec![], vec![], false));
        let flags = Network {
            bootstrap: Some(vec!["/ip4/192.0.2.1/tcp/1".into()]),
            dht: Some(Dht::Client),
            dht_private_addresses: true,
            max_store: None,
            routers: vec!["http://127.0.0.1:1".into()],
            ..Network::default()
        };
        let named = of(&flags);
        assert!(named.seeds.is_empty() && named.bootstrap.len() == 1 && named.routers.len() == 1);
        assert_eq!(named.engine.routing.mode, DhtMode::Client);
        assert!(named.engine.routing.wan.private_addresses);
    }

    #[test]
    fn the_environment_names_nobody_or_several() {
        let peers = |text: &str| bootstrap(OsStr::new(text)).unwrap();
        for nobody in ["", "none", ","] {
            assert_eq!(peers(nobody), [""; 0], "{nobody}");
        }
        assert_eq!(
            peers("/ip4/192.0.2.1/tcp/1,none,/ip4/192.0.2.2/tcp/2"),
            ["/ip4/192.0.2.1/tcp/1", "/ip4/192.0.2.2/tcp/2"]
        );
        for wrong in ["nonsense", "/ip4/192.0.2.1/tcp/1,x"] {
            let failure = bootstrap(OsStr::new(wrong)).unwrap_err();
            assert_eq!(failure.kind, Kind::Usage);
            assert!(failure.message.starts_with(BOOTSTRAP), "{failure}");
        }
    }
}
