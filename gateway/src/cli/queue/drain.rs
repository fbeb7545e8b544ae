//! `hookgate queue drain`: makes all deliveries due now, and waits until none is left.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::act::act_on_selection;
use super::entry::{List, Source};
use super::selection::Selection;
use crate::cli::Error;
use crate::cli::api::{Api, Connection, read};
use crate::cli::terminal::{printable, printable_json};

/// How often the numbers of the queue are read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// How often deliveries that failed meanwhile become due again.
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// Makes all deliveries due now, and waits until none waits or is in flight. Use it before you move
/// or remove a queue; first stop the senders, or move them to another gateway. The token needs
/// may = "act"
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    /// Only the deliveries of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,

    /// How long to wait, such as 90s or 10m
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    timeout: Duration,

    /// Succeed although dead letters are left
    #[arg(long)]
    ignore_dead: bool,
}

/// The deliveries that are left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) waiting: u64,
    pub(super) in_flight: u64,
    pub(super) dead: u64,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let left = options.drain(&api).await?;
    let drained = left.undelivered() == 0 && (left.dead == 0 || options.ignore_dead);
    let mut out = io::stdout().lock();
    if options.connection.json {
        let value = json!({
            "drained": drained,
            "waiting": left.waiting,
            "in_flight": left.in_flight,
            "dead": left.dead,
        });
        writeln!(out, "{}", printable_json(&value))?;
    } else {
        writeln!(out, "{}", options.conclusion(left))?;
    }
    Ok(match drained {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Options {
    /// Waits until no delivery is left, or until the timeout. Returns the deliveries that are left.
    async fn drain(&self, api: &Api) -> Result<Left, Error> {
        let waiting = Selection {
            source: self.source.clone(),
            state: Some("waiting".to_owned()),
            ..Selection::default()
        };
        let deadline = Instant::now() + self.timeout;
        let mut retry_at = Instant::now();
        let mut shown = None;
        loop {
            let left = self.left(api).await?;
            if left.undelivered() == 0 || Instant::now() >= deadline {
                return Ok(left);
            }
            if !self.connection.json && shown.replace(left) != Some(left) {
                writeln!(io::stderr(), "{left}")?;
            }
            // While deliveries are in flight, others follow without help.
            if left.in_flight == 0 && Instant::now() >= retry_at {
                act_on_selection(api, "/api/queue/retry", waiting.body()).await?;
                retry_at = Instant::now() + RETRY_INTERVAL;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Reads the numbers of the queue.
    async fn left(&self, api: &Api) -> Result<Left, Error> {
        let list: List = read(api.get("/api/queue?limit=1").await?)?;
        let is_selected = |one: &&Source| {
            self.source
                .as_ref()
                .is_none_or(|name| one.source.raw() == name)
        };
        let mut left = Left::default();
        for source in list.stats.sources.iter().filter(is_selected) {
            if source.orphaned && source.waiting > 0 {
                return Err(Error::new(format!(
                    "the source {} is not configured, so nothing sends its {} deliveries; add \
                     the source, or drop them with `hookgate queue drop --source {} --yes`",
                    source.source, source.waiting, source.source
                )));
            }
            left.waiting += source.waiting;
            left.in_flight += source.in_flight;
            left.dead += source.dead;
        }
        Ok(left)
    }

    /// Returns the result for the user, with the next step.
    fn conclusion(&self, left: Left) -> String {
        let of = match &self.source {
            Some(source) => format!(" of source {}", printable(source)),
            None => String::new(),
        };
        match (left.undelivered(), left.dead) {
            (0, 0) => format!("no delivery{of} is left"),
            (0, dead) => format!(
                "no delivery{of} waits; {dead} dead letters are left: retry or drop them, or use \
                 --ignore-dead"
            ),
            _ => format!("timed out{of}: {left}; does the upstream accept deliveries?"),
        }
    }
}

impl Left {
    /// Returns the number of deliveries that are to be delivered.
    fn undelivered(self) -> u64 {
        self.waiting + self.in_flight
    }
}

impl std::fmt::Display for Left {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            waiting,
            in_flight,
            dead,
        } = self;
        write!(f, "{waiting} waiting, {in_flight} in flight, {dead} dead")
    }
}
