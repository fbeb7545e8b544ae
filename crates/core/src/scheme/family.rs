//! Families of schemes, by the parts of a delivery that the signature covers.

use super::SignatureKind;
use super::location::Location;
use super::summary::Variant;
use super::template::Variable;
use crate::mac::Algorithm;

/// A family of schemes that sign the same parts of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SchemeFamily {
    /// Id, timestamp and body, as in Standard Webhooks.
    IdTimeBody,
    /// The body alone.
    Body,
    /// A timestamp (or another header) and the body.
    TimeBody,
    /// The method, the URL, its query or a form, and possibly the body.
    Request,
    /// The body contains the signature.
    InBody,
    /// A public key verifies the signature. The signed parts do not matter.
    PublicKey,
    /// A JSON Web Token.
    Jwt,
    /// An HTTP message signature (RFC 9421).
    MessageSignature,
    /// A static token.
    Token,
}

impl SchemeFamily {
    /// Every family.
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

    /// Describes what the family signs.
    pub const fn text(self) -> &'static str {
        match self {
            Self::IdTimeBody => "id, timestamp and body (Standard Webhooks)",
            Self::Body => "body",
            Self::TimeBody => "timestamp or another header, and body",
            Self::Request => "method, URL, query or form",
            Self::InBody => "signature inside the body",
            Self::PublicKey => "public key",
            Self::Jwt => "JSON Web Token",
            Self::MessageSignature => "HTTP message signature (RFC 9421)",
            Self::Token => "static token",
        }
    }
}

impl Variant<'_> {
    /// Returns the family of the variant.
    pub fn family(self) -> SchemeFamily {
        let plan = self.0;
        let request = plan
            .message
            .placeholders()
            .any(|value| match &value.variable {
                Variable::Method
                | Variable::Url
                | Variable::UrlBase
                | Variable::Path
                | Variable::PathQuery
                | Variable::FormSorted => true,
                Variable::At(location) | Variable::EitherCase(location) => {
                    matches!(
                        location,
                        Location::Query(_) | Location::Form(_) | Location::Multipart(_)
                    )
                }
                _ => false,
            });
        match &plan.kind {
            SignatureKind::Token => SchemeFamily::Token,
            SignatureKind::Jwt { .. } => SchemeFamily::Jwt,
            SignatureKind::MessageSignature(_) => SchemeFamily::MessageSignature,
            SignatureKind::Message { .. } if matches!(plan.algorithm, Algorithm::Public(_)) => {
                SchemeFamily::PublicKey
            }
            SignatureKind::Message { .. } if plan.signature.location.is_in_body() => {
                SchemeFamily::InBody
            }
            SignatureKind::Message { .. } if request => SchemeFamily::Request,
            SignatureKind::Message { .. } => {
                let has_id = plan.message.has(&Variable::Id);
                let others = plan.message.placeholders().next().is_some();
                match (has_id && plan.timestamp.is_some(), others) {
                    (true, _) => SchemeFamily::IdTimeBody,
                    (false, true) => SchemeFamily::TimeBody,
                    (false, false) => SchemeFamily::Body,
                }
            }
        }
    }
}
