//! `car`: CAR files in and out.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use peerage_content::name::escape;

use super::commands::TargetArgs;
use super::request::{Action, Terminal, absolute, source};
use crate::api::{
    CarExport, CarFile, CarImport, CarLook, Failure, HANDLES_MAX, Handle, Kind, PathText, Request,
};

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
    /// Exit status 4 if anything is wrong with the data; 1 if it is no CAR at all,
    /// or cannot be read.
    Verify {
        /// The CAR, - for stdin
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

/// Write everything below a CID as a CARv1, fetching what is missing
///
/// Exit status 1 if whoever reads stdout goes away before its end: a CAR that is cut
/// looks like a whole one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  peerage car export bafy.. -o site.car\n  peerage car export bafy.. | ssh \
                        host peerage car import -"
)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// The file to write [default: stdout, as -]
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

/// Put the blocks of CARs into the repository, and then pin their roots
///
/// Each block is verified; what is bad is told and left out, and makes exit status 4,
/// as does a CAR that is cut or damaged. What fails of one file or root is told, and
/// the others go on. A DAG may lie in several CARs.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  peerage car import site.car")]
pub(crate) struct ImportArgs {
    /// CARs of version 1 or 2, - for stdin
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Pin no roots: nothing then keeps the blocks
    #[arg(long, conflicts_with = "name")]
    no_pin: bool,
    /// Name of the pins [default: the one that a pin has]
    #[arg(long, alias = "pin-name")]
    name: Option<String>,
}

impl CarCommand {
    pub(super) fn into_action(self, terminal: &mut Terminal<'_>) -> Result<Action, Failure> {
        let request = match self {
            Self::Export(args) => {
                let output = args.output.filter(|path| path != Path::new("-"));
                if output.is_none() && io::stdout().is_terminal() {
                    return Err(Failure::usage(
                        "a CAR is nothing for a terminal: name a file with -o, or send it into a pipe",
                    ));
                }
                let dest = output.as_deref().map(absolute).transpose()?;
                Request::CarExport(CarExport {
                    source: source(&args.target.link, args.target.source, terminal)?.1,
                    dest: dest.map(PathText),
                    dups: args.dups == YesNo::Y,
                    skip: 0,
                })
            }
            Self::Import(args) => {
                let (mut files, mut inputs) = (Vec::new(), Vec::new());
                for path in &args.files {
                    let (file, input) = car_file(path)?;
                    if file == CarFile::Stdin && files.contains(&file) {
                        return Err(Failure::usage("stdin is given twice"));
                    }
                    files.push(file);
                    inputs.extend(input);
                    if inputs.len() > HANDLES_MAX {
                        let message = format!("more than {HANDLES_MAX} files that are no regular ones");
                        return Err(Failure::usage(message));
                    }
                }
                let (pin, name) = (!args.no_pin, args.name);
                Request::CarImport(CarImport { files, inputs, pin, name, again: false })
            }
            Self::Inspect { file } => return look(&file, false),
            Self::Verify { file } => return look(&file, true),
        };
        Ok(Action::Request(request))
    }
}

fn look(path: &Path, verify: bool) -> Result<Action, Failure> {
    let (file, input) = car_file(path)?;
    Ok(Action::CarLook(CarLook { file, input, verify }))
}

/// A CAR, which is opened now unless it is a regular file: elsewhere the path of
/// a pipe may be another's, as `/dev/fd/3` is.
fn car_file(path: &Path) -> Result<(CarFile, Option<Handle>), Failure> {
    let unusable = |what: &str, error: io::Error| {
        Failure::new(Kind::from(&error), format!("cannot read {what}: {error}"))
    };
    if path == Path::new("-") {
        let stdin = Handle::stdin().map_err(|error| unusable("stdin", error))?;
        return Ok((CarFile::Stdin, Some(stdin)));
    }
    let path = absolute(path)?;
    let opened = Handle::unless_regular(&path);
    let opened = opened.map_err(|error| unusable(&escape(&path.to_string_lossy()), error))?;
    let path = PathText(path);
    Ok((if opened.is_some() { CarFile::Opened(path) } else { CarFile::Path(path) }, opened))
}
