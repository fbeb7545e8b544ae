//! The result of `check` as text.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, Write};

use hookgate_core::Problem;
use hookgate_core::internal::{duration_text, size_text};
use hookgate_gate::BootFence;

use super::facts::{self, Line};
use crate::cli::terminal::fill;
use crate::config::{Config, HistoryConfig, Inputs, InspectorConfig, Permission, RouteConfig};
use crate::counted::counted;

/// The columns of a label and the space after it.
const LABEL: usize = 11;

/// The number of names that a warning of many sources lists.
const MAX_NAMES: usize = 3;

/// How the page is written.
pub(super) struct Page {
    /// The longest line. `None`: lines are not wrapped, so that a program can read them.
    limit: Option<usize>,
    inputs: Inputs,
}

impl Page {
    pub(super) fn new(limit: Option<usize>, inputs: Inputs) -> Self {
        Self { limit, inputs }
    }

    /// Writes the description and the warnings. The last line says that the configuration is valid,
    /// if it `passes`.
    pub(super) fn write(
        &self,
        config: &Config,
        warnings: &[Problem],
        passes: bool,
        out: &mut impl Write,
    ) -> io::Result<()> {
        self.write_listeners(config, out)?;
        self.write_process(config, out)?;
        if let Some(inspector) = &config.inspector {
            self.write_inspector(inspector, out)?;
        }
        for (name, upstream) in &config.upstreams {
            let upstream = upstream.describe();
            self.line("upstream", format_args!("{name}: {upstream}"), out)?;
        }
        for (routes, facts) in self.groups(config) {
            for route in routes {
                self.line("source", facts::route(route), out)?;
            }
            for (label, text) in facts {
                self.write_at(2, label, text, out)?;
            }
        }
        for key in &config.from_environment {
            let text = format_args!("{key}, set by an environment variable");
            self.line("override", text, out)?;
        }
        for warning in grouped(warnings) {
            self.line("warning", warning, out)?;
        }
        if !passes {
            return Ok(());
        }
        let sources = counted(config.routes.len(), "source");
        let upstreams = counted(config.upstreams.len(), "upstream");
        writeln!(out, "configuration ok: {sources}, {upstreams}")
    }

