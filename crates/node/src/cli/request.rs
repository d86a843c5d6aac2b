//! From arguments to a [`Request`]: paths made absolute, links checked,
//! destinations chosen (README, the commands).

use std::io::BufRead;
use std::path::{Component, Path, PathBuf};

use clap_complete::Shell;
use peerage_content::name::escape;
use peerage_identity::{Multiaddr, PeerId};

use super::commands::{Command, PinCommand, SharesCommand, SourceArgs, VerifyArgs};
use crate::api::{
    Add, CarLook, Cat, Event, Failure, Find, Get, Handle, Kind, NoticeKind, PathText, Pin, Ping, Pins,
    RateFlags, Request, Share, Source, StatTarget, Unpin, Unshare, Verify,
};
use peerage_peer::{LINK_MAX, Link};

/// What a command line asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// Something of the repository's owner.
    Request(Request),
    /// CIDs without a repository.
    OnlyHash(Add),
    /// What a CAR holds, without a repository.
    CarLook(CarLook),
    /// A completion script.
    Completions(Shell),
    /// The program's version.
    Version,
}

/// What surrounds the command: where links come from if none is given, and
/// where relative paths begin.
pub(crate) struct Terminal<'a> {
    /// Gives the link for `get` without one.
    pub(crate) read_link: &'a mut dyn FnMut() -> Result<String, Failure>,
    /// Takes notices, such as that a link looks cut.
    pub(crate) notices: &'a mut Vec<Event>,
}

impl Command {
    /// The action of this command line.
    pub(crate) fn into_action(self, terminal: &mut Terminal<'_>) -> Result<Action, Failure> {
        let request = match self {
            Self::Share(args) => Request::Share(Share {
                paths: absolute_all(&args.paths)?,
                announce: args.announce,
                keep: args.keep,
                once: args.once,
                separate: args.separate,
                preserve: args.preserve,
            }),
            Self::Get(args) => {
                let text = match args.link {
                    Some(text) => text,
                    None => (terminal.read_link)()?,
                };
                let (link, source) = source(&text, args.source, terminal)?;
                if args.output.as_deref() == Some(Path::new("-")) {
                    // Nothing is kept of what is only printed.
                    if args.seed_for.is_some() {
                        return Err(Failure::usage(
                            "-o - prints the file, and nothing of it is left to serve",
                        ));
                    }
                    return Ok(Action::Request(Request::Cat(Cat { source, offset: 0, length: None })));
                }
                let dest = destination(args.output.as_deref(), &link)?;
                Request::Get(Get {
                    folder: Handle::folder_of(&dest),
                    dest: PathText(dest),
                    source,
                    seed_for: args.seed_for,
                    stream: args.stream,
                    keep: !args.no_keep,
                    overwrite: args.overwrite,
                    unsafe_symlinks: args.unsafe_symlinks,
                })
            }
            Self::Shares(args) => match args.command {
                None | Some(SharesCommand::Ls) => Request::Shares,
                Some(SharesCommand::Rm { targets }) => {
                    let targets =
                        targets.iter().map(|target| share_target(target)).collect::<Result<_, _>>()?;
                    Request::Unshare(Unshare { targets })
                }
            },
            Self::Add(args) => {
                let add = args.into_add()?;
                if add.only_hash {
                    return Ok(Action::OnlyHash(add));
                }
                Request::Add(Box::new(add))
            }
            Self::Car(command) => return command.into_action(terminal),
            Self::Ls(args) => {
                Request::Ls(StatTarget { source: source(&args.target.link, args.target.source, terminal)?.1 })
            }
            Self::Stat(args) => Request::Stat(StatTarget {
                source: source(&args.target.link, args.target.source, terminal)?.1,
            }),
            Self::Cat(args) => Request::Cat(Cat {
                source: source(&args.target.link, args.target.source, terminal)?.1,
                offset: args.offset,
                length: args.length,
            }),
            Self::Up(args) => Request::Up { provide: args.provide },
            Self::Id => Request::Id,
            Self::Ping(args) => Request::Ping(Ping { target: ping_target(args.target)?, count: args.count }),
            Self::Connect { address } => Request::Connect { address },
            Self::Peers { table } => Request::Peers { dht: table },
            Self::Find(args) => Request::Find(Find { cid: findable(&args.cid)?, limit: args.limit }),
            Self::FindPeer(args) => Request::FindPeer { peer: peer_id(&args.peer)? },
            Self::Provide(args) => Request::Provide { cid: findable(&args.cid)? },
            Self::Status => Request::Status,
            // Its flags are those of the network.
            Self::Limit => Request::Limit(RateFlags::default()),
            Self::Pin(PinCommand::Add { links, name, source: args }) => {
                let sources = links
                    .iter()
                    .map(|link| Ok(source(link, args.clone(), terminal)?.1))
                    .collect::<Result<_, Failure>>()?;
                Request::PinAdd(Pin { sources, name })
            }
            Self::Pin(PinCommand::Rm { cids }) => Request::PinRm(Unpin { cids: links(&cids)? }),
            Self::Pin(PinCommand::Ls { cids }) => Request::PinLs(Pins { cids: links(&cids)? }),
            Self::Verify(VerifyArgs { repair, folders, from, wait }) => {
                Request::Verify(Verify { repair, folders: absolute_all(&folders)?, from, wait })
            }
            Self::Gc { dry_run } => Request::Gc { dry_run },
            Self::Version => return Ok(Action::Version),
            Self::Completions { shell } => return Ok(Action::Completions(shell)),
        };
        Ok(Action::Request(request))
    }
}

