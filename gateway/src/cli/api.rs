//! The client of the inspector API, for `hookgate events` and `hookgate queue`.

use std::fmt::{self, Display};

use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Error;
use super::client::{Client, ClientError, Framing, Reply, Trust};
use super::terminal::Text;
use crate::config::SecretRef;

/// The size limit of a JSON response.
const MAX_JSON: usize = 32 << 20;

/// The size limit of a downloaded capture.
const MAX_CAPTURE: usize = 1 << 30;

/// The size limit of an error response.
const MAX_PROBLEM: usize = 64 << 10;

/// The characters that are escaped in a path segment and in a query: all but the unreserved ones
/// (RFC 3986 §2.3), and the dot, because a segment `..` would name the parent.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// The options that name the gateway.
#[derive(Debug, Args)]
pub(super) struct Connection {
    /// Admin address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: Uri,

    // clap does not parse the reference, because its message would repeat the text of the option,
    // which may be the token itself.
    /// The token of [inspector], as env:NAME or file:PATH
    #[arg(long, value_name = "TOKEN")]
    token: String,

    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

impl Connection {
    /// Reads the token, and prepares the client.
    ///
    /// # Errors
    ///
    /// Returns an error if the token cannot be read, or if the address is not usable.
    pub(super) fn open(&self) -> Result<Api, Error> {
        Api::new(&self.admin, &read_token(&self.token)?)
    }
}

/// Reads the token that the option `--token` names.
pub(super) fn read_token(option: &str) -> Result<Vec<u8>, Error> {
    let reference = SecretRef::parse(option).ok_or_else(|| {
        let expected = SecretRef::EXPECTED;
        Error::new(format!("--token: expected {expected}"))
    })?;
    let token = reference.read_text();
    token.map_err(|fault| Error::new(format!("--token: {fault}")))
}

/// Returns the header `Authorization` with a token.
pub(super) fn bearer(token: &[u8]) -> Result<HeaderValue, Error> {
    let authorization = HeaderValue::from_bytes(&[b"Bearer ", token].concat());
    let (Ok(mut authorization), false) = (authorization, token != token.trim_ascii()) else {
        return Err(Error::new(
            "--token: the token has a control character or a space at its end, which no header \
             can carry",
        ));
    };
    if token.is_empty() {
        return Err(Error::new("--token: the token is empty"));
    }
    authorization.set_sensitive(true);
    Ok(authorization)
}

/// The inspector API of one gateway.
pub(super) struct Api {
    client: Client,
    authorization: HeaderValue,
    /// The admin address, as scheme and host.
    address: String,
    /// The path before `/api`, without a slash at its end.
    base: String,
}

/// The reason why a call of the API failed.
#[derive(Debug)]
pub(super) enum ApiError {
    /// There is no complete response.
    NoResponse(ClientError),
    /// The response is not one of the inspector API.
    NotTheApi { address: String, found: String },
    /// The gateway refused the call.
    Refused(Problem),
}

/// An error response of the API.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: StatusCode,
    /// The seconds after which the call may succeed.
    pub(super) retry_after: Option<u64>,
    pub(super) title: Text,
    pub(super) detail: Text,
}

/// The body of an error response (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ProblemBody {
    title: Text,
    detail: Text,
}

impl Api {
    /// Creates the client of the gateway whose admin address is `admin`.
    ///
    /// # Errors
    ///
    /// Returns an error if the URL is not usable, or if the token is no header value.
    pub(super) fn new(admin: &Uri, token: &[u8]) -> Result<Self, Error> {
        let client = Client::new(admin, "--admin", &Trust::System)?;
        if admin.query().is_some() {
            return Err(Error::new("--admin: expected a URL without a query"));
        }
        let authorization = bearer(token)?;
        let host = admin.host().unwrap_or_default();
        let port = admin.port_u16().map(|port| format!(":{port}"));
        let scheme = admin.scheme_str().unwrap_or("http");
        Ok(Self {
            client,
            authorization,
            address: format!("{scheme}://{host}{}", port.unwrap_or_default()),
            base: admin.path().trim_end_matches('/').to_owned(),
        })
    }

    /// Returns the JSON at `path`, which begins with `/api`.
    pub(super) async fn get(&self, path: &str) -> Result<Value, ApiError> {
        let reply = self.call(Method::GET, path, None).await?;
        self.json(reply).await
    }

