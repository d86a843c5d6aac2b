//! The yamux machine, both sides on one core, without a socket: one stream
//! that carries bulk, and many short ones.

use bytes::{Bytes, BytesMut};
use criterion::{Criterion, Throughput};
use peerage_base::{Instant, SharedBudget};
use peerage_transport::yamux::{Chunk, Config, Event, Machine, Read, Role, StreamClass, StreamId};

use crate::payload;

/// A Noise message.
const MESSAGE: usize = 65_519;

pub(crate) fn bench(c: &mut Criterion) {
    let mut group = c.benchmark_group("yamux");
    let bulk = payload(16 << 20);
    group.throughput(Throughput::Bytes(bulk.len() as u64));
    group.bench_function("bulk, one stream", |b| b.iter(|| assert_eq!(send(1, &bulk), bulk.len())));
    let small = payload(1000);
    group.throughput(Throughput::Elements(100));
    group.bench_function("100 streams of 1,000 B", |b| b.iter(|| assert_eq!(send(100, &small), 100_000)));
    group.finish();
}

/// Sends `data` on so many streams, one after another; returns the bytes read.
fn send(streams: usize, data: &Bytes) -> usize {
    let machine =
        |role| Machine::new(role, Config::default(), SharedBudget::new(32 << 20).share(), Instant::START);
    let (mut sender, mut receiver) = (machine(Role::Client), machine(Role::Server));
    let mut received = 0;
    for _ in 0..streams {
        let id = sender.open(Instant::START).expect("a stream");
        let mut rest = data.clone();
        let mut finished = false;
        loop {
            if !finished {
                sender.write(id, &mut rest).expect("the stream is open");
                if rest.is_empty() {
                    sender.finish(id).expect("the stream is open");
                    finished = true;
                }
            }
            let moved = carry(&mut sender, &mut receiver) | {
                received += drain(&mut receiver);
                carry(&mut receiver, &mut sender)
            };
            drain(&mut sender);
            if !moved && finished {
                break;
            }
        }
    }
    received
}

/// Moves one message, as the socket would; false if there was none.
fn carry(from: &mut Machine, to: &mut Machine) -> bool {
    let mut chunks: Vec<Chunk> = Vec::new();
    if from.poll_transmit(Instant::START, MESSAGE, &mut chunks) == 0 {
        return false;
    }
    // Decryption leaves each message in a buffer of its own.
    let mut message = BytesMut::with_capacity(MESSAGE);
    chunks.iter().for_each(|chunk| message.extend_from_slice(chunk.as_ref()));
    to.handle_input(message.freeze(), Instant::START).expect("what our machine sent");
    true
}

/// Reads everything and finishes what the other side finished.
fn drain(machine: &mut Machine) -> usize {
    let mut read = 0;
    while let Some(event) = machine.poll_event() {
        match event {
            Event::StreamOpened { id } => {
                machine.classify(id, StreamClass::Ordinary).expect("below the limit");
            }
            Event::Readable { id } => read += read_all(machine, id),
            _ => {}
        }
    }
    read
}

fn read_all(machine: &mut Machine, id: StreamId) -> usize {
    let mut total = 0;
    loop {
        match machine.read(id, usize::MAX, Instant::START) {
            Read::Data(data) => total += data.len(),
            Read::Eof => {
                // The opener finished first and may have been the last to.
                machine.finish(id).ok();
                return total;
            }
            Read::Pending | Read::Reset => return total,
        }
    }
}
