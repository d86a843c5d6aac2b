//! The command line: exactly the commands and flags that work
//! (README, the commands). Turning them into a request is `request.rs`.

mod add;
mod car;
mod commands;
mod rates;
mod request;
pub(crate) mod values;

use std::path::PathBuf;

use clap::{Args, Command as ClapCommand, CommandFactory as _, FromArgMatches as _, Parser};

pub(crate) use commands::Command;
pub(crate) use request::{Action, Terminal, link_from_input};

use crate::api::{Dht, Hours, Network, Rate, RateFlags};

/// Share files and folders directly between peers.
#[derive(Debug, Parser)]
#[command(
    name = "peerage",
    version,
    about = "Share files and folders directly between peers, encrypted and verified",
    after_help = "Examples:\n  peerage share holiday.mp4          serve it until Ctrl-C, print a link\n  \
                  peerage get \"ipfs://bafy..\"        fetch it (keep the double quotes)\n  \
                  peerage up                         keep serving pins and kept shares",
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command, before or after its name.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Globals {
    /// Repository folder [default: the platform's data folder] (or set PEERAGE_PATH)
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) repo: Option<PathBuf>,

    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Log to stderr; twice for more (or set PEERAGE_LOG)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(flatten)]
    pub(crate) network: NetworkFlags,
}

/// How the peer meets others.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub(crate) struct NetworkFlags {
    /// Address to listen on, repeatable [default: all, on this repository's port]
    #[arg(long, global = true, value_name = "MADDR", value_parser = values::multiaddr)]
    listen: Vec<String>,

    /// Peer to begin with, repeatable, or `none` (or set PEERAGE_BOOTSTRAP); beside it, those that
    /// an earlier run knew [default: the public network's, or none if every --listen is of loopback]
    #[arg(long, global = true, value_name = "MADDR|none", value_parser = values::bootstrap, value_delimiter = ',')]
    bootstrap: Option<Vec<String>>,

    /// Part in the DHTs, where peers and content are found [default: auto]
    #[arg(long, global = true, value_name = "MODE", value_enum)]
    dht: Option<Dht>,

    /// Use private and loopback addresses in the public DHT's protocol, too: for tests
    #[arg(long, global = true)]
    dht_private_addresses: bool,

    /// HTTP router (/routing/v1) to ask for peers as well, repeatable
    #[arg(long = "router", global = true, value_name = "URL", value_parser = values::router)]
    routers: Vec<String>,

    /// Stay silent on the local network (or set PEERAGE_MDNS=off)
    #[arg(long, global = true)]
    no_mdns: bool,

    /// What the repository may take, as 10GB or 1TiB (or set PEERAGE_MAX_STORE): what is over it is
    /// refused, after a collection [default: the disk]
    #[arg(
        long,
        global = true,
        value_name = "SIZE",
        value_parser = values::size,
        env = "PEERAGE_MAX_STORE",
        hide_env = true,
        help_heading = "Repository"
    )]
    max_store: Option<u64>,

    /// Send at most so much of blocks, as 4MB/s, 500kB/s, 2MiB/s or none
    #[arg(long, global = true, value_name = "RATE", value_parser = rates::rate)]
    max_up: Option<Rate>,

    /// Receive at most so much of blocks
    #[arg(long, global = true, value_name = "RATE", value_parser = rates::rate)]
    max_down: Option<Rate>,

    /// Send at most so much to each peer
    #[arg(long, global = true, value_name = "RATE", value_parser = rates::rate)]
    max_up_per_peer: Option<Rate>,

    /// Receive at most so much from each peer
    #[arg(long, global = true, value_name = "RATE", value_parser = rates::rate)]
    max_down_per_peer: Option<Rate>,

    /// Other rates at some hours of the day, as '22:00-06:00 up=none down=8MB/s', repeatable; local
    /// time, and of several the later one counts
    #[arg(long, global = true, value_name = "HOURS", value_parser = rates::hours)]
    schedule: Vec<Hours>,

    /// Keep at most so many connections
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_peers: Option<u64>,

    /// Use about so much memory, as 64MiB: less is read ahead and kept under way
    #[arg(long, global = true, value_name = "SIZE", value_parser = values::memory)]
    max_memory: Option<u64>,

    /// Answer /perf/1.0.0, which lets others measure this peer's speed
    #[arg(long, global = true)]
    perf: bool,
}

