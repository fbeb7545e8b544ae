//! The deliveries of the demonstration, each with its expected verdict.

use std::fmt;
use std::time::Duration;

use hookgate_core::{Secret, Signer, UnixTime};
use hookgate_gate::Clock;
use http::{HeaderMap, StatusCode};

use super::super::Error;
use super::super::client::{Client, Framing};
use super::super::sign::post;
use super::upstream::Upstream;
use super::{DemoProvider, wait_for_new_second};

const MIB: usize = 1024 * 1024;

/// One delivery of the demonstration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Case {
    Good,
    Duplicate,
    Forged,
    Tampered,
    Stale,
    Future,
    Unsigned,
    UpstreamFails,
    Retry,
    OneMebibyte,
    Chunked,
}

/// The result of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    status: StatusCode,
    duplicate: bool,
    /// How many times the upstream received the delivery.
    forwarded: usize,
    /// Whether the upstream received other bytes than were sent.
    altered: bool,
}

impl Case {
    pub(super) fn all() -> [Self; 11] {
        use Case::*;
        [
            Good,
            Duplicate,
            Forged,
            Tampered,
            Stale,
            Future,
            Unsigned,
            UpstreamFails,
            Retry,
            OneMebibyte,
            Chunked,
        ]
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Duplicate => "duplicate",
            Self::Forged => "forged signature",
            Self::Tampered => "tampered body",
            Self::Stale => "signed 301 s ago",
            Self::Future => "signed 301 s ahead",
            Self::Unsigned => "unsigned",
            Self::UpstreamFails => "upstream fails",
            Self::Retry => "retry after failure",
            Self::OneMebibyte => "1 MiB body",
            Self::Chunked => "chunked body",
        }
    }

    pub(super) fn expected(self) -> Verdict {
        let verdict = |status, duplicate, forwarded| Verdict {
            status,
            duplicate,
            forwarded,
            altered: false,
        };
        match self {
            Self::Good | Self::Retry | Self::OneMebibyte | Self::Chunked => {
                verdict(StatusCode::NO_CONTENT, false, 1)
            }
            Self::UpstreamFails => verdict(StatusCode::INTERNAL_SERVER_ERROR, false, 1),
            Self::Duplicate => verdict(StatusCode::OK, true, 0),
            Self::Forged | Self::Tampered | Self::Stale | Self::Future | Self::Unsigned => {
                verdict(StatusCode::UNAUTHORIZED, false, 0)
            }
        }
    }

    pub(super) async fn run(
        self,
        provider: &DemoProvider,
        client: &Client,
        upstream: &Upstream,
        clock: &dyn Clock,
    ) -> Result<Verdict, Error> {
        if self == Self::Future {
            // If the second ends before the gateway checks the timestamp, the delivery is 300 s
            // ahead, which is inside the window.
            wait_for_new_second(clock);
        }
        let mut body = self.body();
        let headers = self.headers(provider, &body, clock.now())?;
        match self {
            Self::Tampered => body.push(b' '),
            Self::UpstreamFails => upstream.fail_next(),
            _ => {}
        }
        let framing = match self {
            Self::Chunked => Framing::Chunked(7),
            _ => Framing::Length,
        };
        let mut request = post(body.clone().into());
        *request.uri_mut() = provider.path().parse().map_err(Error::new)?;
        *request.headers_mut() = headers;
        let reply = client.send(&request, framing).await?;
        let received = upstream.take_received();
        Ok(Verdict {
            status: reply.status,
            duplicate: reply
                .headers
                .get("hookgate-outcome")
                .is_some_and(|o| o == "duplicate"),
            forwarded: received.len(),
            altered: received.iter().any(|received| *received != body),
        })
    }

    /// Returns the event id. Two cases with the same id are two deliveries of one event.
    fn event_id(self) -> String {
        let number = match self {
            Self::Good | Self::Duplicate => 1,
            Self::UpstreamFails | Self::Retry => 2,
            other => other as u32 + 10,
        };
        format!("evt_{number}")
    }

    fn body(self) -> Vec<u8> {
        let id = self.event_id();
        let mut body = serde_json::json!({ "id": id, "type": "demo", "event": "demo" }).to_string();
        if self == Self::OneMebibyte {
            let padding = MIB - body.len() - r#","data":"""#.len();
            body.truncate(body.len() - 1);
            body.push_str(&format!(r#","data":"{}"}}"#, "x".repeat(padding)));
        }
        body.into_bytes()
    }

    fn headers(
        self,
        provider: &DemoProvider,
        body: &[u8],
        now: UnixTime,
    ) -> Result<HeaderMap, Error> {
        const OUTSIDE: Duration = Duration::from_secs(301);
        let at = match self {
            Self::Stale => now.minus(OUTSIDE),
            Self::Future => now.plus(OUTSIDE),
            _ => now,
        };
        let id = self.event_id();
        let mut headers = provider
            .signer
            .sign(body, at, Some(&id))
            .map_err(Error::new)?;
        match self {
            Self::Forged => {
                // The signature is well-formed, and its key is not the configured one.
                headers = forge(provider, body, at, &id)?;
            }
            Self::Unsigned => headers.clear(),
            _ => {}
        }
        Ok(headers)
    }
}

/// Signs the delivery with a different secret.
fn forge(provider: &DemoProvider, body: &[u8], at: UnixTime, id: &str) -> Result<HeaderMap, Error> {
    let other = Secret::new(format!("whsec_{}", "forgery0".repeat(4))).map_err(Error::new)?;
    let signer = Signer::new(provider.entry.scheme(), &other).map_err(Error::with_causes)?;
    signer.sign(body, at, Some(id)).map_err(Error::with_causes)
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status.as_u16())?;
        if self.duplicate {
            f.write_str(" duplicate")?;
        }
        match self.forwarded {
            0 => f.write_str(", not forwarded"),
            1 => f.write_str(", forwarded once"),
            times => write!(f, ", forwarded {times} times"),
        }?;
        if self.altered {
            f.write_str(", altered")
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_large_body_has_the_size_of_its_name() {
        assert_eq!(Case::OneMebibyte.body().len(), MIB);
        assert!(serde_json::from_slice::<serde_json::Value>(&Case::OneMebibyte.body()).is_ok());
    }
}
