//! The command line: one file for each command, and the options that several commands share.

mod api;
mod capture;
mod captured_request;
mod check;
mod client;
mod completions;
mod conform;
mod demo;
mod events;
mod fetched_keys;
mod human;
mod identify;
mod man;
mod providers;
mod queue;
mod reload;
mod run;
mod send;
mod sign;
mod signing;
mod terminal;
mod trust;
mod verify;

use std::fmt::{self, Display};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Parser, Subcommand};
use hookgate_core::internal::ErrorChain;
use hookgate_core::{Problems, UnixTime};
use hookgate_gate::Clock;
use serde_json::json;

use self::terminal::{error_limit, fill_lines, printable_json, printable_lines};
use crate::config::{Config, Inputs, load_watched, schema};
use crate::counted::counted;
use crate::run::reload::ConfigSource;

/// The exit code for an invalid configuration: `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// The consequence of an invalid configuration for the commands that start the gateway.
const NOT_STARTED: &str = "; nothing was started";

/// The consequence of an invalid configuration for the command `reload`.
const NOT_RELOADED: &str = "; the gateway still runs the previous configuration";

/// The exit code for wrong options, which clap uses as well.
const EXIT_USAGE: u8 = 2;

/// The width of the help on a wider terminal, and where there is no terminal.
const MAX_WIDTH: usize = 80;

#[cfg(feature = "otel")]
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("HOOKGATE_BUILT_COMMIT"),
    ", features: otel)"
);
#[cfg(not(feature = "otel"))]
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (commit ",
    env!("HOOKGATE_BUILT_COMMIT"),
    ", features: none)"
);

/// Verifies webhook deliveries, refuses forged ones and replays, forwards the rest
#[derive(Debug, Parser)]
#[command(
    name = "hookgate",
    version = VERSION,
    arg_required_else_help = true,
    max_term_width = MAX_WIDTH
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the gateway
    Run(run::Options),
    /// Check a configuration and describe the gateway that it would start
    Check(check::Options),
    /// Check a configuration and let the running gateway read it
    Reload(reload::Options),
    /// Print a JSON Schema of the configuration, for editors
    Schema,
    /// Run good and bad deliveries through a local gateway
    Demo(demo::Options),
    /// List or search the providers of the catalogue, or describe one
    Providers(providers::Options),
    /// Sign a delivery from standard input and print its headers
    #[command(
        long_about = "Sign a delivery from standard input. Print the signed headers, or the whole \
                      request where the address or the body carries the signature. `verify` \
                      reads both"
    )]
    Sign(sign::Options),
    /// Verify a captured delivery, and explain why it fails with --explain
    Verify(verify::Options),
    /// Find the providers whose scheme fits a captured delivery
    Identify(identify::Options),
    /// Sign a delivery, or a captured one anew, and send it
    Send(send::Options),
    /// Test any receiver with genuine, forged, repeated and late deliveries
    #[command(
        long_about = "Test any receiver: send genuine, forged, repeated and late deliveries, and \
                      compare each response with that of a safe receiver. The exit code is 1 if \
                      a row fails"
    )]
    Conform(conform::Options),
    /// List, show, resend and forget the deliveries of a running gateway
    Events(events::Options),
    /// List, show, retry and drop the deliveries of the queue
    Queue(queue::Options),
    /// Print the completions of a shell
    Completions(completions::Options),
    /// Print the manual page of hookgate or of a command
    Man(man::Options),
}

/// Runs the command line of the process.
pub(crate) fn main(clock: Arc<dyn Clock>) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    let outcome = Cli::try_parse()
        .map_err(|error| Error::usage(error, wants_json))
        .and_then(|cli| cli.command.run(clock));
    outcome.unwrap_or_else(|error| {
        let shown = match wants_json {
            _ if error.quiet => Ok(()),
            true => {
                let object = json!({ "error": error.message });
                writeln!(io::stdout(), "{}", printable_json(&object))
            }
            // The message may quote a capture or a server.
            false => {
                let message = printable_lines(&error.message);
                let message = fill_lines(&format!("hookgate: {message}"), error_limit());
                writeln!(io::stderr(), "{message}")
            }
        };
        // There is no other output for this error.
        let _: io::Result<()> = shown;
        error.exit
    })
}

