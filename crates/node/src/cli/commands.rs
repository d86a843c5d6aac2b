//! The commands and their own flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, Args, Subcommand, value_parser};
use clap_complete::Shell;

use super::add::AddArgs;
use super::car::CarCommand;
use super::values;
use crate::api::{Dht, Provide};

/// The mode of the DHTs as a flag of `peers`, which has another `--dht`: that
/// of every command, by its id.
fn mode_beside_table() -> Arg {
    let arg = Arg::new("dht").long("dht-mode").value_name("MODE").value_parser(value_parser!(Dht));
    arg.help("What --dht MODE is before the command").help_heading("Network")
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Share(ShareArgs),
    Get(GetArgs),
    Shares(SharesArgs),
    Add(AddArgs),
    Ls(LsArgs),
    Stat(StatArgs),
    Cat(CatArgs),
    #[command(subcommand)]
    Car(CarCommand),
    Up(UpArgs),
    /// Print this peer's id and addresses
    Id,
    Ping(PingArgs),
    /// Connect to a peer and say who it is
    Connect {
        /// Its address
        #[arg(value_name = "MADDR", value_parser = values::multiaddr)]
        address: String,
    },
    /// List the peers connected now
    #[command(arg(mode_beside_table()))]
    Peers {
        /// Those in the routing tables of the DHTs instead
        #[arg(id = "table", long = "dht")]
        table: bool,
    },
    Find(FindArgs),
    FindPeer(FindPeerArgs),
    Provide(ProvideArgs),
    /// Say how this peer stands: addresses, connections, DHTs, announcements, store
    Status,
    /// Show the limits of the peer that runs on this repository, or set the rates that are given
    ///
    /// What is set holds at once, also for what is under way, until the peer ends; where its
    /// --schedule says something else, until those hours next begin or end.
    #[command(after_help = "Examples:\n  peerage limit\n  peerage limit --max-up 500kB/s --max-down none")]
    Limit,
    #[command(subcommand)]
    Pin(PinCommand),
    Verify(VerifyArgs),
    /// Give back the disk of blocks that no pin, kept share or unfinished download needs
    ///
    /// Others may read and write meanwhile, and it may be interrupted at any time.
    #[command(after_help = "Examples:\n  peerage gc --dry-run     only say how much that is\n  peerage gc")]
    Gc {
        /// Only say how much that is
        #[arg(long)]
        dry_run: bool,
    },
    /// Print this program's version
    Version,
    /// Print a completion script for a shell
    #[command(
        after_help = "Example:\n  peerage completions bash > ~/.local/share/bash-completion/completions/peerage"
    )]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// Serve files or folders until interrupted, and print the link to them
///
/// Nothing is copied: the files are read where they are. Only who has the link can find them,
/// unless --announce says otherwise.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  peerage share photo.jpg\n  peerage share --once ~/project     end when \
                        one peer has everything\n  peerage share a.txt b.txt          one link for both\n  \
                        peerage share --announce iso/      everybody can find it"
)]
pub(crate) struct ShareArgs {
    /// Files and folders; several become one folder
    #[arg(required = true, value_name = "PATH")]
    pub(super) paths: Vec<PathBuf>,
    /// Put it on the DHT: everybody can find and fetch it
    ///
    /// With --keep, `peerage up` goes on announcing it.
    #[arg(long)]
    pub(super) announce: bool,
    /// Keep it shared: `peerage up` serves it later
    #[arg(long)]
    pub(super) keep: bool,
    /// End when one peer has everything
    ///
    /// Peers say so themselves if they are Peerage; of others it is known once each block
    /// was sent to them. So a share goes on if such a peer had some of its blocks before.
    #[arg(long)]
    pub(super) once: bool,
    /// One link for each path
    #[arg(long)]
    pub(super) separate: bool,
    /// Keep permissions and times
    #[arg(long)]
    pub(super) preserve: bool,
}

/// Fetch what a link names
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  peerage get \"ipfs://bafy..?name=photo.jpg&provider=..\"\n  \
                        peerage get bafy.. -o photo.jpg\n  peerage get bafy../album/1.jpg -o ~/Pictures/   \
                        into that folder\n  peerage get                                     asks for the link")]
pub(crate) struct GetArgs {
    /// The link in double quotes, a CID, CID/path or /ipfs/CID/path [default: read from stdin]
    pub(super) link: Option<String>,
    /// Where it goes; with a slash at the end, the folder to put it in; - prints a file to stdout
    #[arg(short, long, value_name = "DEST")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) source: SourceArgs,
    /// Go on serving it that long (10s, 5m, 2h)
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(super) seed_for: Option<Duration>,
    /// Fetch from the beginning on, for who reads it while it comes
    #[arg(long)]
    pub(super) stream: bool,
    /// Do not serve it later
    #[arg(long)]
    pub(super) no_keep: bool,
    /// Replace what differs at the destination
    #[arg(long)]
    pub(super) overwrite: bool,
    /// Make symlinks that leave the destination, too
    #[arg(long)]
    pub(super) unsafe_symlinks: bool,
}

/// Where to look.
#[derive(Debug, Clone, Args)]
pub(crate) struct SourceArgs {
    /// Peer to ask, repeatable
    #[arg(long, value_name = "MADDR", value_parser = values::multiaddr)]
    pub(super) from: Vec<String>,
    /// Use only what is here
    #[arg(long, conflicts_with = "from")]
    pub(super) offline: bool,
    /// How long to search when nobody has it
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    pub(super) wait: Option<Duration>,
}

