//! `hookgate reload`: checks a configuration, and lets the running gateway read it.

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::AUTHORIZATION;
use http::{Method, Request, StatusCode, Uri};
use serde::Deserialize;
use tokio::runtime::Builder;
use tokio::time::sleep;

use super::api::{bearer, escaped, read_token};
use super::client::{Client, ClientError, Framing, Trust};
use super::terminal::{fill, line_limit, printable_lines};
use super::{ConfigFile, Error, NOT_RELOADED};
use crate::config::{Config, Permission};

/// How long a reload may take. The gateway checks the whole configuration, and a reload that it has
/// begun does not end with the connection.
const TIMEOUT: Duration = Duration::from_secs(600);

/// The columns of the word `warning`, as in the output of `hookgate check`.
const LABEL: usize = 11;

/// The size limit of a response.
const MAX_RESPONSE: usize = 1 << 20;

/// How often a reload that the gateway limits is requested again, and after which time.
const MAX_REPEATS: u32 = 30;
const REPEAT_AFTER: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,

    /// Admin address of the gateway; the default is `server.admin` of the file
    #[arg(long, value_name = "URL")]
    admin: Option<Uri>,

    // clap does not parse the reference, because its message would repeat the token.
    /// The token of [inspector] that may act, as env:NAME or file:PATH; the default is that of the
    /// file, if the gateway is at `server.admin`
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
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
    if let Some(token) = token(options, &config)? {
        request.headers_mut().insert(AUTHORIZATION, bearer(&token)?);
    }
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (status, body) = runtime
        .block_on(send(&client, &request))
        .map_err(|error| no_answer(&error, &admin))?;
    let report: Report = serde_json::from_slice(&body).unwrap_or_default();
    match status {
        StatusCode::OK => {
            let mut out = io::stdout().lock();
            writeln!(out, "configuration reloaded by the gateway at {admin}")?;
            for warning in &report.warnings {
                let warning = printable_lines(warning);
                let first = format!("{:<LABEL$}", "warning");
                writeln!(out, "{}", fill(&warning, &first, LABEL, line_limit()))?;
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
            if report.mistakes.is_empty() {
                message.push_str(&format!("; {}", report.detail));
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

/// Returns the token of the option, or one of the file that may act. A token of the file goes only to
/// the address in the file.
fn token(options: &Options, config: &Config) -> Result<Option<Vec<u8>>, Error> {
    if let Some(token) = &options.token {
        return read_token(token).map(Some);
    }
    let inspector = config.inspector.as_ref();
    let inspector = inspector.filter(|_| options.admin.is_none());
    let mut tokens = inspector.iter().flat_map(|it| &it.access.tokens);
    let token = tokens.find(|token| token.may == Permission::Act);
    let text = token.map(|token| token.from.read_text()).transpose();
    text.map_err(|fault| Error::new(format!("inspector: {fault}")))
}

/// Sends the request, and sends it again while the gateway limits reloads.
async fn send(
    client: &Client,
    request: &Request<Bytes>,
) -> Result<(StatusCode, Vec<u8>), ClientError> {
    let mut tries = 0;
    loop {
        let reply = client.send(request, Framing::Length).await?;
        let status = reply.status;
        if status == StatusCode::TOO_MANY_REQUESTS && tries < MAX_REPEATS {
            tries += 1;
            sleep(REPEAT_AFTER).await;
            continue;
        }
        return Ok((status, reply.body(MAX_RESPONSE).await?));
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
