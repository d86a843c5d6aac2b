//! Exports that end before they are done: nothing of them is left.

use std::fs;

use anyhow::{Result, ensure};
use peerage_content::codec;
use peerage_content::ipld::{Value as Ipld, cbor};
use peerage_tests::peer::text;
use peerage_tests::process::Process;
use peerage_tests::router::Router;
use peerage_tests::{Place, data};
use rustix::process::Signal;

use super::{block, write_car};

/// However it is ended. Half of the DAG is there and written, and the router that is
/// asked for the rest does not answer: so it is in the middle once it has asked.
#[test]
fn an_export_that_is_interrupted_leaves_nothing() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let leaf = block(codec::RAW, b"nobody has it".to_vec())?;
    let root = block(codec::DAG_CBOR, cbor::encode(&Ipld::from(leaf.0))?)?;
    let half = place.path("half.car");
    write_car(&half, &[root.0], std::slice::from_ref(&root))?;
    peer.run(&["car", "import", "--no-pin", text(&half)])?.with_status(0)?;
    let folder = place.path("exports");
    fs::create_dir(&folder)?;
    let file = folder.join("whole.car");
    let router = Router::start(None)?;
    let cid = root.0.to_string();
    let args = ["car", "export", &cid, "-o", text(&file), "--dht", "off", "--router", &router.url];
    let nothing_left = |how: &str| -> Result<()> {
        let left = data::names(&folder)?;
        ensure!(left.is_empty(), "{how}: {left:?}");
        Ok(())
    };
    for signals in [&[Signal::INT][..], &[Signal::TERM], &[Signal::HUP], &[Signal::INT, Signal::INT]] {
        let export = peer.start(&args)?;
        router.question()?;
        for signal in signals {
            // The first may have been enough.
            drop(export.signal(*signal));
        }
        export.finish()?.with_status(130)?;
        nothing_left(&format!("{signals:?}"))?;
    }
    // Nobody can clean up then: on Linux there is nothing to be cleaned up.
    #[cfg(target_os = "linux")]
    {
        let export = peer.start(&args)?;
        router.question()?;
        export.kill()?;
        nothing_left("killed")?;
    }
    // By way of an owner, who writes the file and goes on.
    let owner = peerage_tests::peer::Sharing::start(peer.command(&["up", "--router", &router.url]))?;
    let mut export = peer.plain(&["--json"]);
    export.args(&args[..5]);
    let export = Process::spawn(export, "")?;
    while !router.question()?.contains("providers") {}
    export.interrupt()?;
    export.finish()?.with_status(130)?;
    // It has heard of it once it answers anew.
    owner.close()?;
    nothing_left("by an owner")
}
