//! Values of a delivery's head, by location and by placeholder.

use std::borrow::Cow;

use http::HeaderName;

use super::endpoint::Port;
use super::jwt::Claims;
use super::lookup::{LookupResult, form_field, param};
use super::settings::SchemeSettings;
use crate::head::Head;
use crate::message_signature::{MessageSignature, trim_ows};
use crate::scheme::location::{Item, Location, form_fields};
use crate::scheme::lookup::{LookupError, exactly_one};
use crate::scheme::template::Variable;
use crate::scheme::{Plan, SignatureKind};

/// Most headers that an item of a signature may list.
const MAX_LISTED_HEADERS: usize = 64;

/// The form of the message, if the provider may sign one of two forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The configured port, and each value as it is.
    AsWritten,
    /// The other port, and values of either case in lower case.
    Changed,
}

/// The known values of a delivery before its body has arrived.
#[derive(Clone, Copy)]
pub(super) struct HeadView<'h> {
    pub(super) head: Head<'h>,
    pub(super) settings: &'h SchemeSettings,
    /// The list in the signature header, from which `sig:` reads.
    pub(super) list: Option<&'h [u8]>,
    pub(super) claims: Option<&'h Claims>,
    /// The message signature (RFC 9421). Its parameters are the values of `sig:`.
    pub(super) signature: Option<&'h MessageSignature>,
    pub(super) reading: Reading,
    /// The text of the timestamp, if it was looked up before.
    pub(super) timestamp: Option<&'h [u8]>,
    /// The text of the event id, if it was looked up before.
    pub(super) id: Option<&'h [u8]>,
    /// The plan that verifies the delivery. `None` for a handshake.
    pub(super) plan: Option<&'h Plan>,
}

impl<'h> HeadView<'h> {
    /// Creates a view of a request that may be a handshake or a delivery of any plan.
    pub(super) fn new(head: Head<'h>, settings: &'h SchemeSettings) -> Self {
        Self {
            head,
            settings,
            list: None,
            claims: None,
            signature: None,
            reading: Reading::AsWritten,
            timestamp: None,
            id: None,
            plan: None,
        }
    }

