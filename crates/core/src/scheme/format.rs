//! The written form of a delivery: which headers it needs, and how their values look.
//!
//! A verifier does not need this view. A diagnosis does, to undo the changes that proxies and
//! operators make.

use http::HeaderName;
use zeroize::Zeroizing;

use super::location::{Item, Location};
use super::signature::{ListKind, SignatureLocation};
use super::template::{self, IfAbsent, Placeholder, Variable};
use super::{Plan, Scheme, SignatureKind, Variant};
use crate::message_signature::Component;
use crate::time::UnixTime;

/// The written form of the deliveries of one variant.
#[derive(Clone, Copy, Debug)]
pub struct Format<'s>(&'s Plan);

/// The list around a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListFormat<'s> {
    /// The character between items.
    pub separator: char,
    /// The character between the name and the value of an item, if items have names.
    pub pair: Option<char>,
    /// The name of a signature, if it is fixed.
    pub name: Option<&'s str>,
}

/// The place of a value in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'s> {
    /// The value is the whole header.
    Header(&'s HeaderName),
    /// The value is the item of this name in the list around the signature.
    Item(&'s str),
}

/// Returns the format of a variant.
pub fn format_of(variant: Variant<'_>) -> Format<'_> {
    Format(variant.0)
}

/// Returns the formats of the variants that are enabled. `variant` is the chosen one, if any.
pub fn formats<'s>(scheme: &'s Scheme, variant: Option<&str>) -> Vec<Format<'s>> {
    let plans = scheme.plans().iter();
    let enabled = plans.filter(|plan| match variant {
        Some(name) => plan.name.as_deref() == Some(name),
        None => !plan.opt_in,
    });
    enabled.map(Format).collect()
}

impl<'s> Format<'s> {
    /// Returns the headers that can carry the signature.
    pub fn signature_headers(self) -> Vec<&'s HeaderName> {
        match &self.0.signature.location {
            SignatureLocation::HeaderPrefix(_) => Vec::new(),
            SignatureLocation::Locations(locations) => {
                locations.iter().filter_map(header_of).collect()
            }
        }
    }

    /// Returns the text before each signature. Empty if there is none.
    pub fn signature_prefix(self) -> &'s str {
        std::str::from_utf8(&self.0.signature.prefix).unwrap_or_default()
    }

    /// Returns the list around the signature, if there is one.
    pub fn list(self) -> Option<ListFormat<'s>> {
        let list = self.0.signature.list.as_ref()?;
        let (pair, name) = match &list.kind {
            ListKind::Named { pair, name } => (
                Some(char::from(*pair)),
                name.as_deref()
                    .and_then(|name| std::str::from_utf8(name).ok()),
            ),
            ListKind::Positional { .. } => (None, None),
            ListKind::Object { .. } => return None,
        };
        Some(ListFormat {
            separator: char::from(list.items),
            pair,
            name,
        })
    }

    /// Whether `value` follows the grammar of the signature header.
    pub fn accepts_signature(self, value: &[u8]) -> bool {
        let field = &self.0.signature;
        match &self.0.kind {
            SignatureKind::Jwt { .. } => field
                .without_prefix(value)
                .is_some_and(|token| token.iter().filter(|byte| **byte == b'.').count() == 2),
            SignatureKind::MessageSignature(_) => true,
            SignatureKind::Message { .. } | SignatureKind::Token => {
                let len = self.0.algorithm.tag_len();
                field.groups(value).all(|group| {
                    field
                        .candidates(group, len, &mut Default::default())
                        .is_ok()
                })
            }
        }
    }

    /// Writes one signature without its prefix and its list. Returns `None` if no signature of
    /// the variant has the length of `tag`.
    pub fn encode_signature(self, tag: &[u8]) -> Option<String> {
        let allowed = self.0.algorithm.tag_len().allows(tag.len());
        allowed.then(|| self.0.signature.encoding.encode(tag))
    }

    /// Whether the signature is a token or a JSON Web Token, which has no encoding of its own.
    pub fn has_token(self) -> bool {
        matches!(
            self.0.kind,
            SignatureKind::Token | SignatureKind::Jwt { .. }
        )
    }

    /// Returns the place of the timestamp, if it is in the head.
    pub fn timestamp(self) -> Option<Place<'s>> {
        match &self.0.timestamp.as_ref()?.location {
            Location::Header(name) => Some(Place::Header(name)),
            Location::Signature(Item::Name(name)) => Some(Place::Item(name)),
            _ => None,
        }
    }

    /// Parses a timestamp in the one form that the variant accepts.
    pub fn parse_timestamp(self, text: &str) -> Option<UnixTime> {
        self.0.timestamp.as_ref()?.unit.parse(text.as_bytes())
    }

    /// Returns the headers besides the signature without which no delivery verifies.
    pub fn required_headers(self) -> Vec<&'s HeaderName> {
        let plan = self.0;
        let mut all: Vec<&HeaderName> = Vec::new();
        let timestamp = plan.timestamp.as_ref().map(|field| &field.location);
        all.extend(timestamp.and_then(header_of));
        let placeholders = plan.message.required_placeholders();
        all.extend(placeholders.flat_map(|value| self.headers_of(value)));
        for required in &plan.require {
            if !required.may_lack_body() {
                all.extend(header_of(&required.location));
            }
            let placeholders = template::placeholders(&required.template);
            all.extend(placeholders.flat_map(|value| self.headers_of(value)));
        }
        if let SignatureKind::MessageSignature(policy) = &plan.kind {
            all.extend(policy.components.iter().filter_map(|one| match one {
                Component::Field(name) => Some(name),
                _ => None,
            }));
        }
        let mut seen = Vec::new();
        all.retain(|name| {
            let is_new = !seen.contains(name);
            seen.push(*name);
            is_new
        });
        all
    }

    /// Returns the headers whose value `value` inserts, and without which there is no message.
    fn headers_of(self, value: &'s Placeholder) -> Vec<&'s HeaderName> {
        if value.absent == IfAbsent::Empty {
            return Vec::new();
        }
        match &value.variable {
            Variable::Id => {
                let id = self.0.id.iter().flat_map(|id| &id.locations);
                id.filter_map(header_of).collect()
            }
            variable => variable
                .location()
                .and_then(header_of)
                .into_iter()
                .collect(),
        }
    }

    /// Returns the names of the members of a JSON body in which the variant reads values.
    pub fn json_members(self) -> impl Iterator<Item = &'s str> {
        let pointers = self.0.json.iter();
        pointers.filter_map(|pointer| pointer.steps().first().map(String::as_str))
    }

    /// Returns the headers that the delivery must not have.
    pub fn forbidden_headers(self) -> &'s [HeaderName] {
        &self.0.forbidden
    }

    /// Returns texts of secrets that decode to `key`: one for each reading of the scheme.
    ///
    /// A scheme that takes a digest of the decoded secret takes it of `key`.
    pub fn secrets_for(self, key: &[u8]) -> impl Iterator<Item = Zeroizing<Vec<u8>>> {
        self.0.key.iter().filter_map(move |rule| rule.encode(key))
    }

    /// Returns the prefixes that secrets of the variant have or may have.
    pub fn secret_prefixes(self) -> impl Iterator<Item = &'s str> {
        self.0.key.iter().flat_map(|rule| {
            let strip = rule.strip.iter().map(String::as_str);
            rule.only.as_deref().into_iter().chain(strip)
        })
    }
}

