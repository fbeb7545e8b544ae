#![doc = include_str!("language.md")]

mod ambiguity;
pub(crate) mod delimiters;
mod family;
pub(crate) mod fetch;
pub(crate) mod field;
pub(crate) mod format;
mod grammar;
pub(crate) mod handshake;
pub(crate) mod json;
pub(crate) mod location;
pub(crate) mod lookup;
pub(crate) mod message;
mod plan;
pub(crate) mod secrets;
pub(crate) mod signature;
mod summary;
pub(crate) mod template;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;

pub(crate) use self::ambiguity::{QueryRule, UrlEnd};
pub use self::family::SchemeFamily;
use self::fetch::FetchRule;
pub use self::fetch::KeyReference;
pub(crate) use self::grammar::SuccessStatus;
pub(crate) use self::grammar::read_conditions;
use self::handshake::Handshake;
use self::json::Pointer;
pub(crate) use self::plan::{
    BodyBinding, BodyForm, IdField, JwtAlgorithm, Plan, SignatureKind, TimestampField, UrlRule,
};
pub use self::summary::{SchemeWarning, Variant};
use crate::document::{Section, Table};

/// Merges the table of a scheme into the scheme of the provider that its key `extends` names.
/// Returns `None` if no provider has that name.
pub(crate) type Extend<'e> = &'e dyn Fn(&Table) -> Option<Table>;

/// A compiled scheme: how a provider signs its deliveries. Cheap to clone.
///
/// The TOML text is parsed and checked once, when the scheme is read.
#[derive(Clone)]
pub struct Scheme(Arc<CompiledScheme>);

/// The content of a [`Scheme`].
#[derive(Debug)]
pub(crate) struct CompiledScheme {
    /// One plan for each variant. The first plan that applies to a delivery decides.
    pub(crate) plans: Vec<Plan>,
    pub(crate) handshakes: Vec<Handshake>,
    /// Members of the body that the handshakes read.
    pub(crate) handshake_json: Vec<Pointer>,
    /// The status that the provider expects for a refused delivery.
    pub(crate) status: Option<StatusCode>,
    /// Whether the provider sends an unsigned delivery again, signed, if it is asked to.
    pub(crate) retry_unsigned: bool,
    /// Names of the parameters that the operator must set.
    pub(crate) params: BTreeSet<Box<str>>,
    /// Whether the operator must configure the URL that the provider calls.
    pub(crate) needs_url: bool,
    /// How keys are fetched, if the provider publishes them.
    pub(crate) fetch: Option<FetchRule>,
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

    /// Returns the rule by which keys are fetched, if the provider publishes them.
    pub(crate) fn fetch_rule(&self) -> Option<&FetchRule> {
        self.0.fetch.as_ref()
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