fn parse_link(text: &str) -> Result<Link, Failure> {
    unwrapped(text)
        .parse()
        .map_err(|error: peerage_peer::LinkError| Failure::new(Kind::BadLink, error.to_string()))
}

/// Links that are ones, as the owner is to read them.
fn links(texts: &[String]) -> Result<Vec<String>, Failure> {
    texts.iter().map(|text| parse_link(text).map(|_| unwrapped(text).to_owned())).collect()
}

/// The link in what people paste: `share`'s whole line, or the quotes around it.
fn unwrapped(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix("peerage get").map_or(text, str::trim);
    for quote in ['"', '\'', '<'] {
        let end = if quote == '<' { '>' } else { quote };
        if let Some(inner) = text.strip_prefix(quote).and_then(|rest| rest.strip_suffix(end)) {
            return inner.trim();
        }
    }
    text
}

pub(super) fn source(
    text: &str,
    args: SourceArgs,
    terminal: &mut Terminal<'_>,
) -> Result<(Link, Source), Failure> {
    let link = parse_link(text)?;
    if looks_cut(text, &link) && args.from.is_empty() && !args.offline {
        terminal.notices.push(Event::notice(
            NoticeKind::LinkCut,
            "the link ends where its first `&` would be: the shell may have cut it. \
             Put the whole link in double quotes: peerage get \"LINK\"",
        ));
    }
    let source =
        Source { link: unwrapped(text).to_owned(), from: args.from, offline: args.offline, wait: args.wait };
    Ok((link, source))
}

/// A link with a name, then nothing: `share` always prints addresses after it.
fn looks_cut(text: &str, link: &Link) -> bool {
    let named = link.name.is_some() || link.name_problem.is_some();
    named && link.providers.is_empty() && link.find && !text.contains('&')
}

/// The path that the file or folder itself takes.
fn destination(output: Option<&Path>, link: &Link) -> Result<PathBuf, Failure> {
    let default_name = || {
        link.default_name().map_err(|problem| {
            Failure::usage(format!(
                "the link brings {problem}, which is not used: name the destination with -o"
            ))
        })
    };
    match output {
        None => absolute(Path::new(&default_name()?)),
        Some(path) if path.as_os_str().is_empty() => Err(Failure::usage("-o is empty")),
        Some(path) if names_a_folder(path) => absolute(&path.join(default_name()?)),
        Some(path) => absolute(path),
    }
}

