//! The other side: a command that goes through the owner.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{ClientLine, PROTOCOL, ServerLine, Welcome, line, passing, socket};
use crate::api::{Event, Failure, Request};
use crate::backend::{Cancel, Sink};

/// How long the owner may take to greet. 5 s: it has nothing else to do at
/// that socket, so a longer silence is a process that was stopped.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// A connection to the owner, greeted.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) welcome: Welcome,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// Nobody listens, or it hung up at once: it just started or just ended.
    #[error("nobody answers at its control socket: {0}")]
    Nobody(io::Error),
    /// It answers, but not as it should.
    #[error("its control socket cannot be used: {0}")]
    Unusable(io::Error),
    /// It says no.
    #[error(transparent)]
    Refused(Failure),
}

/// How a request ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// As the owner says.
    Finished(Result<(), Failure>),
    /// The owner ended first.
    OwnerEnded,
}

impl Attached {
    /// Connects to the owner of `repo`.
    pub(crate) async fn connect(repo: &Path) -> Result<Self, ConnectError> {
        let stream = match socket::connect(repo).await {
            Ok(stream) => stream,
            Err(error) => {
                use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotConnected, NotFound};
                return Err(match error.kind() {
                    NotFound | ConnectionRefused | ConnectionReset | NotConnected => {
                        ConnectError::Nobody(error)
                    }
                    _ => ConnectError::Unusable(error),
                });
            }
        };
        let (reader, writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let first = tokio::time::timeout(GREETING_TIME, line::read(&mut reader)).await;
        match first {
            Ok(Ok(Some(ServerLine::Welcome(welcome)))) => Ok(Self { welcome, reader, writer }),
            Ok(Ok(Some(ServerLine::Finished { failure: Some(failure) }))) => {
                Err(ConnectError::Refused(failure))
            }
            Ok(Ok(None)) => Err(ConnectError::Nobody(io::ErrorKind::UnexpectedEof.into())),
            Ok(Ok(Some(_))) => Err(ConnectError::Unusable(io::ErrorKind::InvalidData.into())),
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(ConnectError::Nobody(error))
            }
            Ok(Err(error)) => Err(ConnectError::Unusable(error)),
            Err(_) => Err(ConnectError::Unusable(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn start(&mut self, request: Request) -> io::Result<()> {
        let handles = request.handles().to_vec();
        let start = ClientLine::Start { protocol: PROTOCOL, request };
        if handles.is_empty() {
            return line::write(&mut self.writer, &start).await;
        }
        passing::write(&mut self.writer, &line::encode(&start)?, &handles).await
    }

    /// Has the owner execute `request`, passing its events to `out`.
    pub(crate) async fn run(mut self, request: Request, out: &Sink, cancel: &Cancel) -> Outcome {
        // A failure shows as the end of what is read, and the owner may have said why.
        drop(self.start(request).await);
        let mut asked_to_end = false;
        loop {
            // `read` keeps half a line in its future, so this future is kept, too.
            let read = line::read(&mut self.reader);
            tokio::pin!(read);
            let next = loop {
                tokio::select! {
                    next = &mut read => break next,
                    () = cancel.cancelled(), if !asked_to_end => {
                        asked_to_end = true;
                        drop(line::write(&mut self.writer, &ClientLine::Cancel).await);
                    }
                }
            };
            match next {
                Ok(Some(ServerLine::Event(Event::Unknown))) => {}
                Ok(Some(ServerLine::Event(event))) => out.send(event).await,
                Ok(Some(ServerLine::Finished { failure })) => {
                    return Outcome::Finished(failure.map_or(Ok(()), Err));
                }
                Ok(Some(ServerLine::Welcome(_))) => {}
                Ok(None) => return Outcome::OwnerEnded,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    let message = format!("cannot understand the process that owns the repository: {error}");
                    return Outcome::Finished(Err(Failure::new(crate::api::Kind::Protocol, message)));
                }
                Err(_) => return Outcome::OwnerEnded,
            }
        }
    }
}
