#![doc = include_str!("language.md")]

mod ambiguity;
mod canonical_base64;
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

/// Merges the table of a scheme into the one that its key `extends` names. Returns `None` if
/// there is none of that name.
pub(crate) type Extend<'e> = &'e dyn Fn(&Table) -> Option<Table>;

/// A scheme: read, checked and compiled, so that nothing of its text is
/// interpreted while deliveries are verified. Cheap to clone.
#[derive(Clone)]
pub struct Scheme(Arc<CompiledScheme>);

#[derive(Debug)]
pub(crate) struct CompiledScheme {
    /// One, unless the provider signs in several ways: the first that applies to
    /// a delivery decides.
    pub(crate) plans: Vec<Plan>,
    pub(crate) handshakes: Vec<Handshake>,
    /// Members of the body that handshakes read.
    pub(crate) handshake_json: Vec<Pointer>,
    /// What the provider demands that a refused delivery is told.
    pub(crate) status: Option<StatusCode>,
    /// Names of what the operator has to set.
    pub(crate) params: BTreeSet<Box<str>>,
    /// Whether the operator has to say at which address the provider calls.
    pub(crate) needs_url: bool,
}

/// What one way to sign compiles to.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: Option<String>,
    pub(crate) when: Vec<Condition>,
    /// Whether it counts only where the operator has chosen it.
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
    /// The array whose elements are all to be verified, each by itself.
    pub(crate) each: Option<Pointer>,
    pub(crate) body_form: BodyForm,
    pub(crate) body: BodyBinding,
    pub(crate) url: UrlRule,
    /// Every member of the body that is read.
    pub(crate) json: Vec<Pointer>,
}

impl Plan {
    /// Whether a body may be signed so. A form whose fields are signed one by one
    /// must have no others.
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

    /// Every location that is read.
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

/// What the signature is over.
#[derive(Clone, Debug)]
pub(crate) enum SignatureKind {
    /// The message of this template.
    Message { template: String },
    /// The claims of a JSON Web Token (RFC 7519).
    Jwt { algorithm: &'static str },
    /// Components of the request (RFC 9421).
    MessageSignature(Policy),
    /// Nothing.
    Token,
}

/// Whether the signature covers the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyBinding {
    Bound,
    /// By fields of a form, which must have no others.
    FormFields,
    Unbound,
}

/// What a body has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum BodyForm {
    #[default]
    Any,
    /// One JSON object or array.
    Json,
    /// That, or nothing.
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

/// How the address is written that is signed.
#[derive(Clone, Debug, Default)]
pub(crate) struct UrlRule {
    /// Whether it may be signed with the port added or taken off.
    pub(crate) toggle_port: bool,
    /// Characters whose percent-escapes are decoded first.
    pub(crate) decode: Vec<u8>,
}

/// Where the timestamp is and how it reads.
#[derive(Clone, Debug)]
pub(crate) struct TimestampField {
    pub(crate) location: Location,
    pub(crate) unit: TimeUnit,
    pub(crate) window: Window,
}

/// Where the event id is.
#[derive(Clone, Debug)]
pub(crate) struct IdField {
    /// One place, or several that name the event together: all in the head, or
    /// all in the body.
    pub(crate) locations: Vec<Location>,
    /// Characters that would let the id run into what follows it in the message.
    pub(crate) exclude: Vec<u8>,
    /// Whether the signature covers the id. Only then may it name the event.
    pub(crate) signed: bool,
}

impl IdField {
    pub(crate) fn is_in_body(&self) -> bool {
        self.locations.iter().any(Location::is_in_body)
    }
}

impl Scheme {
    /// Reads a scheme from a section of a document. `extend` merges the table of a scheme
    /// into the one that its key `extends` names.
    ///
    /// Returns `None` if there are mistakes; they are in the section's report.
    pub(crate) fn read(section: &Section<'_>, extend: Extend<'_>) -> Option<Self> {
        let before = section.report().len();
        let compiled = grammar::read(section, extend)?;
        (section.report().len() == before).then(|| Self(Arc::new(compiled)))
    }

    pub(crate) fn plans(&self) -> &[Plan] {
        &self.0.plans
    }

    /// Whether plan `index` may decide, if `chosen` is the one that the operator
    /// has chosen.
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
