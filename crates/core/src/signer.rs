//! Signing as a provider does: for tests, demonstrations and `hookgate sign`.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::error::SecretError;
use crate::mac;
use crate::scheme::{Location, Scheme, Segment, SignatureField, field};
use crate::secret::Secret;
use crate::time::UnixTime;

/// Signs deliveries of one scheme with one key.
#[derive(Clone, Debug)]
pub struct Signer {
    scheme: Scheme,
    key: mac::Key,
    secret: Secret,
}

impl Signer {
    /// A signer of `scheme` with `secret`.
    ///
    /// # Errors
    ///
    /// [`SecretError`] if the secret does not fit the scheme.
    pub fn new(scheme: &Scheme, secret: &Secret) -> Result<Self, SecretError> {
        let plan = scheme.plan();
        let key = mac::Key::new(plan.algorithm, &plan.key, secret)?;
        Ok(Self {
            scheme: scheme.clone(),
            key,
            secret: secret.clone(),
        })
    }

    /// The headers of a delivery of `body`, signed at `at`. `id` is the event
    /// id, for schemes that have it in a header; elsewhere it is in the body.
    ///
    /// # Errors
    ///
    /// [`SignError`] if the scheme needs an id and `id` is none or not one, if
    /// it signs a header that is not known here, or needs a private key.
    pub fn sign(
        &self,
        body: &[u8],
        at: UnixTime,
        id: Option<&str>,
    ) -> Result<HeaderMap, SignError> {
        let plan = self.scheme.plan();
        let mut headers = HeaderMap::new();
        let timestamp = plan.timestamp.as_ref().map(|field| field.unit.format(at));
        let mut mac = self.key.start().ok_or(SignError::PrivateKeyNeeded)?;
        let parts = plan.message.before_body.iter().map(Some).chain([None]);
        for part in parts.chain(plan.message.after_body.iter().map(Some)) {
            match part {
                None => mac.update(body),
                Some(Segment::Literal(text)) => mac.update(text),
                Some(Segment::Timestamp) => {
                    mac.update(timestamp.as_deref().unwrap_or_default().as_bytes());
                }
                Some(Segment::Id) => mac.update(id.ok_or(SignError::IdNeeded)?.as_bytes()),
                Some(Segment::Header(header)) => {
                    return Err(SignError::HeaderNeeded(header.name.clone()));
                }
            }
        }
        let tag = mac.finish().into_tag();
        let signature = if self.scheme.is_token() {
            self.secret.expose()
        } else {
            tag.bytes()
        };

        let mut items = Vec::new();
        if let (Some(field), Some(text)) = (&plan.timestamp, timestamp) {
            match &field.location {
                Location::Header(name) => put(&mut headers, name, &text)?,
                Location::SignatureItem(name) => items.push((name.clone(), text)),
                Location::Json(_) => {}
            }
        }
        if let Some((name, exclude)) =
            plan.id
                .as_ref()
                .filter(|id| id.signed)
                .and_then(|id| match &id.location {
                    Location::Header(name) => Some((name, &id.exclude)),
                    _ => None,
                })
        {
            let id = id.ok_or(SignError::IdNeeded)?;
            if !field::is_id(id.as_bytes(), exclude) {
                return Err(SignError::IdMalformed);
            }
            put(&mut headers, name, id)?;
        }
        let value = write_signature(&plan.signature, items, signature);
        put(&mut headers, &plan.signature.header, &value)?;
        Ok(headers)
    }
}

fn write_signature(field: &SignatureField, items: Vec<(String, String)>, tag: &[u8]) -> String {
    let prefix = String::from_utf8_lossy(&field.prefix);
    let signature = format!("{prefix}{}", field.encoding.encode(tag));
    let Some(list) = &field.list else {
        return signature;
    };
    let name = String::from_utf8_lossy(&list.name).into_owned();
    let pair = char::from(list.pair);
    items
        .into_iter()
        .chain([(name, signature)])
        .map(|(name, value)| format!("{name}{pair}{value}"))
        .collect::<Vec<_>>()
        .join(&char::from(list.items).to_string())
}

fn put(headers: &mut HeaderMap, name: &HeaderName, value: &str) -> Result<(), SignError> {
    let value = HeaderValue::from_str(value).map_err(|_| SignError::IdMalformed)?;
    headers.insert(name.clone(), value);
    Ok(())
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
    /// The scheme signs this header too.
    HeaderNeeded(HeaderName),
    /// The scheme signs with a private key; a verifier's key is public.
    PrivateKeyNeeded,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IdNeeded => f.write_str("the scheme signs an event id: give one"),
            Self::IdMalformed => f.write_str(
                "the event id is not one that the scheme allows; expected 1 to 256 visible ASCII \
                 characters",
            ),
            Self::HeaderNeeded(name) => write!(f, "the scheme signs the header {name}: give it"),
            Self::PrivateKeyNeeded => {
                f.write_str("the scheme signs with a private key; only verifying is possible here")
            }
        }
    }
}

impl std::error::Error for SignError {}
