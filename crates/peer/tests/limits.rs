//! Rates of whole peers over loopback: how much moves under one is tried in virtual
//! time, beside the code; here that they reach it, and can be changed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::fs;
use std::num::NonZeroU64;

use common::{Host, random};
use peerage_peer::{Done, GetEvent, Rates};

const MIB: usize = 1 << 20;

/// Fetches 6 MiB; once some of it is there, `lift` is called.
async fn get(sharer: &Host, getter: &Host, lift: impl FnOnce()) -> Done {
    let bytes = random(6 * MIB, 1);
    fs::write(sharer.path("file"), &bytes).unwrap();
    let share = sharer.share("file").await;
    let options = getter.options("copy", &[sharer.addr()]);
    let mut get = getter.peer.get(share.roots()[0].cid, options).await.unwrap();
    let mut lift = Some(lift);
    loop {
        match get.next_event().await.unwrap().unwrap() {
            GetEvent::Progress(progress) if progress.fetch.bytes > 0 => {
                if let Some(lift) = lift.take() {
                    assert!(progress.fetch.bytes < 6 * MIB as u64, "there was no limit");
                    lift();
                }
            }
            GetEvent::Done(done) => {
                assert!(lift.is_none(), "there was no limit");
                assert!(fs::read(getter.path("copy")).unwrap() == bytes);
                return done;
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_rate_is_kept_and_lifted_while_a_transfer_runs() {
    // A mebibyte in two seconds.
    let rate = NonZeroU64::new(500_000);
    let none = Rates::default();
    for (up, down) in [
        (Rates { up: rate, ..none }, none),
        (Rates { up_per_peer: rate, ..none }, none),
        (none, Rates { down: rate, ..none }),
        (none, Rates { down_per_peer: rate, ..none }),
    ] {
        let sharer = Host::with(|config| config.rates = up).await;
        let getter = Host::with(|config| config.rates = down).await;
        assert_eq!((sharer.peer.rates(), getter.peer.rates()), (up, down));
        let done = get(&sharer, &getter, || {
            sharer.peer.set_rates(none);
            getter.peer.set_rates(none);
        })
        .await;
        assert_eq!(sharer.peer.rates(), none);
        assert_eq!(done.progress.duplicates, 0, "{up:?} {down:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_memory_moves_the_largest_blocks() {
    let small = || Host::with(|config| config.fit_memory(0));
    // Also to and from one that takes what it likes.
    for (sharer, getter) in [
        (small().await, small().await),
        (Host::start().await, small().await),
        (small().await, Host::start().await),
    ] {
        let done = get_all(&sharer, &getter, 20 * MIB).await;
        assert_eq!(done.progress.fetch.bytes, 20 * MIB as u64);
    }
}

async fn get_all(sharer: &Host, getter: &Host, len: usize) -> Done {
    fs::write(sharer.path("file"), random(len, 3)).unwrap();
    let mut options = peerage_peer::AddOptions { hidden: true, ..peerage_peer::AddOptions::default() };
    options.profile.chunker = peerage_content::Chunker::Size(peerage_content::limits::CHUNK_MAX);
    let share = sharer.peer.share(vec![sharer.path("file")], options, false, |_| {}).await.unwrap();
    getter.get(share.roots()[0].cid, "copy", &[sharer.addr()]).await.unwrap()
}
