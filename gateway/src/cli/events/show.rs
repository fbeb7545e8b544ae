//! `hookgate events show`: one delivery in full.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use hookgate_core::UnixTime;
use hookgate_gate::Clock;
use http::StatusCode;
use serde_json::{Value, json};

use super::delivery::{Detail, Explanation, List};
use super::explanation;
use super::facts;
use super::find::{Found, find, path};
use super::list::write_list;
use super::rows::Rows;
use crate::cli::Error;
use crate::cli::api::{Api, ApiError, Connection, read};
use crate::cli::captured_request::{Style, save};
use crate::cli::terminal::{Colours, output_width, printable, printable_json};

/// Shows one delivery. The id is that of the request, of the event, or the unsigned one of the
/// delivery. If several deliveries have it, they are listed
#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    /// A request id or its end, an event id, or an unsigned delivery id
    #[arg(value_name = "ID")]
    id: String,

    /// Print the captured body: as text, or else in hexadecimal
    #[arg(long)]
    body: bool,

    /// Explain the refusal (default if there is a capture)
    #[arg(long)]
    explain: bool,

    /// Write the capture to a new file for hookgate verify
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

/// The output of `show` for one delivery.
pub(super) struct Page<'p> {
    pub(super) detail: &'p Detail,
    pub(super) explanation: Option<&'p Explanation>,
    pub(super) with_body: bool,
    pub(super) now: UnixTime,
    pub(super) width: usize,
    pub(super) colours: Colours,
}

pub(super) async fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let mut value = match find(&api, &options.id).await? {
        Found::One(value) => value,
        Found::Several(list) => return options.print_several(list),
    };
    let detail: Detail = read(value.clone())?;
    let explanation = options.explanation(&api, &detail).await?;
    if let Some(file) = &options.save {
        let path = format!("{}/capture", path(detail.delivery.request_id.raw()));
        save(&api, &path, file).await?;
    }
    let mut out = io::stdout().lock();
    if options.connection.json {
        if let Some(explanation) = explanation {
            value["explanation"] = explanation;
        }
        writeln!(out, "{}", printable_json(&value))?;
        return Ok(ExitCode::SUCCESS);
    }
    let explanation: Option<Explanation> = explanation.map(read).transpose()?;
    let page = Page {
        detail: &detail,
        explanation: explanation.as_ref(),
        with_body: options.body,
        now: clock.now(),
        width: output_width(),
        colours: Colours::of_output(),
    };
    page.write(&mut out)?;
    if let Some(file) = &options.save {
        writeln!(out, "\nthe capture is in {}", file.display())?;
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    /// Prints the deliveries that the id names, for the operator to choose one.
    fn print_several(&self, list: Value) -> Result<ExitCode, Error> {
        if self.save.is_some() {
            let id = printable(&self.id);
            return Err(Error::new(format!(
                "--save: several deliveries have {id}; expected a request id, as \
                 `hookgate events list --search {id}` prints them"
            )));
        }
        let mut out = io::stdout().lock();
        if self.connection.json {
            writeln!(out, "{}", printable_json(&list))?;
            return Ok(ExitCode::SUCCESS);
        }
        let list: List = read(list)?;
        let count = list.deliveries.len();
        writeln!(
            out,
            "{count} deliveries; `hookgate events show REQUEST` shows one:"
        )?;
        write_list(&list, &Rows::of_output(), &mut out)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Returns the explanation of a refused delivery, or the reason why there is none. Only
    /// `--explain` makes that an error.
    async fn explanation(&self, api: &Api, detail: &Detail) -> Result<Option<Value>, Error> {
        let delivery = &detail.delivery;
        let is_default = delivery.is_refused() && detail.capture.is_some();
        if !self.explain && !is_default {
            return Ok(None);
        }
        let path = format!("{}/explanation", path(delivery.request_id.raw()));
        match api.get(&path).await {
            Ok(explanation) => Ok(Some(explanation)),
            Err(ApiError::Refused(problem))
                if problem.status == StatusCode::NOT_FOUND && !self.explain =>
            {
                Ok(Some(json!({ "unavailable": problem.detail.raw() })))
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Page<'_> {
    /// Writes the page.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        facts::write(self, out)?;
        if let Some(capture) = &self.detail.capture {
            capture.write(self.style(), self.with_body, out)?;
        }
        if let Some(explanation) = self.explanation {
            self.style().title("explanation", out)?;
            explanation::write(explanation, self.width, out)?;
        }
        if let Some(command) = &self.detail.verify_command {
            self.style().title("verify it yourself", out)?;
            writeln!(out, "  {command}")?;
        }
        Ok(())
    }

    /// Returns how sections are written.
    pub(super) fn style(&self) -> Style {
        Style {
            width: self.width,
            colours: self.colours,
        }
    }
}