/// `DIR/`, and what can only be a folder: `.`, `..`, `a/..`.
fn names_a_folder(path: &Path) -> bool {
    let text = path.as_os_str().as_encoded_bytes();
    let slash = text.last().is_some_and(|&byte| byte == b'/' || (cfg!(windows) && byte == b'\\'));
    slash
        || text == b"."
        || text.ends_with(b"/.")
        || path.components().next_back() == Some(Component::ParentDir)
}

pub(super) fn absolute_all(paths: &[PathBuf]) -> Result<Vec<PathText>, Failure> {
    paths.iter().map(|path| absolute(path).map(PathText)).collect()
}

/// `path` from the root, without asking the disk: symlinks stay.
pub(super) fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path).map_err(|error| {
        let path = escape(&path.to_string_lossy());
        Failure::new(Kind::Path, format!("cannot make `{path}` an absolute path: {error}"))
    })
}

/// A target of `shares rm`: a link or CID stays text, anything else is a path.
fn share_target(text: &str) -> Result<String, Failure> {
    if parse_link(text).is_ok() {
        return Ok(unwrapped(text).to_owned());
    }
    Ok(absolute(Path::new(text))?.to_string_lossy().into_owned())
}

/// The CID that others may be told of: all of a link, which does not say otherwise.
fn findable(text: &str) -> Result<String, Failure> {
    let link = parse_link(text)?;
    if !link.path.is_empty() {
        let path = escape(&link.path.join("/"));
        return Err(Failure::usage(format!(
            "{path} is below a root: name its own CID, as `peerage ls` prints it"
        )));
    }
    if !link.find {
        return Err(Failure::usage(
            "this link is of a share that is not announced (find=no): only who has the link is to know of it",
        ));
    }
    Ok(link.cid.to_string())
}

/// A peer's id, or the one at the end of an address.
fn peer_id(text: &str) -> Result<String, Failure> {
    let id = text.parse::<PeerId>().ok();
    let id = id.or_else(|| text.parse::<Multiaddr>().ok()?.peer_id());
    let wrong = || Failure::usage(format!("`{}` is no peer id, such as 12D3KooW..", escape(text)));
    id.map(|id| id.to_string()).ok_or_else(wrong)
}

fn ping_target(text: String) -> Result<String, Failure> {
    if text.parse::<PeerId>().is_ok() {
        return Ok(text);
    }
    match super::values::multiaddr(&text) {
        Ok(_) => Ok(text),
        Err(_) => Err(Failure::usage(format!("`{}` is neither a multiaddr nor a peer id", escape(&text)))),
    }
}

