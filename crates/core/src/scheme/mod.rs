#![doc = include_str!("language.md")]

mod ambiguity;
pub(crate) mod field;
mod grammar;
pub(crate) mod handshake;
pub(crate) mod json;
pub(crate) mod location;
pub(crate) mod lookup;
pub(crate) mod message;
pub(crate) mod signature;
mod summary;
pub(crate) mod template;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use http::{HeaderName, StatusCode};
use toml::Table;

use self::field::TimeUnit;
use self::handshake::{Condition, Handshake, RequiredValue};
use self::json::Pointer;
use self::location::Location;
use self::message::Message;
use self::signature::{SignatureField, SignatureLocation};
pub use self::summary::{SchemeFamily, SchemeWarning, Variant};
use self::template::Variable;
use crate::document::Section;
use crate::mac::{Algorithm, KeyRule};
use crate::message_signature::Policy;
use crate::time::Window;

/// Merges the table of a scheme into the scheme of the provider that its key `extends` names.
/// Returns `None` if no provider has that name.
pub(crate) type Extend<'e> = &'e dyn Fn(&Table) -> Option<Table>;

/// A compiled scheme: how a provider signs its deliveries. Cheap to clone.
///
/// The TOML text is parsed and checked once, when the scheme is read.
#[derive(Clone)]
pub struct Scheme(Arc<CompiledScheme>);

#[derive(Debug)]
pub(crate) struct CompiledScheme {
    /// One plan for each variant. The first plan that applies to a delivery decides.
    pub(crate) plans: Vec<Plan>,
    pub(crate) handshakes: Vec<Handshake>,
    /// Members of the body that the handshakes read.
    pub(crate) handshake_json: Vec<Pointer>,
    /// The status that the provider expects for a refused delivery.
    pub(crate) status: Option<StatusCode>,
    /// Names of the parameters that the operator must set.
    pub(crate) params: BTreeSet<Box<str>>,
    /// Whether the operator must configure the URL that the provider calls.
    pub(crate) needs_url: bool,
}

/// The compiled form of one variant: how to verify a delivery that is signed in this way.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: Option<String>,
    pub(crate) when: Vec<Condition>,
    /// Whether the variant is enabled only if the operator chooses it.
    pub(crate) opt_in: bool,
    pub(crate) algorithm: Algorithm,
    pub(crate) kind: SignatureKind,
    pub(crate) key: KeyRule,
    pub(crate) signature: SignatureField,
    pub(crate) timestamp: Option<TimestampField>,
    pub(crate) id: Option<IdField>,
    pub(crate) event_type: Option<Location>,
    pub(crate) message: Message,
    pub(crate) forbidden: Vec<HeaderName>,
    pub(crate) require: Vec<RequiredValue>,
    /// The array whose elements each have a signature of their own. All of them must verify.
    pub(crate) each: Option<Pointer>,
    pub(crate) body_form: BodyForm,
    pub(crate) body: BodyBinding,
    pub(crate) url: UrlRule,
    /// Every member of the body that the plan reads.
    pub(crate) json: Vec<Pointer>,
}

impl Plan {
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
                .filter_map(|value| match &value.variable {
                    Variable::At(location) => Some(location),
                    _ => None,
                }),
        );
        for equal in &self.require {
            all.push(&equal.location);
            all.extend(template::locations(&equal.template));
        }
        all
    }
}

/// What the signature covers.
#[derive(Clone, Debug)]
pub(crate) enum SignatureKind {
    /// The message that this template renders.
    Message { template: String },
    /// The claims of a JSON Web Token (RFC 7519).
    Jwt { algorithm: &'static str },
    /// Components of the request (RFC 9421).
    MessageSignature(Policy),
    /// Nothing: the signature is a static token.
    Token,
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
}

impl BodyForm {
    pub(crate) fn allows(self, body: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Json => json::is_document(body),
            Self::JsonOrEmpty => body.is_empty() || json::is_document(body),
        }
    }
}

/// How the provider spells the URL that it signs.
#[derive(Clone, Debug, Default)]
pub(crate) struct UrlRule {
    /// Whether the signed URL may have the port added or removed.
    pub(crate) toggle_port: bool,
    /// Characters whose percent-escapes are decoded before signing.
    pub(crate) decode: Vec<u8>,
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
    pub(crate) exclude: Vec<u8>,
    /// Whether the signature covers the id. An unsigned id does not identify the event.
    pub(crate) signed: bool,
}

impl IdField {
    pub(crate) fn is_in_body(&self) -> bool {
        self.locations.iter().any(Location::is_in_body)
    }
}

impl Scheme {
    /// Compiles the scheme in a section of a document. `extend` resolves its key `extends`.
    ///
    /// Returns `None` if the scheme has mistakes, which are in the report of the section.
    pub(crate) fn read(section: &Section<'_>, extend: Extend<'_>) -> Option<Self> {
        let before = section.report().len();
        let compiled = grammar::read(section, extend)?;
        (section.report().len() == before).then(|| Self(Arc::new(compiled)))
    }

    pub(crate) fn plans(&self) -> &[Plan] {
        &self.0.plans
    }

    /// Whether plan `index` is enabled. `chosen` is the plan that the operator has chosen, if any.
    pub(crate) fn is_enabled(&self, index: usize, chosen: Option<usize>) -> bool {
        match chosen {
            Some(chosen) => chosen == index,
            None => self.0.plans.get(index).is_some_and(|plan| !plan.opt_in),
        }
    }

    pub(crate) fn compiled(&self) -> &CompiledScheme {
        &self.0
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
