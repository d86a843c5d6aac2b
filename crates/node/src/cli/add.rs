//! `add`, whose flags are every parameter that decides a CID.

use std::path::{Path, PathBuf};

use clap::Args;
use peerage_content::limits::FILE_LINKS_MAX;

use super::request::absolute_all;
use crate::api::{Add, Failure, Handle, INLINE_LIMIT, Kind, Parameters, Profile, Stdin};

/// Import and pin files or folders, and print their CIDs
///
/// The CIDs are those that Kubo gives for the same flags when its configuration has the same
/// profile (`ipfs config profile apply`).
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  peerage add site/\n  peerage add --only-hash photo.jpg\n  peerage add \
                        --profile unixfs-v0-2015 --chunker rabin data/\n  peerage add --ignore '*.o' --ignore \
                        '/target/' project/\n  tar c data/ | peerage add --stdin-name data.tar -")]
pub(crate) struct AddArgs {
    /// Files and folders, or - for stdin, whose data is copied
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// What to call what comes from stdin
    #[arg(long, value_name = "NAME")]
    stdin_name: Option<String>,
    /// Copy the data into the repository, so that the files may change
    #[arg(long)]
    copy: bool,
    /// Only print the CIDs
    #[arg(short_alias = 'n', long, conflicts_with_all = ["copy", "name"])]
    only_hash: bool,
    /// Include hidden entries of folders
    #[arg(short = 'H', long)]
    hidden: bool,
    /// Leave out what matches, as a line of a .gitignore would; repeatable
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<String>,
    /// Read such patterns from a file; those of --ignore come after them
    #[arg(long, value_name = "FILE")]
    ignore_rules_path: Option<PathBuf>,
    /// Follow a PATH that is a symlink, instead of importing it as a symlink
    #[arg(long)]
    dereference_args: bool,
    /// Keep permissions
    #[arg(long)]
    preserve_mode: bool,
    /// Keep times
    #[arg(long)]
    preserve_mtime: bool,
    /// Name of the pins [default: the one that a pin has, or the file's]
    #[arg(long, alias = "pin-name")]
    name: Option<String>,
    /// Print nothing but the CID of the last PATH
    #[arg(short = 'Q', long)]
    quieter: bool,
    /// Folders always are added with what is in them; Kubo's users write -r
    #[arg(short = 'r', long = "recursive", hide = true)]
    _recursive: bool,
    #[command(flatten)]
    cids: CidArgs,
}

/// What decides the CIDs.
#[derive(Debug, Args)]
#[command(next_help_heading = "Which CIDs")]
struct CidArgs {
    /// What all of the following is, unless given
    #[arg(long, value_name = "P", value_enum, default_value_t)]
    profile: Profile,
    /// How files are cut: size-BYTES, rabin, rabin-AVG, rabin-MIN-AVG-MAX, buzhash
    #[arg(short = 's', long)]
    chunker: Option<String>,
    /// Leaves of files without a frame [default: as the profile]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    raw_leaves: Option<bool>,
    /// 0 or 1
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=1))]
    cid_version: Option<u8>,
    /// sha2-256, sha2-512, blake3, blake2b-256, ..; another than sha2-256 makes CIDv1
    #[arg(long, value_name = "NAME")]
    hash: Option<String>,
    /// Most links of a node of a file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=FILE_LINKS_MAX as i64))]
    max_links: Option<u32>,
    /// Lay files out for reading from the start (trickle), not for seeking
    #[arg(short = 't', long)]
    trickle: bool,
    /// Shard folders of more than so many bytes
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=2 << 20))]
    hamt_threshold: Option<u32>,
    /// Buckets of a shard, a power of two
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(8..=1024))]
    hamt_fanout: Option<u32>,
    /// Put small blocks into their CIDs
    #[arg(long)]
    inline: bool,
    /// How small, at most 128 [default: 32]
    #[arg(long, value_name = "BYTES", requires = "inline", value_parser = clap::value_parser!(u32).range(1..=128))]
    inline_limit: Option<u32>,
}

impl AddArgs {
    /// The request, if its parts go together.
    pub(super) fn into_add(self) -> Result<Add, Failure> {
        let cids = self.cids;
        let mut ignore = match &self.ignore_rules_path {
            None => Vec::new(),
            Some(path) => {
                let lines = std::fs::read_to_string(path).map_err(|error| {
                    let path = peerage_content::name::escape(&path.to_string_lossy());
                    Failure::new(Kind::from(&error), format!("cannot read the patterns in {path}: {error}"))
                })?;
                lines.lines().map(str::to_owned).collect()
            }
        };
        ignore.extend(self.ignore);
        let is_stdin = self.paths.iter().any(|path| path == Path::new("-"));
        if is_stdin && self.paths.len() > 1 {
            return Err(Failure::usage("- is stdin, which is added alone; a file of that name is ./-"));
        }
        if let Some(name) = &self.stdin_name {
            if !is_stdin {
                return Err(Failure::usage("--stdin-name is for what comes from stdin: peerage add -"));
            }
            peerage_content::name::check_entry(name)
                .map_err(|problem| Failure::usage(format!("--stdin-name has {problem}")))?;
        }
        let unusable = |error| Failure::usage(format!("stdin cannot be read: {error}"));
        let add = Add {
            paths: if is_stdin { Vec::new() } else { absolute_all(&self.paths)? },
            stdin: is_stdin.then_some(Stdin { name: self.stdin_name }),
            input: if is_stdin { Some(Handle::stdin().map_err(unusable)?) } else { None },
            again: false,
            quieter: self.quieter,
            copy: self.copy,
            only_hash: self.only_hash,
            hidden: self.hidden,
            name: self.name,
            parameters: Parameters {
                profile: cids.profile,
                chunker: cids.chunker,
                raw_leaves: cids.raw_leaves,
                cid_version: cids.cid_version,
                hash: cids.hash,
                max_links: cids.max_links,
                trickle: cids.trickle,
                hamt_threshold: cids.hamt_threshold,
                hamt_fanout: cids.hamt_fanout,
                inline: cids.inline.then(|| cids.inline_limit.unwrap_or(INLINE_LIMIT)),
            },
            preserve_mode: self.preserve_mode,
            preserve_mtime: self.preserve_mtime,
            ignore,
            dereference_args: self.dereference_args,
        };
        add.profile()?;
        add.ignored()?;
        Ok(add)
    }
}
