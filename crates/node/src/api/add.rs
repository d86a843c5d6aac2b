//! What `add` is asked, and how its flags come together to the parameters that
//! decide CIDs. Where they imply each other they do it as in Kubo.

use peerage_content::profile::{Layout, ProfileError};
use peerage_content::{Chunker, Version, hash};
use peerage_peer::Ignored;
use serde::{Deserialize, Serialize};

use super::{Failure, Handle, PathText};

/// Bytes that `--inline` inlines where `--inline-limit` does not say: Kubo's default.
pub(crate) const INLINE_LIMIT: u32 = 32;

/// `add`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Add {
    /// None where stdin is added.
    pub(crate) paths: Vec<PathText>,
    #[serde(default)]
    pub(crate) stdin: Option<Stdin>,
    /// What the command has at its stdin.
    #[serde(skip)]
    pub(crate) input: Option<Handle>,
    /// An owner ended that had begun with it.
    #[serde(default)]
    pub(crate) again: bool,
    pub(crate) copy: bool,
    pub(crate) only_hash: bool,
    pub(crate) hidden: bool,
    /// The pins' name.
    pub(crate) name: Option<String>,
    #[serde(default)]
    pub(crate) parameters: Parameters,
    #[serde(default)]
    pub(crate) preserve_mode: bool,
    #[serde(default)]
    pub(crate) preserve_mtime: bool,
    /// Lines as of a `.gitignore`.
    #[serde(default)]
    pub(crate) ignore: Vec<String>,
    #[serde(default)]
    pub(crate) dereference_args: bool,
    /// Only the last root's CID is printed for people.
    #[serde(default)]
    pub(crate) quieter: bool,
}

/// What comes from stdin, as one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stdin {
    pub(crate) name: Option<String>,
}

/// Which CIDs `add` makes (IPIP-0499). Each parameter of a profile stands until a flag says
/// otherwise, as in a Kubo whose configuration has the profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
pub(crate) enum Profile {
    /// CIDv1, raw leaves, 1 MiB chunks, 1,024 links a node
    #[default]
    #[serde(rename = "unixfs-v1-2025")]
    #[value(name = "unixfs-v1-2025")]
    V1,
    /// CIDv0, dag-pb leaves, 256 KiB chunks, 174 links a node: Kubo's old default
    #[serde(rename = "unixfs-v0-2015")]
    #[value(name = "unixfs-v0-2015")]
    V0,
}

/// What decides the CIDs of the same content. What is `None` is as the profile has it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Parameters {
    pub(crate) profile: Profile,
    pub(crate) chunker: Option<String>,
    pub(crate) raw_leaves: Option<bool>,
    pub(crate) cid_version: Option<u8>,
    pub(crate) hash: Option<String>,
    pub(crate) max_links: Option<u32>,
    pub(crate) trickle: bool,
    pub(crate) hamt_threshold: Option<u32>,
    pub(crate) hamt_fanout: Option<u32>,
    /// Bytes of a block that its CID holds.
    pub(crate) inline: Option<u32>,
}

impl Add {
    /// The parameters for the files.
    pub(crate) fn profile(&self) -> Result<peerage_content::Profile, Failure> {
        let mut profile = self.parameters.profile()?;
        if self.preserve_mode || self.preserve_mtime {
            // A raw leaf has no place for either, and Kubo then makes none at all.
            if self.parameters.raw_leaves == Some(true) {
                return Err(Failure::usage(
                    "--raw-leaves does not go with --preserve-mode and --preserve-mtime: raw leaves keep neither",
                ));
            }
            profile.raw_leaves = false;
        }
        Ok(profile)
    }
}

impl Add {
    /// What is left out.
    pub(crate) fn ignored(&self) -> Result<Ignored, Failure> {
        let lines = self.ignore.iter().map(String::as_str);
        Ignored::new(lines).map_err(|error| Failure::usage(format!("--ignore: {error}")))
    }
}

impl Parameters {
    fn profile(&self) -> Result<peerage_content::Profile, Failure> {
        let mut profile = match self.profile {
            Profile::V1 => peerage_content::Profile::UNIXFS_V1_2025,
            Profile::V0 => peerage_content::Profile::UNIXFS_V0_2015,
        };
        if let Some(chunker) = &self.chunker {
            let chunker = chunker.parse::<Chunker>();
            profile.chunker = chunker.map_err(|error| Failure::usage(format!("--chunker: {error}")))?;
        }
        if let Some(name) = &self.hash {
            let hash = name.parse::<hash::Algorithm>();
            profile.hash = hash.map_err(|error| Failure::usage(format!("--hash: {error}")))?;
        }
        let other_hash = profile.hash.code() != hash::SHA2_256;
        match self.cid_version {
            Some(0) if other_hash => {
                return Err(Failure::usage("--cid-version 0 has SHA2-256 only; leave out --hash"));
            }
            Some(0) => profile.cid_version = Version::V0,
            Some(_) => profile.cid_version = Version::V1,
            None if other_hash => profile.cid_version = Version::V1,
            None => {}
        }
        profile.raw_leaves = self.raw_leaves.unwrap_or(profile.raw_leaves);
        if let Some(links) = self.max_links {
            profile.max_links = links as usize;
        }
        if self.trickle {
            profile.layout = Layout::Trickle;
        }
        if let Some(bytes) = self.hamt_threshold {
            profile.shard_above = bytes as usize;
        }
        if let Some(fanout) = self.hamt_fanout {
            profile.hamt_fanout = fanout;
        }
        profile.inline_max = self.inline.unwrap_or(0) as usize;
        // A request need not come from our own command line.
        profile.check().map_err(|error| Failure::usage(format!("{}: {error}", flag(&error))))?;
        Ok(profile)
    }
}

