//! Our yamux machine with just enough around it to run over a pipe.
//!
//! Streams that we open send a payload, finish, and collect what comes back;
//! streams that the peer opens are echoed and finished when the peer finishes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant as Clock;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use peerage_base::{Instant, SharedBudget};
use peerage_transport::yamux::{
    Chunk, Config, Event, Machine, Read, ResetCause, ResetCode, Role, StreamClass, StreamId,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// Bytes of one transmit: a Noise message.
const MESSAGE: usize = 65_519;

/// One stream and what happened on it.
#[derive(Debug, Default)]
pub struct Stream {
    /// Still to be written.
    unsent: VecDeque<Bytes>,
    /// True once nothing will be added to `unsent`.
    complete: bool,
    finished: bool,
    echo: bool,
    /// What the peer sent, on streams that we opened.
    pub received: Vec<u8>,
    /// The peer finished.
    pub ended: bool,
    /// The peer reset it.
    pub reset: bool,
}

/// Our side of a connection.
pub struct Muxer {
    machine: Machine,
    reader: ReadHalf<DuplexStream>,
    writer: UnboundedSender<Vec<Chunk>>,
    start: Clock,
    /// Streams that we opened.
    pub opened: BTreeMap<StreamId, Stream>,
    /// Streams that the peer opened.
    pub accepted: BTreeMap<StreamId, Stream>,
    live: BTreeSet<StreamId>,
}

impl Muxer {
    /// Takes one end of a pipe.
    #[must_use]
    pub fn new(role: Role, io: DuplexStream) -> Self {
        let (reader, mut out) = tokio::io::split(io);
        let (writer, mut chunks) = unbounded_channel::<Vec<Chunk>>();
        // Writing apart from reading, or two full pipes would wait for each other.
        tokio::spawn(async move {
            while let Some(chunks) = chunks.recv().await {
                for chunk in chunks {
                    if out.write_all(chunk.as_ref()).await.is_err() {
                        return;
                    }
                }
            }
        });
        let budget = SharedBudget::new(32 << 20);
        Self {
            machine: Machine::new(role, Config::default(), budget.share(), Instant::START),
            reader,
            writer,
            start: Clock::now(),
            opened: BTreeMap::new(),
            accepted: BTreeMap::new(),
            live: BTreeSet::new(),
        }
    }

    /// Opens a stream that sends `payload` and finishes.
    ///
    /// # Errors
    /// If no stream can be opened.
    pub fn send(&mut self, payload: Bytes) -> Result<StreamId> {
        let id = self.machine.open(self.now())?;
        let stream = Stream { unsent: VecDeque::from([payload]), complete: true, ..Stream::default() };
        self.opened.insert(id, stream);
        self.live.insert(id);
        self.write(id)?;
        Ok(id)
    }

    /// Resets a stream.
    pub fn reset(&mut self, id: StreamId) {
        self.machine.reset(id, ResetCode::NONE);
        self.live.remove(&id);
    }

    /// Moves bytes until `done` says so.
    ///
    /// # Errors
    /// If the pipe or the protocol breaks before.
    pub async fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) -> Result<()> {
        loop {
            self.pump()?;
            if done(self) {
                return Ok(());
            }
            let mut buffer = vec![0; 64 << 10];
            let read = self.reader.read(&mut buffer).await?;
            if read == 0 {
                bail!("the peer closed the connection");
            }
            buffer.truncate(read);
            self.machine.handle_input(Bytes::from(buffer), self.now())?;
        }
    }

    /// Streams whose end is not reached.
    #[must_use]
    pub fn live(&self) -> usize {
        self.live.len()
    }

    fn now(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    /// Handles events and hands out frames until neither is left.
    fn pump(&mut self) -> Result<()> {
        loop {
            while let Some(event) = self.machine.poll_event() {
                self.handle(event)?;
            }
            let mut out = Vec::new();
            if self.machine.poll_transmit(self.now(), MESSAGE, &mut out) == 0 {
                return Ok(());
            }
            self.writer.send(out).ok().context("the pipe is gone")?;
        }
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        match event {
            Event::StreamOpened { id } => {
                self.machine.classify(id, StreamClass::Ordinary)?;
                self.accepted.insert(id, Stream { echo: true, ..Stream::default() });
                self.live.insert(id);
            }
            Event::Readable { id } => self.read(id)?,
            Event::Writable { id } => self.write(id)?,
            Event::Reset { id, cause, .. } => {
                if cause != ResetCause::Peer {
                    bail!("stream {id:?} was reset by ourselves: {cause:?}");
                }
                self.live.remove(&id);
                self.stream(id)?.reset = true;
            }
            Event::Closed { id } => {
                self.live.remove(&id);
            }
            Event::OpenReady | Event::Pong { .. } => {}
            Event::GoAway { .. } | Event::PeerSilent => bail!("{event:?}"),
        }
        Ok(())
    }

    fn stream(&mut self, id: StreamId) -> Result<&mut Stream> {
        let stream = self.opened.get_mut(&id).or_else(|| self.accepted.get_mut(&id));
        stream.with_context(|| format!("an event of the unknown stream {id:?}"))
    }

    fn read(&mut self, id: StreamId) -> Result<()> {
        loop {
            match self.machine.read(id, usize::MAX, self.now()) {
                Read::Data(data) => {
                    let stream = self.stream(id)?;
                    if stream.echo {
                        stream.unsent.push_back(data);
                    } else {
                        stream.received.extend_from_slice(&data);
                    }
                }
                Read::Eof => {
                    let stream = self.stream(id)?;
                    stream.ended = true;
                    stream.complete = true;
                    break;
                }
                Read::Pending | Read::Reset => break,
            }
        }
        self.write(id)
    }

    fn write(&mut self, id: StreamId) -> Result<()> {
        let Some(stream) = self.opened.get_mut(&id).or_else(|| self.accepted.get_mut(&id)) else {
            return Ok(());
        };
        while let Some(data) = stream.unsent.front_mut() {
            if self.machine.write(id, data).is_err() {
                // It was reset; the event says so.
                return Ok(());
            }
            if !data.is_empty() {
                return Ok(());
            }
            stream.unsent.pop_front();
        }
        if stream.complete && !stream.finished {
            stream.finished = true;
            // It may be gone by a reset that is not read yet.
            self.machine.finish(id).ok();
        }
        Ok(())
    }
}
