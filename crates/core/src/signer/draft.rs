//! A request that is being prepared for signing: all values that the scheme reads are inserted.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Uri, request};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::Value;

use super::{FORM, FieldsOf, SignError, Signer, SigningKey};
use crate::head::Head;
use crate::multipart::Boundary;
use crate::scheme::json::Pointer;
use crate::scheme::location::{Item, Location};
use crate::scheme::template::{self, IfAbsent, Variable};
use crate::scheme::{Plan, SignatureKind};
use crate::time::UnixTime;
use crate::verifier::SigningInput;

/// The part of a delivery that a requirement takes its value from. A value of the body is known
/// only when the body is complete.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum RequirementValue {
    OfHead,
    OfBody,
}

/// A request that is being prepared for signing.
pub(super) struct Draft<'s> {
    pub(super) signer: &'s Signer,
    pub(super) plan: &'s Plan,
    pub(super) key: &'s SigningKey,
    pub(super) parts: request::Parts,
    pub(super) body: Vec<u8>,
    /// Items of the list in the signature header, without the signatures.
    pub(super) items: Vec<(Item, String)>,
    /// The value to insert where the scheme needs any value.
    pub(super) invented: &'s str,
}

impl Draft<'_> {
    /// Changes the request so that the conditions of the variant hold.
    pub(super) fn apply_conditions(&mut self) -> Result<(), SignError> {
        let plan = self.plan;
        let read = plan.locations();
        for condition in &plan.when {
            match &condition.value {
                Some(value) => {
                    let item = condition.item.as_ref();
                    let value = item.map_or_else(|| value.clone(), |item| item.write(value));
                    self.insert(&condition.location, value.as_bytes())?;
                }
                // A later step inserts the values that the scheme reads.
                None if read.contains(&&condition.location) => {}
                None if self.has(&Variable::At(condition.location.clone())) => {}
                None => self.insert(&condition.location, self.invented.as_bytes())?,
            }
        }
        Ok(())
    }

    /// Checks the values that a verifier would refuse, whatever the signature is.
    pub(super) fn check(&self) -> Result<(), SignError> {
        let settings = &self.signer.settings;
        let after_url = settings
            .after_url(self.plan, self.parts.uri.query())
            .ok_or(SignError::QueryMismatch)?;
        if !self.plan.allows_body(&self.body) {
            return Err(SignError::BodyNotAllowed);
        }
        if !self.signing_input(None).has_valid_id() {
            return Err(SignError::IdMalformed);
        }
        match self.signing_input(None).allows_after_url(after_url) {
            true => Ok(()),
            false => Err(SignError::QueryMismatch),
        }
    }

    /// Inserts the event id, if the scheme signs one in the head.
    pub(super) fn insert_id(&mut self, id: Option<&str>) -> Result<(), SignError> {
        let Some(field) = self
            .plan
            .id
            .as_ref()
            .filter(|id| id.signed && !id.is_in_body())
        else {
            return Ok(());
        };
        for location in &field.locations {
            let elsewhere = matches!(
                location,
                Location::Claim(_) | Location::Jose(_) | Location::Signature(_)
            );
            if elsewhere || self.has(&Variable::At(location.clone())) {
                continue;
            }
            let id = id.ok_or(SignError::IdMissing)?;
            if !field.exclude.allow_id(id.as_bytes()) {
                return Err(SignError::IdMalformed);
            }
            self.insert(location, id.as_bytes())?;
        }
        Ok(())
    }

    /// Inserts the timestamp, unless a token or a message signature carries it.
    pub(super) fn insert_timestamp(&mut self, at: UnixTime) -> Result<(), SignError> {
        let Some(field) = &self.plan.timestamp else {
            return Ok(());
        };
        let text = field.unit.format(at);
        match &field.location {
            Location::Signature(item) => {
                if !matches!(self.plan.kind, SignatureKind::MessageSignature(_)) {
                    self.items.push((item.clone(), text));
                }
                Ok(())
            }
            Location::Claim(_) | Location::Jose(_) => Ok(()),
            location => self.insert(location, text.as_bytes()),
        }
    }

    /// Invents the values that the message still lacks. Values in `[ ]` may stay missing.
    pub(super) fn insert_missing_values(&mut self) -> Result<(), SignError> {
        let needed: Vec<_> = self
            .plan
            .message
            .required_placeholders()
            .filter(|value| value.absent == IfAbsent::Refuse)
            .collect();
        // The sender chooses the headers that it signs. Nearly all requests have this one.
        for value in &needed {
            if let Variable::HeadersOf(item) = &value.variable {
                self.items.push((item.clone(), CONTENT_TYPE.to_string()));
                let json = HeaderValue::from_static("application/json");
                self.parts.headers.entry(CONTENT_TYPE).or_insert(json);
            }
        }
        for value in needed {
            match &value.variable {
                Variable::At(Location::Signature(item)) => {
                    let exists = self.items.iter().any(|(other, _)| other == item);
                    if !exists {
                        self.items.push((item.clone(), self.invented.to_owned()));
                    }
                }
                Variable::At(location) | Variable::EitherCase(location)
                    if self.plan.each.is_none() && !self.has(&value.variable) =>
                {
                    let invented = self.invented;
                    self.insert(location, invented.as_bytes())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Invents the members of the body that claims of a token repeat.
    pub(super) fn insert_claimed_members(&mut self) -> Result<(), SignError> {
        let plan = self.plan;
        for equal in &plan.require {
            for location in template::locations(&equal.template) {
                if matches!(
                    (location, &equal.location),
                    (Location::Json(_), Location::Claim(_))
                ) && !self.has(&Variable::At(location.clone()))
                {
                    self.insert(location, self.invented.as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Invents the name of the key, if the provider publishes several.
    pub(super) fn insert_key_id(&mut self) -> Result<(), SignError> {
        let rule = self.signer.scheme.fetch_rule();
        for location in rule.into_iter().flat_map(|rule| rule.locations()) {
            let exists = match location {
                Location::Jose(_) => true,
                // The plan does not read this member, so a view does not find it.
                Location::Json(pointer) => serde_json::from_slice::<Value>(&self.body)
                    .is_ok_and(|body| body.pointer(&pointer.to_string()).is_some()),
                location => self.has(&Variable::At(location.clone())),
            };
            if !exists {
                self.insert(location, self.invented.as_bytes())?;
            }
        }
        Ok(())
    }

    /// Inserts the values that must equal another value of this part of the delivery.
    pub(super) fn apply_requirements(&mut self, of: RequirementValue) -> Result<(), SignError> {
        for equal in &self.plan.require {
            if (of == RequirementValue::OfBody) != equal.needs_body()
                || matches!(equal.location, Location::Claim(_) | Location::Jose(_))
                || self.has(&Variable::At(equal.location.clone()))
            {
                continue;
            }
            let value = self.signing_input(None).text(&equal.template)?;
            self.insert(&equal.location, &value)?;
        }
        Ok(())
    }

    /// Inserts the content type of a form, unless the request has one.
    pub(super) fn insert_content_type(&mut self) {
        if FieldsOf::plan(self.plan) == FieldsOf::Form {
            let form = HeaderValue::from_static(FORM);
            self.parts.headers.entry(CONTENT_TYPE).or_insert(form);
        }
    }

    /// Returns the draft as the input of a message. `list` is the list of the signature header,
    /// without the signatures.
    pub(super) fn signing_input<'d>(&'d self, list: Option<&'d str>) -> SigningInput<'d> {
        SigningInput {
            plan: self.plan,
            settings: &self.signer.settings,
            head: Head::from(&self.parts),
            list: list.map(str::as_bytes),
            claims: None,
            body: &self.body,
        }
    }

    fn has(&self, variable: &Variable) -> bool {
        self.signing_input(None).has(variable)
    }

    /// Inserts `value` at `location`.
    pub(super) fn insert(&mut self, location: &Location, value: &[u8]) -> Result<(), SignError> {
        match location {
            Location::Header(name) => {
                let value = HeaderValue::from_bytes(value).ok();
                let value = value.ok_or(SignError::FieldMalformed)?;
                self.parts.headers.insert(name.clone(), value);
            }
            Location::Query(name) => {
                let uri = &self.parts.uri;
                let separator = if uri.query().is_some() { '&' } else { '?' };
                let target = uri.path_and_query().map_or("/", |target| target.as_str());
                let field = form_field(name, value);
                let target = format!("{target}{separator}{field}").parse::<Uri>().ok();
                self.parts.uri = target.ok_or(SignError::FieldMalformed)?;
            }
            Location::Form(name) => {
                // A JSON body is replaced: no field can be added to it.
                if self.body.first() == Some(&b'{') {
                    self.body.clear();
                }
                if !self.body.is_empty() {
                    self.body.push(b'&');
                }
                self.body
                    .extend_from_slice(form_field(name, value).as_bytes());
            }
            Location::Multipart(name) => {
                let boundary = Boundary::of(&self.parts.headers).unwrap_or_else(|_| {
                    let (boundary, content_type) = Boundary::for_writing();
                    let content_type = HeaderValue::from_static(content_type);
                    self.parts.headers.insert(CONTENT_TYPE, content_type);
                    boundary
                });
                boundary.append(&mut self.body, name, value);
            }
            Location::Json(pointer) => self.insert_member(pointer, value)?,
            Location::Method => {
                let method = Method::from_bytes(value).ok();
                self.parts.method = method.ok_or(SignError::FieldMalformed)?;
            }
            Location::Signature(item) => {
                let value = String::from_utf8(value.to_vec()).ok();
                let value = value.ok_or(SignError::FieldMalformed)?;
                self.items.push((item.clone(), value));
            }
            Location::Claim(_)
            | Location::Jose(_)
            | Location::Param(_)
            | Location::UnsignedQuery => {
                return Err(SignError::FieldMalformed);
            }
        }
        Ok(())
    }

    fn insert_member(&mut self, pointer: &Pointer, value: &[u8]) -> Result<(), SignError> {
        let body = serde_json::from_slice(&self.body).ok();
        let mut body: Value = body.ok_or(SignError::BodyNotJson)?;
        let member = pointer.get_mut(&mut body).ok_or(SignError::BodyNotJson)?;
        let text = std::str::from_utf8(value).ok();
        let text = text.ok_or(SignError::FieldMalformed)?;
        *member = match text.parse::<i64>() {
            // Such a number is a time, which providers write without quotes.
            Ok(number) if number > 1_000_000_000 => number.into(),
            _ => text.into(),
        };
        self.body = body.to_string().into_bytes();
        Ok(())
    }
}

fn form_field(name: &str, value: &[u8]) -> String {
    format!(
        "{}={}",
        percent_encode(name.as_bytes(), NON_ALPHANUMERIC),
        percent_encode(value, NON_ALPHANUMERIC)
    )
}
