//! What was fetched before a crash is not fetched again.

use anyhow::{Result, ensure};
use peerage_tests::peer::{SLOWDOWN, number, text};
use peerage_tests::process::Process;
use peerage_tests::{MIB, Place, data};

/// What a kill may cost: what was on its way, in bytes (ARCHITECTURE, staging and resume).
const PER_KILL: u64 = 48 * MIB;

#[test]
fn a_killed_get_goes_on() -> Result<()> {
    let size = 160 * MIB;
    let place = Place::new()?;
    let (source, dest) = (place.path("source"), place.path("dest"));
    data::random(&source, size, 1)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let getter = place.peer("b");
    let mut kills = 0;
    // Late enough that starting anew each time would cost more than is allowed.
    let places =
        [(60, 75), (90, 105), (120, 135)].map(|(low, high)| data::draw(low, low * MIB, high * MIB).next());
    for at in places.into_iter().flatten() {
        let mut command = getter.command(&["get", &sharing.link()?, "-o", text(&dest)]);
        // So that it is still under way when it says how far it is.
        command.env(SLOWDOWN, "40");
        let mut get = Process::spawn(command, "")?;
        let line = get.wait_until(|line| line["event"] == "done" || line["bytes"].as_u64() >= Some(at))?;
        ensure!(line["event"] == "progress", "it was too quick to be killed: {line}");
        get.kill()?;
        ensure!(!dest.exists(), "a part has the name of the whole");
        kills += 1;
    }
    let done = getter.get(&sharing.link()?, &dest)?;
    ensure!(number(&done, "bytes")? == size, "{done}");
    data::assert_same(&source, &dest)?;
    let sent = number(&sharing.close()?, "sent_bytes")?;
    ensure!(sent <= size + kills * PER_KILL, "{sent} bytes were sent over {kills} kills");
    ensure!(data::names(&place.path(""))? == ["a", "b", "dest", "source"], "something was left behind");
    Ok(())
}

#[test]
fn an_interrupted_get_of_a_folder_goes_on() -> Result<()> {
    let place = Place::new()?;
    let (source, dest) = (place.path("source"), place.path("dest"));
    data::many(&source, 40, 2 * MIB + 1, 2)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let getter = place.peer("b");
    let mut command = getter.command(&["get", &sharing.link()?, "-o", text(&dest)]);
    command.env(SLOWDOWN, "40");
    let mut get = Process::spawn(command, "")?;
    get.wait_until(|line| line["bytes"].as_u64() >= Some(30 * MIB))?;
    get.interrupt()?;
    get.finish()?.with_status(130)?.error("interrupted")?;
    ensure!(!dest.exists(), "a part has the name of the whole");
    let done = getter.get(&sharing.link()?, &dest)?;
    data::assert_same(&source, &dest)?;
    let fetched: u64 = done["sources"]
        .as_object()
        .into_iter()
        .flat_map(|all| all.values())
        .filter_map(serde_json::Value::as_u64)
        .sum();
    ensure!(fetched <= 52 * MIB, "{fetched} bytes were fetched though 30 MiB were there");
    Ok(())
}
