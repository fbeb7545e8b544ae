//! Names of the components that a signature can cover (RFC 9421 §2).

use std::fmt;

use http::HeaderName;
#[cfg(feature = "rfc9421")]
use sfv::{BareItem, StringRef, key_ref};

#[cfg(feature = "rfc9421")]
use super::dictionary::{Item, Parameters};
#[cfg(all(test, feature = "rfc9421"))]
use super::query;

/// A part of a request that a signature can cover (RFC 9421 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    /// A header field, whose lines are joined to one value.
    Field(HeaderName),
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    /// A parameter of the query. The name is encoded as in §2.2.8.
    #[cfg(feature = "rfc9421")]
    QueryParam(sfv::String),
}

impl Component {
    /// Returns the component without parameters that is called `name`. `@status` is not one,
    /// because only responses have it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "@method" => Self::Method,
            "@target-uri" => Self::TargetUri,
            "@authority" => Self::Authority,
            "@scheme" => Self::Scheme,
            "@request-target" => Self::RequestTarget,
            "@path" => Self::Path,
            "@query" => Self::Query,
            // No field name begins with `@`, so a header can never replace a derived component
            // (§7.5.1).
            _ => Self::Field(HeaderName::from_lowercase(name.as_bytes()).ok()?),
        })
    }

    /// Returns the parameter of the query that is called `name`.
    #[cfg(all(test, feature = "rfc9421"))]
    pub(crate) fn query_param(name: &str) -> Self {
        let name = sfv::String::from_string(query::encode(name.as_bytes()));
        Self::QueryParam(name.expect("encoded text is ASCII"))
    }

    fn name(&self) -> &str {
        match self {
            Self::Field(name) => name.as_str(),
            Self::Method => "@method",
            Self::TargetUri => "@target-uri",
            Self::Authority => "@authority",
            Self::Scheme => "@scheme",
            Self::RequestTarget => "@request-target",
            Self::Path => "@path",
            Self::Query => "@query",
            #[cfg(feature = "rfc9421")]
            Self::QueryParam(_) => "@query-param",
        }
    }

    /// Returns the component that `identifier` denotes, or `None` if it is unknown or has
    /// parameters that are not supported.
    #[cfg(feature = "rfc9421")]
    pub(super) fn of(identifier: &Item) -> Option<Self> {
        let BareItem::String(name) = &identifier.value else {
            return None;
        };
        match (name.as_str(), identifier.parameters.as_slice()) {
            ("@query-param", [(key, BareItem::String(name))]) if key.as_str() == "name" => {
                Some(Self::QueryParam(name.clone()))
            }
            (name, []) => Self::named(name),
            _ => None,
        }
    }

    /// Returns the identifier of the component, as `Signature-Input` has it.
    #[cfg(feature = "rfc9421")]
    pub(super) fn identifier(&self) -> Item {
        let name = StringRef::from_str(self.name()).expect("names are ASCII");
        let mut parameters = Parameters::default();
        if let Self::QueryParam(name) = self {
            let pushed = parameters.push(key_ref("name"), name.clone().into());
            pushed.expect("an empty list accepts a parameter");
        }
        Item {
            value: name.into(),
            parameters,
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
