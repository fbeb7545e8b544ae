//! What a scheme says, for those who have to know: operators and documentation.

use http::{HeaderName, StatusCode};

use super::location::Location;
use super::template::Place;
use super::{BodyBinding, Kind, Plan, Scheme};
use crate::mac::Algorithm;
use crate::message_signature::Component;
use crate::scheme::signature::SignaturePlace;
use crate::time::Window;

/// One way in which a provider signs. Most have one.
#[derive(Clone, Copy, Debug)]
pub struct Variant<'s>(&'s Plan);

/// What a scheme cannot do, whoever verifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Caution {
    /// It is a token: whoever has seen one delivery can make others.
    SignsNothing,
    /// The signature does not cover the body: whoever has seen one delivery can
    /// send another body with it, once.
    BodyUnbound,
    /// The provider's event id is not signed, so that it does not count.
    IdUnsigned,
    /// Neither an event id nor a timestamp is signed: two events with equal
    /// bytes look like one, and a replay passes once it is forgotten.
    NoIdNoTimestamp,
    /// A digest over secret and message, not an HMAC: whoever has one has those
    /// of longer messages, and only that bodies have to be JSON keeps them out.
    PlainDigest,
}

impl Caution {
    /// The caution in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::SignsNothing => {
                "a token signs nothing: whoever has seen one delivery can make others"
            }
            Self::BodyUnbound => {
                "the signature does not cover the body: only TLS keeps others from changing it"
            }
            Self::IdUnsigned => "the event id is not signed, so that it does not count",
            Self::NoIdNoTimestamp => {
                "neither event id nor timestamp is signed: equal bytes look like one event"
            }
            Self::PlainDigest => {
                "a plain digest, not an HMAC: only that a body has to be JSON keeps others from \
                 appending to it"
            }
        }
    }
}

/// The shapes that schemes have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Shape {
    /// Id, timestamp and body, as in Standard Webhooks.
    IdTimeBody,
    /// The body alone.
    Body,
    /// A timestamp (or another header) and the body.
    TimeBody,
    /// The method, the address, its query or a form, and perhaps the body.
    Request,
    /// The signature itself is in the body.
    InBody,
    /// A public key.
    PublicKey,
    /// A JSON Web Token.
    Jwt,
    /// An HTTP message signature (RFC 9421).
    MessageSignature,
    /// A static token.
    Token,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 9] = [
        Self::IdTimeBody,
        Self::Body,
        Self::TimeBody,
        Self::Request,
        Self::InBody,
        Self::PublicKey,
        Self::Jwt,
        Self::MessageSignature,
        Self::Token,
    ];

    /// The shape in words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::IdTimeBody => "id, timestamp and body (Standard Webhooks)",
            Self::Body => "body",
            Self::TimeBody => "timestamp or another header, and body",
            Self::Request => "method, address, query or form",
            Self::InBody => "signature inside of the body",
            Self::PublicKey => "public key",
            Self::Jwt => "JSON Web Token",
            Self::MessageSignature => "HTTP message signature (RFC 9421)",
            Self::Token => "static token",
        }
    }
}

