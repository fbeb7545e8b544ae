//! Signs deliveries as a provider does, for tests, demonstrations and `hookgate sign`.
//!
//! [`Signer::sign_request`] fills in the values that the scheme signs (`draft.rs`), and then
//! adds the signature (`signature.rs`).

mod builder;
mod draft;
mod error;
mod signature;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};

pub use self::builder::SignerBuilder;
use self::draft::{Draft, RequirementValue};
pub use self::error::SignError;
use crate::mac::{self, PrivateKey};
use crate::scheme::{Scheme, SignatureKind};
use crate::secret::Secret;
use crate::time::UnixTime;
use crate::verifier::{BuildError, SchemeSettings};

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
    /// If the scheme signs a value that the request does not have, the signer invents one.
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
        let (parts, body) = request.into_parts();
        let mut draft = Draft {
            signer: self,
            plan: &self.scheme.plans()[self.plan],
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
        draft.insert_key_id()?;
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

    /// Returns the signature of `message`, not encoded.
    fn signature(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        match &self.key {
            SigningKey::Token(secret) => Ok(secret.expose().to_vec()),
            SigningKey::Private(key) => key.sign(message).ok_or(SignError::NoRandomness),
            SigningKey::Mac(key) => {
                let len = self.scheme.plans()[self.plan].algorithm.tag_len().max();
                let mut mac = key.state_for(len).cloned().ok_or(SignError::NoRandomness)?;
                mac.update(message);
                Ok(mac.finish().bytes().to_vec())
            }
        }
    }
}
