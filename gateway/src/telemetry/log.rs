//! The diagnostic log on standard error.
//!
//! `HOOKGATE_LOG` sets its level, or levels by target.

use std::error::Error;
use std::fmt;

use tracing_appender::non_blocking::{NonBlocking, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, ParseError};

use super::access_log::Format;

/// The environment variable with the filter.
const VARIABLE: &str = "HOOKGATE_LOG";
/// Hides messages of pingora that are of no use to operators.
const QUIET: &str = "pingora_core=warn,pingora_core::server::transfer_fd=off";

/// The value of `HOOKGATE_LOG` is not a filter.
#[derive(Debug)]
enum FilterError {
    UnknownLevel(String),
    Directive(ParseError),
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownLevel(text) => write!(f, "{VARIABLE}: {text:?} is not a level")?,
            Self::Directive(_) => write!(f, "{VARIABLE} is not a filter")?,
        }
        f.write_str(
            "; expected error, warn, info, debug, trace or off, or levels by target such as \
             \"info,hookgate=debug\"",
        )
    }
}

impl Error for FilterError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::UnknownLevel(_) => None,
            Self::Directive(error) => Some(error),
        }
    }
}

/// Starts the log on standard error. A thread of its own writes the lines.
///
/// Returns the writer, which the access log shares if it goes to standard error too, and a
/// guard that writes the remaining lines when it is dropped.
///
/// A slow or missing reader never delays a delivery: lines that cannot be written are dropped.
///
/// # Errors
///
/// Returns an error if `HOOKGATE_LOG` is not a valid filter, or if a log was started before.
pub(crate) fn start(
    format: Format,
) -> Result<(NonBlocking, WorkerGuard), Box<dyn Error + Send + Sync>> {
    let filter = match std::env::var(VARIABLE) {
        Ok(text) if !text.trim().is_empty() => parse_filter(&text)?,
        _ => EnvFilter::new(format!("info,{QUIET}")),
    };
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer.clone())
        // By default, an error of the log is printed to standard error. That output has failed.
        .log_internal_errors(false);
    match format {
        Format::Text => log.with_target(false).try_init(),
        Format::Json => log.json().try_init(),
    }?;
    Ok((writer, guard))
}

/// Parses a filter.
///
/// `EnvFilter` takes a misspelled level for a target: it would log everything from that target
/// and nothing else, so a typo would silence the log. This function refuses it.
fn parse_filter(text: &str) -> Result<EnvFilter, FilterError> {
    let directives: Vec<&str> = text
        .split(',')
        .map(str::trim)
        .filter(|directive| !directive.is_empty())
        .collect();
    let mut is_below_warn = false;
    for directive in directives.iter().filter(|text| !text.contains(['=', '['])) {
        let Ok(level) = directive.parse::<LevelFilter>() else {
            return Err(FilterError::UnknownLevel((*directive).to_owned()));
        };
        is_below_warn |= level < LevelFilter::WARN;
    }
    let text = directives.join(",");
    let text = match is_below_warn {
        true => text,
        false => format!("{QUIET},{text}"),
    };
    EnvFilter::try_new(text).map_err(FilterError::Directive)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_parsed_and_pingora_stays_quiet() {
        for (text, expected) in [
            ("off", "off"),
            ("error", "error"),
            (
                "debug",
                "pingora_core::server::transfer_fd=off,pingora_core=warn,debug",
            ),
            (
                "info, pingora_core=debug",
                "pingora_core::server::transfer_fd=off,pingora_core=debug,info",
            ),
        ] {
            assert_eq!(parse_filter(text).unwrap().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_misspelled_level_is_refused() {
        for text in ["debgu", "info,hookgat", "inof"] {
            assert!(
                matches!(parse_filter(text), Err(FilterError::UnknownLevel(_))),
                "{text}"
            );
        }
    }
}