    /// Looks up the value at `location`.
    pub(super) fn at(&self, location: &Location) -> LookupResult<'h> {
        match location {
            Location::Header(name) => self.header(name),
            Location::Query(name) => {
                let query = self.head.uri.query().unwrap_or_default();
                form_field(query.as_bytes(), name)
            }
            Location::Signature(item) => match self.signature {
                Some(signature) => signature_parameter(signature, item),
                None => self.item(item),
            },
            Location::Claim(name) => {
                let claim = self.claims.and_then(|claims| claims.text(name));
                claim
                    .map(|text| text.into_bytes().into())
                    .ok_or(LookupError::Missing)
            }
            Location::Jose(name) => {
                let member = self.claims.and_then(|claims| claims.header_text(name));
                member
                    .map(|text| text.into_bytes().into())
                    .ok_or(LookupError::Missing)
            }
            Location::Param(name) => param(&self.settings.params, name),
            Location::UnsignedQuery => Ok(self.unsigned_query().into()),
            Location::Method => Ok(self.head.method.as_str().as_bytes().into()),
            Location::Form(_) | Location::Multipart(_) | Location::Json(_) => {
                Err(LookupError::Missing)
            }
        }
    }

    fn header(&self, name: &HeaderName) -> LookupResult<'h> {
        let value = exactly_one(self.head.headers.get_all(name).iter())?.as_bytes();
        // A message signature covers the trimmed value (RFC 9421 §2.1), but HTTP/2 keeps blanks
        // around a value. Blanks that an attacker adds must not change the event id.
        let is_trimmed = self
            .plan
            .is_some_and(|plan| matches!(plan.kind, SignatureKind::MessageSignature(_)));
        Ok(Cow::Borrowed(match is_trimmed {
            true => trim_ows(value),
            false => value,
        }))
    }

    fn item(&self, item: &Item) -> LookupResult<'h> {
        let list = self.plan.and_then(|plan| plan.signature.list.as_ref());
        let list = list.ok_or(LookupError::Missing)?;
        list.item(self.list.ok_or(LookupError::Missing)?, item)
    }

    /// Looks up the value of the placeholder `variable`.
    pub(super) fn value(&self, variable: &Variable) -> LookupResult<'h> {
        match (variable, self.timestamp, self.id) {
            (Variable::Timestamp, Some(text), _) | (Variable::Id, _, Some(text)) => {
                return Ok(text.into());
            }
            _ => {}
        }
        let query = || self.head.uri.query();
        let endpoint = || self.settings.endpoint.as_ref().ok_or(LookupError::Missing);
        Ok(match variable {
            Variable::Timestamp => {
                let timestamp = self.plan.and_then(|plan| plan.timestamp.as_ref());
                return self.at(&timestamp.ok_or(LookupError::Missing)?.location);
            }
            Variable::Id => {
                let id = self.plan.and_then(|plan| plan.id.as_ref());
                let location = id.and_then(|id| id.locations.first());
                return self.at(location.ok_or(LookupError::Missing)?);
            }
            Variable::Method => Cow::Borrowed(self.head.method.as_str().as_bytes()),
            Variable::Url => {
                let rule = &self.plan.ok_or(LookupError::Missing)?.url;
                let url = endpoint()?.with_query(query(), self.port(), rule);
                url.into_bytes().into()
            }
            Variable::UrlBase => endpoint()?.base(self.port()).into_bytes().into(),
            Variable::Path => self.path().as_bytes().to_vec().into(),
            Variable::PathQuery => {
                let mut target = self.path().to_owned();
                if let Some(query) = query() {
                    target.push('?');
                    target.push_str(query);
                }
                target.into_bytes().into()
            }
            Variable::HeadersOf(item) => self.listed_headers(item)?.into(),
            Variable::JwsHeader => {
                let claims = self.claims.ok_or(LookupError::Missing)?;
                let header = claims.encoded_header.as_deref();
                header.ok_or(LookupError::Missing)?.to_vec().into()
            }
            Variable::HeaderLines(member) => self.header_lines(member)?.into(),
            Variable::At(location) => return self.at(location),
            Variable::EitherCase(location) => {
                let value = self.at(location)?;
                match self.reading {
                    Reading::AsWritten => value,
                    Reading::Changed => value.to_ascii_lowercase().into(),
                }
            }
            Variable::Body | Variable::FormSorted => return Err(LookupError::Missing),
        })
    }

    /// Returns the fields of the query that the plan does not read and the configured URL does
    /// not have.
    fn unsigned_query(&self) -> Vec<u8> {
        let read = self.plan.map(Plan::locations).unwrap_or_default();
        let is_read = |name: &[u8]| {
            read.iter()
                .any(|at| matches!(at, Location::Query(known) if known.as_bytes() == name))
        };
        let configured = self.settings.endpoint.as_ref();
        let configured = configured.and_then(|endpoint| endpoint.query.as_deref());
        let own: Vec<_> = form_fields(configured.unwrap_or_default().as_bytes()).collect();
        let query = self.head.uri.query().unwrap_or_default();
        form_fields(query.as_bytes())
            .filter(|field| !is_read(&field.0) && !own.contains(field))
            .flat_map(|(name, value)| [name, b"=".into(), value, b"&".into()].concat())
            .collect()
    }

    fn port(&self) -> Port {
        let toggles = self.plan.is_some_and(|plan| plan.url.toggle_port);
        match self.reading {
            Reading::Changed if toggles => Port::Toggled,
            _ => Port::AsConfigured,
        }
    }

    fn path(&self) -> &str {
        match &self.settings.endpoint {
            Some(endpoint) => endpoint.path(),
            None => self.head.uri.path(),
        }
    }

    /// Returns the names of the headers that `member` of the signature's header lists.
    pub(super) fn listed_names(
        &self,
        member: &str,
    ) -> Result<Vec<(String, HeaderName)>, LookupError> {
        let list = self.claims.and_then(|claims| claims.header_text(member));
        let mut names: Vec<(String, HeaderName)> = Vec::new();
        for text in list
            .unwrap_or_default()
            .split(',')
            .filter(|text| !text.is_empty())
        {
            let name = HeaderName::from_bytes(text.as_bytes()).ok();
            let name = name.ok_or(LookupError::Malformed)?;
            // Each header counts once, so the result is not longer than the head.
            let is_listed = names.iter().any(|(_, listed)| *listed == name);
            if names.len() == MAX_LISTED_HEADERS || is_listed {
                return Err(LookupError::Malformed);
            }
            names.push((text.to_owned(), name));
        }
        Ok(names)
    }

    /// Returns a line for each header that `member` of the signature's header lists, with the
    /// name as it is written there.
    fn header_lines(&self, member: &str) -> Result<Vec<u8>, LookupError> {
        let mut lines = Vec::new();
        for (text, name) in self.listed_names(member)? {
            lines.extend_from_slice(text.as_bytes());
            lines.extend_from_slice(b": ");
            let value = self.header(&name)?;
            // A field value has no line feed (RFC 9110 §5.5), so a line cannot end early.
            if value.contains(&b'\n') {
                return Err(LookupError::Malformed);
            }
            lines.extend_from_slice(&value);
            lines.push(b'\n');
        }
        Ok(lines)
    }

    /// Returns the values of the headers that `item` lists, with a dot between them.
    fn listed_headers(&self, item: &Item) -> Result<Vec<u8>, LookupError> {
        let mut names = Vec::new();
        let mut joined = Vec::new();
        for name in self.item(item)?.split(|byte| *byte == b' ') {
            let name = HeaderName::from_bytes(name).ok();
            let name = name.ok_or(LookupError::Malformed)?;
            // Each header counts once, so the result is not longer than the head.
            if names.len() == MAX_LISTED_HEADERS || names.contains(&name) {
                return Err(LookupError::Malformed);
            }
            if !names.is_empty() {
                joined.push(b'.');
            }
            joined.extend_from_slice(&self.header(&name)?);
            names.push(name);
        }
        Ok(joined)
    }
}

/// Looks up a parameter of a message signature.
fn signature_parameter<'s>(signature: &'s MessageSignature, item: &Item) -> LookupResult<'s> {
    let name = match item {
        Item::Name(name) => &**name,
        Item::Position(_) => return Err(LookupError::Missing),
    };
    let text = match name {
        "created" => signature
            .created
            .map(|created| Cow::Owned(created.secs().to_string().into_bytes())),
        "nonce" => signature
            .nonce
            .as_deref()
            .map(|text| text.as_bytes().into()),
        "keyid" => signature
            .keyid
            .as_deref()
            .map(|text| text.as_bytes().into()),
        _ => None,
    };
    text.ok_or(LookupError::Missing)
}
