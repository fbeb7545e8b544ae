//! Counts how often the application has run for an event.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::cli::Error;
use crate::cli::client::{Client, Framing, Trust};

/// The place of the event id in the URL.
const ID: &str = "{id}";

/// The characters of an id that a URL does not have as they are (RFC 3986 §2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');

/// The longest response to read.
const MAX_RESPONSE: usize = 64;

/// How often a count is read that is still too low, and the pause before each reading. A receiver
/// with a queue runs the application after its response.
const READINGS: usize = 40;
const PAUSE: Duration = Duration::from_millis(125);

/// Asks the application for the number of its runs.
pub(super) struct Runs {
    client: Client,
    url: String,
}

impl Runs {
    /// Creates a counter for a URL that contains `{id}`.
    pub(super) fn new(url: &str, trust: &Trust) -> Result<Self, Error> {
        if !url.contains(ID) {
            return Err(Error::new(format!(
                "--runs: expected a URL that contains {ID}, such as http://127.0.0.1:3000/runs/{ID}"
            )));
        }
        let client = Client::new(&uri(url, "id")?, "--runs", trust)?;
        let url = url.to_owned();
        Ok(Self { client, url })
    }

    /// Returns the number of runs of the event `id`. Waits for some seconds until there are
    /// `expected`.
    pub(super) async fn count(&self, id: &str, expected: u64) -> Result<u64, Error> {
        let mut count = self.read(id).await?;
        for _ in 0..READINGS {
            if count >= expected {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            count = self.read(id).await?;
        }
        Ok(count)
    }

    async fn read(&self, id: &str) -> Result<u64, Error> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = uri(&self.url, id)?;
        let reply = self.client.send(&request, Framing::NoBody).await;
        let reply = reply.map_err(|error| Error::new(format!("--runs: {error}")))?;
        let status = reply.status;
        let body = reply.body(MAX_RESPONSE).await;
        let body = body.map_err(|error| Error::new(format!("--runs: {error}")))?;
        let text = String::from_utf8_lossy(&body);
        match text.trim().parse() {
            Ok(count) if status.is_success() => Ok(count),
            _ => Err(Error::new(format!(
                "--runs: the response is {status} with {text:?}; expected 200 and a number"
            ))),
        }
    }
}

fn uri(url: &str, id: &str) -> Result<Uri, Error> {
    let id = utf8_percent_encode(id, RESERVED).to_string();
    let uri = url.replace(ID, &id).parse();
    uri.map_err(|error| Error::new(format!("--runs: {error}")))
}
