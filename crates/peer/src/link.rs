//! Links: what `share` prints and `get` takes.
//!
//! `ipfs://CID/path?name=NAME&provider=MULTIADDR&..&find=no`, a bare `CID`,
//! `CID/path/inside` or `/ipfs/CID/path`. Only the form with the scheme is
//! percent-decoded: the others are what people type, and a `%` or `?` in a
//! file's name means itself there.
//!
//! Left out on purpose: gateway URLs, `/ipns` and DNSLink names (an error
//! says so), and reading the addresses' reachability, which the peer does
//! when it chooses hints.

use std::fmt;
use std::str::FromStr;

use peerage_content::hash::{self, NotOnWire};
use peerage_content::name::{self, NameError};
use peerage_content::{Cid, cid_text, codec};
use peerage_identity::Multiaddr;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Most provider hints in a link that is printed. Four: a link has to fit
/// into a chat message, and the first that answers is enough.
pub const HINTS_WRITTEN_MAX: usize = 4;

/// Most provider hints that are read; more are ignored. Sixteen: each may
/// cost a dial, and links come from strangers.
pub const HINTS_READ_MAX: usize = 16;

/// Longest link that is read, in bytes. 16 KiB: a path of 4,096 bytes, three
/// times as long when encoded, and the hints.
pub const LINK_MAX: usize = 16 * 1024;

/// What stays as it is in a name or path component: RFC 3986's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What stays as it is in a multiaddr.
const ADDRESS: &AsciiSet = &COMPONENT.remove(b'/').remove(b':');

/// Content to fetch, and where it may be found.
///
/// `Display` gives the `ipfs://` form with the CID as version 1 in base32 and
/// at most [`HINTS_WRITTEN_MAX`] hints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The root.
    pub cid: Cid,
    /// The path below the root, one entry a component; each can be the name of an entry.
    pub path: Vec<String>,
    /// What the maker calls it: safe to use as a file name.
    pub name: Option<String>,
    /// Why the link's name was left out of `name`; then the destination must be given.
    pub name_problem: Option<NameProblem>,
    /// Addresses of peers that have it.
    pub providers: Vec<Multiaddr>,
    /// Whether others than the hinted peers may be asked for it (`find=no`: they may not).
    pub find: bool,
}

/// Why the name in a link is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// It cannot be one component of a path.
    #[error(transparent)]
    Unsafe(#[from] NameError),
    /// It would be hidden.
    #[error("a name that starts with a dot")]
    LeadingDot,
}

/// What is wrong with a link. Text of the link in the messages is escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Nothing there.
    #[error("the link is empty")]
    Empty,
    /// More than [`LINK_MAX`] bytes.
    #[error("the link is longer than {LINK_MAX} bytes")]
    TooLong,
    /// Another scheme, or something that names no content by hash.
    #[error("`{}` is no link: it must be ipfs://CID.., a CID, CID/path or /ipfs/CID/path", name::escape(.0))]
    NotALink(String),
    /// The CID cannot be read.
    #[error("`{}` is not a CID: {}", name::escape(.text), reason(.source))]
    Cid {
        /// What stood there.
        text: String,
        /// Why it is none.
        source: cid_text::CidError,
    },
    /// The CID names a key.
    #[error("the CID is the name of a peer or of an IPNS record, not of content")]
    Key,
    /// Nobody could verify the data.
    #[error("the CID cannot be verified: {0}")]
    Hash(NotOnWire),
    /// A component of the path can be no entry of a folder.
    #[error("the path in the link has {problem}: `{}`", name::escape(.component))]
    Path {
        /// The component.
        component: String,
        /// What is wrong with it.
        problem: NameError,
    },
    /// Percent-encoding that is not UTF-8.
    #[error("`{}` in the link is not UTF-8 when decoded", name::escape(.0))]
    NotUtf8(String),
    /// A `provider=` that is no multiaddr.
    #[error("the provider `{}` in the link is no multiaddr: {reason}", name::escape(.text))]
    Provider {
        /// What stood there.
        text: String,
        /// What the parser said.
        reason: String,
    },
    /// A `find=` other than `yes` or `no`.
    #[error("find=`{}` in the link is neither yes nor no", name::escape(.0))]
    Find(String),
}

/// What is wrong with a CID, after it was said that it is none.
fn reason(error: &cid_text::CidError) -> String {
    let text = error.to_string();
    text.strip_prefix("not a CID: ").map_or_else(|| text.clone(), str::to_owned)
}

