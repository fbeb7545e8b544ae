//! Signing as a provider does: for tests, demonstrations and `hookgate sign`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Map, Value};

use crate::error::{SecretError, VerifyError};
use crate::head::Head;
use crate::mac::{self, Algorithm, PrivateKey};
use crate::message_signature::{self, Component, Digests, Metadata, Policy};
use crate::scheme::field::Encoding;
use crate::scheme::json::Pointer;
use crate::scheme::location::{Item, Location};
use crate::scheme::signature::SignatureLocation;
use crate::scheme::template::{IfAbsent, Variable};
use crate::scheme::{Plan, Scheme, SignatureKind, field};
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::verifier::{BuildError, SchemeSettings, SigningInput, find_variant};

/// Signs deliveries of one scheme with one key.
#[derive(Clone, Debug)]
pub struct Signer {
    scheme: Scheme,
    plan: usize,
    settings: SchemeSettings,
    key: SigningKey,
}

#[derive(Clone, Debug)]
enum SigningKey {
    Mac(mac::Key),
    Private(PrivateKey),
    Token(Secret),
}

/// Builds a [`Signer`].
#[derive(Debug)]
pub struct SignerBuilder {
    scheme: Scheme,
    secret: Secret,
    url: Option<String>,
    params: BTreeMap<Box<str>, Box<str>>,
    variant: Option<String>,
}

impl SignerBuilder {
    /// Sets the address at which the provider calls, for schemes that sign it.
    #[must_use]
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.url = Some(url.into());
        self
    }

    /// Sets a parameter of the scheme.
    #[must_use]
    pub fn param(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.params.insert(name.into(), value.into());
        self
    }

    /// Signs as this variant of the scheme does; otherwise as the first does that
    /// the secret is for.
    #[must_use]
    pub fn variant(mut self, name: impl Into<String>) -> Self {
        self.variant = Some(name.into());
        self
    }

    /// Builds the signer.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if the secret does not fit the scheme, or something else
    /// is missing that the scheme needs.
    pub fn build(self) -> Result<Signer, BuildError> {
        let wrong = |error| BuildError::Secret { index: 0, error };
        let settings = SchemeSettings::new(&self.scheme, self.url.as_deref(), self.params)?;
        let plans = self.scheme.plans();
        let plan = match self.variant {
            Some(name) => find_variant(&self.scheme, &name)?,
            None => plans
                .iter()
                .position(|plan| plan.key.is_for(&self.secret))
                .ok_or_else(|| wrong(SecretError::Prefix))?,
        };
        let chosen = &plans[plan];
        let key = match chosen.algorithm {
            Algorithm::Token => Ok(SigningKey::Token(self.secret)),
            Algorithm::Public(algorithm) => chosen
                .key
                .decode(&self.secret)
                .and_then(|bytes| PrivateKey::new(algorithm, &bytes))
                .map(SigningKey::Private),
            algorithm => mac::Key::new(algorithm, &chosen.key, &self.secret).map(SigningKey::Mac),
        };
        Ok(Signer {
            key: key.map_err(wrong)?,
            scheme: self.scheme,
            plan,
            settings,
        })
    }
}

impl Signer {
    /// Starts a signer of `scheme` with `secret`; of schemes with public keys,
    /// with the private one.
    pub fn builder(scheme: &Scheme, secret: &Secret) -> SignerBuilder {
        SignerBuilder {
            scheme: scheme.clone(),
            secret: secret.clone(),
            url: None,
            params: BTreeMap::new(),
            variant: None,
        }
    }

    /// A signer of a `scheme` that needs nothing but `secret`.
    ///
    /// # Errors
    ///
    /// Those of [`SignerBuilder::build`].
    pub fn new(scheme: &Scheme, secret: &Secret) -> Result<Self, BuildError> {
        Self::builder(scheme, secret).build()
    }

