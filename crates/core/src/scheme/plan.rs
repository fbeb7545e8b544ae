//! [`Plan`]: one variant of a scheme, compiled.

use http::{HeaderName, Method};

use super::delimiters::Delimiters;
use super::field::TimeUnit;
use super::handshake::{Condition, RequiredValue};
use super::json::{self, Pointer};
use super::location::{self, Location};
use super::message::Message;
use super::signature::{SignatureField, SignatureLocation};
use super::template;
use crate::error::{SecretError, VerifyError};
use crate::mac::{self, Algorithm, KeyReadings};
use crate::message_signature::Policy;
use crate::time::Window;

/// The compiled form of one variant: how to verify a delivery that is signed in this way.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The name of the variant, if the scheme has several.
    pub(crate) name: Option<String>,
    /// The method of the deliveries.
    pub(crate) method: Method,
    /// The conditions under which the variant applies to a delivery.
    pub(crate) when: Vec<Condition>,
    /// Whether the variant is enabled only if the operator chooses it.
    pub(crate) opt_in: bool,
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: SignatureKind,
    /// How the text of a secret becomes a key.
    pub(crate) key: KeyReadings,
    pub(crate) signature: SignatureField,
    pub(crate) timestamp: Option<TimestampField>,
    pub(crate) id: Option<IdField>,
    pub(crate) event_type: Option<Location>,
    pub(crate) message: Message,
    /// Headers that the delivery must not have.
    pub(crate) forbidden: Vec<HeaderName>,
    pub(crate) require: Vec<RequiredValue>,
    /// The array whose elements each have a signature of their own. All of them must verify.
    pub(crate) each: Option<Pointer>,
    pub(crate) body_form: BodyForm,
    /// How the signature covers the body.
    pub(crate) body: BodyBinding,
    /// Whether the JSON Web Token authenticates the caller alone, and serves many deliveries.
    pub(crate) bearer: bool,
    /// The template of the message that is the payload of a JSON Web Signature. The signature
    /// header has no payload of its own (RFC 7515 appendix F).
    pub(crate) detached: Option<String>,
    pub(crate) url: UrlRule,
    /// Whether the form of the body matters: `body`, the fields of a form, or the text after a
    /// URL.
    pub(crate) constrains_body: bool,
    /// Whether the provider may have signed the message in a second form: with another port in
    /// the URL, or with a value in lower case.
    pub(crate) two_readings: bool,
    /// Every member of the body that the plan reads.
    pub(crate) json: Vec<Pointer>,
    /// Whether the plan reads fields of `multipart/form-data`.
    pub(crate) multipart: bool,
}

impl Plan {
    /// Returns the feature of this crate that the algorithm needs, if it is not enabled.
    pub(crate) fn missing_feature(&self) -> Option<&'static str> {
        match (&self.kind, self.algorithm) {
            (SignatureKind::MessageSignature(_), _) if !cfg!(feature = "rfc9421") => {
                Some("rfc9421")
            }
            (_, Algorithm::Public(algorithm)) => algorithm.missing_feature(),
            _ => None,
        }
    }

    /// Creates the key of the plan from the bytes of a secret.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`mac::Key::new`].
    pub(crate) fn mac_key(&self, bytes: &[u8]) -> Result<mac::Key, SecretError> {
        match &self.kind {
            SignatureKind::Jwt { algorithms } if algorithms.len() > 1 => {
                let algorithms = algorithms.iter().map(|jwt| jwt.algorithm);
                mac::Key::by_tag_len(algorithms, bytes)
            }
            _ => mac::Key::new(self.algorithm, bytes),
        }
    }

    /// Whether `body` has the form that the plan demands.
    ///
    /// If the signature covers a form field by field, the form may have no other field.
    pub(crate) fn allows_body(&self, body: &[u8]) -> bool {
        if !self.body_form.allows(body) {
            return false;
        }
        if self.body != BodyBinding::FormFields {
            return true;
        }
        let read = self.locations();
        let is_read = |name: &[u8]| {
            read.iter().any(
                |location| matches!(location, Location::Form(known) if known.as_bytes() == name),
            )
        };
        location::form_fields(body).all(|(name, _)| is_read(&name))
    }

    /// Returns every location that the plan reads.
    pub(crate) fn locations(&self) -> Vec<&Location> {
        let mut all = Vec::new();
        if let SignatureLocation::Locations(locations) = &self.signature.location {
            all.extend(locations);
        }
        all.extend(self.timestamp.as_ref().map(|timestamp| &timestamp.location));
        all.extend(self.id.iter().flat_map(|id| &id.locations));
        all.extend(&self.event_type);
        all.extend(
            self.message
                .placeholders()
                .filter_map(|value| value.variable.location()),
        );
        let list = self.signature.list.as_ref();
        all.extend(list.and_then(|list| list.writing.named_by.as_ref()));
        for required in &self.require {
            all.push(&required.location);
            all.extend(template::locations(&required.template));
        }
        all
    }
}

