//! The command line: one file for each command, and the options that several commands share.

mod capture;
mod check;
mod client;
mod demo;
mod explain;
mod fetched_keys;
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
use hookgate_core::internal::ErrorChain;
use hookgate_core::{
    BuildError, Provider, Scheme, Secret, Signer, UndocumentedProvider, UnixTime, Verifier,
    VerifierBuilder,
};
use hookgate_gate::Clock;
use http::{Method, Uri};

use crate::config::{Config, SecretRef, load_watched, schema};
use crate::run::reload::ConfigSource;

/// The exit code for an invalid configuration: `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// Verifies webhook deliveries, refuses forged and replayed ones, and forwards the rest unchanged
#[derive(Debug, Parser)]
#[command(name = "hookgate", version, arg_required_else_help = true)]
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
    /// Print a JSON Schema of the configuration, for editors
    Schema,
    /// Run good and bad deliveries through a local gateway and show the results
    Demo(demo::Options),
    /// List the providers of the catalogue, or describe one
    Providers(providers::Options),
    /// Sign a delivery and print its headers; the body comes from standard input
    #[command(
        long_about = "Sign a delivery and print its headers. The body comes from standard \
                      input. If the scheme adds something to the address or to the body, the \
                      whole HTTP request is printed"
    )]
    Sign(sign::Options),
    /// Verify a captured delivery, and explain why it fails with --explain
    Verify(verify::Options),
    /// Find the providers whose scheme fits a captured delivery
    Identify(identify::Options),
    /// Sign a delivery and send it
    Send(send::Options),
}

/// Runs the command line of the process.
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
            // There is no other output for this error.
            let _: io::Result<()> = writeln!(io::stderr(), "hookgate: {error}");
        }
        error.exit
    })
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

    /// Creates the error for an invalid configuration.
    fn config(path: &Path, problems: &Problems) -> Self {
        let count = problems.iter().count();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        let mut message = format!("{}: {count} {noun}; nothing was started", path.display());
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

/// The options that describe how a delivery is signed.
#[derive(Clone, Debug, Args)]
struct SigningOptions {
    /// The provider; `hookgate providers` lists the names
    #[arg(long, value_parser = parse_provider)]
    provider: Provider,

    /// The secret, as `env:NAME` or `file:PATH`. To sign for a provider with public keys: the
    /// private key
    #[arg(long, value_name = "SECRET")]
    secret: Option<String>,

    /// The public URL that the provider calls, with its query
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// A parameter that the scheme needs; may be repeated
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    params: Vec<(String, String)>,

    /// The variant of the scheme; by default, the delivery selects it
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,

    /// The HTTP method
    #[arg(long, default_value = "POST")]
    method: Method,
}

impl SigningOptions {
    /// Reads the secret. clap does not parse this option, because its message would repeat the
    /// text of the option, which may be the secret itself.
    fn secret(&self) -> Result<Secret, Error> {
        let secret = self.secret.as_deref().unwrap_or_default();
        SecretRef::parse(secret)
            .ok_or_else(|| format!("expected {}", SecretRef::EXPECTED))
            .and_then(|reference| reference.read())
            .map_err(|message| Error::new(format!("--secret: {message}")))
    }

    /// Returns the request target of the URL, or `/` without a URL.
    fn target(&self) -> Result<Uri, Error> {
        let Some(url) = &self.url else {
            return Ok(Uri::from_static("/"));
        };
        target(url)
            .ok_or_else(|| Error::new("--url: expected a URL that starts with http:// or https://"))
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

    /// Returns a builder for a verifier with `scheme` and `secret`.
    fn verifier(&self, scheme: &Scheme, secret: Secret) -> VerifierBuilder {
        // A captured delivery may come from a test with a published secret.
        let builder = Verifier::builder(scheme).with_insecure_published_secrets();
        self.with_settings(builder.key(secret))
    }

    /// Adds the URL, the parameters and the variant to a builder.
    fn with_settings(&self, mut builder: VerifierBuilder) -> VerifierBuilder {
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

/// Returns the request target of `url`: its path and query.
fn target(url: &str) -> Option<Uri> {
    let target = url.parse::<Uri>().ok()?.into_parts().path_and_query;
    Some(target.map_or_else(|| Uri::from_static("/"), Uri::from))
}

/// Names the option that caused `error`.
fn build_error(error: BuildError) -> Error {
    let option = match error {
        BuildError::UrlMissing | BuildError::UrlMalformed | BuildError::UrlWithoutPath => "--url",
        BuildError::ParamMissing { .. } | BuildError::ParamUnknown { .. } => "--param",
        BuildError::VariantUnknown { .. } => "--variant",
        _ => "--secret",
    };
    Error::new(format!("{option}: {}", ErrorChain(&error)))
}

fn parse_param(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

fn parse_provider(name: &str) -> Result<Provider, String> {
    Provider::named(name).ok_or_else(|| match UndocumentedProvider::named(name) {
        Some(provider) => {
            format!(
                "{} does not publish how it signs. {}",
                provider.title(),
                provider.notes()
            )
        }
        None => "not in the catalogue; `hookgate providers` lists the names".to_owned(),
    })
}

fn parse_time(text: &str) -> Result<UnixTime, String> {
    // Timestamps in deliveries have at most 11 digits.
    text.parse()
        .ok()
        .filter(|seconds| (0..100_000_000_000).contains(seconds))
        .map(UnixTime::from_secs)
        .ok_or_else(|| "expected seconds since the Unix epoch, such as 1784187600".to_owned())
}
