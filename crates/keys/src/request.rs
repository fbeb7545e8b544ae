//! The request for a document: its body, its credentials and its access token.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hookgate_core::UnixTime;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::address::Address;
use crate::fetch::{DocumentRequest, FetchError};
use crate::fetcher::{LoadError, Shared};
use crate::target::Target;

/// The time before the end of an access token at which a new one is asked for.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);

impl Shared {
    /// Returns the request for the document of `target`.
    pub(crate) async fn request(
        &self,
        target: &Target,
        now: UnixTime,
    ) -> Result<DocumentRequest, LoadError> {
        let mut request = with_headers(DocumentRequest::get(target.address.clone()));
        if !self.rule.body.is_empty() {
            let members = self.rule.body.iter().map(|(name, value)| {
                let credential = value
                    .strip_prefix('{')
                    .and_then(|rest| rest.strip_suffix('}'));
                let value = match credential {
                    Some("key") => &*target.key,
                    Some(name) => self.credential(name),
                    None => value,
                };
                (name.clone(), Value::from(value))
            });
            let body = Value::Object(members.collect::<Map<_, _>>());
            request.method = Method::POST;
            request.body = body.to_string().into();
            let json = HeaderValue::from_static("application/json");
            request.headers.insert(CONTENT_TYPE, json);
        }
        if let Some((address, scope)) = &self.pins.token {
            let token = match self.known_token(now) {
                Some(token) => token,
                None => self.fetch_token(address, scope.as_deref(), now).await?,
            };
            let value = sensitive(format!("Bearer {token}"))?;
            request.headers.insert(AUTHORIZATION, value);
        }
        Ok(request)
    }

    fn credential(&self, name: &str) -> &str {
        self.pins.credentials.get(name).map_or("", String::as_str)
    }

    /// Asks for an access token by client credentials (RFC 6749 §4.4).
    async fn fetch_token(
        &self,
        address: &Address,
        scope: Option<&str>,
        now: UnixTime,
    ) -> Result<String, LoadError> {
        let mut request = with_headers(DocumentRequest::get(address.clone()));
        let [id, secret] = ["client_id", "client_secret"].map(|name| self.credential(name));
        let basic = STANDARD.encode(format!("{id}:{secret}"));
        request
            .headers
            .insert(AUTHORIZATION, sensitive(format!("Basic {basic}"))?);
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        request.headers.insert(CONTENT_TYPE, form);
        request.method = Method::POST;
        let mut body = "grant_type=client_credentials".to_owned();
        if let Some(scope) = scope {
            body.push_str("&scope=");
            body.extend(utf8_percent_encode(scope, NON_ALPHANUMERIC));
        }
        request.body = body.into();
        let response = self.client.fetch(&request).await;
        let response = response.map_err(TokenError::Fetch)?;
        let response: Value =
            serde_json::from_slice(&response.body).map_err(|_| TokenError::Malformed)?;
        let token = response.get("access_token").and_then(Value::as_str);
        let token = token.ok_or(TokenError::Malformed)?;
        let lifetime = response.get("expires_in").and_then(Value::as_u64);
        let lifetime = Duration::from_secs(lifetime.unwrap_or(0).min(24 * 3600));
        let end = now.plus(lifetime.saturating_sub(TOKEN_MARGIN));
        self.keep_token(token, end);
        Ok(token.to_owned())
    }
}

fn with_headers(mut request: DocumentRequest) -> DocumentRequest {
    let headers: &mut HeaderMap = &mut request.headers;
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    headers.insert(USER_AGENT, HeaderValue::from_static("hookgate"));
    request
}

/// Returns the value of a header that logs must not show.
fn sensitive(text: String) -> Result<HeaderValue, TokenError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| TokenError::Malformed)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Why there is no access token.
#[derive(Debug)]
pub(crate) enum TokenError {
    /// The token endpoint gives no response, or refuses the credentials.
    Fetch(FetchError),
    /// The response has no token, or a token that cannot be sent.
    Malformed,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fetch(_) => "the token endpoint gives no access token",
            Self::Malformed => "the response of the token endpoint has no usable access token",
        })
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Fetch(cause) => Some(cause),
            Self::Malformed => None,
        }
    }
}