    /// The headers of a delivery of `body`, signed at `at`. `id` is the event
    /// id, for schemes that have it in a header; elsewhere it is in the body.
    ///
    /// # Errors
    ///
    /// [`SignError`]; [`SignError::NotHeadersAlone`] if the scheme signs in the
    /// body or in the address too, which [`sign_request`](Self::sign_request)
    /// does.
    pub fn sign(
        &self,
        body: &[u8],
        at: UnixTime,
        id: Option<&str>,
    ) -> Result<HeaderMap, SignError> {
        let body = Bytes::copy_from_slice(body);
        let uri = self.settings.target();
        let mut request = Request::new(body.clone());
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = uri.clone();
        let (parts, signed) = self.sign_request(request, at, id)?.into_parts();
        if signed != body || parts.uri != uri {
            return Err(SignError::NotHeadersAlone);
        }
        Ok(parts.headers)
    }

    /// `request`, signed at `at` as the provider would. What the scheme signs and
    /// the request does not have is made up.
    ///
    /// # Errors
    ///
    /// [`SignError`] if the scheme needs an id and `id` is none or not one, or if
    /// the body is not of the kind that the scheme signs.
    pub fn sign_request(
        &self,
        request: Request<Bytes>,
        at: UnixTime,
        id: Option<&str>,
    ) -> Result<Request<Bytes>, SignError> {
        let (parts, body) = request.into_parts();
        let mut draft = Draft {
            signer: self,
            plan: &self.scheme.plans()[self.plan],
            parts,
            body: body.to_vec(),
            items: Vec::new(),
            made_up: id.unwrap_or("1"),
        };
        draft.meet_conditions()?;
        draft.put_id(id)?;
        draft.put_time(at)?;
        draft.meet_requirements(Known::ByTheHead)?;
        draft.fill()?;
        if draft.plan.each.is_some() {
            draft.sign_elements()?;
        } else {
            draft.meet_requirements(Known::ByTheBody)?;
            draft.check()?;
            match &draft.plan.kind {
                SignatureKind::Jwt { algorithm } => draft.sign_token(algorithm, at)?,
                SignatureKind::MessageSignature(policy) => draft.sign_components(policy, at)?,
                SignatureKind::Message { .. } | SignatureKind::Token => draft.sign_message()?,
            }
        }
        Ok(Request::from_parts(draft.parts, draft.body.into()))
    }

    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.key {
            SigningKey::Token(secret) => Ok(secret.expose().to_vec()),
            SigningKey::Private(key) => key.sign(message).ok_or(SignError::NoRandomness),
            SigningKey::Mac(key) => {
                let mut mac = key.state().cloned().ok_or(SignError::NoRandomness)?;
                mac.update(message);
                Ok(mac.finish().bytes().to_vec())
            }
        }
    }
}

/// When the value of a requirement is known: that of the body once it is whole.
#[derive(Clone, Copy, PartialEq)]
enum Known {
    ByTheHead,
    ByTheBody,
}

/// A request on its way to be signed.
struct Draft<'s> {
    signer: &'s Signer,
    plan: &'s Plan,
    parts: http::request::Parts,
    body: Vec<u8>,
    /// Items of the signature's list besides signatures.
    items: Vec<(Item, String)>,
    made_up: &'s str,
}

