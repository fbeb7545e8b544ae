//! `hookgate events tail`: deliveries as they arrive.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::delivery::{Batch, Delivery, List};
use super::query::Filter;
use super::rows::Rows;
use super::sse::Parser;
use crate::cli::Error;
use crate::cli::api::{Api, ApiError, Connection, read};
use crate::cli::client::Reply;
use crate::cli::terminal::printable_json;

/// The time without a byte after which the connection counts as lost. The gateway sends a comment
/// every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// The pause before the first attempt to connect again. Each failure doubles the pause.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// How often the command checks whether its output is still read.
const OUTPUT_CHECK: Duration = Duration::from_secs(1);

/// Prints deliveries as they arrive, until Ctrl-C. After a lost connection it connects again, and
/// continues with the records that it has missed
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    #[command(flatten)]
    filter: Filter,

    /// Earlier deliveries to print first
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value_t = 10,
        value_parser = clap::value_parser!(u64).range(0..=500)
    )]
    lines: u64,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let mut tail = Tail {
        api: options.connection.open()?,
        filter: &options.filter,
        json: options.connection.json,
        rows: Rows::of_output(),
        last: 0,
    };
    tokio::select! {
        followed = tail.follow(options.lines) => followed?,
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        // The reader of the output has closed it, as `head` does.
        () = output_closed() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Follows one gateway.
struct Tail<'t> {
    api: Api,
    filter: &'t Filter,
    json: bool,
    rows: Rows,
    /// The sequence number of the newest record that the gateway has sent.
    last: u64,
}

/// The reason why a stream ended, for the operator.
enum Ended {
    /// The connection was lost.
    Lost(String),
    /// The gateway cannot serve the stream now. It may have named the time of the next attempt.
    Later(String, Option<Duration>),
}

impl Tail<'_> {
    /// Prints the last `lines` deliveries, and then each one that arrives. Returns only on errors.
    async fn follow(&mut self, lines: u64) -> Result<(), Error> {
        self.print_earlier(lines).await?;
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.last;
            let ended = self.stream().await?;
            if self.last != before {
                pause = FIRST_PAUSE;
            }
            let (what, wait) = match ended {
                Ended::Lost(what) => (what, pause),
                Ended::Later(what, wait) => (what, wait.unwrap_or(pause).min(LONGEST_PAUSE)),
            };
            notice(&format!("{what}; connecting again in {wait:?}"));
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            self.notice_restart().await;
        }
    }

    /// Prints the last `lines` deliveries, the oldest first.
    async fn print_earlier(&mut self, lines: u64) -> Result<(), Error> {
        let path = self
            .filter
            .path("/api/deliveries", &[("limit", lines.max(1))]);
        let list = self.api.get(&path).await?;
        let values = list["deliveries"].as_array().cloned().unwrap_or_default();
        if !self.json {
            self.print(&format!("{}\n", self.rows.live_head()))?;
        }
        let count = usize::try_from(lines).unwrap_or(usize::MAX);
        let earlier: Vec<Value> = values.iter().take(count).rev().cloned().collect();
        self.print_deliveries(earlier)?;
        // Newer records do not match the filter, and the stream leaves them out again. If none
        // matches, the stream may begin with the first record.
        self.last = newest(list)?;
        Ok(())
    }

    /// Prints what one stream sends, until it ends.
    async fn stream(&mut self) -> Result<Ended, Error> {
        let path = self.filter.path("/api/stream", &[("after", self.last)]);
        let mut reply = match self.api.open_stream(&path).await {
            Ok(reply) => reply,
            Err(error) => return later(error),
        };
        let mut parser = Parser::default();
        loop {
            let bytes = match next_chunk(&mut reply).await {
                Ok(bytes) => bytes,
                Err(what) => return Ok(Ended::Lost(what)),
            };
            let events = parser.push(&bytes);
            let events = events.map_err(|_| Error::new("the event stream has a line too long"))?;
            for event in events {
                if event.name == "deliveries" {
                    self.print_batch(&event.data)?;
                }
            }
        }
    }

    fn print_batch(&mut self, data: &str) -> Result<(), Error> {
        let value = serde_json::from_str(data);
        let mut value: Value = value.map_err(|_| {
            Error::new(
                "the event stream has text that is no JSON; use the version of hookgate \
                        that the gateway has",
            )
        })?;
        let batch: Batch = read(value.clone())?;
        if batch.skipped > 0 {
            let skipped = batch.skipped;
            self.print(&match self.json {
                true => format!("{}\n", json!({ "skipped": skipped })),
                false => format!("… {skipped} deliveries skipped: they arrived too fast\n"),
            })?;
        }
        let newest = batch.deliveries.iter().map(|d| d.seq).max();
        self.last = self.last.max(newest.unwrap_or(0));
        match value["deliveries"].take() {
            Value::Array(values) => self.print_deliveries(values),
            _ => Ok(()),
        }
    }

    fn print_deliveries(&self, values: Vec<Value>) -> Result<(), Error> {
        let mut text = String::new();
        for value in values {
            text.push_str(&match self.json {
                true => printable_json(&value),
                false => self.rows.live(&read::<Delivery>(value)?),
            });
            text.push('\n');
        }
        self.print(&text)
    }

    /// Writes whole lines at once, so that an interrupt cuts none.
    fn print(&self, text: &str) -> Result<(), Error> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Starts from the first record if the newest number became smaller: the gateway has restarted
    /// after its clock was set back.
    async fn notice_restart(&mut self) {
        // Without a response, the next stream fails too, and says why.
        if let Ok(list) = self.api.get("/api/deliveries?limit=1").await
            && newest(list).is_ok_and(|newest| newest < self.last)
        {
            notice("the gateway has restarted");
            self.last = 0;
        }
    }
}