    /// Returns the sources with their facts. Sources with equal facts are one group.
    fn groups<'c>(&self, config: &'c Config) -> Vec<(Vec<&'c RouteConfig>, Vec<Line>)> {
        let mut groups: Vec<Vec<&RouteConfig>> = Vec::new();
        let mut known: HashMap<Vec<Line>, usize> = HashMap::new();
        for route in &config.routes {
            let facts = facts::of_source(config, route, self.inputs);
            let group = *known.entry(facts).or_insert(groups.len());
            match groups.get_mut(group) {
                Some(routes) => routes.push(route),
                None => groups.push(vec![route]),
            }
        }
        let mut facts: Vec<_> = known.into_iter().collect();
        facts.sort_by_key(|(_, group)| *group);
        let facts = facts.into_iter().map(|(facts, _)| facts);
        groups.into_iter().zip(facts).collect()
    }

    fn line(&self, label: &str, value: impl Display, out: &mut impl Write) -> io::Result<()> {
        self.write_at(0, label, value, out)
    }

    /// Writes a label and its value, `indent` columns from the left.
    fn write_at(
        &self,
        indent: usize,
        label: &str,
        value: impl Display,
        out: &mut impl Write,
    ) -> io::Result<()> {
        let first = format!("{:indent$}{label:<LABEL$}", "");
        let text = fill(&value.to_string(), &first, indent + LABEL, self.limit);
        writeln!(out, "{text}")
    }

    fn write_listeners(&self, config: &Config, out: &mut impl Write) -> io::Result<()> {
        let protocols = if config.h2c {
            "HTTP/1.1 and HTTP/2 without TLS"
        } else {
            "HTTP/1.1 without TLS"
        };
        for address in &config.listen {
            self.line("listen", format_args!("{address}, {protocols}"), out)?;
        }
        for listener in &config.tls {
            let (address, tls) = (listener.listen, listener.tls.describe());
            self.line("listen", format_args!("{address}, {tls}"), out)?;
        }
        if !config.proxy_protocol.is_empty() {
            let networks: Vec<String> = config
                .proxy_protocol
                .iter()
                .map(ToString::to_string)
                .collect();
            let networks = networks.join(", ");
            let text = format_args!("only {networks}, with the PROXY protocol");
            self.line("accept", text, out)?;
        }
        if let Some(trusted) = &config.trusted_proxies {
            self.line("trust", trusted, out)?;
        }
        self.line("admin", config.admin, out)
    }

    fn write_process(&self, config: &Config, out: &mut impl Write) -> io::Result<()> {
        let longest = duration_text(config.longest_delivery());
        let text = format_args!("takes at most {longest} after SIGTERM");
        self.line("shutdown", text, out)?;
        self.line("access log", &config.access_log, out)?;
        let limits = &config.limits;
        let (connections, head_timeout) = (limits.connections, duration_text(limits.head_timeout));
        let text =
            format_args!("at most {connections} connections, request head within {head_timeout}");
        self.line("limits", text, out)?;
        let fence = match config.replay.boot_fence {
            BootFence::On => "; after a start, deliveries that were signed earlier get 503",
            BootFence::Off => "",
        };
        let store = config.replay.store.describe();
        self.line("replay", format_args!("{store}{fence}"), out)?;
        match &config.queue {
            None => Ok(()),
            Some(queue) => self.line("queue", queue.describe(), out),
        }
    }

    /// Writes who may use the inspector, and where it keeps records and captures.
    fn write_inspector(&self, inspector: &InspectorConfig, out: &mut impl Write) -> io::Result<()> {
        let InspectorConfig {
            access,
            storage,
            capture,
        } = inspector;
        for token in &access.tokens {
            let may = match token.may {
                Permission::Read => "may read",
                Permission::Act => "may read and act",
            };
            self.line("token", format_args!("{} {may}", token.name), out)?;
        }
        if !access.hosts.is_empty() {
            self.line("hosts", access.hosts.join(", "), out)?;
        }
        let keep = storage.keep;
        let history = match &storage.history {
            Some(HistoryConfig { path, keep_for }) => {
                let (path, keep_for) = (path.display(), duration_text(*keep_for));
                format!("at most {keep} in memory, and for {keep_for} at {path}")
            }
            None => format!("at most {keep}, in memory"),
        };
        self.line("records", history, out)?;
        let bytes = size_text(capture.max_bytes as u64);
        let keep_for = duration_text(capture.keep_for);
        let folder = match &storage.capture_dir {
            Some(folder) => format!("in memory and at {}", folder.display()),
            None => "in memory".to_owned(),
        };
        let text = format_args!("at most {bytes}, for {keep_for}, {folder}");
        self.line("captures", text, out)
    }
}

/// Returns one text for each warning. Sources with the same warning share a text.
fn grouped(warnings: &[Problem]) -> Vec<String> {
    let mut groups: Vec<(&str, &str, Vec<&str>)> = Vec::new();
    let mut known: HashMap<(&str, &str), usize> = HashMap::new();
    for warning in warnings {
        let (source, key) = match warning.at.strip_prefix("source ") {
            Some(at) => at.split_once(": ").unwrap_or((at, "")),
            None => ("", warning.at.as_str()),
        };
        let group = *known.entry((key, &warning.message)).or_insert(groups.len());
        match groups.get_mut(group) {
            Some((_, _, sources)) => sources.push(source),
            None => groups.push((key, &warning.message, vec![source])),
        }
    }
    let text = |(key, message, sources): (&str, &str, Vec<&str>)| {
        let place = match &sources[..] {
            [""] => key.to_owned(),
            [source] => format!("source {source}: {key}"),
            sources if sources.len() <= MAX_NAMES => {
                format!("sources {}: {key}", sources.join(", "))
            }
            sources => {
                let (named, more) = (sources[..MAX_NAMES].join(", "), sources.len() - MAX_NAMES);
                format!("sources {named} and {more} more: {key}")
            }
        };
        format!("{place}: {message}")
    };
    groups.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_with_the_same_warning_share_a_line() {
        let warning = |at: &str, message: &str| Problem {
            at: at.to_owned(),
            message: message.to_owned(),
        };
        let warnings = [
            warning("source a: queue", "lost"),
            warning("server.admin", "open"),
            warning("source b: queue", "lost"),
            warning("source b: body", "lost"),
            warning("source c: queue", "lost"),
            warning("source d: queue", "lost"),
            warning("source e: queue", "lost"),
        ];
        let expected = [
            "sources a, b, c and 2 more: queue: lost",
            "server.admin: open",
            "source b: body: lost",
        ];
        assert_eq!(grouped(&warnings), expected);
    }
}