impl Link {
    /// A link to a root, with no name and no hints, that may be looked for anywhere.
    #[must_use]
    pub const fn new(cid: Cid) -> Self {
        Self { cid, path: Vec::new(), name: None, name_problem: None, providers: Vec::new(), find: true }
    }

    /// Takes `text` as the name if it is safe, else notes why not.
    pub fn set_name(&mut self, text: &str) {
        match check_name(text) {
            Ok(()) => {
                self.name = Some(text.to_owned());
                self.name_problem = None;
            }
            Err(problem) => {
                self.name = None;
                self.name_problem = Some(problem);
            }
        }
    }

    /// The name for a destination that the user did not name: the link's,
    /// else the path's last component, else the CID.
    ///
    /// # Errors
    /// The link's name, or that component, is not safe: the user has to choose.
    pub fn default_name(&self) -> Result<String, NameProblem> {
        if let Some(problem) = self.name_problem {
            return Err(problem);
        }
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        match self.path.last() {
            Some(last) => check_name(last).map(|()| last.clone()),
            None => Ok(self.cid.to_string()),
        }
    }

    /// The form for other tools: `/ipfs/CID/path`.
    #[must_use]
    pub fn ipfs_path(&self) -> String {
        let mut out = format!("/ipfs/{}", self.cid);
        for component in &self.path {
            out.push('/');
            out.push_str(component);
        }
        out
    }

    /// `path?query` after the CID of the form with the scheme.
    fn read_encoded(&mut self, rest: &str) -> Result<(), LinkError> {
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        for component in path.split('/').filter(|component| !component.is_empty()) {
            self.push_component(&decode(component)?)?;
        }
        let mut named = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                // The first name counts: what follows may have been added on the way.
                "name" if !named => {
                    named = true;
                    self.set_name(&decode(value)?);
                }
                "provider" if self.providers.len() < HINTS_READ_MAX => {
                    let text = decode(value)?;
                    match text.parse() {
                        Ok(address) => self.providers.push(address),
                        Err(error) => {
                            let reason = name::escape(&format!("{error}"));
                            return Err(LinkError::Provider { text, reason });
                        }
                    }
                }
                // Not read leniently: a wrong guess would tell strangers what is wanted.
                "find" => match value {
                    "no" => self.find = false,
                    "yes" => {}
                    other => return Err(LinkError::Find(other.to_owned())),
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn push_component(&mut self, component: &str) -> Result<(), LinkError> {
        match name::check_entry(component) {
            Ok(component) => {
                self.path.push(component.to_owned());
                Ok(())
            }
            Err(problem) => Err(LinkError::Path { component: component.to_owned(), problem }),
        }
    }
}

/// Whether a name that came in a link may become a file without being asked for.
fn check_name(text: &str) -> Result<(), NameProblem> {
    name::check(text)?;
    if text.starts_with('.') { Err(NameProblem::LeadingDot) } else { Ok(()) }
}

fn decode(text: &str) -> Result<String, LinkError> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| LinkError::NotUtf8(text.to_owned()))
}

fn parse_cid(text: &str) -> Result<Cid, LinkError> {
    let cid = cid_text::parse(text).map_err(|source| LinkError::Cid { text: cut(text), source })?;
    if cid.codec() == codec::LIBP2P_KEY {
        return Err(LinkError::Key);
    }
    match hash::wire_allowed(&cid) {
        // An identity CID brings its data along; nobody is asked for it.
        Ok(()) | Err(NotOnWire::Identity) => Ok(cid),
        Err(problem) => Err(LinkError::Hash(problem)),
    }
}

/// What an error repeats of a text: its first 80 characters.
fn cut(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}

