//! `hookgate conform`: sends a corpus of deliveries to any receiver, and compares the responses
//! with those of a safe receiver.

mod body;
mod corpus;
mod deliveries;
mod forgery;
mod genuine;
mod probe;
mod receiver;
mod report;
mod runs;
mod skip;
#[cfg(test)]
mod tests;
mod verdict;
mod written;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use hookgate_gate::Clock;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use self::corpus::{Row, row, rows};
use self::deliveries::Deliveries;
use self::receiver::{Exchange, Receiver};
use self::report::{Report, RowResult};
use self::runs::Runs;
use self::skip::Skip;
use self::verdict::Verdict;
use super::Error;
use super::client::{Client, ClientError, Framing, parse_url};
use super::send::{no_response, parse_header};
use super::signing::SigningOptions;
use super::terminal::{Colours, line_limit, printable_json};
use super::trust::TrustOptions;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    signing: SigningOptions,

    /// The URL of the receiver, http:// or https://
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    to: Uri,

    /// A URL of the application, such as http://127.0.0.1:3000/runs/{id}, that returns the number of
    /// runs of an event: 200 and decimal digits. Without it, the status alone counts
    #[arg(long, value_name = "URL")]
    runs: Option<String>,

    /// A header that the scheme does not sign; may be repeated
    #[arg(long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    /// Only this row; may be repeated
    #[arg(
        long,
        value_name = "ROW",
        hide_possible_values = true,
        value_parser = PossibleValuesParser::new(rows().map(|row| row.id))
    )]
    only: Vec<String>,

    #[command(flatten)]
    trust: TrustOptions,

    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let signing = options.signing.resolve()?;
    let headers = HeaderMap::from_iter(options.headers.iter().cloned());
    let deliveries = Deliveries::new(signing, options.to.clone(), headers, clock)?;
    let trust = options.trust.resolve()?;
    let client = Client::new(&options.to, "--to", &trust)?;
    let runs = options.runs.as_deref();
    let runs = runs.map(|url| Runs::new(url, &trust)).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = Report {
        receiver: options.to.to_string(),
        provider: deliveries.title().to_owned(),
        counts_runs: runs.is_some(),
        results: runtime.block_on(options.results(client, &deliveries, runs.as_ref()))?,
    };
    let mut out = io::stdout().lock();
    match options.json {
        true => writeln!(out, "{}", printable_json(&report.to_json()))?,
        false => write!(
            out,
            "{}",
            report.to_text(line_limit(), Colours::of_output())
        )?,
    }
    Ok(match report.passes() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

impl Options {
    /// Sends all rows, and judges them when all are sent: a late run then counts, too.
    async fn results(
        &self,
        client: Client,
        deliveries: &Deliveries<'_>,
        runs: Option<&Runs>,
    ) -> Result<Vec<RowResult>, Error> {
        // A wrong address is an error, and not the fault of the receiver. At an address that never
        // responds, every request would take as long as this one.
        let forged = forgery::unsigned(deliveries)?;
        let reached = client.send(&forged.request, Framing::Length).await;
        if let Err(error @ (ClientError::Unreachable { .. } | ClientError::TimedOut { .. })) =
            reached
        {
            return Err(no_response(&error, "receiver"));
        }
        let receiver = Receiver::new(client);
        let mut sent = Vec::new();
        for row in self.rows() {
            sent.push((row, receiver.send(row, deliveries).await));
        }
        let mut results = Vec::new();
        for (row, exchange) in sent {
            results.push(match exchange {
                Ok(exchange) => judge(row, exchange, runs).await?,
                Err(Skip::Inapplicable(reason)) => {
                    RowResult::without_answers(row, Verdict::Inapplicable(reason))
                }
                Err(Skip::Failed(error)) => return Err(error),
            });
        }
        Ok(results)
    }

    fn rows(&self) -> Vec<&'static Row> {
        match self.only.is_empty() {
            true => rows().collect(),
            false => self.only.iter().filter_map(|id| row(id)).collect(),
        }
    }
}

async fn judge(
    row: &'static Row,
    exchange: Exchange,
    runs: Option<&Runs>,
) -> Result<RowResult, Error> {
    let expected = row.probe.expected();
    // The count of a row whose status decides is shown as it is.
    let decides = match expected.judge(&exchange.answers, None) {
        Verdict::Pass | Verdict::Unseen => false,
        Verdict::Fail(_) | Verdict::Inapplicable(_) => true,
    };
    let counts = match (runs, expected.runs()) {
        (Some(runs), Some(expected)) => {
            let awaited = if decides { 0 } else { expected };
            let mut counts = Vec::new();
            for id in &exchange.events {
                counts.push(runs.count(id, awaited).await?);
            }
            Some(counts)
        }
        _ => None,
    };
    Ok(RowResult {
        row,
        verdict: expected.judge(&exchange.answers, counts.as_deref()),
        answers: exchange.answers,
        runs: counts,
    })
}