impl Draft<'_> {
    /// Makes the variant apply.
    fn meet_conditions(&mut self) -> Result<(), SignError> {
        let plan = self.plan;
        let read = plan.locations();
        for condition in &plan.when {
            match &condition.value {
                Some(value) => self.put(&condition.location, value.as_bytes())?,
                // What the scheme reads is put there by those who know what it is.
                None if read.contains(&&condition.location) => {}
                None if self.has(&Variable::At(condition.location.clone())) => {}
                None => self.put(&condition.location, self.made_up.as_bytes())?,
            }
        }
        Ok(())
    }

    /// What a verifier would refuse, whatever the signature.
    fn check(&self) -> Result<(), SignError> {
        let settings = &self.signer.settings;
        if !settings.allows_query(self.plan, self.parts.uri.query()) {
            return Err(SignError::QueryOfAnotherAddress);
        }
        if !self.plan.allows_body(&self.body) {
            return Err(SignError::BodyOfAnotherForm);
        }
        Ok(())
    }

    fn put_id(&mut self, id: Option<&str>) -> Result<(), SignError> {
        let Some(field) = self
            .plan
            .id
            .as_ref()
            .filter(|id| id.signed && !id.is_in_body())
        else {
            return Ok(());
        };
        for location in &field.locations {
            let elsewhere = matches!(location, Location::Claim(_) | Location::Signature(_));
            if elsewhere || self.has(&Variable::At(location.clone())) {
                continue;
            }
            let id = id.ok_or(SignError::IdNeeded)?;
            if !field::is_valid_id(id.as_bytes(), &field.exclude) {
                return Err(SignError::IdMalformed);
            }
            self.put(location, id.as_bytes())?;
        }
        Ok(())
    }

    fn put_time(&mut self, at: UnixTime) -> Result<(), SignError> {
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
            Location::Claim(_) => Ok(()),
            location => self.put(location, text.as_bytes()),
        }
    }

    /// Makes up what the message needs besides. What is in `[ ]` may be missing.
    fn fill(&mut self) -> Result<(), SignError> {
        let needed: Vec<_> = self
            .plan
            .message
            .required_placeholders()
            .filter(|value| value.absent == IfAbsent::Refuse)
            .collect();
        // Which headers a sender signs, it chooses: one that nearly all have.
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
                    let there = self.items.iter().any(|(other, _)| other == item);
                    if !there {
                        self.items.push((item.clone(), self.made_up.to_owned()));
                    }
                }
                Variable::At(location)
                    if self.plan.each.is_none() && !self.has(&value.variable) =>
                {
                    let made_up = self.made_up;
                    self.put(location, made_up.as_bytes())?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn meet_requirements(&mut self, known: Known) -> Result<(), SignError> {
        for equal in &self.plan.require {
            if (known == Known::ByTheBody) != equal.needs_body()
                || matches!(equal.location, Location::Claim(_))
                || self.has(&Variable::At(equal.location.clone()))
            {
                continue;
            }
            let value = self.unsigned(None).text(&equal.template)?;
            self.put(&equal.location, &value)?;
        }
        Ok(())
    }

    fn sign_message(&mut self) -> Result<(), SignError> {
        let list = self.plan.signature.list.as_ref();
        let list = list.map(|list| list.write(&self.items, ""));
        let message = self.unsigned(list.as_deref()).message()?;
        let signature = self.signer.signature(&message)?;
        let value = self.plan.signature.write(&self.items, &signature);
        match &self.plan.signature.location {
            SignatureLocation::HeaderPrefix(prefix) => {
                let name = HeaderName::from_bytes(format!("{prefix}1").as_bytes());
                let name = name.map_err(|_| SignError::FieldMalformed)?;
                self.put(&Location::Header(name), value.as_bytes())
            }
            SignatureLocation::Locations(locations) => match locations.first() {
                Some(location) => self.put(location, value.as_bytes()),
                None => Ok(()),
            },
        }
    }

    /// Signs each element of an array in the body.
    fn sign_elements(&mut self) -> Result<(), SignError> {
        let (Some(array), SignatureLocation::Locations(locations)) =
            (&self.plan.each, &self.plan.signature.location)
        else {
            return Ok(());
        };
        let [Location::Json(pointer)] = &locations[..] else {
            return Err(SignError::FieldMalformed);
        };
        let mut body: Value =
            serde_json::from_slice(&self.body).map_err(|_| SignError::BodyNotJson)?;
        let elements = array.get_mut(&mut body).ok_or(SignError::BodyNotJson)?;
        if elements.is_null() {
            *elements = Value::Array(vec![Value::Object(Map::new())]);
        }
        let elements = elements.as_array_mut().ok_or(SignError::BodyNotJson)?;
        for element in elements {
            let text = element.to_string();
            let unsigned = SigningInput {
                body: text.as_bytes(),
                ..self.unsigned(None)
            };
            let signature = self.signer.signature(&unsigned.message()?)?;
            let value = self.plan.signature.write(&[], &signature);
            *pointer.get_mut(element).ok_or(SignError::BodyNotJson)? = value.into();
        }
        self.body = body.to_string().into_bytes();
        Ok(())
    }

    fn sign_token(&mut self, algorithm: &str, at: UnixTime) -> Result<(), SignError> {
        let mut claims = Map::new();
        claims.insert("iat".to_owned(), at.secs().into());
        let end = at.plus(Duration::from_secs(300));
        claims.insert("exp".to_owned(), end.secs().into());
        if let Some(field) = &self.plan.timestamp
            && let Location::Claim(name) = &field.location
        {
            let text = field.unit.format(at);
            let number = text.parse::<i64>().map(Value::from);
            claims.insert(name.to_string(), number.unwrap_or(Value::String(text)));
        }
        for equal in &self.plan.require {
            if let Location::Claim(name) = &equal.location {
                let value = self.unsigned(None).text(&equal.template)?;
                let value = String::from_utf8_lossy(&value).into_owned();
                claims.insert(name.to_string(), value.into());
            }
        }
        for location in self.plan.id.iter().flat_map(|id| &id.locations) {
            if let Location::Claim(name) = location {
                claims.insert(name.to_string(), self.made_up.into());
            }
        }
        let algorithm = algorithm.trim_start_matches("jwt-").to_ascii_uppercase();
        let header = serde_json::json!({ "alg": algorithm, "typ": "JWT" });
        let [header, claims] =
            [header, Value::Object(claims)].map(|part| base64url(part.to_string().as_bytes()));
        let signed = format!("{header}.{claims}");
        let signature = base64url(&self.signer.signature(signed.as_bytes())?);
        let prefix = String::from_utf8_lossy(&self.plan.signature.prefix);
        let token = format!("{prefix}{signed}.{signature}");
        match &self.plan.signature.location {
            SignatureLocation::Locations(locations) if !locations.is_empty() => {
                self.put(&locations[0], token.as_bytes())
            }
            _ => Err(SignError::FieldMalformed),
        }
    }

    /// Signs components of the request (RFC 9421).
    fn sign_components(&mut self, policy: &Policy, at: UnixTime) -> Result<(), SignError> {
        let headers = &mut self.parts.headers;
        headers.insert("content-digest", Digests::of(&self.body).header());
        for component in &policy.components {
            if let Component::Field(name) = component
                && !headers.contains_key(name)
            {
                let made_up = HeaderValue::from_str(self.made_up);
                headers.insert(name, made_up.map_err(|_| SignError::FieldMalformed)?);
            }
        }
        let metadata = Metadata {
            created: Some(at),
            nonce: Some(self.made_up),
            algorithm: Some(policy.algorithm),
            tag: policy.tag.as_deref(),
            ..Metadata::default()
        };
        let label = policy.label.as_deref().unwrap_or("sig1");
        let endpoint = self.signer.settings.endpoint.as_ref();
        let draft = message_signature::Draft::new(
            label,
            &policy.components,
            metadata,
            Head::from(&self.parts),
            endpoint.and_then(|endpoint| endpoint.origin.as_ref()),
        )
        .map_err(|_| SignError::FieldMalformed)?;
        let signature = self.signer.signature(draft.base())?;
        draft.finish(&signature, &mut self.parts.headers);
        Ok(())
    }

    fn unsigned<'d>(&'d self, list: Option<&'d str>) -> SigningInput<'d> {
        SigningInput {
            plan: self.plan,
            settings: &self.signer.settings,
            head: Head::from(&self.parts),
            list: list.map(str::as_bytes),
            body: &self.body,
        }
    }

    fn has(&self, variable: &Variable) -> bool {
        self.unsigned(None).has(variable)
    }

    /// Puts `value` where `location` says.
    fn put(&mut self, location: &Location, value: &[u8]) -> Result<(), SignError> {
        match location {
            Location::Header(name) => {
                let value =
                    HeaderValue::from_bytes(value).map_err(|_| SignError::FieldMalformed)?;
                self.parts.headers.insert(name.clone(), value);
            }
            Location::Query(name) => {
                let uri = &self.parts.uri;
                let separator = if uri.query().is_some() { '&' } else { '?' };
                let target = uri.path_and_query().map_or("/", |target| target.as_str());
                let field = form_field(name, value);
                let target: Uri = format!("{target}{separator}{field}")
                    .parse()
                    .map_err(|_| SignError::FieldMalformed)?;
                self.parts.uri = target;
            }
            Location::Form(name) => {
                // A body that is no form is none to add to.
                if self.body.first() == Some(&b'{') {
                    self.body.clear();
                }
                if !self.body.is_empty() {
                    self.body.push(b'&');
                }
                self.body
                    .extend_from_slice(form_field(name, value).as_bytes());
            }
            Location::Json(pointer) => self.put_member(pointer, value)?,
            Location::Signature(_) | Location::Claim(_) | Location::Param(_) => {
                return Err(SignError::FieldMalformed);
            }
        }
        Ok(())
    }

    fn put_member(&mut self, pointer: &Pointer, value: &[u8]) -> Result<(), SignError> {
        let mut body: Value =
            serde_json::from_slice(&self.body).map_err(|_| SignError::BodyNotJson)?;
        let member = pointer.get_mut(&mut body).ok_or(SignError::BodyNotJson)?;
        let text = std::str::from_utf8(value).map_err(|_| SignError::FieldMalformed)?;
        *member = match text.parse::<i64>() {
            // As providers write times.
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

fn base64url(bytes: &[u8]) -> String {
    Encoding::Base64Url.encode(bytes)
}

/// Why a delivery cannot be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignError {
    /// The scheme signs an event id that has its own header.
    IdNeeded,
    /// The event id is not 1 to 256 visible ASCII characters, or has one that
    /// the scheme excludes.
    IdMalformed,
    /// The scheme has parts of the signature in the body, which is not a JSON
    /// object.
    BodyNotJson,
    /// The body is not one that the scheme allows: it has to be JSON, or a form
    /// without other fields than those that are signed.
    BodyOfAnotherForm,
    /// The query of the request is not that of the address at which the provider
    /// calls, which the scheme signs.
    QueryOfAnotherAddress,
    /// A value that the scheme signs is not one that can be sent.
    FieldMalformed,
    /// The scheme signs in the body or in the address too.
    NotHeadersAlone,
    /// What the scheme signs cannot be made of this request.
    Message(VerifyError),
    /// The system has no randomness to give.
    NoRandomness,
}

impl From<VerifyError> for SignError {
    fn from(error: VerifyError) -> Self {
        Self::Message(error)
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdNeeded => f.write_str("the scheme signs an event id: give one"),
            Self::IdMalformed => f.write_str(
                "the event id is not one that the scheme allows; expected 1 to 256 visible ASCII \
                 characters",
            ),
            Self::BodyNotJson => f.write_str(
                "the scheme has parts of the signature in the body; expected a JSON object",
            ),
            Self::BodyOfAnotherForm => f.write_str(
                "the body is not one that the scheme allows; expected JSON, or a form without other \
                 fields than those that are signed",
            ),
            Self::QueryOfAnotherAddress => f.write_str(
                "the query of the request is not that of the address at which the provider calls, \
                 which the scheme signs; expected the same",
            ),
            Self::FieldMalformed => f.write_str("a value that is signed cannot be sent"),
            Self::NotHeadersAlone => f.write_str(
                "the scheme signs in the body or in the address, so that headers are not enough",
            ),
            Self::Message(error) => write!(f, "the message cannot be made: {error}"),
            Self::NoRandomness => f.write_str("the system has no randomness to sign with"),
        }
    }
}

impl std::error::Error for SignError {}
