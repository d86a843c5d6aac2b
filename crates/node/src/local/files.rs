//! `add`.

use std::fs::File;
use std::path::PathBuf;

use peerage_content::name;
use peerage_peer::{AddOptions, Added, ImportProgress, Peer, Preserve};

use super::failure::Fails as _;
use super::share::remarks;
use crate::api::{self, Event, Failure, Kind, NoticeKind};
use crate::backend::{Cancel, Sink};
use crate::render::Output;

/// Says how far an import is.
pub(super) fn importing(out: &Sink) -> impl Fn(ImportProgress) + Send + 'static {
    let out = out.clone();
    move |progress: ImportProgress| {
        // What is found while folders are listed is no total: it grows as fast as it is read.
        let total = progress.all_found.then_some(progress.bytes_found).filter(|total| *total > 0);
        out.try_send(Event::Importing { bytes: progress.bytes, total, files: progress.files });
    }
}

fn options(request: &api::Add) -> Result<AddOptions, Failure> {
    Ok(AddOptions {
        profile: request.profile()?,
        copy: request.copy,
        hidden: request.hidden,
        ignored: request.ignored()?,
        keep_symlinks: !request.dereference_args,
        preserve: Preserve { mode: request.preserve_mode, mtime: request.preserve_mtime },
        any_name: true,
        ..AddOptions::default()
    })
}

fn paths(request: &api::Add) -> Vec<PathBuf> {
    request.paths.iter().map(|path| path.0.clone()).collect()
}

pub(super) async fn add(peer: &Peer, request: &api::Add, out: &Sink) -> Result<(), Failure> {
    let (options, name, importing) = (options(request)?, request.name.clone(), importing(out));
    let added = match &request.stdin {
        None => peer.add(paths(request), options, name, importing).await,
        Some(_) if request.again => {
            let message = "the process that read stdin ended; run the command again";
            return Err(Failure::new(Kind::Failed, message));
        }
        Some(stdin) => peer.add_stream(input(request)?, stdin.name.clone(), options, name, importing).await,
    };
    tell(&added.map_err(|error| error.failure())?, request, out).await;
    Ok(())
}

/// What comes from stdin.
fn input(request: &api::Add) -> Result<File, Failure> {
    let handle = request.input.as_ref().ok_or_else(|| Failure::usage("no stdin came with the request"))?;
    let file = handle.handle().try_clone().map(File::from);
    file.map_err(|error| Failure::new(Kind::from(&error), format!("cannot read stdin: {error}")))
}

/// `add --only-hash`: CIDs without a repository.
pub(crate) async fn only_hash(request: api::Add, output: &Output, cancel: &Cancel) -> Result<(), Failure> {
    let options = options(&request)?;
    let work = async |out: Sink| {
        let added = match request.stdin {
            None => peerage_peer::only_hash(paths(&request), options, importing(&out)).await,
            Some(_) => peerage_peer::only_hash_stream(input(&request)?, options, importing(&out)).await,
        };
        tell(&added.map_err(|error| error.failure())?, &request, &out).await;
        Ok(())
    };
    super::without_repository(output, cancel, work).await
}

async fn tell(added: &[Added], request: &api::Add, out: &Sink) {
    let stdin = || request.stdin.as_ref()?.name.clone();
    for root in added {
        remarks(root, true, out).await;
        let first = root.paths.first();
        if let Some((path, target)) = first.and_then(|path| Some((path, path.read_link().ok()?))) {
            let [path, target] = [path.as_path(), &target].map(|path| name::escape(&path.to_string_lossy()));
            let message = format!("{path} was imported as a symlink to {target}; see --dereference-args");
            out.send(Event::notice(NoticeKind::Other, message)).await;
        }
        let path = first.map(|path| path.to_string_lossy().into_owned());
        let path = path.or_else(stdin).unwrap_or_else(|| "-".to_owned());
        out.send(Event::Added { path, cid: root.cid.to_string(), size: root.size }).await;
    }
}
