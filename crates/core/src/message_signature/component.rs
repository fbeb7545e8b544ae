use std::fmt;

use http::HeaderName;
use sfv::{BareItem, StringRef, key_ref};

use super::dictionary::{Item, Parameters};
#[cfg(test)]
use super::signed_request;

/// A part of a request that a signature can cover (RFC 9421 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Component {
    /// A header field, all of its lines as one.
    Field(HeaderName),
    Method,
    TargetUri,
    Authority,
    Scheme,
    RequestTarget,
    Path,
    Query,
    /// A parameter of the query, by its name as §2.2.8 encodes it.
    QueryParam(sfv::String),
}

impl Component {
    /// A component without parameters, by its name. `@status` is of responses.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "@method" => Self::Method,
            "@target-uri" => Self::TargetUri,
            "@authority" => Self::Authority,
            "@scheme" => Self::Scheme,
            "@request-target" => Self::RequestTarget,
            "@path" => Self::Path,
            "@query" => Self::Query,
            // No name of a field begins with `@`, so a header can never stand
            // in for a derived component (§7.5.1).
            _ => Self::Field(HeaderName::from_lowercase(name.as_bytes()).ok()?),
        })
    }

    /// A parameter of the query, by its name.
    #[cfg(test)]
    pub(crate) fn query_param(name: &str) -> Self {
        let name = sfv::String::from_string(signed_request::encode(name.as_bytes()));
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
            Self::QueryParam(_) => "@query-param",
        }
    }

    /// What an identifier means; none if it has any other parameter.
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

    /// The identifier of the component.
    pub(super) fn identifier(&self) -> Item {
        let name = StringRef::from_str(self.name()).expect("names are ASCII");
        let mut parameters = Parameters::default();
        if let Self::QueryParam(name) = self {
            let pushed = parameters.push(key_ref("name"), name.clone().into());
            pushed.expect("it is the first");
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