/// The first line of `input` that is not empty.
pub(crate) fn link_from_input(input: impl BufRead) -> Result<String, Failure> {
    let mut bounded = input.take(2 * LINK_MAX as u64);
    loop {
        let mut line = String::new();
        let read = bounded
            .read_line(&mut line)
            .map_err(|error| Failure::usage(format!("cannot read a link from stdin: {error}")))?;
        if read == 0 {
            return Err(Failure::usage("no link given: peerage get \"LINK\", or the link on stdin"));
        }
        if !line.trim().is_empty() {
            return Ok(line.trim().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Provide;
    use crate::cli::Cli;
    use clap::Parser as _;
    use std::time::Duration;

    const CID: &str = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    const HINT: &str = "provider=/ip4/127.0.0.1/tcp/1";

    fn action_with(args: &[&str], input: &str) -> (Result<Action, Failure>, Vec<Event>) {
        let mut notices = Vec::new();
        let line = ["peerage"].iter().chain(args);
        let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{error}"));
        let mut read_link = || link_from_input(input.as_bytes());
        let action =
            cli.command.into_action(&mut Terminal { read_link: &mut read_link, notices: &mut notices });
        (action, notices)
    }

    fn get(args: &[&str]) -> Get {
        match action_with(args, "").0 {
            Ok(Action::Request(Request::Get(get))) => get,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_option_of_get_arrives() {
        let link = format!("ipfs://{CID}?name=a.txt&{HINT}");
        let args = "--from /ip4/127.0.0.1/tcp/2 --seed-for 5m --stream --no-keep --overwrite --wait 1s --unsafe-symlinks";
        let mut line = vec!["get", &link, "-o", "/d/x"];
        line.extend(args.split(' '));
        assert_eq!(
            get(&line),
            Get {
                source: Source {
                    link: link.clone(),
                    from: vec!["/ip4/127.0.0.1/tcp/2".into()],
                    offline: false,
                    wait: Some(Duration::from_secs(1)),
                },
                dest: PathText("/d/x".into()),
                folder: None,
                seed_for: Some(Duration::from_secs(300)),
                stream: true,
                keep: false,
                overwrite: true,
                unsafe_symlinks: true,
            }
        );
    }

    #[test]
    fn where_it_goes() {
        let here = std::env::current_dir().unwrap();
        let named = format!("ipfs://{CID}?name=a.txt&{HINT}");
        let path = format!("{CID}/b/c");
        for (link, output, dest) in [
            (&named, None, here.join("a.txt")),
            (&path, None, here.join("c")),
            (&CID.to_owned(), None, here.join(CID)),
            (&named, Some("d"), here.join("d")),
            (&named, Some("d/"), here.join("d/a.txt")),
            (&named, Some("/d/"), "/d/a.txt".into()),
            (&path, Some("."), here.join("c")),
            (&path, Some(".."), here.join("../c")),
        ] {
            let mut line = vec!["get", link];
            if let Some(output) = output {
                line.extend(["-o", output]);
            }
            assert_eq!(get(&line).dest.0, dest, "{line:?}");
        }
    }

    #[test]
    fn an_unsafe_name_demands_a_destination() {
        for name in ["..", "%2Fetc%2Fpasswd", ".profile", "a%00"] {
            let link = format!("ipfs://{CID}?name={name}&{HINT}");
            for line in [vec!["get", &link], vec!["get", &link, "-o", "d/"]] {
                let failure = action_with(&line, "").0.unwrap_err();
                assert_eq!(failure.kind, Kind::Usage, "{line:?}");
                assert!(failure.message.contains("-o"), "{failure}");
            }
            assert_eq!(get(&["get", &link, "-o", "/x"]).dest.0, Path::new("/x"));
        }
    }

    #[test]
    fn a_link_cut_at_its_ampersand_gets_the_hint() {
        let cut = format!("ipfs://{CID}?name=a.txt");
        let (action, notices) = action_with(&["get", &cut], "");
        assert!(action.is_ok());
        assert!(
            matches!(&notices[..], [Event::Notice { kind: NoticeKind::LinkCut, message }] if message.contains("quotes"))
        );
        for whole in [CID.to_owned(), format!("{cut}&{HINT}"), format!("{cut}&find=no")] {
            assert_eq!(action_with(&["get", &whole], "").1, [], "{whole}");
        }
    }

    #[test]
    fn the_link_may_come_from_stdin_as_it_was_pasted() {
        for input in [CID.to_owned(), format!("\n  {CID}\nrest"), format!("peerage get \"{CID}\"\n")] {
            match action_with(&["get"], &input).0 {
                Ok(Action::Request(Request::Get(get))) => assert_eq!(get.source.link, CID),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(action_with(&["get"], "\n\n").0.unwrap_err().kind, Kind::Usage);
        let endless = "x".repeat(3 * LINK_MAX);
        assert_eq!(action_with(&["get"], &endless).0.unwrap_err().kind, Kind::BadLink);
    }

    #[test]
    fn a_bad_link_is_wrong_usage() {
        for command in ["get", "ls", "stat", "cat"] {
            let failure = action_with(&[command, "nonsense"], "").0.unwrap_err();
            assert_eq!((failure.kind, failure.kind.exit_code()), (Kind::BadLink, 2));
        }
        assert_eq!(action_with(&["pin", "rm", "nonsense"], "").0.unwrap_err().kind, Kind::BadLink);
        assert_eq!(action_with(&["ping", "nonsense"], "").0.unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn paths_travel_absolute() {
        let here = std::env::current_dir().unwrap();
        match action_with(&["share", "a", "/b", "--once"], "").0 {
            Ok(Action::Request(Request::Share(share))) => {
                assert_eq!(share.paths, [PathText(here.join("a")), PathText("/b".into())]);
                assert!(share.once && !share.keep);
            }
            other => panic!("{other:?}"),
        }
        match action_with(&["shares", "rm", "a", CID], "").0 {
            Ok(Action::Request(Request::Unshare(unshare))) => {
                assert_eq!(unshare.targets, [here.join("a").to_string_lossy().into_owned(), CID.to_owned()]);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_looked_for() {
        let find = |args: &[&str]| action_with(args, "").0;
        let link = format!("ipfs://{CID}?name=a.txt&{HINT}");
        for text in [CID, &format!("/ipfs/{CID}"), &link] {
            let request = Request::Find(Find { cid: CID.into(), limit: Some(2) });
            assert_eq!(find(&["find", text, "--limit", "2"]), Ok(Action::Request(request)), "{text}");
            assert_eq!(find(&["provide", text]), Ok(Action::Request(Request::Provide { cid: CID.into() })));
        }
        let private = format!("{link}&find=no");
        for (text, kind) in
            [(&private, Kind::Usage), (&format!("{CID}/a"), Kind::Usage), (&"x".to_owned(), Kind::BadLink)]
        {
            for command in ["find", "provide"] {
                assert_eq!(find(&[command, text]).unwrap_err().kind, kind, "{text}");
            }
        }
        let id = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";
        for text in [id, &format!("/ip4/192.0.2.1/tcp/1/p2p/{id}")] {
            assert_eq!(
                find(&["find-peer", text]),
                Ok(Action::Request(Request::FindPeer { peer: id.into() }))
            );
        }
        assert_eq!(find(&["find-peer", "/ip4/192.0.2.1/tcp/1"]).unwrap_err().kind, Kind::Usage);
    }

    #[test]
    fn only_hash_needs_no_repository() {
        assert!(matches!(action_with(&["add", "--only-hash", "a"], "").0, Ok(Action::OnlyHash(_))));
        let line = ["add", "a", "--profile", "unixfs-v0-2015"];
        match action_with(&line, "").0 {
            Ok(Action::Request(Request::Add(add))) => {
                assert_eq!(add.parameters.profile, crate::api::Profile::V0);
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_without_arguments() {
        for (line, request) in [
            (&["shares"][..], Request::Shares),
            (&["shares", "ls"], Request::Shares),
            (&["up"], Request::Up { provide: Provide::Roots }),
            (&["up", "--provide", "pinned"], Request::Up { provide: Provide::Pinned }),
            (&["status"], Request::Status),
            (&["peers", "--dht"], Request::Peers { dht: true }),
            (&["--dht", "off", "peers"], Request::Peers { dht: false }),
            (&["--dht", "off", "peers", "--dht"], Request::Peers { dht: true }),
            (&["id"], Request::Id),
            (&["peers"], Request::Peers { dht: false }),
            (&["pin", "ls"], Request::PinLs(Pins::default())),
            (&["pin", "ls", CID], Request::PinLs(Pins { cids: vec![CID.into()] })),
            (&["verify"], Request::Verify(Verify::default())),
            (&["verify", "--repair"], Request::Verify(Verify { repair: true, ..Verify::default() })),
            (&["gc"], Request::Gc { dry_run: false }),
            (&["gc", "--dry-run"], Request::Gc { dry_run: true }),
        ] {
            assert_eq!(action_with(line, "").0, Ok(Action::Request(request)));
        }
    }
}
