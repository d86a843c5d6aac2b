//! The protocol over real sockets, with a backend of the tests.

use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::Notify;

use super::{Attached, CLIENTS_MAX, ConnectError, Outcome, PROTOCOL, Server, Welcome, passing, server};
use crate::api::{
    Cat, Data, Dht, Event, Failure, Get, Handle, Kind, Network, PathText, PinKind, Provide, Request, Source,
    Verify,
};
use crate::backend::{Backend, Cancel, Canceller, Sink};

/// Answers a few commands, and notes what happened.
#[derive(Debug, Default)]
struct Fake {
    started: Notify,
    cancelled: Notify,
}

impl Backend for Fake {
    async fn run(&self, request: Request, out: Sink, cancel: Cancel) -> Result<(), Failure> {
        self.started.notify_one();
        match request {
            Request::PinLs(_) => {
                for cid in ["a", "b"] {
                    let (cid, name) = (cid.to_owned(), "n\n".to_owned());
                    out.send(Event::Pin { cid, kind: PinKind::Direct, name }).await;
                }
                Ok(())
            }
            Request::Cat(_) => {
                for piece in 0..100 {
                    out.send(Event::Data(Data { bytes: vec![piece; 64 * 1024] })).await;
                }
                Ok(())
            }
            Request::Up { .. } => {
                cancel.cancelled().await;
                self.cancelled.notify_one();
                out.send(Event::Closed { sent_bytes: 1, received_bytes: 2 }).await;
                Ok(())
            }
            Request::Get(get) => {
                let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
                let folder = get.folder.ok_or_else(|| Failure::new(Kind::Path, "no folder came"))?;
                let made = rustix::fs::openat(&folder, "made", flags, rustix::fs::Mode::RWXU);
                made.map(drop).map_err(|error| Failure::new(Kind::Io, error.to_string()))
            }
            _ => Err(Failure::new(Kind::NotFound, "nobody has it")),
        }
    }
}

fn welcome() -> Welcome {
    Welcome {
        protocol: PROTOCOL,
        pid: 7,
        listen: vec!["/ip4/127.0.0.1/tcp/4001".into()],
        network: Network::default(),
    }
}

struct Running {
    repo: tempfile::TempDir,
    backend: Arc<Fake>,
    end: Canceller,
    task: tokio::task::JoinHandle<()>,
}

fn serve() -> Running {
    let repo = tempfile::tempdir().unwrap();
    let backend = Arc::new(Fake::default());
    let (end, ended) = Canceller::new();
    let server = Server::bind(repo.path()).unwrap();
    let task = tokio::spawn(server.run(Arc::clone(&backend), welcome(), ended));
    Running { repo, backend, end, task }
}

impl Running {
    async fn run(&self, request: Request, cancel: &Cancel) -> (Outcome, Vec<Event>) {
        let attached = Attached::connect(self.repo.path()).await.unwrap();
        assert_eq!(attached.welcome, welcome());
        let (sink, mut events) = Sink::new();
        let collect = async {
            let mut all = Vec::new();
            while let Some(event) = events.recv().await {
                all.push(event);
            }
            all
        };
        let work = async {
            let outcome = attached.run(request, &sink, cancel).await;
            drop(sink);
            outcome
        };
        tokio::join!(work, collect)
    }
}

#[tokio::test]
async fn events_and_results_come_back() {
    let running = serve();
    let (_canceller, cancel) = Canceller::new();
    let (outcome, events) = running.run(Request::PinLs(crate::api::Pins::default()), &cancel).await;
    assert_eq!(outcome, Outcome::Finished(Ok(())));
    assert_eq!(events.len(), 2);
    assert!(matches!(&events[1], Event::Pin { cid, name, .. } if cid == "b" && name == "n\n"));

    let (outcome, events) = running.run(Request::Verify(Verify::default()), &cancel).await;
    assert_eq!(outcome, Outcome::Finished(Err(Failure::new(Kind::NotFound, "nobody has it"))));
    assert!(events.is_empty());

    let source = Source { link: "x".into(), from: vec![], offline: false, wait: None };
    let (outcome, events) = running.run(Request::Cat(Cat { source, offset: 0, length: None }), &cancel).await;
    assert_eq!(outcome, Outcome::Finished(Ok(())));
    for (piece, event) in events.iter().enumerate() {
        assert!(
            matches!(event, Event::Data(data) if data.bytes == vec![u8::try_from(piece).unwrap(); 64 * 1024])
        );
    }
    assert_eq!(events.len(), 100);
}

#[tokio::test]
async fn cancelling_ends_the_command_in_order() {
    let running = serve();
    let (canceller, cancel) = Canceller::new();
    let cancel_once_it_runs = async {
        running.backend.started.notified().await;
        canceller.cancel();
    };
    let ((outcome, events), ()) =
        tokio::join!(running.run(Request::Up { provide: Provide::Roots }, &cancel), cancel_once_it_runs);
    assert_eq!(outcome, Outcome::Finished(Ok(())));
    assert_eq!(events, [Event::Closed { sent_bytes: 1, received_bytes: 2 }]);
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_its_request() {
    let running = serve();
    let (_canceller, cancel) = Canceller::new();
    tokio::select! {
        _ = running.run(Request::Up { provide: Provide::Roots }, &cancel) => panic!("it runs until cancelled"),
        () = running.backend.started.notified() => {}
    }
    running.backend.cancelled.notified().await;
}

#[tokio::test]
async fn an_owner_that_ends_says_no_last_word() {
    let running = serve();
    let (_canceller, cancel) = Canceller::new();
    let end_once_it_runs = async {
        running.backend.started.notified().await;
        running.end.cancel();
    };
    let ((outcome, events), ()) =
        tokio::join!(running.run(Request::Up { provide: Provide::Roots }, &cancel), end_once_it_runs);
    assert_eq!((outcome, events), (Outcome::OwnerEnded, vec![]));
    running.task.await.unwrap();
    assert!(!running.repo.path().join("control").exists());
    let error = Attached::connect(running.repo.path()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Nobody(_)), "{error}");
}

