//! Asks an HTTP service for the secrets of a tenant.
//!
//! The answer is `{"secrets": ["…"]}` with the status 200. The statuses 404 and 410, and another name
//! in the member `tenant`, say that there is no such tenant. Everything else is an error, and the delivery is refused with 503.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use hookgate_core::{MAX_KEYS, Secret, SecretError};
use hookgate_keys::{
    Address, AddressPolicy, DocumentRequest, FetchDocument as _, FetchError, HttpsClient, TlsError,
};
use http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use tokio::time::timeout;

use super::lookup_limit::{LookupFor, LookupLimit};
use crate::config::{ResolverConfig, with_tenant};

/// The largest answer, in bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// The client of a resolver.
#[derive(Debug)]
pub(super) struct Resolver {
    url: String,
    pub(super) ttl: Duration,
    pub(super) negative_ttl: Duration,
    timeout: Duration,
    headers: HeaderMap,
    client: HttpsClient,
    requests: LookupLimit,
}

/// Why a resolver has not answered whether a tenant exists.
#[derive(Debug)]
pub(super) enum ResolveError {
    Fetch(FetchError),
    TimedOut,
    /// The answer is not as expected. Its text may be a secret, so it is not shown.
    Malformed,
    Secret(SecretError),
}

/// The body of an answer. Other members are ignored.
#[derive(Deserialize)]
struct Answer {
    /// The tenant that has the secrets. A service that ignores case finds it by another name.
    tenant: Option<String>,
    secrets: Vec<String>,
}

impl Resolver {
    /// Creates the client.
    ///
    /// # Errors
    ///
    /// Returns [`TlsError`] if the roots of the web cannot be used.
    pub(super) fn new(config: &ResolverConfig) -> Result<Self, TlsError> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(USER_AGENT, HeaderValue::from_static("hookgate"));
        let token = config.token.as_ref().and_then(Secret::text);
        // The configuration has checked that the token has visible ASCII characters only.
        if let Some(mut value) =
            token.and_then(|token| HeaderValue::try_from(format!("Bearer {token}")).ok())
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(Self {
            url: config.url.clone(),
            ttl: config.ttl,
            negative_ttl: config.negative_ttl,
            timeout: config.timeout,
            headers,
            // The operator has written the address, so it may lead into the own network.
            client: HttpsClient::new(AddressPolicy::Any, None)?.reusing_connections(),
            requests: LookupLimit::new(),
        })
    }

    /// Returns the secrets of `tenant`. `None` if there is no such tenant.
    ///
    /// # Errors
    ///
    /// Returns [`ResolveError`] if there is no answer within the time limit, or none that counts.
    pub(super) async fn resolve(
        &self,
        tenant: &str,
        lookup: LookupFor,
    ) -> Result<Option<Vec<Secret>>, ResolveError> {
        let answer = timeout(self.timeout, self.fetch(tenant, lookup)).await;
        let document = match answer.map_err(|_elapsed| ResolveError::TimedOut)? {
            Ok(document) => document,
            Err(FetchError::Status(StatusCode::NOT_FOUND | StatusCode::GONE)) => return Ok(None),
            Err(error) => return Err(ResolveError::Fetch(error)),
        };
        parse(&document, tenant)
    }

    async fn fetch(&self, tenant: &str, lookup: LookupFor) -> Result<bytes::Bytes, FetchError> {
        let _permit = self.requests.acquire(lookup).await;
        let address = Address::parse(&with_tenant(&self.url, tenant));
        let address = address.ok_or(FetchError::AddressRefused)?;
        let mut request = DocumentRequest::get(address);
        request.headers = self.headers.clone();
        request.max_len = MAX_ANSWER;
        Ok(self.client.fetch(&request).await?.body)
    }
}

/// Reads the secrets in an answer for `name`. Returns `None` if they are those of another tenant.
fn parse(body: &[u8], name: &str) -> Result<Option<Vec<Secret>>, ResolveError> {
    let Answer { tenant, secrets } =
        serde_json::from_slice(body).map_err(|_error| ResolveError::Malformed)?;
    if tenant.is_some_and(|tenant| tenant != name) {
        return Ok(None);
    }
    if !(1..=MAX_KEYS).contains(&secrets.len()) {
        return Err(ResolveError::Malformed);
    }
    let secrets = secrets.into_iter();
    let secrets = secrets.map(|text| Secret::new(text).map_err(ResolveError::Secret));
    secrets.collect::<Result<_, _>>().map(Some)
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetch(_) => "the resolver gives no usable response",
            Self::TimedOut => "the resolver did not respond in time",
            Self::Malformed => {
                "the response of the resolver is malformed; expected {\"secrets\": [\"…\"]} with \
                 one to eight secrets"
            }
            Self::Secret(_) => "the resolver returned a secret that cannot be used",
        })
    }
}

impl Error for ResolveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Fetch(error) => Some(error),
            Self::Secret(error) => Some(error),
            Self::TimedOut | Self::Malformed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_one_to_eight_secrets() {
        let secret = r#""9d2c47aa01e85f63""#;
        for (body, expected) in [
            (format!(r#"{{"secrets": [{secret}]}}"#), Some(1)),
            (
                format!(r#"{{"tenant": "a", "secrets": [{secret}, {secret}]}}"#),
                Some(2),
            ),
            (
                format!(r#"{{"secrets": [{}]}}"#, [secret; 8].join(",")),
                Some(8),
            ),
            (
                format!(r#"{{"secrets": [{}]}}"#, [secret; 9].join(",")),
                None,
            ),
            (r#"{"secrets": []}"#.to_owned(), None),
            (r#"{"secrets": [""]}"#.to_owned(), None),
            (r#"{"secrets": ["${X}"]}"#.to_owned(), None),
            (r#"{"secrets": [7]}"#.to_owned(), None),
            (format!(r#"{{"secrets": {secret}}}"#), None),
            (
                format!(r#"{{"secrets": [{secret}], "secrets": [{secret}]}}"#),
                None,
            ),
            (format!("[{secret}]"), None),
            ("9d2c47aa01e85f63".to_owned(), None),
            (String::new(), None),
            ("{}".to_owned(), None),
            ("[".repeat(60_000), None),
        ] {
            let parsed = parse(body.as_bytes(), "a").ok().flatten();
            let parsed = parsed.map(|secrets| secrets.len());
            assert_eq!(parsed, expected, "{}", &body[..body.len().min(80)]);
        }
    }

    #[test]
    fn the_secrets_of_another_name_are_those_of_no_tenant() {
        let body = br#"{"tenant": "acme", "secrets": ["9d2c47aa01e85f63"]}"#;
        for (name, is_known) in [("acme", true), ("ACME", false), ("acm", false)] {
            let found = parse(body, name).expect("the answer is well-formed");
            assert_eq!(found.is_some(), is_known, "{name}");
        }
        let malformed = parse(br#"{"tenant": 7, "secrets": ["9d2c47aa01e85f63"]}"#, "acme");
        assert!(matches!(malformed, Err(ResolveError::Malformed)));
    }
}