/// What sets the parameter that is wrong.
fn flag(error: &ProfileError) -> &'static str {
    match error {
        ProfileError::Chunker(_) => "--chunker",
        ProfileError::Links(_) => "--max-links",
        ProfileError::NodeSize(_) => "--max-links with --inline-limit",
        ProfileError::Fanout(_) => "--hamt-fanout",
        ProfileError::Inline(_) => "--inline-limit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(change: impl FnOnce(&mut Parameters)) -> peerage_content::Profile {
        let mut parameters = Parameters::default();
        change(&mut parameters);
        parameters.profile().unwrap()
    }

    #[test]
    fn flags_imply_each_other_as_in_kubo() {
        let v0 = |parameters: &mut Parameters| parameters.profile = Profile::V0;
        let old = profile(v0);
        assert_eq!((old.cid_version, old.raw_leaves), (Version::V0, false));
        let asked = profile(|p| {
            v0(p);
            p.cid_version = Some(1);
        });
        // The profile says that leaves are not raw, and goes on saying so.
        assert_eq!((asked.cid_version, asked.raw_leaves, asked.max_links), (Version::V1, false, 174));
        let hashed = profile(|p| {
            v0(p);
            p.hash = Some("blake3".into());
        });
        assert_eq!((hashed.cid_version, hashed.raw_leaves), (Version::V1, false));
        let both = profile(|p| {
            v0(p);
            (p.cid_version, p.raw_leaves) = (Some(1), Some(true));
        });
        assert_eq!((both.cid_version, both.raw_leaves), (Version::V1, true));
        // Raw leaves alone change no version.
        let raw = profile(|p| {
            v0(p);
            p.raw_leaves = Some(true);
        });
        assert_eq!((raw.cid_version, raw.raw_leaves), (Version::V0, true));
        // Version 0 of the new profile keeps its raw leaves.
        let back = profile(|p| p.cid_version = Some(0));
        assert_eq!((back.cid_version, back.raw_leaves), (Version::V0, true));
        let parameters =
            Parameters { hash: Some("sha2-512".into()), cid_version: Some(0), ..Parameters::default() };
        assert!(parameters.profile().is_err());
        let wrong = Parameters { chunker: Some("size-0".into()), ..Parameters::default() };
        assert!(wrong.profile().is_err());
    }

    /// The command line refuses these itself; a client of the owner may send them.
    #[test]
    fn parameters_that_make_nothing_to_read_are_refused() {
        let refused = |change: fn(&mut Parameters), flag: &str| {
            let mut parameters = Parameters::default();
            change(&mut parameters);
            let failure = parameters.profile().unwrap_err();
            assert!(failure.message.starts_with(flag), "{}", failure.message);
        };
        refused(|p| p.hamt_fanout = Some(0), "--hamt-fanout: ");
        refused(|p| p.hamt_fanout = Some(1), "--hamt-fanout: ");
        refused(|p| p.hamt_fanout = Some(12), "--hamt-fanout: ");
        refused(|p| p.hamt_fanout = Some(2048), "--hamt-fanout: ");
        refused(|p| p.max_links = Some(1), "--max-links: ");
        refused(|p| p.max_links = Some(70_000), "--max-links: ");
        refused(|p| p.inline = Some(129), "--inline-limit: ");
        refused(|p| (p.inline, p.max_links) = (Some(128), Some(16_384)), "--max-links with --inline-limit: ");
    }

    #[test]
    fn what_keeps_a_time_has_no_raw_leaves() {
        let mut add = Add {
            paths: Vec::new(),
            stdin: None,
            input: None,
            again: false,
            quieter: false,
            copy: false,
            only_hash: true,
            hidden: false,
            name: None,
            parameters: Parameters::default(),
            preserve_mode: false,
            preserve_mtime: true,
            ignore: Vec::new(),
            dereference_args: false,
        };
        assert!(!add.profile().unwrap().raw_leaves);
        add.parameters.raw_leaves = Some(true);
        assert!(add.profile().is_err());
    }
}
