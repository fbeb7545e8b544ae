//! The locations of secrets in a delivery: tokens, passwords and JSON Web Tokens.
//!
//! A signature is no secret: it authenticates one message. A party that has seen a token can
//! forge other deliveries with it.

use std::fmt;

use http::HeaderName;

use super::handshake::RequiredValue;
use super::json::Pointer;
use super::location::Location;
use super::plan::Plan;
use super::signature::SignatureLocation;
use super::template::{Segment, Variable};
use super::{Scheme, SignatureKind};

/// A location from which a scheme reads a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretLocation {
    /// A header.
    Header(HeaderName),
    /// All headers whose names begin with this text.
    HeaderPrefix(String),
    /// A field of the query.
    Query(String),
    /// A field of a form body.
    Form(String),
    /// A field of a form in `multipart/form-data`.
    Multipart(String),
    /// A member of a JSON body.
    Json(Vec<JsonStep>),
}

/// A step from a JSON value to one of its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonStep {
    /// The member of an object with this name, or the element of an array with this number.
    Name(String),
    /// Every element of an array.
    Each,
}

impl JsonStep {
    /// Returns the steps of a JSON pointer (RFC 6901), or `None` if the text is not one.
    pub fn of_pointer(pointer: &str) -> Option<Vec<Self>> {
        let pointer = Pointer::parse(pointer)?;
        Some(pointer.steps().iter().cloned().map(Self::Name).collect())
    }
}

impl Scheme {
    /// Returns the locations from which any variant or handshake reads a secret.
    pub(crate) fn secret_locations(&self) -> Vec<SecretLocation> {
        let mut all = Vec::new();
        for plan in self.plans() {
            add_signature(plan, &mut all);
            for required in plan
                .require
                .iter()
                .filter(|required| is_named_secret(required))
            {
                add(plan.each.as_ref(), &required.location, &mut all);
            }
        }
        let handshakes = self.compiled().handshakes.iter();
        for required in handshakes.flat_map(|handshake| &handshake.check) {
            // A handshake carries no event, so its value is removed whatever its name is.
            if param_of(required).is_some() {
                add(None, &required.location, &mut all);
            }
        }
        all
    }
}

/// Adds the locations of the signature, if it is a token.
fn add_signature(plan: &Plan, all: &mut Vec<SecretLocation>) {
    let is_secret = match &plan.kind {
        SignatureKind::Token => true,
        // A signature without a payload of its own is no token.
        SignatureKind::Jwt { .. } => plan.detached.is_none(),
        SignatureKind::Message { .. } | SignatureKind::MessageSignature(_) => false,
    };
    match &plan.signature.location {
        _ if !is_secret => {}
        SignatureLocation::HeaderPrefix(prefix) => {
            all.push(SecretLocation::HeaderPrefix(prefix.clone()));
        }
        SignatureLocation::Locations(locations) => {
            for location in locations {
                add(plan.each.as_ref(), location, all);
            }
        }
    }
}

/// Returns the parameter that the value must equal, if it must equal one.
fn param_of(required: &RequiredValue) -> Option<&str> {
    match &required.template[..] {
        [Segment::Placeholder(value)] => match &value.variable {
            Variable::At(Location::Param(name)) => Some(name),
            _ => None,
        },
        _ => None,
    }
}

/// Whether the value must equal a parameter that is a secret by its name.
fn is_named_secret(required: &RequiredValue) -> bool {
    param_of(required).is_some_and(|name| {
        let name = name.to_ascii_lowercase();
        let marks = ["token", "secret", "password"];
        marks.into_iter().any(|mark| name.contains(mark))
    })
}

/// Adds `location`, if a request can have it. `each` is the array whose elements have it.
fn add(each: Option<&Pointer>, location: &Location, all: &mut Vec<SecretLocation>) {
    let secret = match location {
        Location::Header(name) => SecretLocation::Header(name.clone()),
        Location::Query(name) => SecretLocation::Query(name.to_string()),
        Location::Form(name) => SecretLocation::Form(name.to_string()),
        Location::Multipart(name) => SecretLocation::Multipart(name.to_string()),
        Location::Json(pointer) => {
            let names = |steps: &[String]| steps.iter().cloned().map(JsonStep::Name).collect();
            let mut steps: Vec<JsonStep> = Vec::new();
            if let Some(each) = each {
                steps = names(each.steps());
                steps.push(JsonStep::Each);
            }
            steps.extend(names(pointer.steps()));
            SecretLocation::Json(steps)
        }
        Location::Signature(_)
        | Location::Claim(_)
        | Location::Jose(_)
        | Location::Param(_)
        | Location::Method
        | Location::UnsignedQuery => return,
    };
    if !all.contains(&secret) {
        all.push(secret);
    }
}

/// Writes the location as a scheme does. `*` stands for every element of an array.
impl fmt::Display for SecretLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            Self::HeaderPrefix(prefix) => write!(f, "headers:{prefix}"),
            Self::Query(name) => write!(f, "query:{name}"),
            Self::Form(name) => write!(f, "form:{name}"),
            Self::Multipart(name) => write!(f, "multipart:{name}"),
            Self::Json(steps) => {
                f.write_str("json:")?;
                steps.iter().try_for_each(|step| match step {
                    JsonStep::Name(name) => {
                        write!(f, "/{}", name.replace('~', "~0").replace('/', "~1"))
                    }
                    JsonStep::Each => f.write_str("/*"),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Provider;

    fn locations(provider: &str) -> String {
        let provider = Provider::named(provider).unwrap();
        let all = provider.scheme().secret_locations();
        let all: Vec<_> = all.iter().map(ToString::to_string).collect();
        all.join(" ")
    }

    #[test]
    fn tokens_are_secrets_and_signatures_are_not() {
        for (provider, expected) in [
            ("github", ""),
            ("stripe", ""),
            ("standard-webhooks", ""),
            ("gitlab", "header:x-gitlab-token"),
            ("telegram", "header:x-telegram-bot-api-secret-token"),
            ("chargebee", "header:authorization"),
            ("livekit", "header:authorization"),
            ("meraki", "json:/sharedSecret"),
            ("microsoft-graph", "json:/value/*/clientState"),
            (
                "ringcentral",
                "header:verification-token header:validation-token",
            ),
            (
                "cloudevents",
                "header:authorization query:access_token header:webhook-request-origin",
            ),
            ("meta", "query:hub.verify_token"),
            // The signature covers the body, which is its payload.
            ("truelayer", ""),
            // The topic is no secret.
            ("aws-sns", ""),
        ] {
            assert_eq!(locations(provider), expected, "{provider}");
        }
    }

    #[test]
    fn a_value_that_must_equal_a_secret_parameter_is_secret() {
        let scheme = Scheme::from_toml(
            r#"
            alg = "hmac-sha256"
            sig = { in = "header:x-signature", enc = "hex" }
            msg = "{body}"
            require = { "header:x-token" = "{param:my_token}", "header:x-app" = "{param:app}" }
            "#,
        )
        .unwrap();
        assert_eq!(
            scheme.secret_locations(),
            [SecretLocation::Header(HeaderName::from_static("x-token"))]
        );
    }
}
