//! The owner's side: runs the requests of other processes on its backend.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncWrite, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::passing::Receiver;
use super::{CLIENTS_MAX, ClientLine, PROTOCOL, ServerLine, Welcome, line, socket};
use crate::api::{Event, Failure, Kind};
use crate::backend::{Backend, Cancel, Canceller, Sink};

/// How long a client may take to send its request. 10 s: it has it ready.
const START_TIME: Duration = Duration::from_secs(10);

/// The listening socket. Dropping it removes the socket.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    repo: PathBuf,
}

impl Server {
    /// Listens in `repo`, whose lock the caller holds.
    pub(crate) fn bind(repo: &Path) -> io::Result<Self> {
        Ok(Self { listener: socket::listen(repo)?, repo: repo.to_owned() })
    }

    /// Serves until `end` fires. Then every client loses its connection
    /// without a last word, which tells it to take over.
    pub(crate) async fn run<B: Backend>(self, backend: Arc<B>, welcome: Welcome, end: Cancel) {
        let places = Arc::new(Semaphore::new(CLIENTS_MAX));
        let mut clients = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = end.cancelled() => break,
                Some(_) = clients.join_next(), if !clients.is_empty() => continue,
                accepted = self.listener.accept() => accepted,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file handles, most likely: later it may go.
                    tracing::warn!(%error, "cannot accept at the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            if let Err(error) = socket::same_user(&stream) {
                tracing::warn!(%error, "refused a client");
                continue;
            }
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                clients.spawn(refuse(stream));
                continue;
            };
            let (backend, welcome) = (Arc::clone(&backend), welcome.clone());
            clients.spawn(async move {
                if let Err(error) = serve(stream, &*backend, welcome).await {
                    tracing::debug!(%error, "a client of the control socket went away");
                }
                drop(place);
            });
        }
        // Their requests end with them: the futures are dropped.
        clients.shutdown().await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = socket::remove(&self.repo) {
            tracing::debug!(%error, "cannot remove the control socket");
        }
    }
}

async fn refuse(mut stream: UnixStream) {
    let message = format!("the owner of this repository already serves {CLIENTS_MAX} commands");
    let failure = Some(Failure::new(Kind::Failed, message));
    drop(line::write(&mut stream, &ServerLine::Finished { failure }).await);
}

/// One client, from the greeting to the last word.
pub(super) async fn serve<B: Backend>(stream: UnixStream, backend: &B, welcome: Welcome) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(Receiver::new(reader));
    line::write(&mut writer, &ServerLine::Welcome(welcome)).await?;
    let first = tokio::time::timeout(START_TIME, line::read::<ClientLine>(&mut reader)).await;
    let mut request = match first.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))? {
        Ok(Some(ClientLine::Start { protocol: PROTOCOL, request })) => request,
        Ok(Some(ClientLine::Start { protocol, .. })) => {
            return refuse_protocol(&mut writer, &format!("it speaks version {protocol}")).await;
        }
        // It only wanted to know who owns the repository, or changed its mind.
        Ok(Some(ClientLine::Cancel) | None) => return Ok(()),
        Err(error) => return refuse_protocol(&mut writer, &error.to_string()).await,
    };
    let handles = reader.get_mut().take_handles().into_iter().map(Into::into).collect();
    if !request.set_handles(handles) {
        let message = format!("a folder or file came along with `{}`, which takes none", request.name());
        let failure = Some(Failure::new(Kind::Protocol, message));
        return line::write(&mut writer, &ServerLine::Finished { failure }).await;
    }
    tracing::debug!(command = request.name(), "serving an attached command");

    let (sink, events) = Sink::new();
    let (canceller, cancel) = Canceller::new();
    let result = {
        let work = async {
            let ((), result) = tokio::join!(forward(events, &mut writer), backend.run(request, sink, cancel));
            result
        };
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => result,
            () = cancelled_by(&mut reader) => {
                canceller.cancel();
                work.await
            }
        }
    };
    line::write(&mut writer, &ServerLine::Finished { failure: result.err() }).await
}

async fn refuse_protocol(writer: &mut (impl AsyncWrite + Unpin), what: &str) -> io::Result<()> {
    let message = format!(
        "the process that owns this repository is another version of peerage ({what}): end it, or use --repo"
    );
    let failure = Some(Failure::new(Kind::Protocol, message));
    line::write(writer, &ServerLine::Finished { failure }).await
}

/// Writes events until the command ends. A client that is gone must not stop
/// the command before it was cancelled, so its events are thrown away.
async fn forward(mut events: mpsc::Receiver<Event>, writer: &mut (impl AsyncWrite + Unpin)) {
    let mut gone = false;
    while let Some(event) = events.recv().await {
        gone = gone || line::write(writer, &ServerLine::Event(event)).await.is_err();
    }
}

/// Returns when the client cancels or goes away.
async fn cancelled_by(reader: &mut (impl AsyncBufRead + Unpin)) {
    loop {
        match line::read::<ClientLine>(reader).await {
            Ok(Some(ClientLine::Start { .. })) => {}
            Ok(Some(ClientLine::Cancel) | None) | Err(_) => return,
        }
    }
}
