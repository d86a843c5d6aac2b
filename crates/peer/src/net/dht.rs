//! `/ipfs/kad/1.0.0` and `/ipfs/lan/kad/1.0.0` on the wire: a stream for each
//! request of ours, as rust-libp2p and js do it; go keeps one open for many
//! requests, so those of others are read to their end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use peerage_dht::codec::{self, MessageError};
use peerage_dht::limits::{REQUEST_MAX, RESPONSE_MAX};
use peerage_dht::{Answer, Failure, Network, Request, RequestId, Response};
use peerage_identity::PeerId;
use peerage_transport::yamux::ResetCode;
use peerage_transport::{Control, Stream};
use peerage_wire::frame::{Assembler, FrameError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Net;
use crate::brain::Input;

/// How long a stream of requests may be silent between two of them (go: 1 min).
const IDLE: Duration = Duration::from_secs(60);

/// How long a server may take to read what has no answer, before it is taken
/// to have done so: less than the machine's own deadline.
const READ: Duration = Duration::from_secs(5);

/// Most bytes taken from a stream at once.
const CHUNK: usize = 64 * 1024;

/// Why a stream came to nothing.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error(transparent)]
    Stream(#[from] io::Error),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("a message takes too long")]
    Slow,
    #[error("the stream ended before an answer")]
    Ended,
}

impl StreamError {
    /// What it says of the peer.
    fn failure(&self) -> Failure {
        match self {
            Self::Stream(error) if error.kind() == io::ErrorKind::Unsupported => Failure::Unsupported,
            Self::Stream(_) | Self::Slow | Self::Ended => Failure::Unreachable,
            Self::Frame(_) | Self::Message(_) => Failure::Malformed,
        }
    }
}

/// Asks a connected peer, and tells the brain what came of it. The brain gives
/// it up when nobody waits any more; until then the machine's own deadline holds.
pub(crate) async fn ask(net: Arc<Net>, control: Control, network: Network, id: RequestId, request: Request) {
    let input = match exchange(&net, &control, network, &request).await {
        Ok(Some(response)) => Input::DhtAnswered { network, id, response },
        Ok(None) => Input::DhtSent { network, id },
        Err(error) => {
            tracing::debug!(peer = %control.peer(), %error, "a request of the DHT failed");
            Input::DhtFailed { network, id, failure: error.failure() }
        }
    };
    net.tell(input);
}

async fn exchange(
    net: &Net,
    control: &Control,
    network: Network,
    request: &Request,
) -> Result<Option<Response>, StreamError> {
    let mut stream = control.open(network.protocol()).await.map_err(io::Error::other)?;
    stream.write_chunk(codec::encode_request(request)).await?;
    // Our side stays open till then: js drops a request if its end has come
    // before it began to read.
    let response = if request.is_answered() {
        let mut frames = Assembler::new(RESPONSE_MAX);
        let mut rest = Bytes::new();
        let message = read(net, &mut stream, &mut frames, &mut rest, None).await?;
        let message = message.ok_or(StreamError::Ended)?;
        Some(codec::decode_response(message)?)
    } else {
        // No word comes. Its end of the stream does when it has read ours, which
        // is how a server that is asked too much has us wait; but not from all.
        stream.negotiated().await?;
        stream.finish();
        match timeout(READ, stream.read_chunk(1)).await {
            Ok(ended) => drop(ended?),
            Err(_) => tracing::trace!(peer = %control.peer(), "keeps a stream of the DHT open"),
        }
        None
    };
    stream.finish();
    Ok(response)
}

/// Answers the requests on a stream that a peer opened, until it ends.
pub(super) async fn serve(net: Arc<Net>, peer: PeerId, network: Network, mut stream: Stream) {
    match answer_all(&net, peer, network, &mut stream).await {
        Ok(true) => stream.finish(),
        Ok(false) => stream.reset(ResetCode::PROTOCOL_VIOLATION),
        Err(StreamError::Stream(error)) => tracing::debug!(%peer, %error, "a stream of the DHT ended"),
        Err(error) => {
            tracing::debug!(%peer, %error, "a stream of the DHT is reset");
            stream.reset(ResetCode::PROTOCOL_VIOLATION);
        }
    }
}

/// False if the stream is to be reset.
async fn answer_all(
    net: &Arc<Net>,
    peer: PeerId,
    network: Network,
    stream: &mut Stream,
) -> Result<bool, StreamError> {
    let mut frames = Assembler::new(REQUEST_MAX);
    // go writes several requests that have no answer one behind the other.
    let mut rest = Bytes::new();
    while let Some(message) = read(net, stream, &mut frames, &mut rest, Some(IDLE)).await? {
        let request = codec::decode_request(message)?;
        let answer = loop {
            let (reply, answer) = oneshot::channel();
            net.tell(Input::DhtRequested { network, peer, request: request.clone(), reply });
            match answer.await {
                Ok(Answer::Later(pause)) => sleep(pause).await,
                answer => break answer,
            }
        };
        match answer {
            Ok(Answer::Respond(response)) => {
                let bytes = codec::encode_response(&request, &response);
                let limit = net.limits.answer_timeout;
                timeout(limit, stream.write_chunk(bytes)).await.map_err(|_| StreamError::Slow)??;
            }
            Ok(Answer::Nothing) => {}
            Ok(Answer::Reset | Answer::Later(_)) | Err(_) => return Ok(false),
        }
    }
    Ok(true)
}

/// The next message; none at the end of the stream. Once its first byte has
/// come it must be whole within the time that any message may take. What came
/// with it of the following ones is `rest`.
async fn read(
    net: &Net,
    stream: &mut Stream,
    frames: &mut Assembler,
    rest: &mut Bytes,
    idle: Option<Duration>,
) -> Result<Option<Bytes>, StreamError> {
    let mut deadline = idle.map(|idle| Instant::now() + idle);
    let mut begun = false;
    loop {
        if rest.is_empty() {
            let next = match deadline {
                Some(at) => {
                    timeout_at(at, stream.read_chunk(CHUNK)).await.map_err(|_| StreamError::Slow)??
                }
                None => stream.read_chunk(CHUNK).await?,
            };
            let Some(chunk) = next else { return Ok(None) };
            *rest = chunk;
        }
        if let Some(message) = frames.push(rest)? {
            stream.hold(rest.len())?;
            return Ok(Some(message));
        }
        stream.hold(frames.buffered())?;
        if !begun {
            begun = true;
            deadline = Some(Instant::now() + net.limits.answer_timeout);
        }
    }
}
