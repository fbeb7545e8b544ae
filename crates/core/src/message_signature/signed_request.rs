//! The values of the components of a request (RFC 9421 §2.1, §2.2).

use std::borrow::Cow;
use std::cell::OnceCell;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderName, Uri};

use super::address::{Address, normalize};
use super::component::Component;
use super::dictionary;
use super::query::{QueryParams, canonical, query_params};
use crate::error::VerifyError;
use crate::head::Head;
use crate::scheme::lookup::{LookupError, exactly_one};

/// A request whose components a signature covers.
pub(super) struct SignedRequest<'r> {
    head: Head<'r>,
    address: Option<&'r Address>,
    query: OnceCell<Result<QueryParams<'r>, VerifyError>>,
}

impl<'r> SignedRequest<'r> {
    pub(super) fn new(head: Head<'r>, address: Option<&'r Address>) -> Self {
        Self {
            head,
            address,
            query: OnceCell::new(),
        }
    }

    /// Returns the value of `component`: one line of ASCII.
    ///
    /// # Errors
    ///
    /// Returns a `Field…` error if the request does not have the component, or has it malformed or
    /// repeated.
    pub(super) fn value(&self, component: &Component) -> Result<Cow<'r, str>, VerifyError> {
        let uri = self.head.uri;
        let value = match component {
            Component::Field(name) => return self.field(name).map(Cow::Owned),
            Component::Method => Cow::Borrowed(self.head.method.as_str()),
            Component::Authority => self.authority()?,
            Component::Scheme => Cow::Borrowed(self.address()?.scheme),
            Component::TargetUri => {
                let Address { scheme, authority } = self.address()?;
                Cow::Owned(format!("{scheme}://{authority}{}", origin_form(uri)?))
            }
            Component::RequestTarget => Cow::Owned(origin_form(uri)?),
            Component::Path => Cow::Borrowed(path(uri)?),
            // An absent query and an empty query have the same value (§2.2.7).
            Component::Query => Cow::Owned(format!("?{}", uri.query().unwrap_or_default())),
            Component::QueryParam(name) => Cow::Owned(self.query_param(name.as_str())?),
        };
        if value.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(value)
        } else {
            Err(VerifyError::FieldMalformed)
        }
    }

    fn field(&self, name: &HeaderName) -> Result<String, VerifyError> {
        let value =
            dictionary::combined_value(self.head.headers, name).ok_or(VerifyError::FieldMissing)?;
        String::from_utf8(value)
            .ok()
            .filter(|value| value.is_ascii())
            .ok_or(VerifyError::FieldMalformed)
    }

    fn address(&self) -> Result<&'r Address, VerifyError> {
        self.address.ok_or(VerifyError::FieldMissing)
    }

    /// Returns the configured authority, or else the authority of the request. The scheme of the
    /// request is unknown, so the default port of either scheme is removed.
    fn authority(&self) -> Result<Cow<'r, str>, VerifyError> {
        if let Some(address) = self.address {
            return Ok(Cow::Borrowed(&address.authority));
        }
        let host = match exactly_one(self.head.headers.get_all(HOST).iter()) {
            Ok(host) => {
                let host = Authority::try_from(host.as_bytes()).ok();
                let host = host.and_then(|host| normalize(&host, None));
                Some(host.ok_or(VerifyError::FieldMalformed)?)
            }
            Err(LookupError::Missing) => None,
            Err(error) => return Err(error.into()),
        };
        let uri = match self.head.uri.authority() {
            Some(authority) => Some(normalize(authority, None).ok_or(VerifyError::FieldMalformed)?),
            None => None,
        };
        match (uri, host) {
            // RFC 9113 §8.3.1: a request that names two different hosts is malformed.
            (Some(uri), Some(host)) if uri != host => Err(VerifyError::FieldMalformed),
            (Some(authority), _) | (None, Some(authority)) => Ok(Cow::Owned(authority)),
            (None, None) => Err(VerifyError::FieldMissing),
        }
    }

    fn query_param(&self, name: &str) -> Result<String, VerifyError> {
        let query = self.head.uri.query().unwrap_or_default();
        let params = self.query.get_or_init(|| query_params(query));
        match params.as_ref().map_err(|error| *error)?.get(name) {
            Some(Some(value)) => canonical(value),
            // §2.2.8: a signature must not cover a name that occurs more than once.
            Some(None) => Err(VerifyError::FieldRepeated),
            None => Err(VerifyError::FieldMissing),
        }
    }
}

/// Returns the path. The target `*` and the target of CONNECT have none.
fn path(uri: &Uri) -> Result<&str, VerifyError> {
    Some(uri.path())
        .filter(|path| path.starts_with('/'))
        .ok_or(VerifyError::FieldMissing)
}

/// Returns the path and query as in the request line of HTTP/1.1 and in `:path` of HTTP/2.
fn origin_form(uri: &Uri) -> Result<String, VerifyError> {
    let mut target = path(uri)?.to_owned();
    if let Some(query) = uri.query() {
        target.push('?');
        target.push_str(query);
    }
    Ok(target)
}
