//! Two commands on one repository, in one process: the lock is a flag of the
//! test's, the control socket is real.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::api::{Event, Failure, Kind, Network, NoticeKind, Provide, Request, Verify};
use crate::backend::{Backend, Cancel, Canceller, Sink};
use crate::execution::{Execution, OpenError, Opener, Owned};
use crate::render::{Json, Output};

/// Where owners listen, whatever they were told.
const LISTEN: &str = "/ip4/127.0.0.1/tcp/4001";

/// A machine with one repository.
#[derive(Debug, Default)]
struct World {
    locked: AtomicBool,
    /// Which owner started which command, in order.
    started: Mutex<Vec<(String, &'static str)>>,
    changed: Notify,
    /// The network flags of whoever opened it last.
    flags: Mutex<Network>,
    /// The owner's addresses cannot be listened on any more.
    address_gone: AtomicBool,
    /// Repositories that never finish closing, and the one that began.
    closing_hangs: AtomicBool,
    closing: Notify,
    /// How often it was somebody else's, and the end of a `status`.
    refused: AtomicUsize,
    told: Notify,
}

/// One process.
struct Process {
    name: &'static str,
    world: Arc<World>,
}

struct Repository(Arc<Peer>);

struct Peer {
    name: &'static str,
    world: Arc<World>,
}

impl Opener for Process {
    type Owned = Repository;

    async fn open(&self, _repo: &Path, flags: &Network, _request: &Request) -> Result<Repository, OpenError> {
        if self.world.locked.swap(true, Ordering::SeqCst) {
            self.world.refused.fetch_add(1, Ordering::SeqCst);
            self.world.changed.notify_waiters();
            return Err(OpenError::Held { pid: Some(4711), command: "peerage\u{1b} up".into() });
        }
        if self.world.address_gone.load(Ordering::SeqCst) && flags.listen == [LISTEN] {
            self.world.locked.store(false, Ordering::SeqCst);
            return Err(OpenError::Failed(Failure::new(Kind::Network, "cannot listen")));
        }
        *self.world.flags.lock().unwrap() = flags.clone();
        Ok(Repository(Arc::new(Peer { name: self.name, world: Arc::clone(&self.world) })))
    }
}

impl Owned for Repository {
    type Backend = Peer;

    fn backend(&self) -> Arc<Peer> {
        Arc::clone(&self.0)
    }

    fn listen(&self) -> Vec<String> {
        vec![LISTEN.into()]
    }

    fn network(&self) -> Network {
        self.0.world.flags.lock().unwrap().clone()
    }

