//! Installing Helia and Kubo below `tests/interop/.cache`, once per lock file.
//!
//! Nothing is skipped silently: a machine without Node or Python gets an error
//! that says what to install.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use data_encoding::HEXLOWER;
use sha1::{Digest as _, Sha1};

use crate::command::{output, run};

/// The oldest Node that Helia 7 was tried on; older ones lack more than
/// `polyfill.mjs` supplies.
const NODE_MAJOR: u32 = 20;

/// Is in an installation that was completed.
const COMPLETE: &str = ".complete";

/// A folder with `peer.mjs` and the packages of `helia/package-lock.json`.
pub(crate) fn helia(place: &Path) -> Result<PathBuf> {
    let advice = format!(
        "the interop tests run Helia and need Node.js {NODE_MAJOR} or newer with npm \
         (Debian: `apt install nodejs npm`; others: nodejs.org)"
    );
    let Some(version) = output(Command::new("node").arg("--version"))? else {
        bail!("node is not installed: {advice}")
    };
    let major =
        version.trim().trim_start_matches('v').split('.').next().and_then(|major| major.parse::<u32>().ok());
    ensure!(major.is_some_and(|major| major >= NODE_MAJOR), "node is {}: {advice}", version.trim());
    ensure!(output(Command::new("npm").arg("--version"))?.is_some(), "npm is not installed: {advice}");

    let source = place.join("helia");
    let locks = ["package.json", "package-lock.json"];
    let target = installed(place, "helia", &source, &locks, |target| {
        for lock in locks {
            fs::copy(source.join(lock), target.join(lock))?;
        }
        // Peer dependencies are as the lock has them; no package needs its scripts.
        let options =
            ["--ignore-scripts", "--legacy-peer-deps", "--no-audit", "--no-fund", "--loglevel=error"];
        run(Command::new("npm").current_dir(target).arg("ci").args(options))
    })?;
    // Beside the packages, where Node looks for them, and fresh each time.
    for script in ["peer.mjs", "polyfill.mjs"] {
        fs::copy(source.join(script), target.join(script)).with_context(|| format!("copying {script}"))?;
    }
    Ok(target)
}

/// The Python that has the packages of `kubo/requirements.txt`.
pub(crate) fn kubo(place: &Path) -> Result<PathBuf> {
    let advice = "the interop tests run Kubo from a Python package and need Python 3.9 or newer with venv \
                  (Debian: `apt install python3-venv`)";
    let Some(_) = output(Command::new("python3").arg("--version"))? else {
        bail!("python3 is not installed: {advice}")
    };
    let source = place.join("kubo");
    let requirements = source.join("requirements.txt");
    let target = installed(place, "kubo", &source, &["requirements.txt"], |target| {
        run(Command::new("python3").args(["-m", "venv"]).arg(target)).context(advice)?;
        let mut install = Command::new(target.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"]);
        run(install.arg(&requirements))
    })?;
    Ok(target.join("bin/python"))
}

/// Fails unless there is a router to be had, and what its network is made with.
pub(crate) fn router() -> Result<()> {
    let needed = [
        ("miniupnpd", "miniupnpd-nftables"),
        ("nft", "nftables"),
        ("ip", "iproute2"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
    ];
    for (program, package) in needed {
        ensure!(
            on_path(program),
            "{program} is not installed: the interop tests run a home router in namespaces of their own \
             and need it (Debian: `apt install {package}`)"
        );
    }
    Ok(())
}

/// True if there is such a program; daemons may lie where only root looks.
fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.into_iter().any(|folder| folder.join(program).is_file())
}

/// The folder of an installation, made by `install` unless one of the same
/// lock files is complete already.
fn installed(
    place: &Path,
    name: &str,
    source: &Path,
    locks: &[&str],
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut hash = Sha1::new();
    for lock in locks {
        hash.update(fs::read(source.join(lock)).with_context(|| format!("reading {lock}"))?);
    }
    let key = HEXLOWER.encode(&hash.finalize()[..8]);
    let target = place.join(".cache").join(format!("{name}-{key}"));
    if target.join(COMPLETE).is_file() {
        return Ok(target);
    }
    if target.exists() {
        fs::remove_dir_all(&target).with_context(|| format!("removing {}", target.display()))?;
    }
    fs::create_dir_all(&target)?;
    install(&target)?;
    fs::write(target.join(COMPLETE), [])?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_installation_is_made_once_per_lock_and_again_after_a_failure() {
        let place = tempfile::tempdir().unwrap();
        let lock = place.path().join("lock");
        fs::write(&lock, "1").unwrap();
        let make = |result: Result<()>| {
            let mut ran = false;
            let made = installed(place.path(), "x", place.path(), &["lock"], |_| {
                ran = true;
                result
            });
            (made.ok(), ran)
        };
        assert_eq!(make(Err(anyhow::anyhow!("no network"))), (None, true));
        let (first, ran) = make(Ok(()));
        assert!(ran && first.is_some());
        assert_eq!(make(Ok(())), (first.clone(), false));
        fs::write(&lock, "2").unwrap();
        let (second, ran) = make(Ok(()));
        assert!(ran && second != first);
    }
}
