//! Limits that the user sets: flags, hours, and `limit` while something runs.

use anyhow::{Result, ensure};
use peerage_tests::peer::{number, text};
use peerage_tests::process::Process;
use peerage_tests::{MIB, Place, Sharing, data};

/// What a crawl takes some minutes for, and no limit a moment.
const SIZE: u64 = 8 * MIB;

/// A transfer that crawls at first, and ends once `limit` lifts that on one side or the other.
fn lifted(up: bool) -> Result<()> {
    let place = Place::new()?;
    let (source, dest, other) = (place.path("source"), place.path("dest"), place.path("other"));
    data::random(&source, SIZE, 1)?;
    data::random(&other, 10, 2)?;
    let (sharer, getter) = (place.peer("a"), place.peer("b"));
    let crawl = |side: bool| if side { "100kB/s" } else { "none" };
    let sharing = sharer.share(&[text(&source), "--max-up", crawl(up)])?;
    let owner = getter.share(&[text(&other), "--max-down", crawl(!up)])?;
    let link = sharing.link()?;
    let mut get = Process::spawn(getter.plain(&["get", &link, "-o", text(&dest), "--json"]), "")?;
    let begun = get.wait_until(|line| line["event"] == "progress" && line["bytes"].as_u64() > Some(0))?;
    ensure!(number(&begun, "bytes")? < SIZE, "there is no limit: {begun}");
    let (limited, flag, key) = if up { (&sharer, "--max-up", "up") } else { (&getter, "--max-down", "down") };
    let before = limited.run_attached(&["limit"])?.with_status(0)?.event("limits")?;
    ensure!(before[key] == 100_000, "{before}");
    let status = limited.run_attached(&["status"])?.with_status(0)?.event("status")?;
    ensure!(status["limits"][key] == 100_000, "{status}");
    let after = limited.run_attached(&["limit", flag, "none"])?.with_status(0)?.event("limits")?;
    ensure!(after[key].is_null(), "{after}");
    let done = get.wait_for("done")?;
    get.finish()?.with_status(0)?;
    ensure!(number(&done, "bytes")? == SIZE && number(&done, "duplicate_bytes")? == 0, "{done}");
    data::assert_same(&source, &dest)?;
    owner.close()?;
    sharing.close()?;
    Ok(())
}

#[test]
fn a_sharers_limit_is_lifted_while_it_sends() -> Result<()> {
    lifted(true)
}

#[test]
fn a_getters_limit_is_lifted_while_it_receives() -> Result<()> {
    lifted(false)
}

#[test]
fn hours_hold_at_once_and_limits_are_shown() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    let flags = [
        "--max-up=4MB/s",
        "--schedule=00:00-24:00 down=1MB/s up-per-peer=300kB/s",
        "--schedule",
        "0:00-24:00  up-per-peer=none",
        "--max-peers=20",
        "--max-memory=48MiB",
    ];
    let up = Sharing::start(peer.command(&[&["up"][..], &flags].concat()))?;
    let limits = peer.run_attached(&["limit"])?.with_status(0)?.event("limits")?;
    ensure!(limits["up"] == 4_000_000 && limits["down"] == 1_000_000, "{limits}");
    ensure!(limits["up_per_peer"].is_null() && limits["down_per_peer"].is_null(), "{limits}");
    ensure!(limits["schedule"][1] == "0:00-24:00 up-per-peer=none", "{limits}");
    ensure!(limits["max_peers"] == 20 && limits["max_memory"] == 48 * MIB, "{limits}");
    let set = ["limit", "--max-down", "2MB/s", "--max-down-per-peer", "16kB/s"];
    let limits = peer.run_attached(&set)?.with_status(0)?.event("limits")?;
    ensure!(limits["down"] == 2_000_000 && limits["down_per_peer"] == 16_000, "{limits}");
    ensure!(limits["up"] == 4_000_000, "{limits}");
    let shown = Process::spawn(peer.plain(&["limit"]), "")?.finish()?.with_status(0)?;
    ensure!(shown.lines[1] == "down           2.0 MB/s", "{:?}", shown.lines);

    // A command that goes through it may say the same, and nothing else.
    let attached =
        |flags: &[&str]| peer.run_attached(&[&["get", "bafkqaaa", "-o", "/never"], flags].concat());
    for (flag, other) in [
        ("--max-up", "5MB/s"),
        ("--max-down-per-peer", "none"),
        ("--schedule", "1:00-2:00 up=none"),
        ("--max-peers", "21"),
        ("--max-memory", "64MiB"),
    ] {
        let message = attached(&[flag, other])?.with_status(2)?.error("usage")?;
        ensure!(message.contains(flag) && message.contains(&up.process.pid().to_string()), "{message}");
    }
    let same = peer.run_attached(&["id", "--max-up=4MB/s", "--max-peers=20"])?;
    same.with_status(0)?.event("identity")?;
    up.close()?;
    Ok(())
}

#[test]
fn what_is_no_limit_is_told() -> Result<()> {
    let place = Place::new()?;
    let peer = place.peer("a");
    for wrong in [
        ["--max-up", "4MB/m"],
        ["--max-down", "15kB/s"],
        ["--schedule", "22:00 up=1MB/s"],
        ["--schedule", "1:00-1:00 up=1MB/s"],
        ["--max-peers", "0"],
        ["--max-memory", "1MiB"],
    ] {
        let message = peer.run(&[&["up"][..], &wrong].concat())?.with_status(2)?.error("usage")?;
        ensure!(message.contains(wrong[1]) && message.contains(wrong[0]), "{message}");
    }
    // Where nothing runs there is nothing to limit.
    for args in [&["limit"][..], &["limit", "--max-up", "1MB/s"]] {
        let message = peer.run(args)?.with_status(1)?.error("failed")?;
        ensure!(message.contains("peerage up --max-up"), "{message}");
    }
    Ok(())
}