/// The kind of a signature, which decides what it covers.
#[derive(Clone, Debug)]
pub(crate) enum SignatureKind {
    /// The signature covers the message that this template renders.
    Message { template: String },
    /// The signature is a JSON Web Token (RFC 7519), which covers its claims. The header of the
    /// token chooses one of the algorithms.
    Jwt { algorithms: Vec<JwtAlgorithm> },
    /// The signature covers components of the request (RFC 9421).
    MessageSignature(Policy),
    /// The signature is a static token, which covers nothing.
    Token,
}

/// An algorithm of JSON Web Tokens: its name in schemes, and the algorithm itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct JwtAlgorithm {
    pub(crate) name: &'static str,
    pub(crate) algorithm: Algorithm,
}

impl JwtAlgorithm {
    /// Returns the name that the header of a token has for the algorithm (RFC 7518 §3.1).
    pub(crate) fn registered_name(self) -> String {
        self.name.trim_start_matches("jwt-").to_ascii_uppercase()
    }
}

/// How the signature covers the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyBinding {
    /// The signature covers every byte.
    Bound,
    /// The signature covers the fields of a form, which may have no other field.
    FormFields,
    /// The signature does not cover the body.
    Unbound,
}

/// The form that a body must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyForm {
    #[default]
    Any,
    /// One JSON object or array.
    Json,
    /// One JSON object or array, or an empty body.
    JsonOrEmpty,
    /// One JSON object. An array is a batch, and the signature covers only a part of a batch.
    JsonObject,
    /// An empty body.
    Empty,
}

impl BodyForm {
    /// Whether `body` has this form.
    pub(crate) fn allows(self, body: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Json => json::is_document(body),
            Self::JsonOrEmpty => body.is_empty() || json::is_document(body),
            Self::JsonObject => !json::is_array(body) && json::is_document(body),
            Self::Empty => body.is_empty(),
        }
    }

    /// Whether a body of this form has a beginning and an end of its own: no such body begins or
    /// ends inside another one.
    pub(crate) fn is_delimited(self) -> bool {
        matches!(self, Self::Json | Self::JsonObject)
    }

    /// Returns the refusal of a `body` that does not have this form.
    pub(crate) fn refusal(self, body: &[u8]) -> VerifyError {
        match self.is_unsigned_batch(body) {
            true => VerifyError::BatchUnsigned,
            false => VerifyError::FieldMalformed,
        }
    }

    /// Whether `body` is a batch that the signature does not cover as a whole.
    pub(crate) fn is_unsigned_batch(self, body: &[u8]) -> bool {
        self == Self::JsonObject && json::is_array(body)
    }
}

/// How the provider spells the URL that it signs.
#[derive(Clone, Debug, Default)]
pub(crate) struct UrlRule {
    /// Whether the signed URL may have the port added or removed.
    pub(crate) toggle_port: bool,
    /// Characters whose percent-escapes are decoded before signing.
    pub(crate) decode: Vec<u8>,
    /// The text with which the sorted fields of a form begin, and which ends the URL before them.
    pub(crate) form_start: Option<Box<str>>,
}

/// The location, the format and the window of the timestamp.
#[derive(Clone, Debug)]
pub(crate) struct TimestampField {
    pub(crate) location: Location,
    pub(crate) unit: TimeUnit,
    pub(crate) window: Window,
}

/// The location of the event id.
#[derive(Clone, Debug)]
pub(crate) struct IdField {
    /// One location, or several whose values together are the id. All are in the head or all are in
    /// the body.
    pub(crate) locations: Vec<Location>,
    /// Characters that the id must not contain: after one of them, the message could be divided in
    /// another way.
    pub(crate) exclude: Delimiters,
    /// Whether the signature covers the id. An unsigned id does not identify the event.
    pub(crate) signed: bool,
}

impl IdField {
    /// Whether the id is in the body.
    pub(crate) fn is_in_body(&self) -> bool {
        self.locations.iter().any(Location::is_in_body)
    }
}
