//! `hookgate send`: signs a delivery and sends it.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use hookgate_diagnose::Capture;
use hookgate_gate::Clock;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use serde_json::json;

use super::Error;
use super::capture::{WholeCapture, read_file};
use super::client::{Client, ClientError, ConnectFault, Framing, parse_url};
use super::sign::{DeliveryOptions, new_id, post, sign};
use super::signing::SigningOptions;
use super::trust::TrustOptions;
use crate::explain::Signing;

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

/// The media type of a form.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The format of a generated body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyKind {
    Json,
    Form,
}

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(flatten)]
    signing: SigningOptions,

    #[command(flatten)]
    delivery: DeliveryOptions,

    /// The URL to send to, http:// or https://. With --url, the query of --url replaces its query
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    to: Uri,

    /// File with the body; `-` is standard input. Without it, a test body is generated
    #[arg(long, value_name = "FILE", conflicts_with = "capture")]
    body: Option<PathBuf>,

    #[command(flatten)]
    captured: WholeCapture,

    /// A header that the scheme does not sign; may be repeated. It replaces the header of a capture
    #[arg(long = "header", value_name = "NAME:VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,

    #[command(flatten)]
    trust: TrustOptions,

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
    let delivery = DeliveryOptions {
        at: options.delivery.at,
        id: Some(options.delivery.id.clone().unwrap_or_else(new_id)),
    };
    // The URL is signed as sent, unless --url names a different public URL, as behind a proxy.
    signing.url.get_or_insert_with(|| options.to.to_string());
    let request = options.request(&signing, &delivery, clock)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut exit = ExitCode::SUCCESS;
    let client = Client::new(&options.to, "--to", &options.trust.resolve()?)?;
    for _ in 0..options.repeat {
        let mut signed = sign(&signing, &delivery, &request, clock)?;
        *signed.uri_mut() = with_query(&options.to, signed.uri())?;
        let reply = runtime.block_on(client.send(&signed, Framing::Length));
        let reply = reply.map_err(|error| no_response(&error, "gateway"))?;
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

/// Returns the error of a request without a response, with advice. `server` names the program at the
/// address.
pub(super) fn no_response(error: &ClientError, server: &str) -> Error {
    let advice = match error {
        ClientError::Unreachable { fault, .. } => match fault {
            ConnectFault::Refused => format!(": is the {server} running?"),
            ConnectFault::TimedOut | ConnectFault::NoRoute => {
                ": is the address right, and does a firewall allow it?".to_owned()
            }
            ConnectFault::Tls(fault) if fault.contains("invalid peer certificate") => {
                "; --ca FILE trusts an authority, and --insecure accepts every certificate"
                    .to_owned()
            }
            // The response is no TLS.
            ConnectFault::Tls(fault) if fault.contains("InvalidContentType") => {
                format!(": does the {server} expect http:// in place of https://?")
            }
            ConnectFault::Tls(_) | ConnectFault::Other(_) => String::new(),
        },
        _ => String::new(),
    };
    Error::new(format!("{error}{advice}"))
}

pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    const EXPECTED: &str = "expected NAME:VALUE, such as `X-Request-Id: 1`";
    let (name, value) = text.split_once(':').ok_or(EXPECTED)?;
    let name = HeaderName::try_from(name.trim()).map_err(|_| EXPECTED)?;
    if OF_CONNECTION.contains(&name.as_str()) {
        return Err(format!(
            "the client writes {name} itself; expected another header"
        ));
    }
    let value = HeaderValue::try_from(value.trim()).map_err(|_| EXPECTED)?;
    Ok((name, value))
}

impl Options {
    /// Returns the request to sign. A generated body is a form if the scheme reads form fields.
    fn request(
        &self,
        signing: &Signing,
        delivery: &DeliveryOptions,
        clock: &dyn Clock,
    ) -> Result<Request<Bytes>, Error> {
        let mut request = match (self.captured.read()?, &self.body) {
            (Some(file), _) => resent(file.capture),
            (None, Some(path)) => post(read_body(path)?.into()),
            (None, None) => post(test_body(BodyKind::Json)),
        };
        let is_generated = request.headers().is_empty() && self.body.is_none();
        self.insert_headers(request.headers_mut());
        if is_generated {
            let signed = sign(signing, delivery, &request, clock)?;
            let content_type = signed.headers().get(CONTENT_TYPE);
            if content_type.is_some_and(|value| value == FORM) {
                *request.body_mut() = test_body(BodyKind::Form);
            }
        } else if !request.headers().contains_key(CONTENT_TYPE) && is_form(request.body()) {
            let form = HeaderValue::from_static(FORM);
            request.headers_mut().insert(CONTENT_TYPE, form);
        }
        Ok(request)
    }

    /// Adds the headers of the options. The first one of a name replaces those of a capture.
    fn insert_headers(&self, headers: &mut HeaderMap) {
        for (name, _) in &self.headers {
            headers.remove(name);
        }
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
    }
}

/// Reads the file with the body; `-` is standard input.
fn read_body(path: &Path) -> Result<Vec<u8>, Error> {
    if path.as_os_str() != "-" {
        return read_file(path);
    }
    let mut body = Vec::new();
    io::stdin().lock().read_to_end(&mut body)?;
    Ok(body)
}

/// Whether a body without a content type looks like a form, which no JSON and no XML does.
fn is_form(body: &[u8]) -> bool {
    body.contains(&b'=')
        && !matches!(body.first(), Some(b'{' | b'[' | b'<' | b'"'))
        && body.iter().all(u8::is_ascii_graphic)
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
pub(super) fn with_query(to: &Uri, signed: &Uri) -> Result<Uri, Error> {
    let mut parts = to.clone().into_parts();
    let target = match signed.query() {
        Some(query) => format!("{}?{query}", to.path()),
        None => to.path().to_owned(),
    };
    parts.path_and_query = Some(target.parse().map_err(Error::new)?);
    Uri::from_parts(parts).map_err(Error::new)
}

/// Generates a body with an event id and an event type, in the fields that common providers use.
fn test_body(kind: BodyKind) -> Bytes {
    let id = new_id();
    let text = match kind {
        BodyKind::Json => json!({ "id": id, "type": "test", "event": "test" }).to_string(),
        BodyKind::Form => format!("id={id}&type=test&event=test"),
    };
    text.into()
}
