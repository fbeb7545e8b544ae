//! Signs deliveries as a provider does, for tests, demonstrations and `hookgate sign`.
//!
//! [`Signer::sign_request`] fills in the values that the scheme signs (`draft.rs`), and then
//! adds the signature (`signature.rs`).

mod builder;
mod draft;
mod error;
mod message_signature;
mod signature;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method, Request};

pub use self::builder::SignerBuilder;
use self::draft::{Draft, RequirementValue};
pub use self::error::SignError;
use crate::mac::{self, PrivateKey};
use crate::scheme::location::Location;
use crate::scheme::template::Variable;
use crate::scheme::{Plan, Scheme, SignatureKind, Variant};
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::verifier::{BuildError, SchemeSettings};

/// The media type of a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// Signs deliveries of one scheme with one key.
#[derive(Clone, Debug)]
pub struct Signer {
    scheme: Scheme,
    settings: SchemeSettings,
    /// The variants that the signer can use, at least one.
    ways: Vec<Way>,
}

/// A variant of the scheme, with the key that signs for it.
#[derive(Clone, Debug)]
struct Way {
    plan: usize,
    key: SigningKey,
}

#[derive(Clone, Debug)]
enum SigningKey {
    Mac(mac::Key),
    Private(PrivateKey),
    Token(Secret),
}

impl Signer {
    /// Creates a builder for a signer of `scheme` with `secret`.
    ///
    /// For a scheme with public keys, `secret` is the private key.
    pub fn builder(scheme: &Scheme, secret: &Secret) -> SignerBuilder {
        SignerBuilder::new(scheme, secret)
    }

    /// Creates a signer of a `scheme` that needs nothing but `secret`.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`SignerBuilder::build`].
    pub fn new(scheme: &Scheme, secret: &Secret) -> Result<Self, BuildError> {
        Self::builder(scheme, secret).build()
    }

    /// Returns the headers of a delivery of `body` that is signed at the time `at`.
    ///
    /// `id` is the event id for schemes that send it in a header. Other schemes read it from the
    /// body.
    ///
    /// # Errors
    ///
    /// Returns [`SignError::NotHeadersAlone`] if the scheme puts parts of the signature into the
    /// body or the URL, and the errors of [`sign_request`](Self::sign_request), which supports
    /// such schemes.
    pub fn sign(
        &self,
        body: &[u8],
        at: UnixTime,
        id: Option<&str>,
    ) -> Result<HeaderMap, SignError> {
        let body = Bytes::copy_from_slice(body);
        let uri = self.settings.target();
        let mut request = Request::new(body.clone());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let (parts, signed) = self.sign_request(request, at, id)?.into_parts();
        if signed != body || parts.uri != uri {
            return Err(SignError::NotHeadersAlone);
        }
        Ok(parts.headers)
    }

    /// Signs `request` at the time `at`, as the provider would.
    ///
    /// If the scheme signs a value that the request does not have, the signer invents one. Without
    /// a chosen variant, the method and the body of the request choose it.
    ///
    /// # Errors
    ///
    /// Returns a [`SignError`] if the scheme needs an id and `id` is missing or malformed, or if
    /// the scheme does not allow the body.
    pub fn sign_request(
        &self,
        request: Request<Bytes>,
        at: UnixTime,
        id: Option<&str>,
    ) -> Result<Request<Bytes>, SignError> {
        let way = self.choose(&request);
        let (parts, body) = request.into_parts();
        let mut draft = Draft {
            signer: self,
            plan: &self.scheme.plans()[way.plan],
            key: &way.key,
            parts,
            body: body.to_vec(),
            items: Vec::new(),
            invented: id.unwrap_or("1"),
        };
        draft.apply_conditions()?;
        draft.insert_id(id)?;
        draft.insert_timestamp(at)?;
        draft.apply_requirements(RequirementValue::OfHead)?;
        draft.insert_missing_values()?;
        draft.insert_claimed_members()?;
        draft.insert_key_id()?;
        draft.insert_content_type();
        if draft.plan.each.is_some() {
            draft.sign_elements()?;
        } else {
            draft.apply_requirements(RequirementValue::OfBody)?;
            draft.check()?;
            match &draft.plan.kind {
                SignatureKind::Jwt { algorithms } => draft.sign_token(algorithms, at)?,
                SignatureKind::MessageSignature(policy) => draft.sign_components(policy, at)?,
                SignatureKind::Message { .. } | SignatureKind::Token => draft.sign_message()?,
            }
        }
        Ok(Request::from_parts(draft.parts, draft.body.into()))
    }

    /// Returns the variant with which the signer signs `request`.
    pub(crate) fn variant_for(&self, request: &Request<Bytes>) -> Variant<'_> {
        self.scheme.variant(self.choose(request).plan)
    }

    /// Returns the variant that fits the method and the body of `request`, or the first one.
    ///
    /// A variant that a header selects by its value is chosen only if no other one fits.
    fn choose(&self, request: &Request<Bytes>) -> &Way {
        let plan = |way: &Way| &self.scheme.plans()[way.plan];
        let body = FieldsOf::body(request);
        let fits =
            |way: &&Way| plan(way).method == *request.method() && FieldsOf::plan(plan(way)) == body;
        let is_usual = |way: &&Way| {
            !plan(way).when.iter().any(|condition| {
                let by_value = condition.value.is_some();
                by_value
                    && matches!(&condition.location, Location::Header(name) if name != CONTENT_TYPE)
            })
        };
        let mut ways = self.ways.iter();
        let usual = ways.clone().find(|way| fits(way) && is_usual(way));
        usual.or_else(|| ways.find(fits)).unwrap_or(&self.ways[0])
    }
}

/// The kind of body whose fields a variant reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FieldsOf {
    Form,
    Multipart,
    Nothing,
}

impl FieldsOf {
    /// Returns the kind of body that `plan` reads fields of.
    fn plan(plan: &Plan) -> Self {
        if plan.multipart {
            return Self::Multipart;
        }
        let mut locations = plan.locations().into_iter();
        let by_location = locations.any(|location| matches!(location, Location::Form(_)));
        match by_location || plan.message.has(&Variable::FormSorted) {
            true => Self::Form,
            false => Self::Nothing,
        }
    }

    /// Returns the kind of the body of `request`: as its content type says, or else as the body
    /// looks.
    fn body(request: &Request<Bytes>) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok());
        let body = request.body();
        let is_form = body.contains(&b'=')
            && !matches!(body.first(), Some(b'{' | b'[' | b'<'))
            && body.iter().all(u8::is_ascii_graphic);
        match content_type {
            Some(text) if text.starts_with("multipart/form-data") => Self::Multipart,
            Some(text) if text.starts_with(FORM) => Self::Form,
            None if is_form => Self::Form,
            _ => Self::Nothing,
        }
    }
}

impl SigningKey {
    /// Returns the signature of `message`, not encoded. A MAC has `len` bytes.
    fn signature(&self, len: usize, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Token(secret) => Ok(secret.expose().to_vec()),
            Self::Private(key) => key.sign(message).ok_or(SignError::NoRandomness),
            Self::Mac(key) => {
                let mut mac = key.state_for(len).cloned().ok_or(SignError::NoRandomness)?;
                mac.update(message);
                Ok(mac.finish().bytes().to_vec())
            }
        }
    }
}