impl NetworkFlags {
    /// The flags alone. The environment is asked where they say nothing, by
    /// the process that opens the repository.
    pub(crate) fn into_network(self) -> Network {
        Network {
            listen: self.listen,
            bootstrap: self.bootstrap.map(values::without_none),
            dht: self.dht,
            dht_private_addresses: self.dht_private_addresses,
            routers: self.routers,
            no_mdns: self.no_mdns,
            perf: self.perf,
            max_store: self.max_store,
            rates: RateFlags {
                up: self.max_up,
                down: self.max_down,
                up_per_peer: self.max_up_per_peer,
                down_per_peer: self.max_down_per_peer,
            },
            schedule: self.schedule,
            max_peers: self.max_peers,
            max_memory: self.max_memory,
        }
    }
}

/// Commands that reach nobody, and for which nobody reaches us. How the peer would meet
/// others is in their long help only.
const WITHOUT_NETWORK: [&[&str]; 12] = [
    &["shares"],
    &["shares", "ls"],
    &["shares", "rm"],
    &["add"],
    &["car", "import"],
    &["car", "inspect"],
    &["car", "verify"],
    &["pin", "rm"],
    &["pin", "ls"],
    &["verify"],
    &["version"],
    &["completions"],
];

/// Reads the command line of this process.
pub(crate) fn parse() -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

fn command() -> ClapCommand {
    let mut command = Cli::command();
    // Only then each command has the flags of every command.
    command.build();
    WITHOUT_NETWORK.iter().fold(command, |command, path| without_network(command, path))
}

fn without_network(command: ClapCommand, path: &[&str]) -> ClapCommand {
    match path {
        [] => command.mut_args(|arg| match arg.get_help_heading() {
            Some("Network") => arg.hide_short_help(true),
            _ => arg,
        }),
        [first, rest @ ..] => command.mut_subcommand(first, |command| without_network(command, rest)),
    }
}

/// Names the repository, unless `--repo` does.
const REPOSITORY: &str = "PEERAGE_PATH";

