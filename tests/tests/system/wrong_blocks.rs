//! A source that corrupts blocks: it is named, and no wrong byte is kept.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use peerage_content::Profile;
use peerage_tests::liar::Liar;
use peerage_tests::peer::{SLOWDOWN, text};
use peerage_tests::{MIB, Place, Sharing, data};

/// In blocks of 256 KiB, of which the liar corrupts several.
const SIZE: u64 = 10 * MIB;

fn liar(place: &Place) -> Result<Liar> {
    let source = place.path("source");
    data::random(&source, SIZE, 1)?;
    Liar::start(&fs::read(&source)?, &Profile::UNIXFS_V0_2015)
}

#[test]
fn a_liar_alone_ends_with_status_4() -> Result<()> {
    let place = Place::new()?;
    let liar = liar(&place)?;
    let (cid, from) = (liar.root().to_string(), liar.addr().to_string());
    let folder = place.path("folder");
    fs::create_dir(&folder)?;
    let dest = folder.join("dest");
    let args = ["get", &cid, "--from", &from, "-o", text(&dest)];
    let message = place.peer("a").run(&args)?.with_status(4)?.error("verification")?;
    ensure!(message.contains(&liar.peer().to_string()), "it does not say who: {message}");
    // What was right is staged, so that the next run need not fetch it again.
    let names = data::names(&folder)?;
    ensure!(names.iter().all(|name| name.ends_with(".peerage-part")), "{names:?}");
    Ok(())
}

#[test]
fn an_honest_source_makes_up_for_a_liar_who_is_named() -> Result<()> {
    let place = Place::new()?;
    let liar = liar(&place)?;
    let (source, dest) = (place.path("source"), place.path("dest"));
    let honest = place.peer("honest");
    honest.run(&["add", "--profile", "unixfs-v0-2015", text(&source)])?.with_status(0)?;
    // So slow that some is asked of the other.
    let mut up = honest.command(&["up"]);
    up.env(SLOWDOWN, "40");
    let up = Sharing::start(up)?;
    let (cid, wrong, right) = (liar.root().to_string(), liar.addr().to_string(), up.addr()?);
    let args = ["get", &cid, "--from", &wrong, "--from", &right, "-o", text(&dest)];
    let ended = place.peer("a").run(&args)?.with_status(0)?;
    ended.event("done")?;
    data::assert_same(&source, &dest)?;
    let id = liar.peer().to_string();
    let notice = ended.stderr.lines().find(|line| line.contains("\"notice\"") && line.contains(&id));
    let notice = notice.with_context(|| format!("the liar is not named: {}", ended.stderr))?;
    ensure!(notice.contains("\"kind\":\"peer\""), "{notice}");
    up.close()?;
    Ok(())
}