/// Read every block back, check it against its hash, and look for what pins and shares need
///
/// Names each place that is wrong, the file or pack that it is in, and what needs the block.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  peerage verify\n  peerage verify --repair --from /ip4/192.0.2.1/tcp/4001\n  \
                  peerage verify --repair ~/archive     your files were moved to somewhere in there"
)]
pub(crate) struct VerifyArgs {
    /// Fetch what is missing from peers; no file of yours is written to
    #[arg(long)]
    pub(super) repair: bool,
    /// Folder to look in for files that were moved or renamed
    #[arg(value_name = "FOLDER", requires = "repair")]
    pub(super) folders: Vec<PathBuf>,
    /// Peer to ask, repeatable
    #[arg(long, value_name = "MADDR", value_parser = values::multiaddr, requires = "repair")]
    pub(super) from: Vec<String>,
    /// How long to search when nobody has it
    #[arg(long, value_name = "DURATION", value_parser = values::duration, requires = "repair")]
    pub(super) wait: Option<Duration>,
}

/// List or end what is kept shared
#[derive(Debug, Args)]
pub(crate) struct SharesArgs {
    #[command(subcommand)]
    pub(super) command: Option<SharesCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SharesCommand {
    /// List every kept root, its path and why it is served
    Ls,
    /// Stop serving (no file is removed)
    Rm {
        /// Path, CID or link
        #[arg(required = true, value_name = "TARGET")]
        targets: Vec<String>,
    },
}

/// List a folder without fetching what is in it
///
/// Entries come in the order in which the folder has them: by name, or by the names' hashes if
/// it is a sharded one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  peerage ls \"ipfs://bafy..?name=album&provider=..\"\n  peerage ls \
                        bafy../2024/summer\n  peerage ls --offline bafy..     asks nobody")]
pub(crate) struct LsArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

/// Say what a link names: type, size, entries
///
/// The dag size is that of all blocks from there down, as the root block says: what Kubo calls
/// the cumulative size.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  peerage stat bafy..\n  peerage stat --json bafy../video.mp4")]
pub(crate) struct StatArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
}

/// Print a file
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  peerage cat bafy../README.md | less\n  peerage cat --offset 1000000 \
                        --length 500 bafy../video.mp4   fetches only what that takes")]
pub(crate) struct CatArgs {
    #[command(flatten)]
    pub(super) target: TargetArgs,
    /// Bytes of the file to skip
    #[arg(short, long, value_name = "BYTES", default_value_t = 0)]
    pub(super) offset: u64,
    /// Most bytes to print
    #[arg(short, long, value_name = "BYTES")]
    pub(super) length: Option<u64>,
}

#[derive(Debug, Args)]
pub(crate) struct TargetArgs {
    /// Link, CID, CID/path or /ipfs/CID/path
    pub(super) link: String,
    #[command(flatten)]
    pub(super) source: SourceArgs,
}

/// Measure the round trip to a peer
#[derive(Debug, Args)]
pub(crate) struct PingArgs {
    /// Its address, or the id of a connected peer
    #[arg(value_name = "PEER")]
    pub(super) target: String,
    /// How many times
    #[arg(short = 'n', long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(super) count: u32,
}

/// Run the peer until interrupted: serve and announce pins and kept shares
///
/// Shares are served to who has their link; only those of `share --announce --keep`, and pins,
/// are announced.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// What to announce to the DHTs
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub(super) provide: Provide,
}

/// Find the peers that have some content
///
/// Asks the DHTs, the routers of --router and the local network, which thereby learn that it is
/// looked for. Exit status 3 if nobody is found.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  peerage find --limit 5 bafy..")]
pub(crate) struct FindArgs {
    /// CID, or a link to the whole of it
    #[arg(value_name = "CID")]
    pub(super) cid: String,
    /// End after so many peers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) limit: Option<u32>,
}

/// Find the addresses of a peer
///
/// Exit status 3 if it is not found.
#[derive(Debug, Args)]
pub(crate) struct FindPeerArgs {
    /// Its id
    #[arg(value_name = "PEERID")]
    pub(super) peer: String,
}

/// Tell the DHTs once that this peer has some content
///
/// They forget it after a day or two. It can be fetched from here while `peerage up` serves it,
/// which announces pins by itself, again and again.
#[derive(Debug, Args)]
pub(crate) struct ProvideArgs {
    /// CID of a block that the repository holds
    #[arg(value_name = "CID")]
    pub(super) cid: String,
}

/// Keep content in the repository
#[derive(Debug, Subcommand)]
pub(crate) enum PinCommand {
    /// Fetch what is missing, and keep it
    Add {
        /// Links or CIDs
        #[arg(required = true, value_name = "LINK")]
        links: Vec<String>,
        /// Name of the pins [default: the one that a pin has, or the link's]
        #[arg(long, alias = "pin-name")]
        name: Option<String>,
        #[command(flatten)]
        source: SourceArgs,
    },
    /// Keep it no longer
    Rm {
        /// CIDs or links; CID/path is the pin of what is there
        #[arg(required = true, value_name = "CID")]
        cids: Vec<String>,
    },
    /// List the pins
    Ls {
        /// Only those of these CIDs or links
        #[arg(value_name = "CID")]
        cids: Vec<String>,
    },
}