    async fn close(self) {
        if self.0.world.closing_hangs.load(Ordering::SeqCst) {
            self.0.world.closing.notify_one();
            std::future::pending::<()>().await;
        }
        self.0.world.locked.store(false, Ordering::SeqCst);
    }
}

impl Backend for Peer {
    async fn run(&self, request: Request, out: Sink, cancel: Cancel) -> Result<(), Failure> {
        self.world.started.lock().unwrap().push((self.name.to_owned(), request.name()));
        self.world.changed.notify_waiters();
        match request {
            Request::Up { .. } => {
                let (peer_id, reachability) = (self.name.to_owned(), "unknown".to_owned());
                let ready = Event::Ready {
                    peer_id,
                    addrs: vec![],
                    reachability,
                    cid: None,
                    link: None,
                    shares: vec![],
                };
                out.send(ready).await;
                cancel.cancelled().await;
                out.send(Event::Closed { sent_bytes: 0, received_bytes: 0 }).await;
                Ok(())
            }
            Request::Status => {
                self.world.told.notified().await;
                Ok(())
            }
            // Never ends in order.
            Request::Verify(_) | Request::Shares => std::future::pending().await,
            Request::Id => {
                let agent = self.name.to_owned();
                let (peer_id, public_key) = (String::new(), String::new());
                out.send(Event::Identity { peer_id, public_key, addrs: vec![], agent }).await;
                Ok(())
            }
            _ => Err(Failure::new(Kind::NotFound, "nobody has it")),
        }
    }
}

impl World {
    async fn until_started(&self, owner: &str, command: &str) {
        loop {
            let changed = self.changed.notified();
            let started =
                self.started.lock().unwrap().iter().any(|(name, what)| name == owner && *what == command);
            if started {
                return;
            }
            changed.await;
        }
    }
}

impl World {
    async fn until_started_by_anyone(&self, command: &str, times: usize) {
        loop {
            let changed = self.changed.notified();
            if self.started.lock().unwrap().iter().filter(|(_, what)| *what == command).count() >= times {
                return;
            }
            changed.await;
        }
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a command as process `name`; gives its result and what it printed.
async fn run(
    world: &Arc<World>,
    repo: &Path,
    name: &'static str,
    flags: Network,
    request: Request,
    cancel: Cancel,
) -> (Result<(), Failure>, String, String) {
    let (out, err) = (Text::default(), Text::default());
    let output = Output::start(Box::new(Json), Box::new(out.clone()), Box::new(err.clone())).unwrap();
    let process = Process { name, world: Arc::clone(world) };
    let execution = Execution { opener: &process, repo, flags, output: &output, cancel };
    let result = execution.run(request).await;
    output.finish(Ok(()), None, false).await;
    let text = |text: Text| String::from_utf8(text.0.lock().unwrap().clone()).unwrap();
    (result, text(out), text(err))
}

#[tokio::test]
async fn a_second_command_goes_through_the_owner() {
    let (world, repo) = (Arc::new(World::default()), tempfile::tempdir().unwrap());
    let (end_owner, cancel_owner) = Canceller::new();
    let (_end_second, cancel_second) = Canceller::new();
    let owner = run(
        &world,
        repo.path(),
        "a",
        Network::default(),
        Request::Up { provide: Provide::Roots },
        cancel_owner,
    );
    let second = async {
        world.until_started("a", "up").await;
        let found =
            run(&world, repo.path(), "b", Network::default(), Request::Id, cancel_second.clone()).await;
        let perf = Network { perf: true, ..Network::default() };
        let refused = run(&world, repo.path(), "b", perf, Request::Id, cancel_second).await;
        end_owner.cancel();
        (found, refused)
    };
    let ((result, out, _), (found, refused)) = tokio::join!(owner, second);
    assert_eq!(result, Ok(()));
    assert!(out.starts_with("{\"event\":\"ready\"") && out.contains("\"event\":\"closed\""), "{out}");
    assert_eq!(found.0, Ok(()));
    assert!(found.1.contains("\"agent\":\"a\""), "{}", found.1);
    let failure = refused.0.unwrap_err();
    assert_eq!(failure.kind, Kind::Usage);
    assert!(failure.message.contains(&std::process::id().to_string()), "{failure}");
}

/// It listens nowhere, so nothing is to be done by it.
#[tokio::test]
async fn nobody_goes_through_a_status() {
    let (world, repo) = (Arc::new(World::default()), tempfile::tempdir().unwrap());
    let (_end_owner, cancel_owner) = Canceller::new();
    let (_end_second, cancel_second) = Canceller::new();
    let owner = run(&world, repo.path(), "a", Network::default(), Request::Status, cancel_owner);
    let second = async {
        world.until_started("a", "status").await;
        run(&world, repo.path(), "b", Network::default(), Request::Id, cancel_second).await
    };
    let conductor = async {
        // The second time, it has found nobody at the control socket.
        loop {
            let changed = world.changed.notified();
            let through = world.started.lock().unwrap().len() > 1;
            if through || world.refused.load(Ordering::SeqCst) >= 2 {
                break;
            }
            changed.await;
        }
        world.told.notify_one();
    };
    let ((status, ..), (id, ..), ()) = tokio::join!(owner, second, conductor);
    assert_eq!((status, id), (Ok(()), Ok(())));
    let started = world.started.lock().unwrap().clone();
    assert_eq!(started, [("a".to_owned(), "status"), ("b".to_owned(), "id")]);
}

#[tokio::test]
async fn an_attached_command_takes_over_when_the_owner_ends() {
    let (world, repo) = (Arc::new(World::default()), tempfile::tempdir().unwrap());
    let (end_owner, cancel_owner) = Canceller::new();
    let (end_second, cancel_second) = Canceller::new();
    let owner =
        run(&world, repo.path(), "a", Network::default(), Request::Verify(Verify::default()), cancel_owner);
    let second = async {
        world.until_started("a", "verify").await;
        run(
            &world,
            repo.path(),
            "b",
            Network::default(),
            Request::Up { provide: Provide::Roots },
            cancel_second,
        )
        .await
    };
    let conductor = async {
        world.until_started("a", "up").await;
        end_owner.cancel();
        world.until_started("b", "up").await;
        end_second.cancel();
    };
    let ((owner_result, ..), (result, out, err), ()) = tokio::join!(owner, second, conductor);
    // It never ends in order, so it was dropped when its time was over.
    assert_eq!(owner_result, Err(Failure::interrupted()));
    assert_eq!(result, Ok(()));
    assert_eq!(out.matches("\"event\":\"ready\"").count(), 1, "{out}");
    assert_eq!(out.matches("\"event\":\"closed\"").count(), 1, "{out}");
    let took_over = serde_json::to_value(NoticeKind::TookOver).unwrap();
    assert!(err.contains(took_over.as_str().unwrap()), "{err}");
    // At the same address, so that links hold.
    assert_eq!(world.flags.lock().unwrap().listen, [LISTEN]);
    assert!(!world.locked.load(Ordering::SeqCst));
}

#[tokio::test]
async fn who_takes_over_does_without_an_address_that_is_gone() {
    let (world, repo) = (Arc::new(World::default()), tempfile::tempdir().unwrap());
    world.address_gone.store(true, Ordering::SeqCst);
    let (end_owner, cancel_owner) = Canceller::new();
    let (end_second, cancel_second) = Canceller::new();
    let owner = run(
        &world,
        repo.path(),
        "a",
        Network::default(),
        Request::Up { provide: Provide::Roots },
        cancel_owner,
    );
    let second = async {
        world.until_started("a", "up").await;
        run(
            &world,
            repo.path(),
            "b",
            Network::default(),
            Request::Up { provide: Provide::Roots },
            cancel_second,
        )
        .await
    };
    let conductor = async {
        world.until_started_by_anyone("up", 2).await;
        end_owner.cancel();
        world.until_started("b", "up").await;
        end_second.cancel();
    };
    let ((first, ..), (second, ..), ()) = tokio::join!(owner, second, conductor);
    assert_eq!((first, second), (Ok(()), Ok(())));
    assert_eq!(world.flags.lock().unwrap().listen, [""; 0]);
}

/// Flags have to agree with the owner's once, not with each owner's after it.
#[tokio::test]
async fn a_command_goes_on_with_a_second_owner() {
    let (world, repo) = (Arc::new(World::default()), tempfile::tempdir().unwrap());
    let given = Network { listen: vec!["/ip4/127.0.0.1/tcp/0".into()], ..Network::default() };
    let ends: Vec<(Canceller, Cancel)> = (0..3).map(|_| Canceller::new()).collect();
    let command = |index: usize, name, flags, request| {
        run(&world, repo.path(), name, flags, request, ends[index].1.clone())
    };
    let first = command(0, "a", given.clone(), Request::Up { provide: Provide::Roots });
    let second = async {
        world.until_started("a", "up").await;
        command(1, "b", Network::default(), Request::Verify(Verify::default())).await
    };
    let third = async {
        world.until_started("a", "verify").await;
        command(2, "c", given, Request::Shares).await
    };
    let conductor = async {
        world.until_started("a", "shares").await;
        ends[0].0.cancel();
        // Whichever of the two takes over, the other goes through it.
        tokio::join!(world.until_started_by_anyone("verify", 2), world.until_started_by_anyone("shares", 2));
        ends[1].0.cancel();
        ends[2].0.cancel();
    };
    let ((first, ..), (second, ..), (third, ..), ()) = tokio::join!(first, second, third, conductor);
    assert_eq!(first, Ok(()));
    assert_eq!((second, third), (Err(Failure::interrupted()), Err(Failure::interrupted())));
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_answer_is_named() {
    let (world, repo) = (Arc::new(World::default()), tempfile::tempdir().unwrap());
    world.locked.store(true, Ordering::SeqCst);
    let (_canceller, cancel) = Canceller::new();
    let (result, ..) = run(&world, repo.path(), "a", Network::default(), Request::Id, cancel).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.kind, failure.kind.exit_code()), (Kind::Owned, 1));
    for part in ["4711", "--repo", "peerage\\u{1b} up"] {
        assert!(failure.message.contains(part), "{failure}");
    }
}

#[tokio::test]
async fn a_failure_ends_the_command_and_gives_the_repository_back() {
    let (world, repo) = (Arc::new(World::default()), tempfile::tempdir().unwrap());
    let (_canceller, cancel) = Canceller::new();
    let (result, out, _) =
        run(&world, repo.path(), "a", Network::default(), Request::Peers { dht: false }, cancel).await;
    assert_eq!(result.unwrap_err().kind, Kind::NotFound);
    assert_eq!(out, "");
    assert!(!world.locked.load(Ordering::SeqCst));
    assert!(!repo.path().join("control").exists());
}

/// A command that is done may still be ended, before or while the repository closes.
#[tokio::test]
async fn closing_ends_soon_after_an_interrupt() {
    for while_it_closes in [false, true] {
        let (world, repo) = (Arc::new(World::default()), tempfile::tempdir().unwrap());
        world.closing_hangs.store(true, Ordering::SeqCst);
        let (canceller, cancel) = Canceller::new();
        let request = if while_it_closes { Request::Id } else { Request::Up { provide: Provide::Roots } };
        let name = request.name();
        let interrupt = async {
            world.until_started("a", name).await;
            if while_it_closes {
                world.closing.notified().await;
            }
            canceller.cancel();
        };
        let command = run(&world, repo.path(), "a", Network::default(), request, cancel);
        let both = async { tokio::join!(command, interrupt) };
        let ((result, ..), ()) =
            tokio::time::timeout(std::time::Duration::from_secs(60), both).await.expect("it hangs");
        assert_eq!(result, Ok(()));
    }
}
