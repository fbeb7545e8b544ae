//! `hookgate send`: signs a delivery and sends it.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use hookgate_diagnose::Capture;
use hookgate_gate::Clock;
use http::{Request, Uri};

use super::Error;
use super::capture::{WholeCapture, read_file};
use super::client::{Client, Framing};
use super::sign::{DeliveryOptions, new_id, post, sign};
use super::signing::SigningOptions;

/// The headers that belong to one connection. The client writes its own ones.
const OF_CONNECTION: [&str; 10] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "expect",
    "te",
    "trailer",
    "upgrade",
];

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    signing: SigningOptions,

    #[command(flatten)]
    delivery: DeliveryOptions,

    /// The URL to send to, http:// or https://. With --url, the query of --url replaces its query
    #[arg(long, value_name = "URL")]
    to: Uri,

    /// File with the body; `-` is standard input. Without it, a test body is generated
    #[arg(long, value_name = "FILE", conflicts_with = "capture")]
    body: Option<PathBuf>,

    #[command(flatten)]
    captured: WholeCapture,

    /// Number of times to send the event. Each delivery has a new signature and the same event id
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    repeat: u32,
}

pub(super) fn run(options: &Options, clock: &dyn Clock) -> Result<ExitCode, Error> {
    let mut signing = options.signing.resolve()?;
    options.delivery.check(&signing)?;
    let request = match options.captured.read()? {
        Some(file) => resent(file.capture),
        None => post(options.read_body()?.into()),
    };
    let delivery = DeliveryOptions {
        at: options.delivery.at,
        id: Some(options.delivery.id.clone().unwrap_or_else(new_id)),
    };
    // The URL is signed as sent, unless --url names a different public URL, as behind a proxy.
    signing.url.get_or_insert_with(|| options.to.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut exit = ExitCode::SUCCESS;
    let client = Client::new(&options.to, "--to")?;
    for _ in 0..options.repeat {
        let mut signed = sign(&signing, &delivery, &request, clock)?;
        *signed.uri_mut() = with_query(&options.to, signed.uri())?;
        let reply = runtime.block_on(client.send(&signed, Framing::Length))?;
        let outcome = reply
            .headers
            .get("hookgate-outcome")
            .and_then(|value| value.to_str().ok());
        let note = outcome
            .map(|outcome| format!(" ({outcome})"))
            .unwrap_or_default();
        writeln!(io::stdout(), "{}{note}", reply.status)?;
        if !reply.status.is_success() {
            exit = ExitCode::FAILURE;
        }
    }
    Ok(exit)
}

impl Options {
    fn read_body(&self) -> Result<Vec<u8>, Error> {
        match &self.body {
            None => Ok(test_body()),
            Some(path) if path.as_os_str() == "-" => {
                let mut body = Vec::new();
                io::stdin().lock().read_to_end(&mut body)?;
                Ok(body)
            }
            Some(path) => read_file(path),
        }
    }
}

/// Returns the captured request without the headers that belong to its connection.
fn resent(capture: Capture) -> Request<Bytes> {
    let mut request = Request::new(capture.body);
    *request.method_mut() = capture.method;
    *request.headers_mut() = capture.headers;
    for name in OF_CONNECTION {
        request.headers_mut().remove(name);
    }
    request
}

/// Returns `to` with the query of the signed request, which replaces the query of `to`. The
/// request is signed with the query of `--url`, and some schemes add their signature to it.
fn with_query(to: &Uri, signed: &Uri) -> Result<Uri, Error> {
    let mut parts = to.clone().into_parts();
    let target = match signed.query() {
        Some(query) => format!("{}?{query}", to.path()),
        None => to.path().to_owned(),
    };
    parts.path_and_query = Some(target.parse().map_err(Error::new)?);
    Uri::from_parts(parts).map_err(Error::new)
}

/// Generates a body with an event id and an event type, in the fields that common providers use.
fn test_body() -> Vec<u8> {
    let id = new_id();
    serde_json::json!({ "id": id, "type": "test", "event": "test" })
        .to_string()
        .into_bytes()
}
