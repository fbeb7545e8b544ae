//! Descriptions of a scheme for operators and documentation: signed parts, headers and warnings.

use http::{HeaderName, Method, StatusCode};

use super::location::Location;
use super::{BodyBinding, Plan, Scheme, SignatureKind};
use crate::mac::Algorithm;
use crate::message_signature::Component;
use crate::scheme::signature::SignatureLocation;
use crate::time::Window;

/// A way in which a provider signs. Most providers have one.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'s>(pub(super) &'s Plan);

/// A weakness of a scheme that no verifier can mend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SchemeWarning {
    /// The signature is a token: a party that has seen one delivery can forge others.
    SignsNothing,
    /// The signature does not cover the body: a party that has seen one delivery can send another
    /// body with it, once.
    BodyUnbound,
    /// The event id is not signed, so hookgate does not use it.
    IdUnsigned,
    /// Neither an event id nor a timestamp is signed. Two events with equal bytes look like one,
    /// and a replay passes when the retention has ended.
    NoIdNoTimestamp,
    /// The signature is a digest of secret and message, not an HMAC. A forger can extend it to a
    /// longer message; only the rule that a body must be JSON refuses that message.
    PlainDigest,
}

impl SchemeWarning {
    /// Describes the weakness in one sentence.
    pub const fn text(self) -> &'static str {
        match self {
            Self::SignsNothing => {
                "a token signs nothing: a party that has seen one delivery can forge others"
            }
            Self::BodyUnbound => {
                "the signature does not cover the body: only TLS protects the body from changes"
            }
            Self::IdUnsigned => {
                "the signature does not cover the id header, so it is not used to find duplicates"
            }
            Self::NoIdNoTimestamp => {
                "neither an event id nor a timestamp is signed: two events with identical bodies are \
                 treated as one"
            }
            Self::PlainDigest => {
                "the signature is a plain digest, not an HMAC: only the rule that a body must be JSON \
                 prevents a forger from appending to it"
            }
        }
    }
}

impl Scheme {
    /// Returns the ways in which the provider signs, at least one.
    ///
    /// The first variant that applies to a delivery decides.
    pub fn variants(&self) -> impl Iterator<Item = Variant<'_>> {
        self.plans().iter().map(Variant)
    }

    /// Returns the variants that are enabled if the operator chooses none.
    fn enabled_variants(&self) -> impl Iterator<Item = Variant<'_>> {
        self.variants().filter(|variant| !variant.is_opt_in())
    }

    /// Returns the variant at a position of [`Scheme::variants`].
    pub(crate) fn variant(&self, index: usize) -> Variant<'_> {
        Variant(&self.plans()[index])
    }

    fn first(&self) -> Variant<'_> {
        self.variant(0)
    }

    /// Returns the headers that the scheme reads, in order.
    pub fn headers(&self) -> Vec<&HeaderName> {
        let mut all: Vec<&HeaderName> = Vec::new();
        for location in self.plans().iter().flat_map(Plan::locations) {
            if let Location::Header(name) = location
                && !all.contains(&name)
            {
                all.push(name);
            }
        }
        all
    }

    /// Whether the scheme reads `header`, for the signature or for anything else.
    ///
    /// A proxy must forward such a header unchanged.
    pub fn reads(&self, header: &HeaderName) -> bool {
        let is_header =
            |location: &Location| matches!(location, Location::Header(name) if name == header);
        let names_key = self.fetch_rule();
        if names_key.is_some_and(|rule| rule.locations().any(is_header)) {
            return true;
        }
        self.plans().iter().any(|plan| {
            let by_kind = match &plan.kind {
                SignatureKind::MessageSignature(policy) => {
                    let components = &policy.components;
                    matches!(
                        header.as_str(),
                        "signature" | "signature-input" | "content-digest"
                    ) || components.contains(&Component::Field(header.clone()))
                }
                SignatureKind::Message { .. }
                | SignatureKind::Jwt { .. }
                | SignatureKind::Token => false,
            };
            let by_prefix = match &plan.signature.location {
                SignatureLocation::HeaderPrefix(prefix) => header.as_str().starts_with(prefix),
                SignatureLocation::Locations(_) => false,
            };
            let conditions = plan.when.iter().map(|condition| &condition.location);
            by_kind
                || by_prefix
                || plan
                    .locations()
                    .into_iter()
                    .chain(conditions)
                    .any(is_header)
        })
    }

    /// Returns the widest window of the variants that are enabled by default.
    ///
    /// A variant has the window that the provider documents, or else the default. Returns `None` if
    /// no variant has a timestamp.
    pub fn window(&self) -> Option<Window> {
        self.enabled_variants()
            .filter_map(Variant::window)
            .reduce(Window::widest)
    }

    /// Whether deliveries carry the event id in a signed header.
    pub fn has_id_header(&self) -> bool {
        self.plans().iter().any(|plan| {
            plan.id
                .as_ref()
                .is_some_and(|id| id.signed && matches!(&*id.locations, [Location::Header(_)]))
        })
    }

    /// Returns the algorithm of the first variant, by its name in the scheme language.
    pub fn algorithm(&self) -> &'static str {
        self.first().algorithm()
    }

    /// Whether every variant that is enabled by default is a token.
    ///
    /// A token authenticates the sender but signs nothing: a party that has seen one delivery can
    /// forge others.
    pub fn is_token(&self) -> bool {
        self.enabled_variants().all(Variant::is_token)
    }

    /// Whether every variant that is enabled by default signs the event id.
    pub fn signs_id(&self) -> bool {
        self.enabled_variants().all(Variant::signs_id)
    }

    /// Whether [`VerifierBuilder::url`](crate::VerifierBuilder::url) is required: the provider
    /// signs the URL that it calls.
    pub fn needs_url(&self) -> bool {
        self.compiled().needs_url
    }

    /// Returns the names of the parameters that
    /// [`VerifierBuilder::param`](crate::VerifierBuilder::param) must set.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.compiled().params.iter().map(|name| &**name)
    }

    /// Returns the status that the provider expects for a refused delivery, if it is not
    /// `401 Unauthorized`.
    pub fn refusal_status(&self) -> Option<StatusCode> {
        self.compiled().status
    }

    /// Whether a delivery without a signature gets a status that makes the provider send it again.
    pub fn retries_unsigned(&self) -> bool {
        self.compiled().retry_unsigned
    }

    /// Returns whether the provider publishes its keys, so that a receiver can fetch them.
    pub fn publishes_keys(&self) -> bool {
        self.fetch_rule().is_some()
    }
}

