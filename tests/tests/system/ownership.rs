//! Several commands on one repository.

use anyhow::{Result, ensure};
use peerage_tests::peer::{SLOWDOWN, number, text};
use peerage_tests::process::Process;
use peerage_tests::{MIB, Place, data};

#[test]
fn share_and_get_in_two_terminals() -> Result<()> {
    let place = Place::new()?;
    let (one, two) = (place.path("one"), place.path("two"));
    data::random(&one, 3 * MIB, 1)?;
    data::random(&two, 3 * MIB, 2)?;
    let (here, there) = (place.peer("a"), place.peer("b"));
    let mine = here.share(&[text(&one)])?;
    let theirs = there.share(&[text(&two)])?;
    // Both ways, each through the owner of its repository.
    let attached = |peer: &peerage_tests::Peer, link: &str, dest: &str| {
        peer.run_attached(&["get", link, "-o", text(&place.path(dest))])?.with_status(0)?.event("done")
    };
    attached(&here, &theirs.link()?, "two.got")?;
    attached(&there, &mine.link()?, "one.got")?;
    data::assert_same(&one, &place.path("one.got"))?;
    data::assert_same(&two, &place.path("two.got"))?;
    // A second share, too; and its own link is for itself.
    let args = ["share", text(&two), "--json"];
    let second = peerage_tests::Sharing::start(here.plain(&args))?;
    ensure!(second.ready["addrs"] == mine.ready["addrs"], "another address: {}", second.ready);
    attached(&here, &second.link()?, "own")?;
    second.close()?;
    // A flag that the owner was not started with is an error that names it.
    let other = ["get", &theirs.link()?, "-o", "/never", "--json", "--listen", "/ip4/127.0.0.1/tcp/1"];
    let message = Process::spawn(here.plain(&other), "")?.finish()?.with_status(2)?.error("usage")?;
    ensure!(message.contains(&mine.process.pid().to_string()), "{message}");
    mine.close()?;
    theirs.close()?;
    Ok(())
}

#[test]
fn an_attached_get_outlives_the_owner() -> Result<()> {
    outlives_the_owner(false)
}

/// It goes on by the folder that it opened, as the owner did before.
#[test]
fn and_goes_on_in_a_folder_that_was_moved() -> Result<()> {
    outlives_the_owner(true)
}

fn outlives_the_owner(moved: bool) -> Result<()> {
    let size = 96 * MIB;
    let place = Place::new()?;
    let (source, folder) = (place.path("source"), place.path("folder"));
    std::fs::create_dir(&folder)?;
    let mut dest = folder.join("dest");
    data::random(&source, size, 1)?;
    data::random(&place.path("other"), 10, 2)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let second = place.peer("b");
    let mut owner = second.command(&["share", text(&place.path("other"))]);
    owner.env(SLOWDOWN, "40");
    let owner = peerage_tests::Sharing::start(owner)?;
    let get = second.plain(&["get", &sharing.link()?, "-o", text(&dest), "--json"]);
    let mut get = Process::spawn(get, "")?;
    get.wait_until(|line| line["bytes"].as_u64() >= Some(20 * MIB))?;
    if moved {
        dest = place.path("elsewhere").join("dest");
        std::fs::rename(&folder, place.path("elsewhere"))?;
    }
    owner.close()?;
    let done = get.wait_for("done")?;
    let told = get.finish()?.with_status(0)?.stderr;
    data::assert_same(&source, &dest)?;
    ensure!(told.contains("not kept or served") == moved, "{told}");
    let sent = number(&sharing.close()?, "sent_bytes")?;
    ensure!(number(&done, "bytes")? == size && sent <= size + 48 * MIB, "{sent} bytes were sent; {done}");
    Ok(())
}

/// The owner writes to the folder that the command has open: the same path
/// leads each process elsewhere.
#[test]
fn an_attached_get_brings_its_folder() -> Result<()> {
    let place = Place::new()?;
    let (source, here, there) = (place.path("source"), place.path("here"), place.path("there"));
    data::tree(&source, 1)?;
    std::fs::create_dir(&here)?;
    std::fs::create_dir(&there)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let second = place.peer("b");
    let mut owner = second.command(&["up"]);
    owner.current_dir(&there);
    let owner = peerage_tests::Sharing::start(owner)?;
    let mut get = second.plain(&["get", &sharing.link()?, "-o", "/proc/self/cwd/dest", "--json"]);
    get.current_dir(&here);
    let ended = Process::spawn(get, "")?.finish()?.with_status(0)?;
    ended.event("done")?;
    data::assert_same(&source, &here.join("dest"))?;
    ensure!(data::names(&there)?.is_empty(), "{:?}", data::names(&there)?);
    // By its path nobody would find it again.
    ensure!(ended.stderr.contains("not kept or served"), "{}", ended.stderr);
    let shares = second.run_attached(&["shares"])?.with_status(0)?;
    ensure!(shares.lines.is_empty(), "{:?}", shares.lines);
    // Where the path leads there, all is as ever.
    let dest = place.path("dest");
    second.run_attached(&["get", &sharing.link()?, "-o", text(&dest)])?.with_status(0)?;
    let share = second.run_attached(&["shares"])?.with_status(0)?.event("share")?;
    ensure!(share["path"] == text(&dest), "{share}");
    owner.close()?;
    sharing.close()?;
    Ok(())
}

#[test]
fn sixteen_gets_side_by_side() -> Result<()> {
    let place = Place::new()?;
    let (source, folder) = (place.path("source"), place.path("folder"));
    data::random(&source, 4 * MIB, 1)?;
    std::fs::create_dir(&folder)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let getter = place.peer("b");
    let link = sharing.link()?;
    let dests: Vec<_> = (0..16).map(|i| folder.join(format!("{i:02}"))).collect();
    let start = |dest: &std::path::PathBuf| {
        Process::spawn(getter.plain(&["get", &link, "-o", text(dest), "--json"]), "")
    };
    let gets: Vec<Process> = dests.iter().map(start).collect::<Result<_>>()?;
    for get in gets {
        get.finish()?.with_status(0)?.event("done")?;
    }
    for dest in &dests {
        data::assert_same(&source, dest)?;
    }
    ensure!(data::names(&folder)?.len() == 16, "{:?}", data::names(&folder)?);
    sharing.close()?;
    Ok(())
}

#[test]
fn a_second_get_to_the_same_destination_names_the_first() -> Result<()> {
    let place = Place::new()?;
    let (source, dest) = (place.path("source"), place.path("dest"));
    data::random(&source, 64 * MIB, 1)?;
    let sharing = place.peer("a").share(&[text(&source)])?;
    let mut first = place.peer("b").command(&["get", &sharing.link()?, "-o", text(&dest)]);
    first.env(SLOWDOWN, "40");
    let mut first = Process::spawn(first, "")?;
    first.wait_for("progress")?;
    let second = place.peer("c").run(&["get", &sharing.link()?, "-o", text(&dest)])?.with_status(1)?;
    let message = second.error("owned")?;
    ensure!(message.contains(&first.pid().to_string()), "{message}");
    first.finish()?.with_status(0)?;
    data::assert_same(&source, &dest)
}