impl Scheme {
    /// The ways in which the provider signs, at least one. The first that
    /// applies to a delivery decides.
    pub fn variants(&self) -> impl Iterator<Item = Variant<'_>> {
        self.plans().iter().map(Variant)
    }

    /// Those that count unless another one is chosen.
    fn counting(&self) -> impl Iterator<Item = Variant<'_>> {
        self.variants().filter(|variant| !variant.is_opt_in())
    }

    fn first(&self) -> Variant<'_> {
        Variant(&self.plans()[0])
    }

    /// The headers that the scheme names as places of what it reads, in order.
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

    /// Whether the scheme names `header`: as a place of the signature, or of anything else that
    /// it reads. Whoever passes deliveries on leaves it as it came.
    pub fn reads(&self, header: &HeaderName) -> bool {
        let is_it =
            |location: &Location| matches!(location, Location::Header(name) if name == header);
        self.plans().iter().any(|plan| {
            let by_kind = match &plan.kind {
                Kind::MessageSignature(policy) => {
                    let components = &policy.components;
                    matches!(
                        header.as_str(),
                        "signature" | "signature-input" | "content-digest"
                    ) || components.contains(&Component::Field(header.clone()))
                }
                Kind::Message { .. } | Kind::Jwt { .. } | Kind::Token => false,
            };
            let by_prefix = match &plan.signature.place {
                SignaturePlace::HeaderPrefix(prefix) => header.as_str().starts_with(prefix),
                SignaturePlace::Locations(_) => false,
            };
            let conditions = plan.when.iter().map(|condition| &condition.location);
            by_kind || by_prefix || plan.locations().into_iter().chain(conditions).any(is_it)
        })
    }

    /// The widest window of the variants that count unless another one is chosen, as the provider documents it, or the
    /// default. `None` if none has a timestamp.
    pub fn window(&self) -> Option<Window> {
        self.counting()
            .filter_map(Variant::window)
            .reduce(Window::widest)
    }

    /// Whether deliveries have the event id in a header that is signed.
    pub fn has_id_header(&self) -> bool {
        self.plans().iter().any(|plan| {
            plan.id
                .as_ref()
                .is_some_and(|id| id.signed && matches!(&*id.locations, [Location::Header(_)]))
        })
    }

    /// The algorithm of the first variant, by its name in the language.
    pub fn algorithm(&self) -> &'static str {
        self.first().algorithm()
    }

    /// Whether every variant that counts is a token: it authenticates the caller and signs
    /// nothing, so whoever has seen one delivery can make others.
    pub fn is_token(&self) -> bool {
        self.counting().all(Variant::is_token)
    }

    /// Whether the event id is part of what every variant signs that counts.
    pub fn signs_id(&self) -> bool {
        self.counting().all(Variant::signs_id)
    }

    /// Whether [`VerifierBuilder::url`](crate::VerifierBuilder::url) has to be set:
    /// the provider signs the address that it calls.
    pub fn needs_url(&self) -> bool {
        self.compiled().needs_url
    }

    /// Names of the parameters that
    /// [`VerifierBuilder::param`](crate::VerifierBuilder::param) has to set.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.compiled().params.iter().map(|name| &**name)
    }

    /// What the provider demands that a refused delivery is told, if it is not
    /// `401 Unauthorized`.
    pub fn refusal_status(&self) -> Option<StatusCode> {
        self.compiled().status
    }

    /// The handshakes that are answered, each as the method and what makes the
    /// request one.
    pub fn handshakes(&self) -> Vec<String> {
        self.compiled()
            .handshakes
            .iter()
            .map(|handshake| {
                let mut text = handshake.method.to_string();
                for condition in &handshake.when {
                    let value = condition.value.as_deref();
                    text.push_str(&match value {
                        Some(value) => format!(" {}={value}", condition.location),
                        None => format!(" {}", condition.location),
                    });
                }
                if handshake.verified {
                    text.push_str(", signed");
                }
                text
            })
            .collect()
    }
}

