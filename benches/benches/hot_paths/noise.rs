//! Sealing and opening on one core, with the keys of a real handshake.

use criterion::{BatchSize, Criterion, Throughput};
use peerage_identity::Keypair;
use peerage_transport::Role;
use peerage_transport::noise::{FrameReader, FrameWriter, MAX_PLAINTEXT, Secured, handshake};

use crate::payload;

/// Sixteen full messages.
const BATCH: usize = 16 * MAX_PLAINTEXT;

pub(crate) fn bench(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let mut group = c.benchmark_group("noise");
    group.throughput(Throughput::Bytes(BATCH as u64));
    let data = payload(BATCH);

    let mut writer = FrameWriter::new(runtime.block_on(secured()).0.sealer);
    group.bench_function("seal", |b| {
        b.iter(|| {
            seal(&mut writer, &data);
            writer.advance(writer.sealed().len());
        });
    });

    // Both sides count their messages, so they go on together.
    let (ours, theirs) = runtime.block_on(secured());
    let mut writer = FrameWriter::new(ours.sealer);
    let mut reader = FrameReader::new(theirs.opener);
    group.bench_function("open", |b| {
        // One message run at a time: each must be opened before the next is sealed.
        b.iter_batched(
            || {
                seal(&mut writer, &data);
                let sealed = writer.sealed().to_vec();
                writer.advance(sealed.len());
                sealed
            },
            |sealed| {
                reader.raw().extend_from_slice(&sealed);
                let mut opened = 0;
                while let Some(message) = reader.open().expect("what we sealed") {
                    opened += message.len();
                }
                assert_eq!(opened, BATCH);
            },
            BatchSize::PerIteration,
        );
    });

    let (key, other) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]));
    group.throughput(Throughput::Elements(1));
    group.bench_function("handshake, both sides", |b| b.iter(|| runtime.block_on(shake_hands(&key, &other))));
    group.finish();
}

fn seal(writer: &mut FrameWriter, data: &[u8]) {
    writer.reserve(data.len());
    writer.push(data).expect("nonces are left");
    writer.seal().expect("nonces are left");
}

async fn secured() -> (Secured, Secured) {
    shake_hands(&Keypair::from_seed([1; 32]), &Keypair::from_seed([2; 32])).await
}

async fn shake_hands(dialer: &Keypair, listener: &Keypair) -> (Secured, Secured) {
    let (mut here, mut there) = tokio::io::duplex(16 << 10);
    let peer = listener.peer_id();
    let (ours, theirs) = tokio::join!(
        handshake(&mut here, Role::Dialer, dialer, Some(&peer), &["/yamux/1.0.0"]),
        handshake(&mut there, Role::Listener, listener, None, &["/yamux/1.0.0"]),
    );
    (ours.expect("a handshake"), theirs.expect("a handshake"))
}