    /// Returns the response to `body`, posted to `path`.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, ApiError> {
        let body = Bytes::from(body.to_string());
        let reply = self.call(Method::POST, path, Some(body)).await?;
        self.json(reply).await
    }

    /// Deletes the resource at `path`, and returns the response.
    pub(super) async fn delete(&self, path: &str) -> Result<Value, ApiError> {
        let reply = self.call(Method::DELETE, path, None).await?;
        self.json(reply).await
    }

    /// Returns the bytes at `path`.
    pub(super) async fn download(&self, path: &str) -> Result<Vec<u8>, ApiError> {
        let reply = self.call(Method::GET, path, None).await?;
        reply.body(MAX_CAPTURE).await.map_err(ApiError::NoResponse)
    }

    /// Opens the event stream at `path`.
    pub(super) async fn open_stream(&self, path: &str) -> Result<Reply, ApiError> {
        let reply = self.call(Method::GET, path, None).await?;
        self.expect_type(&reply.headers, "text/event-stream")?;
        Ok(reply)
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Reply, ApiError> {
        let framing = match body {
            Some(_) => Framing::Length,
            None => Framing::NoBody,
        };
        let mut request = Request::new(body.unwrap_or_default());
        *request.method_mut() = method;
        // The path has only characters of a URI: `segment` and `query` escape the others.
        let uri = format!("{}{path}", self.base).parse();
        *request.uri_mut() = uri.map_err(|_| self.not_the_api("a path that is no URI"))?;
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        let reply = self.client.send(&request, framing).await;
        let reply = reply.map_err(ApiError::NoResponse)?;
        match reply.status.is_success() {
            true => Ok(reply),
            false => Err(self.problem(reply).await),
        }
    }

    async fn json(&self, reply: Reply) -> Result<Value, ApiError> {
        self.expect_type(&reply.headers, "application/json")?;
        let body = reply.body(MAX_JSON).await.map_err(ApiError::NoResponse)?;
        serde_json::from_slice(&body).map_err(|_| self.not_the_api("text that is no JSON"))
    }

    /// Returns the error of an unsuccessful response.
    async fn problem(&self, reply: Reply) -> ApiError {
        let status = reply.status;
        if !has_type(&reply.headers, "application/problem+json") {
            return self.not_the_api(&format!("status {status}"));
        }
        let retry_after = reply.headers.get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        // Without a body, the status says enough.
        let body = reply.body(MAX_PROBLEM).await.unwrap_or_default();
        let body: ProblemBody = serde_json::from_slice(&body).unwrap_or_default();
        ApiError::Refused(Problem {
            status,
            retry_after,
            title: body.title,
            detail: body.detail,
        })
    }

    fn expect_type(&self, headers: &HeaderMap, expected: &str) -> Result<(), ApiError> {
        match has_type(headers, expected) {
            true => Ok(()),
            false => Err(self.not_the_api("a response of another type")),
        }
    }

    fn not_the_api(&self, found: &str) -> ApiError {
        ApiError::NotTheApi {
            address: self.address.clone(),
            found: found.to_owned(),
        }
    }
}

/// Whether the `content-type` is `expected`, with or without parameters.
fn has_type(headers: &HeaderMap, expected: &str) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(expected))
}

/// Returns `text` as a segment of a path, or as a value of a query.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

/// Returns `path` with a query that has the parameters with a value.
pub(super) fn with_query<'q>(
    path: &str,
    parameters: impl IntoIterator<Item = (&'q str, Option<&'q str>)>,
) -> String {
    let parameters = parameters.into_iter().filter_map(|(name, value)| {
        let value = value.filter(|value| !value.is_empty())?;
        Some(format!("{name}={}", escaped(value)))
    });
    let query: Vec<String> = parameters.collect();
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{}", query.join("&")),
    }
}

/// Reads a response of the API into a type.
///
/// # Errors
///
/// Returns an error if the gateway has another version of the API.
pub(super) fn read<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| {
        Error::new(format!(
            "the gateway's response has another form than expected ({error}); use the version of \
             hookgate that the gateway has"
        ))
    })
}

impl Problem {
    /// Returns what to do about the status, where the detail cannot know it.
    fn advice(&self) -> Option<String> {
        let advice = match self.status {
            StatusCode::UNAUTHORIZED => {
                "check that --token names a token of [inspector] in the gateway's configuration"
            }
            StatusCode::FORBIDDEN if self.detail.raw().is_empty() => {
                "resend and forget need a token with may = \"act\", and a host name in --admin \
                 must be in `hosts` of [inspector]"
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                let seconds = self.retry_after?;
                return Some(format!("try again in {seconds} s"));
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.status {
            StatusCode::UNAUTHORIZED => "the gateway refused the token",
            StatusCode::FORBIDDEN => "the gateway does not allow this",
            StatusCode::NOT_FOUND => "not found",
            StatusCode::CONFLICT => "not possible",
            StatusCode::TOO_MANY_REQUESTS => "too many wrong tokens from this address",
            _ => "the gateway reports an error",
        };
        write!(f, "{what} (status {})", self.status.as_u16())?;
        let detail = [&self.detail, &self.title]
            .into_iter()
            .find(|text| !text.raw().is_empty());
        if let Some(detail) = detail {
            write!(f, ": {detail}")?;
        }
        match self.advice() {
            Some(advice) => write!(f, "; {advice}"),
            None => Ok(()),
        }
    }
}

impl Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoResponse(error @ ClientError::Unreachable { .. }) => write!(
                f,
                "{error}; is the gateway running, has it a table [inspector], and is --admin its \
                 address `server.admin`?"
            ),
            Self::NoResponse(error) => error.fmt(f),
            Self::NotTheApi { address, found } => write!(
                f,
                "{address} has no inspector API: {found}; has the gateway a table [inspector], \
                 and is --admin its address `server.admin`?"
            ),
            Self::Refused(problem) => problem.fmt(f),
        }
    }
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::new(error)
    }
}