/// Returns the sequence number of the newest record of a list, or 0 if the list is empty.
fn newest(list: Value) -> Result<u64, Error> {
    let list: List = read(list)?;
    Ok(list.deliveries.first().map_or(0, |delivery| delivery.seq))
}

/// Returns the next bytes of the stream, or the reason why it has ended.
async fn next_chunk(reply: &mut Reply) -> Result<bytes::Bytes, String> {
    match timeout(SILENCE, reply.chunk()).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err("the gateway ended the event stream".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("nothing from the gateway for {SILENCE:?}")),
    }
}

/// Returns an error that more attempts cannot repair, or the time of the next attempt.
fn later(error: ApiError) -> Result<Ended, Error> {
    match &error {
        ApiError::Refused(problem) => match problem.status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let wait = problem.retry_after.map(Duration::from_secs);
                Ok(Ended::Later(error.to_string(), wait))
            }
            status if status.is_server_error() => Ok(Ended::Later(error.to_string(), None)),
            _ => Err(error.into()),
        },
        // A proxy in front of a gateway that restarts may respond for it.
        ApiError::NoResponse(_) | ApiError::NotTheApi { .. } => {
            Ok(Ended::Later(error.to_string(), None))
        }
    }
}

/// Prints a message on standard error.
fn notice(text: &str) {
    // There is no other place for the message.
    let _: io::Result<()> = writeln!(io::stderr(), "hookgate: {text}");
}

/// Waits until the reader of standard output has closed it. A write would notice that too, but
/// there is none while no delivery arrives.
#[cfg(unix)]
async fn output_closed() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    loop {
        sleep(OUTPUT_CHECK).await;
        let stdout = io::stdout();
        let mut output = [PollFd::new(&stdout, PollFlags::empty())];
        let now = Timespec::default();
        let polled = poll(&mut output, Some(&now));
        if polled.is_ok() && output[0].revents().intersects(PollFlags::ERR) {
            return;
        }
    }
}

#[cfg(not(unix))]
async fn output_closed() {
    std::future::pending().await
}
