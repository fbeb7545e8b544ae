//! The ways in which a provider signs, as far as they are visible from the outside.

use hookgate_core::{Scheme, Variant};
use http::HeaderName;
use http::header::AUTHORIZATION;
use memchr::memmem;

use super::traits::Traits;

/// A variant of a scheme: its signature's place and strength.
#[derive(Clone, Debug)]
pub(super) struct Way {
    /// The name of the variant, if the scheme has several.
    pub(super) name: Option<String>,
    pub(super) is_opt_in: bool,
    pub(super) places: Vec<Place>,
    algorithm: &'static str,
}

/// A place where a delivery has a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Header(HeaderName),
    /// Every header whose name begins with the text.
    HeaderPrefix(String),
    Query(String),
    /// A field of the body with this name.
    Body(String),
}

/// The strength of a signature. The order is that of the strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Strength {
    algorithm: u8,
    is_default: bool,
}

impl Way {
    /// Returns the ways of `scheme`, in its order.
    pub(super) fn all(scheme: &Scheme) -> Vec<Self> {
        scheme.variants().map(Self::of).collect()
    }

    fn of(variant: Variant<'_>) -> Self {
        Self {
            name: variant.name().map(str::to_owned),
            is_opt_in: variant.is_opt_in(),
            places: variant
                .signature()
                .split(", ")
                .filter_map(Place::parse)
                .collect(),
            algorithm: variant.algorithm(),
        }
    }

    /// Whether the signature is a static token, which proves little.
    pub(super) fn is_token(&self) -> bool {
        self.algorithm == "token"
    }

    pub(super) fn strength(&self) -> Strength {
        let algorithm = match self.algorithm {
            "token" => 0,
            "sha256" => 1,
            name if name.ends_with("-or-sha1") => 3,
            name if name.ends_with("-sha1") => 2,
            _ => 4,
        };
        Strength {
            algorithm,
            is_default: !self.is_opt_in,
        }
    }

    /// Whether the delivery can have a signature of this way.
    pub(super) fn occurs(&self, traits: &Traits<'_>) -> bool {
        let mut places = self.places.iter();
        places.any(|place| place.occurs(traits) && self.allows(place, traits))
    }

    /// Whether a header that names the provider has the signature.
    pub(super) fn is_distinctive(&self, traits: &Traits<'_>) -> bool {
        let mut places = self.places.iter();
        places.any(|place| {
            let is_named = match place {
                Place::Header(name) => name != AUTHORIZATION,
                Place::HeaderPrefix(_) => true,
                Place::Query(_) | Place::Body(_) => false,
            };
            is_named && place.occurs(traits) && self.allows(place, traits)
        })
    }

    /// Whether the signature at `place` can be of this algorithm, as far as a prefix of the
    /// value such as `sha1=` names it.
    fn allows(&self, place: &Place, traits: &Traits<'_>) -> bool {
        let Place::Header(name) = place else {
            return true;
        };
        let mut values = traits.headers.get_all(name).iter();
        values.any(|value| {
            let value = value.as_bytes();
            let named = ["sha1", "sha256", "sha384", "sha512"]
                .into_iter()
                .find(|digest| {
                    let rest = value.strip_prefix(digest.as_bytes());
                    rest.is_some_and(|rest| rest.starts_with(b"="))
                });
            named.is_none_or(|digest| self.algorithm.ends_with(digest))
        })
    }

    /// Whether both ways read one place.
    pub(super) fn shares_place(&self, other: &Self) -> bool {
        self.places.iter().any(|place| other.places.contains(place))
    }

    /// Whether a header of `newer` is a header of this way with a suffix, as in
    /// `x-hub-signature` and `x-hub-signature-256`.
    pub(super) fn is_replaced_by(&self, newer: &Self) -> bool {
        let extends = |old: &HeaderName, new: &HeaderName| {
            let suffix = new.as_str().strip_prefix(old.as_str());
            suffix.is_some_and(|suffix| suffix.starts_with('-'))
        };
        self.places.iter().any(|old| {
            newer.places.iter().any(|new| match (old, new) {
                (Place::Header(old), Place::Header(new)) => extends(old, new),
                _ => false,
            })
        })
    }
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        let (kind, name) = text.split_once(':')?;
        Some(match kind {
            "header" => Self::Header(HeaderName::from_bytes(name.as_bytes()).ok()?),
            "headers" => Self::HeaderPrefix(name.to_owned()),
            "query" => Self::Query(name.to_owned()),
            "json" => Self::Body(name.rsplit('/').next()?.to_owned()),
            "form" | "multipart" => Self::Body(name.to_owned()),
            _ => return None,
        })
    }

    fn occurs(&self, traits: &Traits<'_>) -> bool {
        match self {
            Self::Header(name) => traits.headers.contains_key(name),
            Self::HeaderPrefix(prefix) => {
                let mut names = traits.headers.keys();
                names.any(|name| name.as_str().starts_with(prefix))
            }
            Self::Query(name) => {
                let mut fields = traits.uri.query().unwrap_or_default().split('&');
                fields.any(|field| field.split('=').next() == Some(name))
            }
            Self::Body(name) => memmem::find(traits.body, name.as_bytes()).is_some(),
        }
    }
}
