//! `car`: CAR files in and out.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::commands::TargetArgs;
use super::request::{Action, Terminal, absolute, source};
use crate::api::{CarExport, CarFile, CarImport, CarLook, Failure, Handle, PathText, Request};

/// Write content into a CAR file, or read it from one
#[derive(Debug, Subcommand)]
pub(crate) enum CarCommand {
    Export(ExportArgs),
    Import(ImportArgs),
    /// Say what a CAR holds, without verifying it
    Inspect {
        /// The CAR, - for stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Verify each block of a CAR, that nothing is missing, and its index
    ///
    /// Exit status 4 if anything is wrong with the data.
    Verify {
        /// The CAR, - for stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Write everything below a CID as a CARv1, fetching what is missing
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  peerage car export bafy.. -o site.car\n  peerage car export bafy.. | ssh \
                        host peerage car import -"
)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The file to write [default: stdout]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Order of the blocks; `unk` leaves it open
    #[arg(long, value_enum, default_value_t)]
    order: Order,
    /// Write a block that the DAG has more than once as often
    #[arg(long, value_enum, default_value_t)]
    dups: YesNo,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Order {
    /// Depth first, each node before its children
    #[default]
    Dfs,
    /// Any; depth first, too
    Unk,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum YesNo {
    /// Yes
    Y,
    /// No
    #[default]
    N,
}

/// Put the blocks of CARs into the repository, and pin their roots
///
/// Each block is verified; what is bad is told and left out, and makes exit status 4.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  peerage car import site.car")]
pub(crate) struct ImportArgs {
    /// CARs of version 1 or 2, - for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Pin no roots: nothing then keeps the blocks
    #[arg(long, conflicts_with = "name")]
    no_pin: bool,
    /// Name of the pins
    #[arg(long)]
    name: Option<String>,
}

impl CarCommand {
    pub(super) fn into_action(self, terminal: &mut Terminal<'_>) -> Result<Action, Failure> {
        let request = match self {
            Self::Export(args) => {
                if args.output.is_none() && std::io::stdout().is_terminal() {
                    return Err(Failure::usage(
                        "a CAR is nothing for a terminal: name a file with -o, or send it into a pipe",
                    ));
                }
                let dest = args.output.as_deref().map(absolute).transpose()?;
                Request::CarExport(CarExport {
                    source: source(&args.target.link, args.target.source, terminal)?.1,
                    dest: dest.map(PathText),
                    dups: args.dups == YesNo::Y,
                    skip: 0,
                })
            }
            Self::Import(args) => {
                let files = args.files.iter().map(|file| car_file(file)).collect::<Result<Vec<_>, _>>()?;
                let stdin = files.iter().filter(|file| **file == CarFile::Stdin).count();
                if stdin > 1 {
                    return Err(Failure::usage("stdin is given twice"));
                }
                let unusable = |error| Failure::usage(format!("stdin cannot be read: {error}"));
                let input = if stdin == 1 { Some(Handle::stdin().map_err(unusable)?) } else { None };
                let (pin, name) = (!args.no_pin, args.name);
                Request::CarImport(CarImport { files, input, pin, name, again: false })
            }
            Self::Inspect { file } => {
                return Ok(Action::CarLook(CarLook { file: car_file(&file)?, verify: false }));
            }
            Self::Verify { file } => {
                return Ok(Action::CarLook(CarLook { file: car_file(&file)?, verify: true }));
            }
        };
        Ok(Action::Request(request))
    }
}

fn car_file(path: &Path) -> Result<CarFile, Failure> {
    if path == Path::new("-") {
        return Ok(CarFile::Stdin);
    }
    Ok(CarFile::Path(PathText(absolute(path)?)))
}
