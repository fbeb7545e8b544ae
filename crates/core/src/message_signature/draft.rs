//! Signing: the signature base of a request, and the headers of the finished signature.

use std::error::Error;
use std::fmt;

use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, DictSerializer, Integer, Key, key_ref};

use super::address::Address;
use super::component::Component;
use super::covered_components::CoveredComponents;
use super::dictionary::Parameters;
use super::read::{SIGNATURE, SIGNATURE_INPUT};
use super::signed_request::SignedRequest;
use crate::error::VerifyError;
use crate::head::Head;
use crate::time::UnixTime;

/// The parameters of a signature (RFC 9421 §2.3). Each is optional.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Metadata<'m> {
    pub(crate) created: Option<UnixTime>,
    pub(crate) expires: Option<UnixTime>,
    pub(crate) keyid: Option<&'m str>,
    pub(crate) algorithm: Option<&'m str>,
    pub(crate) nonce: Option<&'m str>,
    pub(crate) tag: Option<&'m str>,
}

impl Metadata<'_> {
    /// Returns the parameters, or `None` if a structured field cannot hold one of the values.
    fn parameters(self) -> Option<Parameters> {
        let integer = |time: UnixTime| Integer::try_from(time.secs()).ok().map(BareItem::from);
        let string = |text: &str| {
            let text = sfv::String::from_string(text.to_owned()).ok();
            text.map(BareItem::from)
        };
        let mut parameters = Parameters::default();
        for (key, value) in [
            (key_ref("created"), self.created.map(integer)),
            (key_ref("expires"), self.expires.map(integer)),
            (key_ref("keyid"), self.keyid.map(string)),
            (key_ref("alg"), self.algorithm.map(string)),
            (key_ref("nonce"), self.nonce.map(string)),
            (key_ref("tag"), self.tag.map(string)),
        ] {
            if let Some(value) = value {
                parameters.push(key, value?).ok()?;
            }
        }
        Some(parameters)
    }
}

/// A message signature that is complete except for the signature bytes.
#[derive(Clone)]
pub(crate) struct Draft {
    label: Key,
    base: String,
    input: String,
}

impl Draft {
    /// Drafts a signature over `components` of `head`.
    ///
    /// `Content-Digest` is a component like any other: set it before.
    ///
    /// # Errors
    ///
    /// Returns a [`DraftError`] if the request lacks a component, or a parameter cannot be written.
    pub(crate) fn new(
        label: &str,
        components: &[Component],
        metadata: Metadata<'_>,
        head: Head<'_>,
        address: Option<&Address>,
    ) -> Result<Self, DraftError> {
        let label = Key::from_string(label.to_owned()).map_err(|_| DraftError::Unwritable)?;
        let parameters = metadata.parameters().ok_or(DraftError::Unwritable)?;
        let identifiers = components.iter().map(Component::identifier).collect();
        let covered =
            CoveredComponents::new(identifiers, parameters).map_err(DraftError::Component)?;
        let request = SignedRequest::new(head, address);
        let base = covered.base(&request).map_err(DraftError::Component)?;
        let mut input = format!("{label}=");
        covered.write(&mut input);
        Ok(Self { label, base, input })
    }

    /// The bytes to sign.
    pub(crate) fn base(&self) -> &[u8] {
        self.base.as_bytes()
    }

    /// Appends `Signature-Input` and `Signature` to `headers`.
    pub(crate) fn finish(self, signature: &[u8], headers: &mut HeaderMap) {
        let mut value = DictSerializer::new();
        _ = value.bare_item(&self.label, signature);
        for (name, value) in [
            (SIGNATURE_INPUT, self.input),
            (SIGNATURE, value.finish().unwrap_or_default()),
        ] {
            let value = HeaderValue::try_from(value).expect("structured fields are ASCII");
            headers.append(name, value);
        }
    }
}

impl fmt::Debug for Draft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Draft({})", self.label)
    }
}

/// The reason why a request cannot be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DraftError {
    /// A structured field cannot hold the label or a parameter.
    Unwritable,
    /// The request lacks a component, or a component is repeated.
    Component(VerifyError),
}

impl fmt::Display for DraftError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable => f.write_str("a structured field cannot hold a parameter"),
            Self::Component(_) => f.write_str("a component cannot be signed"),
        }
    }
}

impl Error for DraftError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unwritable => None,
            Self::Component(error) => Some(error),
        }
    }
}