impl<'s> Variant<'s> {
    /// Its name, where there are several.
    pub fn name(self) -> Option<&'s str> {
        self.0.name.as_deref()
    }

    /// Whether it counts only where it has been chosen, with
    /// [`VerifierBuilder::variant`](crate::VerifierBuilder::variant).
    pub fn is_opt_in(self) -> bool {
        self.0.opt_in
    }

    /// The algorithm, by its name in the language.
    pub fn algorithm(self) -> &'static str {
        match &self.0.kind {
            Kind::Jwt { algorithm } => algorithm,
            _ => self.0.algorithm.name(),
        }
    }

    /// The template of the signed message; none for a token, which signs
    /// nothing, and for those whose message is not a template.
    pub fn signed_message(self) -> Option<&'s str> {
        match &self.0.kind {
            Kind::Message { template } => Some(template),
            Kind::Jwt { .. } | Kind::MessageSignature(_) | Kind::Token => None,
        }
    }

    /// What is signed, in words or as its template.
    pub fn signed(self) -> String {
        match &self.0.kind {
            Kind::Message { template } => {
                let secret = match self.0.algorithm {
                    Algorithm::Sha256 => "{secret}",
                    _ => "",
                };
                format!("{secret}{}", template.replace('\n', "\\n"))
            }
            Kind::Token => "nothing: it is a token".to_owned(),
            Kind::MessageSignature(policy) => {
                let components: Vec<String> =
                    policy.components.iter().map(ToString::to_string).collect();
                format!("RFC 9421: {}", components.join(", "))
            }
            Kind::Jwt { .. } => {
                let claims: Vec<String> = self
                    .0
                    .require
                    .iter()
                    .map(|require| require.location.to_string())
                    .collect();
                format!("the token's claims; checked: {}", claims.join(", "))
            }
        }
    }

    /// Where the signature is.
    pub fn signature(self) -> String {
        match &self.0.signature.place {
            SignaturePlace::HeaderPrefix(prefix) => format!("headers:{prefix}"),
            SignaturePlace::Locations(locations) => locations
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(", "),
        }
    }

    /// Where the timestamp is, if there is one.
    pub fn timestamp(self) -> Option<String> {
        let timestamp = self.0.timestamp.as_ref()?;
        Some(timestamp.location.to_string())
    }

    /// Where the event id is, if there is one that is signed.
    pub fn id(self) -> Option<String> {
        let id = self.0.id.as_ref().filter(|id| id.signed)?;
        let places: Vec<String> = id.locations.iter().map(ToString::to_string).collect();
        Some(places.join(" and "))
    }

    /// The window that the provider documents, or the default. `None` without
    /// a timestamp.
    pub fn window(self) -> Option<Window> {
        self.0.timestamp.as_ref().map(|timestamp| timestamp.window)
    }

    /// Whether it is a token.
    pub fn is_token(self) -> bool {
        self.0.algorithm == Algorithm::Token
    }

    /// Whether the event id is part of what is signed.
    pub fn signs_id(self) -> bool {
        self.0.id.as_ref().is_some_and(|id| id.signed)
    }

    /// Whether its key is a public one.
    pub fn has_public_key(self) -> bool {
        matches!(self.0.algorithm, Algorithm::Public(_))
    }

    /// What it cannot do.
    pub fn cautions(self) -> Vec<Caution> {
        let plan = self.0;
        let mut cautions = Vec::new();
        if self.is_token() {
            cautions.push(Caution::SignsNothing);
            return cautions;
        }
        if plan.algorithm == Algorithm::Sha256 {
            cautions.push(Caution::PlainDigest);
        }
        if plan.body == BodyBinding::Unbound {
            cautions.push(Caution::BodyUnbound);
        }
        match &plan.id {
            Some(id) if !id.signed => cautions.push(Caution::IdUnsigned),
            _ => {}
        }
        if !self.signs_id() && plan.timestamp.is_none() {
            cautions.push(Caution::NoIdNoTimestamp);
        }
        cautions
    }

    /// Its shape.
    pub fn shape(self) -> Shape {
        let plan = self.0;
        let request = plan.message.values().any(|value| match &value.place {
            Place::Method
            | Place::Url
            | Place::UrlBase
            | Place::Path
            | Place::PathQuery
            | Place::FormSorted => true,
            Place::At(location) => matches!(location, Location::Query(_) | Location::Form(_)),
            _ => false,
        });
        match &plan.kind {
            Kind::Token => Shape::Token,
            Kind::Jwt { .. } => Shape::Jwt,
            Kind::MessageSignature(_) => Shape::MessageSignature,
            Kind::Message { .. } if matches!(plan.algorithm, Algorithm::Public(_)) => {
                Shape::PublicKey
            }
            Kind::Message { .. } if plan.signature.place.is_in_body() => Shape::InBody,
            Kind::Message { .. } if request => Shape::Request,
            Kind::Message { .. } => {
                let has_id = plan.message.has(&Place::Id);
                let others = plan.message.values().next().is_some();
                match (has_id && plan.timestamp.is_some(), others) {
                    (true, _) => Shape::IdTimeBody,
                    (false, true) => Shape::TimeBody,
                    (false, false) => Shape::Body,
                }
            }
        }
    }
}
