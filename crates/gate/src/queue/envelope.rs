//! The envelope of an entry: the head of the request and the verified facts, as bytes.
//!
//! The envelope begins with the number of its format. The rest is the format of `postcard`.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;

use bytes::Bytes;
use hookgate_core::internal::{VerifiedFacts, restore_verified, verified_facts};
use hookgate_core::{Head, Verified};
use hookgate_queue::Entry;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};

use crate::source::Source;

/// The number of the format. Every change of [`Envelope`] needs another one.
const FORMAT: u8 = 1;

/// A request as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct QueuedRequest<'r> {
    /// The head of the request as it arrived.
    pub head: Head<'r>,
    /// The address of the client, if it is known.
    pub client: Option<IpAddr>,
    /// The scheme of the request: `http` or `https`.
    pub scheme: &'r str,
    /// The id of the request.
    pub request_id: &'r str,
}

/// A delivery that was stored, as it was verified. A worker sends it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RestoredDelivery {
    /// The method of the request.
    pub method: Method,
    /// The target of the request as it arrived.
    pub uri: Uri,
    /// The headers of the request.
    pub headers: HeaderMap,
    /// The verified facts and the body.
    pub verified: Verified,
    /// The address of the client, if it was known.
    pub client: Option<IpAddr>,
    /// The scheme of the request: `http` or `https`.
    pub scheme: Box<str>,
    /// The id of the request.
    pub request_id: Box<str>,
}

/// Error of an entry whose delivery cannot be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// A newer version of hookgate has stored the delivery, in the format with this number.
    NewerFormat(u8),
    /// The stored bytes are no delivery.
    Damaged,
}

#[derive(Serialize, Deserialize)]
struct Envelope<'e> {
    method: &'e str,
    uri: &'e str,
    headers: Vec<(&'e str, &'e [u8])>,
    client: Option<IpAddr>,
    scheme: &'e str,
    request_id: &'e str,
    facts: VerifiedFacts,
}

/// Returns the envelope of a delivery.
pub(super) fn seal(request: QueuedRequest<'_>, verified: &Verified) -> Bytes {
    let QueuedRequest {
        head,
        client,
        scheme,
        request_id,
    } = request;
    let uri = head.uri.to_string();
    let headers = head.headers.iter();
    let envelope = Envelope {
        method: head.method.as_str(),
        uri: &uri,
        headers: headers
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect(),
        client,
        scheme,
        request_id,
        facts: verified_facts(verified),
    };
    let sealed = postcard::to_extend(&envelope, vec![FORMAT]);
    sealed
        .expect("a vector grows, and each field can be written")
        .into()
}

/// Restores the delivery of `entry`, exactly as `source` has verified it.
///
/// The signature is not checked again: its key may be revoked by now, and its timestamp is old.
///
/// # Errors
///
/// Returns [`RestoreError::NewerFormat`] if a newer version has stored the delivery, and
/// [`RestoreError::Damaged`] if the stored bytes are no delivery.
pub fn restore(source: &Source, entry: &Entry) -> Result<RestoredDelivery, RestoreError> {
    let envelope = match entry.envelope.split_first() {
        Some((&FORMAT, envelope)) => envelope,
        Some((&format, _)) if format > FORMAT => return Err(RestoreError::NewerFormat(format)),
        _ => return Err(RestoreError::Damaged),
    };
    let envelope = postcard::from_bytes(envelope).map_err(|_| RestoreError::Damaged)?;
    open(source, envelope, entry.body.clone()).ok_or(RestoreError::Damaged)
}

fn open(source: &Source, envelope: Envelope<'_>, body: Bytes) -> Option<RestoredDelivery> {
    let mut headers = HeaderMap::with_capacity(envelope.headers.len());
    for (name, value) in envelope.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value).ok()?);
    }
    let scheme = source.verifier().scheme();
    Some(RestoredDelivery {
        method: Method::from_bytes(envelope.method.as_bytes()).ok()?,
        uri: envelope.uri.parse().ok()?,
        headers,
        verified: restore_verified(envelope.facts, scheme, body),
        client: envelope.client,
        scheme: envelope.scheme.into(),
        request_id: envelope.request_id.into(),
    })
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NewerFormat(format) => write!(
                f,
                "a newer version of hookgate has stored the delivery, in format {format}; this \
                 version reads formats up to {FORMAT}"
            ),
            Self::Damaged => f.write_str("the stored delivery is damaged"),
        }
    }
}

impl Error for RestoreError {}
