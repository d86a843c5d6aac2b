//! The harness itself, and the two foreign peers against each other: what
//! fails here is not Peerage's fault.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use peerage_interop::kubo::{Kind, Kubo};
use peerage_interop::process::{COMMAND, Process};
use peerage_interop::{Helia, Profile, data, text};

fn shell(script: &str) -> Result<Process> {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Process::spawn("a script", command)
}

#[test]
fn events_are_waited_for_and_the_end_is_noticed() -> Result<()> {
    let mut process = shell(r#"echo '{"event":"a"}'; echo '{"event":"b","x":"y"}'; exit 3"#)?;
    assert_eq!(text(&process.wait_for("b", COMMAND)?, "x")?, "y");
    assert_eq!(process.finish(COMMAND)?.code(), Some(3));
    Ok(())
}

#[test]
fn a_silent_process_is_given_up_and_its_stderr_quoted() -> Result<()> {
    let process = shell(r#"echo 'no luck' >&2; echo '{}'; read forever"#)?;
    assert!(process.next(COMMAND)?.is_some());
    let error = process.next(Duration::from_millis(50)).unwrap_err().to_string();
    assert!(error.contains("said nothing"), "{error}");
    let mut ended = shell("echo 'no luck' >&2")?;
    ended.finish(COMMAND)?;
    let error = ended.wait_for("ready", COMMAND).unwrap_err().to_string();
    assert!(error.contains("ended before"), "{error}");
    Ok(())
}

#[test]
fn an_answer_that_is_no_success_is_an_error() -> Result<()> {
    let mut process = shell(r#"read a; echo '{"ok":true,"n":1}'; read b; echo '{"ok":false,"error":"no"}'"#)?;
    assert_eq!(process.ask(&["first"])?["n"], 1);
    let error = process.ask(&["second"]).unwrap_err().to_string();
    assert!(error.contains("failed at `second`"), "{error}");
    Ok(())
}

#[test]
fn dropping_ends_the_process() -> Result<()> {
    let process = shell(r#"echo "{\"pid\":$$}"; read forever"#)?;
    let line = process.next(COMMAND)?.expect("a line");
    let pid = line["pid"].as_i64().expect("a pid");
    drop(process);
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).expect("not 0");
    ensure!(rustix::process::test_kill_process(pid).is_err(), "the process is still there");
    Ok(())
}

#[test]
fn helia_and_kubo_serve_each_other() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (file, folder) = (dir.path().join("file.bin"), dir.path().join("a folder"));
    data::file(&file, data::FILE_LEN, 1)?;
    data::folder(&folder, 2)?;
    let mut helia = Helia::start()?;
    let mut kubo = Kubo::start(Kind::Noise)?;
    assert!(kubo.peer_id.starts_with("12D3Koo"), "{}", kubo.peer_id);
    helia.connect(&kubo.addr)?;
    assert!(kubo.peers()?.contains(&helia.peer_id));
    helia.ping(&kubo.peer_id)?;

    let from_helia = helia.add(&file, Profile::V1)?;
    kubo.fetch(&from_helia, &dir.path().join("1"))?;
    data::assert_same(&file, &dir.path().join("1"))?;

    let from_kubo = kubo.add(&folder)?;
    helia.fetch_folder(&from_kubo, &dir.path().join("2"))?;
    data::assert_same(&folder, &dir.path().join("2"))?;
    Ok(())
}
