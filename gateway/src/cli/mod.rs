//! The command line.

mod capture;
mod check;
mod client;
mod demo;
mod explain;
mod identify;
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
use hookgate_core::Problems;
use hookgate_core::{
    BuildError, Provider, Scheme, Secret, Signer, UndocumentedProvider, UnixTime, Verifier,
    VerifierBuilder,
};
use hookgate_gate::Clock;
use http::{Method, Uri};

use crate::config::{Config, SecretRef, load_watched, schema};
use crate::run::reload::ConfigSource;

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
    /// Print a JSON Schema of the configuration, for editors
    Schema,
    /// Show every verdict on deliveries of the first providers, on free local ports
    Demo(demo::Options),
    /// List the providers of the catalogue, or show one in full
    Providers(providers::Options),
    /// Print what a signed delivery has; the body comes from standard input
    #[command(
        long_about = "Print what a signed delivery has: its headers, and where the scheme \
                            signs in the address or in the body, those too, as an HTTP request. \
                            The body comes from standard input"
    )]
    Sign(sign::Options),
    /// Check a captured delivery
    Verify(verify::Options),
    /// Find the scheme of a captured delivery
    Identify(identify::Options),
    /// Sign a delivery and send it
    Send(send::Options),
}

pub(crate) fn main(clock: Arc<dyn Clock>) -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Run(options) => run::run(&options, clock),
        Command::Check(options) => check::run(&options),
        Command::Schema => print_schema(),
        Command::Demo(options) => demo::run(&options, &*clock),
        Command::Providers(options) => providers::run(&options),
        Command::Sign(options) => sign::run(&options, &*clock),
        Command::Verify(options) => verify::run(&options, &*clock),
        Command::Identify(options) => identify::run(&options),
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

fn print_schema() -> Result<ExitCode, Error> {
    writeln!(io::stdout(), "{:#}", schema())?;
    Ok(ExitCode::SUCCESS)
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
        Ok(self.load_watched()?.0)
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
            Err(problems) => Err(Error::config(&self.config, &problems)),
        }
    }
}

/// Whose delivery it is.
#[derive(Clone, Debug, Args)]
struct SigningOptions {
    /// The provider, by its name in the catalogue
    #[arg(long, value_parser = parse_provider)]
    provider: Provider,

    /// Where the secret is: `env:NAME` or `file:PATH`; to sign for providers with
    /// public keys, the private key
    #[arg(long, value_name = "SECRET")]
    secret: String,

    /// The address at which the provider calls, with its query
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// What the scheme needs besides; may be given more than once
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    params: Vec<(String, String)>,

    /// Only this variant of the scheme
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// The method
    #[arg(long, default_value = "POST")]
    method: Method,
}

impl SigningOptions {
    /// Not read by clap, whose message would repeat what was written.
    fn secret(&self) -> Result<Secret, Error> {
        SecretRef::parse(&self.secret)
            .ok_or_else(|| format!("expected {}", SecretRef::EXPECTED))
            .and_then(|reference| reference.read())
            .map_err(|message| Error::new(format!("--secret: {message}")))
    }

    /// The target of a request for the address.
    fn target(&self) -> Result<Uri, Error> {
        let Some(url) = &self.url else {
            return Ok(Uri::from_static("/"));
        };
        target(url).ok_or_else(|| Error::new("--url: expected an http:// or https:// address"))
    }

    fn signer(&self) -> Result<Signer, Error> {
        let mut builder = Signer::builder(self.provider.scheme(), &self.secret()?);
        if let Some(url) = &self.url {
            builder = builder.url(url);
        }
        for (name, value) in &self.params {
            builder = builder.param(name.as_str(), value.as_str());
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        builder.build().map_err(build_error)
    }

    /// Starts a verifier of `scheme`, the provider's or another, with `secret`.
    fn verifier(&self, scheme: &Scheme, secret: Secret) -> VerifierBuilder {
        let mut builder = Verifier::builder(scheme)
            // A captured delivery of a test is checked like any other.
            .with_insecure_published_secrets()
            .key(secret);
        if let Some(url) = &self.url {
            builder = builder.url(url);
        }
        for (name, value) in &self.params {
            builder = builder.param(name.as_str(), value.as_str());
        }
        if let Some(variant) = &self.variant {
            builder = builder.variant(variant);
        }
        builder
    }
}

/// The target of a request for the address `url`.
fn target(url: &str) -> Option<Uri> {
    let target = url.parse::<Uri>().ok()?.into_parts().path_and_query;
    Some(target.map_or_else(|| Uri::from_static("/"), Uri::from))
}

/// A mistake in the words of the command line.
fn build_error(error: BuildError) -> Error {
    let option = match error {
        BuildError::UrlMissing | BuildError::UrlMalformed | BuildError::UrlWithoutPath => "--url",
        BuildError::ParamMissing { .. } | BuildError::ParamUnknown { .. } => "--param",
        BuildError::VariantUnknown { .. } => "--variant",
        _ => "--secret",
    };
    Error::new(format!("{option}: {error}"))
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

fn parse_provider(name: &str) -> Result<Provider, String> {
    Provider::named(name).ok_or_else(|| match UndocumentedProvider::named(name) {
        Some(unpublished) => {
            format!(
                "{} does not say how it signs. {}",
                unpublished.title(),
                unpublished.notes()
            )
        }
        None => "not in the catalogue; `hookgate providers` lists it".to_owned(),
    })
}

fn parse_time(text: &str) -> Result<UnixTime, String> {
    // What a verifier takes: 1 to 11 digits.
    text.parse()
        .ok()
        .filter(|seconds| (0..100_000_000_000).contains(seconds))
        .map(UnixTime::from_secs)
        .ok_or_else(|| "expected seconds since the Unix epoch, such as 1784187600".to_owned())
}
