//! The program itself, for what needs no repository and no other peer. What
//! does is in `tests/` of the workspace, which finds the program where cargo
//! puts it for this test.

use std::process::{Command, Output};

fn peerage(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_peerage")).args(args).output().expect("cargo has built it")
}

#[test]
fn help_is_no_mistake_and_a_mistake_is() {
    let help = peerage(&["--help"]);
    assert!(help.status.success() && help.stderr.is_empty());
    let help = String::from_utf8(help.stdout).unwrap();
    for command in ["share", "get", "up", "pin"] {
        assert!(help.contains(command), "{command} is not in {help}");
    }
    let wrong = peerage(&["shar"]);
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty() && String::from_utf8_lossy(&wrong.stderr).contains("share"));
    let wrong = peerage(&["shar", "--json"]);
    assert_eq!(wrong.status.code(), Some(2));
    let line = String::from_utf8(wrong.stderr).unwrap();
    let error: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((error["event"].as_str(), error["kind"].as_str()), (Some("error"), Some("usage")));
}