/// What follows `scheme` in `text`, its case aside.
fn strip_scheme<'a>(text: &'a str, scheme: &str) -> Option<&'a str> {
    let head = text.get(..scheme.len())?;
    head.eq_ignore_ascii_case(scheme).then(|| &text[scheme.len()..])
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LinkError::Empty);
        }
        if text.len() > LINK_MAX {
            return Err(LinkError::TooLong);
        }
        if let Some(rest) = strip_scheme(text, "ipfs://") {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let mut link = Self::new(parse_cid(&rest[..end])?);
            link.read_encoded(&rest[end..])?;
            return Ok(link);
        }
        if text.contains("://") || text.starts_with("/ipns/") {
            return Err(LinkError::NotALink(cut(text)));
        }
        let rest = text.strip_prefix("/ipfs/").unwrap_or(text);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        if end == 0 {
            return Err(LinkError::NotALink(cut(text)));
        }
        let mut link = Self::new(parse_cid(&rest[..end])?);
        if rest[end..].starts_with('?') {
            // No CID has one, so this is a link that lost its scheme.
            link.read_encoded(&rest[end..])?;
        } else {
            for component in rest[end..].split('/').filter(|component| !component.is_empty()) {
                link.push_component(component)?;
            }
        }
        Ok(link)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ipfs://{}", cid_text::canonical(&self.cid))?;
        for component in &self.path {
            write!(f, "/{}", utf8_percent_encode(component, COMPONENT))?;
        }
        let mut separator = '?';
        let mut pair = |f: &mut fmt::Formatter<'_>, key: &str, value: &str, keep| -> fmt::Result {
            write!(f, "{separator}{key}={}", utf8_percent_encode(value, keep))?;
            separator = '&';
            Ok(())
        };
        if let Some(name) = &self.name {
            pair(f, "name", name, COMPONENT)?;
        }
        for address in self.providers.iter().take(HINTS_WRITTEN_MAX) {
            pair(f, "provider", &address.to_string(), ADDRESS)?;
        }
        if !self.find {
            pair(f, "find", "no", COMPONENT)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const V0: &str = "QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n";
    const V1: &str = "bafybeihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku";
    const ADDR: &str = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN";

    fn parse(text: &str) -> Link {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refuse(text: &str) -> LinkError {
        text.parse::<Link>().expect_err(text)
    }

    #[test]
    fn the_forms_that_people_paste() {
        let plain = Link::new(cid_text::parse(V1).unwrap());
        for text in [V1, &format!("/ipfs/{V1}"), &format!("ipfs://{V1}"), &format!(" IPFS://{V1}/ \n")] {
            assert_eq!(parse(text), plain, "{text}");
        }
        assert_eq!(parse(V0).cid, cid_text::parse(V0).unwrap());
        assert_eq!(parse(V0).to_string(), format!("ipfs://{V1}"));
        assert_eq!(parse(&format!("/ipfs/{V0}/a/b")).ipfs_path(), format!("/ipfs/{V0}/a/b"));
        assert_eq!(parse(&format!("{V1}/a//b c/100%.txt?")).path, ["a", "b c", "100%.txt?"]);
        assert_eq!(parse(&format!("ipfs://{V1}/a%2520b/%C3%A4")).path, ["a%20b", "ä"]);
        assert_eq!(parse(&format!("{V1}?name=x&find=no")).name.as_deref(), Some("x"));
    }

    #[test]
    fn a_link_is_printed_as_designed() {
        let mut link = parse(V1);
        link.set_name("Ünï & co.txt");
        link.providers = vec![ADDR.parse().unwrap()];
        link.find = false;
        let text = link.to_string();
        assert_eq!(text, format!("ipfs://{V1}?name=%C3%9Cn%C3%AF%20%26%20co.txt&provider={ADDR}&find=no"));
        assert_eq!(parse(&text), link);
    }

    #[test]
    fn hints_are_bounded_on_both_sides() {
        let many = format!("&provider={ADDR}").repeat(40);
        let link = parse(&format!("ipfs://{V1}?name=a{many}"));
        assert_eq!(link.providers.len(), HINTS_READ_MAX);
        assert_eq!(link.to_string().matches("provider=").count(), HINTS_WRITTEN_MAX);
    }

    #[test]
    fn an_unsafe_name_is_left_out_with_the_reason() {
        for (name, problem) in [
            ("..", NameProblem::Unsafe(NameError::Dots)),
            ("", NameProblem::Unsafe(NameError::Empty)),
            ("a%2Fb", NameProblem::Unsafe(NameError::Separator)),
            ("%2Fetc%2Fpasswd", NameProblem::Unsafe(NameError::Separator)),
            ("a%00", NameProblem::Unsafe(NameError::Control)),
            ("%1b[2J", NameProblem::Unsafe(NameError::Control)),
            (".bashrc", NameProblem::LeadingDot),
        ] {
            let link = parse(&format!("ipfs://{V1}?name={name}&name=second"));
            assert_eq!((link.name.as_ref(), link.name_problem), (None, Some(problem)), "{name}");
            assert_eq!(link.default_name(), Err(problem));
        }
    }

    #[test]
    fn the_default_name() {
        assert_eq!(parse(V0).default_name().as_deref(), Ok(V0));
        assert_eq!(parse(&format!("{V1}/a/b")).default_name().as_deref(), Ok("b"));
        assert_eq!(parse(&format!("ipfs://{V1}/a/b?name=c")).default_name().as_deref(), Ok("c"));
        assert_eq!(parse(&format!("{V1}/.git")).default_name(), Err(NameProblem::LeadingDot));
        let backslash = parse(&format!("{V1}/a\\b"));
        assert_eq!(backslash.default_name().is_ok(), !std::path::is_separator('\\'));
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert_eq!(refuse(" "), LinkError::Empty);
        assert_eq!(refuse(&"a".repeat(LINK_MAX + 1)), LinkError::TooLong);
        assert!(matches!(refuse("hello"), LinkError::Cid { .. }));
        assert!(matches!(refuse(&V1[..40]), LinkError::Cid { .. }));
        assert!(matches!(refuse("https://example.com/x"), LinkError::NotALink(_)));
        assert!(matches!(refuse("/ipns/example.com"), LinkError::NotALink(_)));
        assert!(matches!(refuse("/home/me/file"), LinkError::NotALink(_)));
        for path in ["..", "a/../../b", "."] {
            let error = refuse(&format!("{V1}/{path}"));
            assert!(matches!(error, LinkError::Path { problem: NameError::Dots, .. }), "{path}: {error}");
        }
        assert!(matches!(refuse(&format!("ipfs://{V1}/%2e%2e/a")), LinkError::Path { .. }));
        assert!(matches!(refuse(&format!("ipfs://{V1}/a%2fb")), LinkError::Path { .. }));
        assert!(matches!(refuse(&format!("ipfs://{V1}/%ff")), LinkError::NotUtf8(_)));
        assert!(matches!(refuse(&format!("ipfs://{V1}?provider=nonsense")), LinkError::Provider { .. }));
        assert!(matches!(refuse(&format!("ipfs://{V1}?find=maybe")), LinkError::Find(_)));
        let with_escape = refuse("\u{1b}[2Jx").to_string();
        assert!(!with_escape.contains('\u{1b}'), "{with_escape:?}");
    }

    #[test]
    fn codecs_and_hashes_that_hold_no_files() {
        let hash = *cid_text::parse(V1).unwrap().hash();
        let with_codec = |code| Cid::new_v1(code, hash).to_string();
        for codec in [codec::DAG_CBOR, codec::DAG_JSON, 0x78] {
            assert_eq!(with_codec(codec).parse::<Link>().unwrap().cid.codec(), codec, "a block of any kind");
        }
        assert_eq!(refuse(&with_codec(codec::LIBP2P_KEY)), LinkError::Key);
        // SHA3-256: well formed, but nobody here can compute it.
        let mut bytes = vec![1, 0x55, 0x16, 32];
        bytes.extend([7; 32]);
        let unknown = cid_text::from_bytes(&bytes).unwrap().to_string();
        assert!(matches!(refuse(&unknown), LinkError::Hash(NotOnWire::Unsupported(_))));
        let inline = cid_text::from_bytes(&[1, 0x55, 0, 2, b'h', b'i']).unwrap().to_string();
        assert_eq!(parse(&inline).cid.codec(), codec::RAW);
    }

    fn entry_name() -> impl Strategy<Value = String> {
        any::<String>().prop_filter("an entry", |text| name::check_entry(text).is_ok())
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_back(
            path in prop::collection::vec(entry_name(), 0..4),
            name in prop::option::of(any::<String>()),
            hints in 0..=HINTS_WRITTEN_MAX,
            find in any::<bool>(),
        ) {
            let mut link = Link::new(cid_text::parse(V1).unwrap());
            link.path = path;
            if let Some(name) = name {
                link.set_name(&name);
                link.name_problem = None;
            }
            link.providers = vec![ADDR.parse().unwrap(); hints];
            link.find = find;
            let text = link.to_string();
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-._~:/?&=%".contains(c);
            prop_assert!(text.chars().all(allowed), "{}", text);
            prop_assert_eq!(text.parse::<Link>().unwrap(), link);
        }

        #[test]
        fn nothing_panics_and_nothing_unsafe_comes_out(text in any::<String>(), tail in any::<String>()) {
            for text in [text.clone(), format!("ipfs://{V1}/{text}?name={tail}"), format!("{V1}{text}")] {
                if let Ok(link) = text.parse::<Link>() {
                    if let Some(name) = &link.name {
                        prop_assert!(name::check(name).is_ok() && !name.starts_with('.'));
                    }
                    for component in &link.path {
                        prop_assert!(name::check_entry(component).is_ok());
                    }
                }
            }
        }
    }
}