impl Command {
    fn run(self, clock: Arc<dyn Clock>) -> Result<ExitCode, Error> {
        match self {
            Self::Run(options) => run::run(&options, clock),
            Self::Check(options) => check::run(&options),
            Self::Reload(options) => reload::run(&options),
            Self::Schema => print_schema(),
            Self::Demo(options) => demo::run(&options, &*clock),
            Self::Providers(options) => providers::run(&options),
            Self::Sign(options) => sign::run(&options, &*clock),
            Self::Verify(options) => verify::run(&options, &*clock),
            Self::Identify(options) => identify::run(&options),
            Self::Send(options) => send::run(&options, &*clock),
            Self::Conform(options) => conform::run(&options, &*clock),
            Self::Events(options) => events::run(&options, &*clock),
            Self::Queue(options) => queue::run(&options),
            Self::Completions(options) => completions::run(&options),
            Self::Man(options) => man::run(&options),
        }
    }
}

fn print_schema() -> Result<ExitCode, Error> {
    writeln!(io::stdout(), "{:#}", schema())?;
    Ok(ExitCode::SUCCESS)
}

/// The error of a command, with its exit code.
#[derive(Debug)]
struct Error {
    message: String,
    exit: ExitCode,
    /// Whether the error is not printed.
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

    /// Creates an error whose message has all causes of `error`.
    fn with_causes(error: impl std::error::Error + 'static) -> Self {
        Self::new(ErrorChain(&error))
    }

    /// Creates the error for an invalid configuration. `consequence` follows the number of
    /// mistakes.
    fn config(path: &Path, problems: &Problems, consequence: &str) -> Self {
        let mistakes = counted(problems.iter().count(), "mistake");
        let mut message = format!("{}: {mistakes}{consequence}", path.display());
        for problem in problems.iter() {
            message.push_str(&format!("\n  {problem}"));
        }
        Self {
            message,
            exit: ExitCode::from(EXIT_CONFIG),
            quiet: false,
        }
    }

    /// Creates the error for wrong options. Without `--json`, clap prints its own message, and
    /// the process ends.
    fn usage(error: clap::Error, wants_json: bool) -> Self {
        if !wants_json || !error.use_stderr() {
            error.exit();
        }
        let text = error.to_string();
        // A blank line separates the message from the usage and the tips.
        let message = text.split("\n\n").next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(message);
        let words: Vec<&str> = message.split_whitespace().collect();
        Self {
            message: words.join(" "),
            exit: ExitCode::from(EXIT_USAGE),
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
        // The reader of the output has closed it, as `head` does. That is not a failure.
        let is_closed = error.kind() == io::ErrorKind::BrokenPipe;
        Self {
            message: error.to_string(),
            exit: if is_closed {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            },
            quiet: is_closed,
        }
    }
}

/// The option that names the configuration file.
#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file; `-` is standard input
    #[arg(short, long = "config", value_name = "FILE")]
    config: PathBuf,
}

impl ConfigFile {
    /// Reads the file. The inner error has its mistakes.
    fn read(&self, inputs: Inputs) -> Result<Result<Config, Problems>, Error> {
        let text = read_text(&self.config)?;
        Ok(Config::read(&text, &self.config, inputs))
    }

    /// Reads the file of a gateway that runs. `consequence` follows the
    /// number of mistakes in an invalid file.
    fn load_running(&self, consequence: &str) -> Result<(PathBuf, Config), Error> {
        let path = self.config.canonicalize();
        let path = path.map_err(|error| {
            let path = self.config.display();
            Error::new(format!(
                "cannot read {path}: {error}; expected the file of the gateway"
            ))
        })?;
        let config = load_watched(&self.config).1;
        let config = config.map_err(|problems| Error::config(&path, &problems, consequence))?;
        Ok((path, config))
    }

    fn load_watched(&self) -> Result<(Config, ConfigSource), Error> {
        let (config, source) = if self.config.as_os_str() == "-" {
            let config = Config::parse(&io::read_to_string(io::stdin())?);
            (config, ConfigSource::StandardInput)
        } else {
            let path = self.config.clone();
            let (watched, config) = load_watched(&path);
            (config, ConfigSource::File { path, watched })
        };
        match config {
            Ok(config) => Ok((config, source)),
            Err(problems) => Err(Error::config(&self.config, &problems, NOT_STARTED)),
        }
    }
}

/// Reads a text file; `-` is standard input.
fn read_text(path: &Path) -> Result<String, Error> {
    let text = match path.as_os_str() == "-" {
        true => io::read_to_string(io::stdin()),
        false => std::fs::read_to_string(path),
    };
    text.map_err(|error| {
        let path = path.display();
        Error {
            exit: ExitCode::from(EXIT_CONFIG),
            ..Error::new(format!("cannot read {path}: {error}"))
        }
    })
}

fn parse_time(text: &str) -> Result<UnixTime, String> {
    hookgate_diagnose::parse_time(text).ok_or_else(|| {
        "expected seconds (up to 11 digits) or milliseconds (12 to 14 digits) since the Unix \
         epoch, or a time in RFC 3339, such as 2026-07-16T07:40:00Z"
            .to_owned()
    })
}
