//! A command's request. Paths are absolute, links are text that was parsed
//! once by the command, so that a mistake is found before any work, and is
//! parsed again by whoever executes it.

mod millis;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Add, CarExport, CarImport, Handle, Hours, RateFlags};

/// One command, with all its options.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub(crate) enum Request {
    Share(Share),
    Get(Get),
    Shares,
    Unshare(Unshare),
    Add(Box<Add>),
    Ls(StatTarget),
    Stat(StatTarget),
    Cat(Cat),
    CarExport(CarExport),
    CarImport(CarImport),
    Up {
        #[serde(default)]
        provide: Provide,
    },
    Id,
    Ping(Ping),
    Connect {
        address: String,
    },
    Peers {
        dht: bool,
    },
    Find(Find),
    FindPeer {
        peer: String,
    },
    Provide {
        cid: String,
    },
    Status,
    /// Limits to set, and to show.
    Limit(RateFlags),
    PinAdd(Pin),
    PinRm(Unpin),
    PinLs(Pins),
    Verify(Verify),
    Gc {
        dry_run: bool,
    },
}

impl Request {
    /// The command as it was typed, without its arguments.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Share(_) => "share",
            Self::Get(_) => "get",
            Self::Shares => "shares",
            Self::Unshare(_) => "shares rm",
            Self::Add(_) => "add",
            Self::Ls(_) => "ls",
            Self::Stat(_) => "stat",
            Self::Cat(_) => "cat",
            Self::CarExport(_) => "car export",
            Self::CarImport(_) => "car import",
            Self::Up { .. } => "up",
            Self::Id => "id",
            Self::Ping(_) => "ping",
            Self::Connect { .. } => "connect",
            Self::Peers { .. } => "peers",
            Self::Find(_) => "find",
            Self::FindPeer { .. } => "find-peer",
            Self::Provide { .. } => "provide",
            Self::Status => "status",
            Self::Limit(_) => "limit",
            Self::PinAdd(_) => "pin add",
            Self::PinRm(_) => "pin rm",
            Self::PinLs(_) => "pin ls",
            Self::Verify(_) => "verify",
            Self::Gc { .. } => "gc",
        }
    }

    /// The open folder or files that go along with it.
    pub(crate) fn handles(&self) -> &[Handle] {
        match self {
            Self::Get(get) => get.folder.as_slice(),
            Self::CarImport(import) => &import.inputs,
            Self::Add(add) => add.input.as_slice(),
            _ => &[],
        }
    }

    /// Adds handles that came along; false if they do not belong there.
    pub(crate) fn set_handles(&mut self, mut handles: Vec<Handle>) -> bool {
        match self {
            Self::Get(get) if handles.len() <= 1 => get.folder = handles.pop(),
            Self::CarImport(import) => import.inputs = handles,
            Self::Add(add) if handles.len() <= 1 => add.input = handles.pop(),
            _ => return handles.is_empty(),
        }
        true
    }

    /// What it does, in a word, while no peer has a part in it.
    pub(crate) const fn doing(&self) -> Option<&'static str> {
        match self {
            Self::Verify(_) => Some("checking"),
            Self::CarExport(_) => Some("writing"),
            Self::CarImport(_) => Some("reading"),
            Self::Get(_) | Self::PinAdd(_) => Some("reading what is here"),
            _ => None,
        }
    }

    /// Whether Ctrl-C is how it ends, so that its exit status is 0 then.
    pub(crate) const fn runs_until_interrupted(&self) -> bool {
        matches!(self, Self::Share(_) | Self::Up { .. })
    }

    /// Whether it is about a peer that runs. Opened for it alone, a repository has none.
    pub(crate) const fn is_about_owner(&self) -> bool {
        matches!(self, Self::Status | Self::Limit(_))
    }

    /// Whether it is done for when nobody reads what it prints.
    pub(crate) const fn is_for_reading(&self) -> bool {
        matches!(
            self,
            Self::Ls(_)
                | Self::Stat(_)
                | Self::Cat(_)
                | Self::Ping(_)
                | Self::Peers { .. }
                | Self::Find(_)
                | Self::FindPeer { .. }
                | Self::Status
                | Self::Limit(_)
                | Self::Shares
                | Self::PinLs(_)
        ) || self.is_read_to_its_end()
    }

    /// Whether what it prints is of no use in part, and no reader can tell that it is.
    pub(crate) const fn is_read_to_its_end(&self) -> bool {
        matches!(self, Self::CarExport(CarExport { dest: None, .. }))
    }

    /// Whether it has to reach other peers, or be reached by them. For the
    /// others nobody is asked, and nobody hears of them.
    pub(crate) fn needs_network(&self) -> bool {
        match self {
            Self::Get(get) => !get.source.offline,
            Self::Ls(target) | Self::Stat(target) => !target.source.offline,
            Self::Cat(cat) => !cat.source.offline,
            Self::CarExport(export) => !export.source.offline,
            Self::PinAdd(pin) => !pin.sources.iter().all(|source| source.offline),
            Self::Verify(verify) => verify.repair,
            Self::Share(_)
            | Self::Up { .. }
            | Self::Ping(_)
            | Self::Connect { .. }
            | Self::Peers { .. }
            | Self::Find(_)
            | Self::FindPeer { .. }
            | Self::Provide { .. } => true,
            Self::Shares
            | Self::Unshare(_)
            | Self::Add(_)
            | Self::CarImport(_)
            | Self::Id
            | Self::Status
            | Self::Limit(_)
            | Self::PinRm(_)
            | Self::PinLs(_)
            | Self::Gc { .. } => false,
        }
    }
}

