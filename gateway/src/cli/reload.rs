//! `hookgate reload`: checks a configuration, and lets the running gateway read it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{Method, Request, StatusCode, Uri};
use serde::Deserialize;
use tokio::runtime::Builder;

use super::api::escaped;
use super::client::{Client, ClientError, Framing, Trust};
use super::terminal::printable_lines;
use super::{ConfigFile, Error, NOT_RELOADED};

/// How long a reload may take. The gateway checks the whole configuration, and a reload that it has
/// begun does not end with the connection.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The size limit of a response.
const MAX_RESPONSE: usize = 1 << 20;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,

    /// Admin address of the gateway; the default is `server.admin` of the file
    #[arg(long, value_name = "URL")]
    admin: Option<Uri>,
}

/// The response of the gateway.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Report {
    /// Why the gateway refuses the request.
    detail: String,
    mistakes: Vec<String>,
    warnings: Vec<String>,
}

pub(super) fn run(options: &Options) -> Result<ExitCode, Error> {
    let (file, config) = options.config.load_running(NOT_RELOADED)?;
    let admin = match &options.admin {
        Some(admin) => admin.clone(),
        None => url(config.admin)?,
    };
    let client = client(&admin)?;
    let path = format!("/reload?file={}", escaped(&file.to_string_lossy()));
    let mut request = Request::new(Bytes::new());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().map_err(Error::new)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime
        .block_on(async {
            let reply = client.send(&request, Framing::Length).await?;
            let status = reply.status;
            Ok((status, reply.body(MAX_RESPONSE).await?))
        })
        .map_err(|error| no_answer(&error, &admin))?;
    let report: Report = serde_json::from_slice(&body).unwrap_or_default();
    match status {
        StatusCode::OK => {
            let mut out = io::stdout().lock();
            writeln!(out, "configuration reloaded by the gateway at {admin}")?;
            for warning in &report.warnings {
                writeln!(out, "{:<11}{}", "warning", printable_lines(warning))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        StatusCode::UNPROCESSABLE_ENTITY => {
            let mut message = format!(
                "the gateway at {admin} refused the configuration, and still runs the previous one"
            );
            for mistake in &report.mistakes {
                message.push_str(&format!("\n  {mistake}"));
            }
            Err(Error::new(message))
        }
        _ if report.detail.is_empty() => Err(Error::new(format!(
            "{admin} responds with status {status}; expected the admin address of a gateway of \
             this version"
        ))),
        _ => Err(Error::new(report.detail)),
    }
}

fn client(admin: &Uri) -> Result<Client, Error> {
    let client = Client::new(admin, "--admin", &Trust::System)?.timeout(TIMEOUT);
    Ok(match admin.scheme_str() {
        // The gateway refuses a name that it does not know, because another website could have it.
        Some("http") => client.name_address(),
        // The URL is that of a proxy, which may need the name.
        _ => client,
    })
}

fn no_answer(error: &ClientError, admin: &Uri) -> Error {
    match error {
        ClientError::Unreachable { .. } => Error::new(format!(
            "{error}; is the gateway running, and is {admin} its admin address? The option \
             --admin names another address"
        )),
        ClientError::Broken { .. } | ClientError::TimedOut { .. } => Error::new(format!(
            "{error}; the result of the reload is unknown; see the log of the gateway"
        )),
        ClientError::TooLarge { .. } => Error::new(error),
    }
}

/// Returns the URL of an admin address. A gateway that listens on all addresses is reached over the
/// loopback address.
fn url(admin: SocketAddr) -> Result<Uri, Error> {
    let host = match admin.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        address => address,
    };
    let url = format!("http://{}/", SocketAddr::new(host, admin.port()));
    url.parse().map_err(Error::new)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_reload_without_a_response_in_time_has_an_unknown_result() {
        // Nothing accepts the connections of this listener.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let admin = url(listener.local_addr().unwrap()).unwrap();
        let client = client(&admin).unwrap().timeout(Duration::from_millis(50));
        let request = Request::new(Bytes::new());
        let Err(error) = client.send(&request, Framing::Length).await else {
            panic!("there is no response");
        };
        let error = no_answer(&error, &admin).to_string();
        assert!(error.contains("within 50ms; the result"), "{error}");
        assert!(error.contains("see the log of the gateway"), "{error}");
    }
}