fn header_of(location: &Location) -> Option<&HeaderName> {
    match location {
        Location::Header(name) => Some(name),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Provider;

    #[test]
    fn a_format_describes_the_headers_of_a_provider() {
        let names = |names: Vec<&HeaderName>| {
            let names: Vec<_> = names.into_iter().map(HeaderName::as_str).collect();
            names.join(" ")
        };
        for (provider, signature, prefix, list, required, timestamp) in [
            ("github", "x-hub-signature-256", "sha256=", "", "", "None"),
            (
                "stripe",
                "stripe-signature",
                "",
                ", = v1",
                "",
                "Some(Item(\"t\"))",
            ),
            (
                "slack",
                "x-slack-signature",
                "v0=",
                "",
                "x-slack-request-timestamp",
                "Some(Header(\"x-slack-request-timestamp\"))",
            ),
            (
                "standard-webhooks",
                "webhook-signature",
                "",
                "  , v1",
                "webhook-timestamp webhook-id",
                "Some(Header(\"webhook-timestamp\"))",
            ),
            (
                "shopify",
                "x-shopify-hmac-sha256 shopify-hmac-sha256",
                "",
                "",
                "",
                "None",
            ),
        ] {
            let provider = Provider::named(provider).unwrap();
            let [format] = formats(provider.scheme(), None)[..] else {
                panic!("one variant")
            };
            let written = format.list().map_or(String::new(), |list| {
                let pair = list.pair.unwrap_or('#');
                format!("{} {pair} {}", list.separator, list.name.unwrap_or("*"))
            });
            assert_eq!(names(format.signature_headers()), signature);
            assert_eq!(format.signature_prefix(), prefix, "{signature}");
            assert_eq!(written, list, "{signature}");
            assert_eq!(names(format.required_headers()), required, "{signature}");
            assert_eq!(format!("{:?}", format.timestamp()), timestamp);
        }
    }

    #[test]
    fn a_format_accepts_the_grammar_of_its_signature_alone() {
        let github = Provider::named("github").unwrap();
        let [format] = formats(github.scheme(), None)[..] else {
            panic!("one variant")
        };
        let tag = format.encode_signature(&[7; 32]).unwrap();
        assert!(format.accepts_signature(format!("sha256={tag}").as_bytes()));
        for bad in [tag.clone(), format!("sha256=\"{tag}\""), String::new()] {
            assert!(!format.accepts_signature(bad.as_bytes()), "{bad}");
        }
        assert_eq!(format.encode_signature(&[7; 20]), None);
    }
}