impl<'s> Variant<'s> {
    /// Returns the name of the variant, if the scheme has several variants.
    pub fn name(self) -> Option<&'s str> {
        self.0.name.as_deref()
    }

    /// Returns the method of the deliveries. A delivery with another method than POST has no
    /// body.
    pub fn method(self) -> &'s Method {
        &self.0.method
    }

    /// Whether the variant is enabled only if the operator chooses it, with
    /// [`VerifierBuilder::variant`](crate::VerifierBuilder::variant).
    pub fn is_opt_in(self) -> bool {
        self.0.opt_in
    }

    /// Returns the algorithm, by its name in the scheme language.
    pub fn algorithm(self) -> &'static str {
        match &self.0.kind {
            SignatureKind::Jwt { .. } if self.0.detached.is_some() => "jws-es512",
            SignatureKind::Jwt { algorithms } => algorithms.first().map_or("", |jwt| jwt.name),
            _ => self.0.algorithm.name(),
        }
    }

    /// Returns the template of the signed message.
    ///
    /// Returns `None` for a token, a JSON Web Token and a message signature of RFC 9421, which have
    /// no template.
    pub fn signed_message(self) -> Option<&'s str> {
        match &self.0.kind {
            SignatureKind::Message { template } => Some(template),
            SignatureKind::Jwt { .. } => self.0.detached.as_deref(),
            SignatureKind::MessageSignature(_) | SignatureKind::Token => None,
        }
    }

    /// Describes what is signed: the template, or a sentence if there is none.
    pub fn signed(self) -> String {
        match &self.0.kind {
            SignatureKind::Message { template } => {
                let secret = match self.0.algorithm {
                    Algorithm::Sha256 => "{secret}",
                    _ => "",
                };
                format!("{secret}{}", template.replace('\n', "\\n"))
            }
            SignatureKind::Token => "nothing (static token)".to_owned(),
            SignatureKind::MessageSignature(policy) => {
                let components: Vec<String> =
                    policy.components.iter().map(ToString::to_string).collect();
                format!("RFC 9421: {}", components.join(", "))
            }
            SignatureKind::Jwt { .. } => {
                if let Some(template) = &self.0.detached {
                    let template = template.replace('\n', "\\n");
                    return format!("the header of the token, and {template}");
                }
                let claims: Vec<String> = self
                    .0
                    .require
                    .iter()
                    .map(|require| require.location.to_string())
                    .collect();
                format!("the claims of the token; checked: {}", claims.join(", "))
            }
        }
    }

    /// Returns the location of the signature.
    pub fn signature(self) -> String {
        match &self.0.signature.location {
            SignatureLocation::HeaderPrefix(prefix) => format!("headers:{prefix}"),
            SignatureLocation::Locations(locations) => locations
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        }
    }

    /// Returns the location of the timestamp, if the variant has one.
    pub fn timestamp(self) -> Option<String> {
        let timestamp = self.0.timestamp.as_ref()?;
        Some(timestamp.location.to_string())
    }

    /// Returns the location of the event id, if the variant signs one.
    pub fn id(self) -> Option<String> {
        let id = self.0.id.as_ref().filter(|id| id.signed)?;
        let locations: Vec<String> = id.locations.iter().map(ToString::to_string).collect();
        Some(locations.join(" and "))
    }

    /// Returns the window that the provider documents, or else the default. Returns `None` without a
    /// timestamp.
    pub fn window(self) -> Option<Window> {
        self.0.timestamp.as_ref().map(|timestamp| timestamp.window)
    }

    /// Whether the variant is a static token, or a JSON Web Token that authenticates the caller
    /// alone.
    pub fn is_token(self) -> bool {
        self.0.algorithm == Algorithm::Token || self.0.bearer
    }

    /// Whether the variant signs the event id.
    pub fn signs_id(self) -> bool {
        self.0.id.as_ref().is_some_and(|id| id.signed)
    }

    /// Whether the variant verifies with a public key.
    pub fn has_public_key(self) -> bool {
        matches!(self.0.algorithm, Algorithm::Public(_))
    }

    /// Returns the weaknesses of the variant.
    pub fn warnings(self) -> Vec<SchemeWarning> {
        let plan = self.0;
        let mut warnings = Vec::new();
        if self.is_token() {
            warnings.push(SchemeWarning::SignsNothing);
            return warnings;
        }
        if plan.algorithm == Algorithm::Sha256 {
            warnings.push(SchemeWarning::PlainDigest);
        }
        if plan.body == BodyBinding::Unbound {
            warnings.push(SchemeWarning::BodyUnbound);
        }
        match &plan.id {
            Some(id) if !id.signed => warnings.push(SchemeWarning::IdUnsigned),
            _ => {}
        }
        if !self.signs_id() && plan.timestamp.is_none() {
            warnings.push(SchemeWarning::NoIdNoTimestamp);
        }
        warnings
    }
}
