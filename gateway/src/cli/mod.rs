//! The command line.

mod check;
mod client;
mod demo;
mod providers;
mod run;
mod send;
mod sign;
mod verify;

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use hookgate_core::document::Problems;
use hookgate_core::{Provider, Secret, UnixTime};
use hookgate_gate::Clock;

use crate::config::{Config, SecretRef};

/// `EX_CONFIG` of sysexits.h: the configuration is wrong.
const EXIT_CONFIG: u8 = 78;

/// Lets only genuine webhook deliveries through, each once.
#[derive(Debug, Parser)]
#[command(name = "hookgate", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve, as the configuration says
    Run(run::Options),
    /// Check the configuration and show what would run
    Check(check::Options),
    /// Show every verdict on deliveries of the first providers, on free local ports
    Demo(demo::Options),
    /// List the providers of the catalogue, or show one in full
    Providers(providers::Options),
    /// Print the headers that a delivery needs; the body comes from standard input
    Sign(sign::Options),
    /// Check a captured delivery
    Verify(verify::Options),
    /// Sign a delivery and send it
    Send(send::Options),
}

pub(crate) fn main(clock: Arc<dyn Clock>) -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => run::run(&options, clock),
        Command::Check(options) => check::run(&options),
        Command::Demo(options) => demo::run(&options, &*clock),
        Command::Providers(options) => providers::run(&options),
        Command::Sign(options) => sign::run(&options, &*clock),
        Command::Verify(options) => verify::run(&options, &*clock),
        Command::Send(options) => send::run(&options, &*clock),
    };
    outcome.unwrap_or_else(|error| {
        if !error.quiet {
            // Nothing is left to tell when standard error is gone.
            let _: io::Result<()> = writeln!(io::stderr(), "hookgate: {error}");
        }
        error.exit
    })
}

/// Why a command could not do its work.
#[derive(Debug)]
struct Error {
    message: String,
    exit: ExitCode,
    quiet: bool,
}

impl Error {
    fn new(message: impl Display) -> Self {
        Self {
            message: message.to_string(),
            exit: ExitCode::FAILURE,
            quiet: false,
        }
    }

    fn config(path: &Path, problems: &Problems) -> Self {
        let count = problems.iter().count();
        let noun = if count == 1 { "problem" } else { "problems" };
        let mut message = format!("{count} {noun} in {}, nothing was started", path.display());
        for problem in problems.iter() {
            message.push_str(&format!("\n  {problem}"));
        }
        Self {
            message,
            exit: ExitCode::from(EXIT_CONFIG),
            quiet: false,
        }
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        // Whoever reads the output has enough of it: that is no failure.
        let enough = error.kind() == io::ErrorKind::BrokenPipe;
        Self {
            message: error.to_string(),
            exit: if enough {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            },
            quiet: enough,
        }
    }
}

/// Where the configuration is.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; `-` reads standard input
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    fn load(&self) -> Result<Config, Error> {
        let config = if self.config.as_os_str() == "-" {
            Config::parse(&io::read_to_string(io::stdin())?)
        } else {
            Config::load(&self.config)
        };
        config.map_err(|problems| Error::config(&self.config, &problems))
    }
}

/// Whose delivery it is.
#[derive(Debug, Args)]
struct Signing {
    /// The provider, by its name in the catalogue
    #[arg(long, value_parser = parse_provider)]
    provider: Provider,

    /// Where the secret is: `env:NAME` or `file:PATH`
    #[arg(long, value_name = "SECRET")]
    secret: String,
}

impl Signing {
    /// Not read by clap, whose message would repeat what was written.
    fn secret(&self) -> Result<Secret, Error> {
        SecretRef::parse(&self.secret)
            .ok_or_else(|| format!("expected {}", SecretRef::EXPECTED))
            .and_then(|reference| reference.read())
            .map_err(|message| Error::new(format!("--secret: {message}")))
    }
}

fn parse_provider(name: &str) -> Result<Provider, String> {
    Provider::named(name)
        .ok_or_else(|| "not in the catalogue; `hookgate providers` lists it".to_owned())
}

fn parse_time(text: &str) -> Result<UnixTime, String> {
    // What a verifier takes: 1 to 11 digits.
    text.parse()
        .ok()
        .filter(|seconds| (0..100_000_000_000).contains(seconds))
        .map(UnixTime::from_secs)
        .ok_or_else(|| "expected seconds since the Unix epoch, such as 1784187600".to_owned())
}
