//! Warnings about the machine and about the environment of the process.

use hookgate_core::Problem;

use crate::config::Config;

/// The descriptors that the gateway needs besides those of connections: listeners, logs, stores,
/// and the runtime.
const OTHER_DESCRIPTORS: u64 = 256;

/// Returns a warning for each fault outside of the configuration file.
pub(crate) fn warnings(config: &Config) -> Vec<Problem> {
    let warnings = [
        open_files(config.limits.connections, most_open_files()),
        unused_traces(
            std::env::vars_os().filter_map(|(name, _)| name.into_string().ok()),
            cfg!(feature = "otel"),
        ),
    ];
    warnings.into_iter().flatten().collect()
}

/// Raises the limit of open files of this process as far as the system allows. A gateway that a
/// shell starts often has a limit of 1024, which the shell may raise.
#[cfg(unix)]
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files to its maximum");
    }
}

#[cfg(not(unix))]
pub(crate) fn raise_open_files() {}

/// Returns the highest limit of open files that the process can set. `None` is no limit.
#[cfg(unix)]
fn most_open_files() -> Option<u64> {
    use rustix::process::{Resource, getrlimit};

    getrlimit(Resource::Nofile).maximum
}

#[cfg(not(unix))]
fn most_open_files() -> Option<u64> {
    None
}

/// Returns the warning for a limit that is below the need of `connections` connections. Each
/// connection of a sender can need another one to the upstream.
fn open_files(connections: usize, limit: Option<u64>) -> Option<Problem> {
    let limit = limit?;
    let needed = (connections as u64)
        .saturating_mul(2)
        .saturating_add(OTHER_DESCRIPTORS);
    (limit < needed).then(|| {
        let fitting = limit.saturating_sub(OTHER_DESCRIPTORS) / 2;
        Problem {
            at: "limits.connections".to_owned(),
            message: format!(
                "{connections} connections need up to {needed} open files, but this process may \
                 open {limit}. Expected `ulimit -n {needed}`, LimitNOFILE={needed} in the unit, or \
                 at most {fitting} connections"
            ),
        }
    })
}

/// Returns the warning for variables of OpenTelemetry that this binary does not read.
fn unused_traces(names: impl Iterator<Item = String>, has_feature: bool) -> Option<Problem> {
    let mut names: Vec<String> = names.filter(|name| name.starts_with("OTEL_")).collect();
    names.sort();
    let unused = !has_feature && !names.is_empty();
    unused.then(|| Problem {
        at: names.join(", "),
        message: "no effect, because this binary was built without the feature `otel`; expected a \
                  build with `--features otel`, or no such variable"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_limit_of_open_files_is_a_warning() {
        assert_eq!(open_files(10_000, None), None);
        assert_eq!(open_files(10_000, Some(20_256)), None);
        let warning = open_files(10_000, Some(1_024)).unwrap().to_string();
        assert!(warning.contains("may open 1024"), "{warning}");
        assert!(warning.contains("at most 384 connections"), "{warning}");
        assert!(open_files(usize::MAX, Some(64)).is_some());
    }

    #[test]
    fn variables_of_a_missing_feature_are_a_warning() {
        let names = || ["OTEL_B", "PATH", "OTEL_A"].map(str::to_owned).into_iter();
        assert_eq!(unused_traces(names(), true), None);
        assert_eq!(
            unused_traces(std::iter::once("PATH".to_owned()), false),
            None
        );
        let warning = unused_traces(names(), false).unwrap();
        assert_eq!(warning.at, "OTEL_A, OTEL_B");
    }
}