/// `verify`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Verify {
    /// Fetch what is missing.
    #[serde(default)]
    pub(crate) repair: bool,
    /// Absolute: where to look for files that were moved.
    #[serde(default)]
    pub(crate) folders: Vec<PathText>,
    /// Addresses to ask.
    #[serde(default)]
    pub(crate) from: Vec<String>,
    #[serde(default, with = "millis")]
    pub(crate) wait: Option<Duration>,
}

/// `share`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    pub(crate) paths: Vec<PathText>,
    /// Everybody may find it.
    pub(crate) announce: bool,
    pub(crate) keep: bool,
    pub(crate) once: bool,
    pub(crate) separate: bool,
    pub(crate) preserve: bool,
}

/// Content, and where to look for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) link: String,
    /// Addresses to ask besides the link's.
    pub(crate) from: Vec<String>,
    pub(crate) offline: bool,
    /// How long to search when nobody has it; the peer's default if none.
    #[serde(with = "millis")]
    pub(crate) wait: Option<Duration>,
}

/// `get`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Get {
    pub(crate) source: Source,
    /// The path that the file or folder itself takes.
    pub(crate) dest: PathText,
    /// The folder of it, as the command found it.
    #[serde(skip)]
    pub(crate) folder: Option<Handle>,
    #[serde(with = "millis")]
    pub(crate) seed_for: Option<Duration>,
    /// In order, for who reads it while it comes.
    #[serde(default)]
    pub(crate) stream: bool,
    pub(crate) keep: bool,
    pub(crate) overwrite: bool,
    pub(crate) unsafe_symlinks: bool,
}

/// `shares rm`: paths, CIDs or links.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unshare {
    pub(crate) targets: Vec<String>,
}

/// `ls` and `stat`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StatTarget {
    pub(crate) source: Source,
}

/// `cat`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cat {
    pub(crate) source: Source,
    /// Bytes of the file to skip, what was printed before the owner ended among them.
    pub(crate) offset: u64,
    /// Most bytes to print.
    #[serde(default)]
    pub(crate) length: Option<u64>,
}

/// `ping`: a multiaddr, or the id of a peer that is connected.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ping {
    pub(crate) target: String,
    pub(crate) count: u32,
}

/// `find`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Find {
    pub(crate) cid: String,
    /// Providers after which it ends.
    pub(crate) limit: Option<u32>,
}

/// What `up` announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Provide {
    /// Every block of the pins and of announced shares
    All,
    /// Every block of the pins, and the roots of announced shares
    Pinned,
    /// The roots of the pins and of announced shares
    #[default]
    Roots,
}

/// `pin add`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pin {
    pub(crate) sources: Vec<Source>,
    pub(crate) name: Option<String>,
}

/// `pin rm`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Unpin {
    pub(crate) cids: Vec<String>,
}

/// `pin ls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pins {
    /// Those of which to list the pins; all if there are none.
    #[serde(default)]
    pub(crate) cids: Vec<String>,
}

/// Flags of whoever owns the repository, most of them of the network. What is `None`, or an empty `listen`, was not given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Network {
    pub(crate) listen: Vec<String>,
    /// Empty: nobody. `None`: the public network's, or nobody's if all of
    /// `listen` is loopback.
    pub(crate) bootstrap: Option<Vec<String>>,
    pub(crate) dht: Option<Dht>,
    pub(crate) dht_private_addresses: bool,
    /// URLs.
    pub(crate) routers: Vec<String>,
    pub(crate) no_mdns: bool,
    pub(crate) perf: bool,
    /// Bytes that the repository may take.
    #[serde(default)]
    pub(crate) max_store: Option<u64>,
    #[serde(default)]
    pub(crate) rates: RateFlags,
    #[serde(default)]
    pub(crate) schedule: Vec<Hours>,
    /// Connections at once.
    #[serde(default)]
    pub(crate) max_peers: Option<u64>,
    /// Bytes of memory.
    #[serde(default)]
    pub(crate) max_memory: Option<u64>,
}