#[tokio::test]
async fn more_clients_than_the_limit_are_told_so() {
    let running = serve();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS_MAX {
        clients.push(Attached::connect(running.repo.path()).await.unwrap());
    }
    let error = Attached::connect(running.repo.path()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Refused(_)), "{error}");
    clients.clear();
    // Their places are free again, as soon as the server has noticed.
    while Attached::connect(running.repo.path()).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn another_version_and_garbage_are_refused_with_a_reason() {
    let up = |protocol: u32| {
        format!("{{\"start\":{{\"protocol\":{protocol},\"request\":{{\"command\":\"up\"}}}}}}\n")
    };
    for first in [up(PROTOCOL + 1), "garbage\n".to_owned(), "{\"start\":{}}\n".to_owned()] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let backend = Fake::default();
        let served = server::serve(theirs, &backend, welcome());
        let client = async {
            ours.write_all(first.as_bytes()).await.unwrap();
            let mut text = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut ours, &mut text).await.unwrap();
            text
        };
        let (result, text) = tokio::join!(served, client);
        result.unwrap();
        let last = text.lines().last().unwrap();
        assert!(last.contains("\"protocol\"") && last.contains("finished"), "{last}");
    }
}

#[tokio::test]
async fn the_destination_is_reached_by_its_open_folder() {
    let running = serve();
    let (_canceller, cancel) = Canceller::new();
    let temp = tempfile::tempdir().unwrap();
    let (before, after) = (temp.path().join("before"), temp.path().join("after"));
    std::fs::create_dir(&before).unwrap();
    let dest = before.join("dest");
    let mut get = Get {
        source: Source { link: "x".into(), from: vec![], offline: false, wait: None },
        folder: Handle::folder_of(&dest),
        dest: PathText(dest),
        seed_for: None,
        stream: false,
        keep: true,
        overwrite: false,
        unsafe_symlinks: false,
    };
    std::fs::rename(&before, &after).unwrap();
    let (outcome, _) = running.run(Request::Get(get.clone()), &cancel).await;
    assert_eq!(outcome, Outcome::Finished(Ok(())));
    assert!(after.join("made").exists());
    // Without one it is as it was.
    get.folder = None;
    let (outcome, _) = running.run(Request::Get(get), &cancel).await;
    assert_eq!(outcome, Outcome::Finished(Err(Failure::new(Kind::Path, "no folder came"))));
}

#[tokio::test]
async fn a_folder_that_belongs_to_nothing_is_an_error() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let backend = Fake::default();
    let served = server::serve(theirs, &backend, welcome());
    let (mut reader, mut writer) = ours.into_split();
    let client = async {
        let up = format!("{{\"start\":{{\"protocol\":{PROTOCOL},\"request\":{{\"command\":\"up\"}}}}}}\n");
        let folder = std::fs::File::open("/").unwrap();
        passing::write(&mut writer, up.as_bytes(), &[folder]).await.unwrap();
        let mut text = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut reader, &mut text).await.unwrap();
        text
    };
    let (result, text) = tokio::join!(served, client);
    result.unwrap();
    let last = text.lines().last().unwrap();
    assert!(last.contains("\"protocol\"") && last.contains("`up`"), "{last}");
}

#[test]
fn flags_that_differ_are_wrong_usage_and_name_the_pid() {
    let any_port = "/ip4/127.0.0.1/tcp/0".to_owned();
    let mut welcome = welcome();
    welcome.pid = 4711;
    welcome.network.listen = vec![any_port.clone()];
    welcome.network.bootstrap = Some(vec!["b".into(), "a".into()]);
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let nothing = Network::default;
    let listen = |at: &str| Network { listen: texts(&[at]), ..nothing() };
    let bootstrap = |peers: &[&str]| Network { bootstrap: Some(texts(peers)), ..nothing() };
    for fine in [nothing(), listen(&any_port), listen("/ip4/127.0.0.1/tcp/4001"), bootstrap(&["a", "b"])] {
        assert_eq!(welcome.agrees_with(&fine), Ok(()));
    }
    let perf = Network { perf: true, ..nothing() };
    for wrong in [listen("/ip4/127.0.0.1/tcp/4002"), perf, bootstrap(&["a"]), bootstrap(&[])] {
        let failure = welcome.agrees_with(&wrong).unwrap_err();
        assert_eq!(failure.kind.exit_code(), 2);
        assert!(failure.message.contains("4711"), "{failure}");
    }
    let dht = |mode| Network { dht: Some(mode), ..nothing() };
    let routers = |urls: &[&str]| Network { routers: texts(urls), ..nothing() };
    welcome.network.routers = texts(&["http://a", "http://b"]);
    for fine in [dht(Dht::Auto), routers(&["http://b", "http://a"])] {
        assert_eq!(welcome.agrees_with(&fine), Ok(()));
    }
    let private = Network { dht_private_addresses: true, ..nothing() };
    let silent = Network { no_mdns: true, ..nothing() };
    for wrong in [dht(Dht::Off), routers(&["http://a"]), private, silent.clone()] {
        assert!(welcome.agrees_with(&wrong).is_err(), "{wrong:?}");
    }
    // The public network's peers are not the same as none.
    welcome.network = Network { bootstrap: None, no_mdns: true, ..nothing() };
    assert_eq!(welcome.agrees_with(&silent), Ok(()));
    assert!(welcome.agrees_with(&bootstrap(&[])).is_err());
}
