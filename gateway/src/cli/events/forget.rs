//! `hookgate events forget`: removes the record of one event from the replay store.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use super::delivery::Forgotten;
use super::find;
use crate::cli::Error;
use crate::cli::api::{Connection, read};
use crate::cli::terminal::{printable, printable_json};

/// Forgets an event, so that its next delivery is forwarded and not answered as a duplicate. The
/// token needs may = "act"
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["id", "event"]),
    override_usage = "\
    hookgate events forget [OPTIONS] --token TOKEN REQUEST_ID
       hookgate events forget [OPTIONS] --token TOKEN --source NAME --event ID"
)]
pub(super) struct Options {
    #[command(flatten)]
    connection: Connection,

    /// The request id of a delivery of the event, or its end
    #[arg(value_name = "REQUEST_ID", conflicts_with = "source")]
    id: Option<String>,

    /// The source of the event
    #[arg(long, value_name = "NAME", requires = "event")]
    source: Option<String>,

    /// The tenant of the event, if the source has tenants
    #[arg(long, value_name = "NAME", requires = "source")]
    tenant: Option<String>,

    /// The signed id of the event
    #[arg(long, value_name = "ID", requires = "source")]
    event: Option<String>,
}

pub(super) async fn run(options: &Options) -> Result<ExitCode, Error> {
    let api = options.connection.open()?;
    let (what, body) = match &options.id {
        Some(id) => {
            let id = find::request_id(&api, id).await?;
            let what = format!("of request {}", printable(&id));
            (what, json!({ "request_id": id }))
        }
        None => options.event(),
    };
    let value = api.post("/api/events/forget", &body).await?;
    let forgotten: Forgotten = read(value.clone())?;
    let mut out = io::stdout().lock();
    match (options.connection.json, forgotten.forgotten) {
        (true, _) => writeln!(out, "{}", printable_json(&value))?,
        (false, 1) => writeln!(
            out,
            "forgot the event {what}; its next delivery is forwarded"
        )?,
        (false, count) => writeln!(
            out,
            "forgot {count} events {what}; their next deliveries are forwarded"
        )?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Options {
    /// Returns the description of the named event, and the body of the request.
    fn event(&self) -> (String, Value) {
        let mut body = json!({ "source": self.source, "event_id": self.event });
        let mut what = self.event.as_deref().map(printable).unwrap_or_default();
        if let Some(source) = &self.source {
            what.push_str(&format!(" of source {}", printable(source)));
        }
        if let Some(tenant) = &self.tenant {
            body["tenant"] = tenant.as_str().into();
            what.push_str(&format!(", tenant {}", printable(tenant)));
        }
        (what, body)
    }
}