/// The repository: the flag, else [`REPOSITORY`] unless that is empty, else
/// the platform's data folder.
pub(crate) fn repository(flag: Option<PathBuf>) -> Result<PathBuf, crate::api::Failure> {
    use etcetera::BaseStrategy as _;
    let variable = || std::env::var_os(REPOSITORY).filter(|value| !value.is_empty()).map(PathBuf::from);
    let path = match flag.or_else(variable) {
        Some(path) => path,
        None => match etcetera::choose_base_strategy() {
            Ok(base) => base.data_dir().join("peerage"),
            Err(_) => {
                return Err(crate::api::Failure::usage(
                    "no home folder to keep the repository in: name one with --repo DIR",
                ));
            }
        },
    };
    request::absolute(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn exactly_the_commands_that_work() {
        let names: Vec<String> =
            Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert_eq!(
            names,
            [
                "share",
                "get",
                "shares",
                "add",
                "ls",
                "stat",
                "cat",
                "car",
                "up",
                "id",
                "ping",
                "connect",
                "peers",
                "find",
                "find-peer",
                "provide",
                "status",
                "limit",
                "pin",
                "verify",
                "gc",
                "version",
                "completions"
            ]
        );
    }

    #[test]
    fn globals_stand_before_or_after_the_command() {
        for line in [
            ["peerage", "--json", "--repo", "/r", "--listen", "/ip4/127.0.0.1/tcp/0", "up"],
            ["peerage", "up", "--json", "--repo", "/r", "--listen", "/ip4/127.0.0.1/tcp/0"],
            ["peerage", "--repo", "/r", "up", "--listen", "/ip4/127.0.0.1/tcp/0", "--json"],
        ] {
            let cli = Cli::try_parse_from(line).unwrap();
            assert!(cli.globals.json);
            assert_eq!(cli.globals.repo, Some("/r".into()));
            assert_eq!(cli.globals.network.into_network().listen, ["/ip4/127.0.0.1/tcp/0"]);
        }
    }

    #[test]
    fn bootstrap_none_means_nobody() {
        let cli = Cli::try_parse_from(["peerage", "up", "--bootstrap", "none", "--no-mdns"]).unwrap();
        let network = Network { bootstrap: Some(vec![]), no_mdns: true, ..Network::default() };
        assert_eq!(cli.globals.network.into_network(), network);
        assert!(Cli::try_parse_from(["peerage", "up", "--bootstrap", "nobody"]).is_err());
        assert!(Cli::try_parse_from(["peerage", "up", "--listen", "localhost:1"]).is_err());
    }

    #[test]
    fn several_peers_to_begin_with() {
        let both = Some(vec!["/ip4/192.0.2.1/tcp/1".to_owned(), "/ip4/192.0.2.2/tcp/2".to_owned()]);
        for line in [
            &["peerage", "up", "--bootstrap", "/ip4/192.0.2.1/tcp/1,/ip4/192.0.2.2/tcp/2"][..],
            &["peerage", "--bootstrap=/ip4/192.0.2.1/tcp/1", "--bootstrap=/ip4/192.0.2.2/tcp/2", "up"],
        ] {
            let network = Cli::try_parse_from(line).unwrap().globals.network.into_network();
            assert_eq!(network.bootstrap, both);
        }
    }

    #[test]
    fn how_peers_are_found() {
        let line = [
            "peerage",
            "--dht",
            "client",
            "find",
            "x",
            "--router=http://127.0.0.1:1",
            "--router=https://a.b",
        ];
        let network = Cli::try_parse_from(line).unwrap().globals.network.into_network();
        let routers = vec!["http://127.0.0.1:1".to_owned(), "https://a.b".to_owned()];
        assert_eq!(network, Network { dht: Some(Dht::Client), routers, ..Network::default() });
        // Beside `peers` the flag has another meaning, and the mode comes first.
        for (line, dht) in [
            (&["peerage", "peers", "--dht"][..], None),
            (&["peerage", "--dht", "client", "peers"], Some(Dht::Client)),
            (&["peerage", "--dht", "off", "peers", "--dht"], Some(Dht::Off)),
            (&["peerage", "peers", "--dht", "--dht-mode", "off"], Some(Dht::Off)),
        ] {
            assert_eq!(
                Cli::try_parse_from(line).unwrap().globals.network.into_network().dht,
                dht,
                "{line:?}"
            );
        }
        for wrong in [["--dht", "on"], ["--router", "ftp://a"], ["--router", "a b"]] {
            let line = [&["peerage", "up"][..], &wrong].concat();
            assert!(Cli::try_parse_from(line).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_meets_nobody_has_a_short_help() {
        let help = |line: &[&str]| {
            let error = command().try_get_matches_from(line).unwrap_err();
            error.render().to_string()
        };
        for path in WITHOUT_NETWORK {
            let line = |flag| [&["peerage"][..], path, &[flag]].concat();
            assert!(!help(&line("-h")).contains("--listen"), "{path:?}");
            assert!(help(&line("--help")).contains("--listen"), "{path:?}");
            assert!(help(&line("-h")).contains("--repo"), "{path:?}");
        }
        for path in [&["get"][..], &["car", "export"], &["pin", "add"]] {
            assert!(help(&[&["peerage"], path, &["-h"]].concat()).contains("--listen"), "{path:?}");
        }
        // It is read as without that.
        let matches = command().try_get_matches_from(["peerage", "--json", "verify", "--no-mdns"]).unwrap();
        let cli = Cli::from_arg_matches(&matches).unwrap();
        assert!(cli.globals.json && cli.globals.network.into_network().no_mdns);
    }

    #[test]
    fn flags_of_later_work_are_not_offered() {
        assert!(Cli::try_parse_from(["peerage", "share", "x", "--relay"]).is_err());
    }

    #[test]
    fn limits() {
        let line = [
            "peerage",
            "--max-up=4MB/s",
            "up",
            "--max-down",
            "none",
            "--max-up-per-peer=1MB/s",
            "--max-down-per-peer=2MB/s",
            "--schedule=1:00-2:00 up=none",
            "--schedule",
            "22:00-6:00 down=50kB/s",
            "--max-peers=9",
            "--max-memory=64MiB",
        ];
        let network = Cli::try_parse_from(line).unwrap().globals.network.into_network();
        let rate = |bytes| Some(Rate(bytes));
        let (up, down) = (rate(4_000_000), rate(0));
        let rates = RateFlags { up, down, up_per_peer: rate(1_000_000), down_per_peer: rate(2_000_000) };
        assert_eq!((network.rates, network.schedule.len()), (rates, 2));
        assert_eq!((network.max_peers, network.max_memory), (Some(9), Some(64 << 20)));
        for wrong in ["--max-up=1kB/s", "--schedule=1:00-2:00", "--max-peers=0", "--max-memory=31MiB"] {
            assert!(Cli::try_parse_from(["peerage", "up", wrong]).is_err(), "{wrong}");
        }
    }
}