/// The part that a peer takes in the DHTs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Dht {
    /// Ask nobody, answer nobody
    Off,
    /// Ask, and answer nobody
    Client,
    /// Ask and answer
    Server,
    /// Answer on the local network, and on the public one while reachable from there
    #[default]
    Auto,
}

/// An absolute path. As JSON a string, or, where it is not UTF-8, its bytes in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "PathJson", try_from = "PathJson")]
pub(crate) struct PathText(pub(crate) PathBuf);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum PathJson {
    Text(String),
    Bytes { base64: String },
}

impl From<PathText> for PathJson {
    fn from(path: PathText) -> Self {
        match path.0.into_os_string().into_string() {
            Ok(text) => Self::Text(text),
            Err(other) => Self::Bytes { base64: data_encoding::BASE64.encode(other.as_encoded_bytes()) },
        }
    }
}

impl TryFrom<PathJson> for PathText {
    type Error = String;

    fn try_from(json: PathJson) -> Result<Self, String> {
        let path = match json {
            PathJson::Text(text) => PathBuf::from(text),
            PathJson::Bytes { base64 } => {
                let bytes = data_encoding::BASE64.decode(base64.as_bytes()).map_err(|e| e.to_string())?;
                PathBuf::from(os_string(bytes)?)
            }
        };
        if path.is_absolute() { Ok(Self(path)) } else { Err("a path that is not absolute".to_owned()) }
    }
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere not all bytes are a path")]
fn os_string(bytes: Vec<u8>) -> Result<OsString, String> {
    use std::os::unix::ffi::OsStringExt;
    Ok(OsString::from_vec(bytes))
}

#[cfg(not(unix))]
fn os_string(bytes: Vec<u8>) -> Result<OsString, String> {
    String::from_utf8(bytes).map(OsString::from).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CarFile, Rate};

    #[test]
    fn requests_survive_the_socket() {
        let source = Source {
            link: "ipfs://x".into(),
            from: vec!["/ip4/127.0.0.1/tcp/1".into()],
            offline: false,
            wait: Some(Duration::from_millis(1500)),
        };
        let get = Get {
            source,
            dest: PathText("/tmp/a".into()),
            folder: None,
            seed_for: None,
            stream: false,
            keep: true,
            overwrite: false,
            unsafe_symlinks: false,
        };
        for request in [
            Request::Get(get),
            Request::Up { provide: Provide::Pinned },
            Request::Connect { address: "a".into() },
            Request::Find(Find { cid: "b".into(), limit: Some(3) }),
            Request::CarImport(CarImport {
                files: vec![
                    CarFile::Stdin,
                    CarFile::Path(PathText("/a".into())),
                    CarFile::Opened(PathText("/b".into())),
                ],
                inputs: vec![],
                pin: true,
                name: None,
                again: false,
            }),
            Request::Status,
            Request::Limit(RateFlags { up: Some(Rate(0)), ..RateFlags::default() }),
        ] {
            let json = serde_json::to_string(&request).unwrap();
            assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request, "{json}");
        }
    }

    #[test]
    fn who_needs_others() {
        let source = |offline| Source { link: "x".into(), from: vec![], offline, wait: None };
        for offline in [true, false] {
            let target = || StatTarget { source: source(offline) };
            let pin = Pin { sources: vec![source(offline), source(offline)], name: None };
            for request in [
                Request::Ls(target()),
                Request::Stat(target()),
                Request::Cat(Cat { source: source(offline), offset: 0, length: None }),
                Request::PinAdd(pin),
            ] {
                assert_eq!(request.needs_network(), !offline, "{request:?}");
            }
        }
        let mixed = Pin { sources: vec![source(true), source(false)], name: None };
        assert!(Request::PinAdd(mixed).needs_network());
        assert!(Request::Up { provide: Provide::Roots }.needs_network());
        let pins = Request::PinLs(Pins::default());
        for nobody in
            [Request::Status, Request::Verify(Verify::default()), Request::Id, Request::Shares, pins]
        {
            assert!(!nobody.needs_network(), "{nobody:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn paths_need_not_be_text_but_absolute() {
        use std::os::unix::ffi::OsStringExt;
        let path = PathText(PathBuf::from(OsString::from_vec(b"/a/\xff".to_vec())));
        let json = serde_json::to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<PathText>(&json).unwrap(), path);
        assert!(serde_json::from_str::<PathText>("\"a/b\"").is_err());
    }
}
