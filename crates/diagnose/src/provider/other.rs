//! Edits that verify with another scheme or another variant.

use std::ops::ControlFlow;

use hookgate_core::{Head, Scheme, VerifyError};

use super::catalogue::{Catalogue, Entry};
use super::rank::{Evidence, ranked};
use super::summary::{other_scheme, other_variant};
use super::traits::Traits;
use super::way::Way;
use crate::attempt::{Age, Case, Change, Edit, Effort, VisitEdit};

/// The cost of another scheme or variant.
const COST: u8 = 4;
/// The cost of a scheme that reads the same header, if nothing else names its provider: another
/// reading of the secret explains such a match as well.
const COST_OF_CLONE: u8 = 6;
/// How many providers are tried together with other changes.
const COMMON: usize = 2;

/// Visits the other schemes that may have signed the delivery, the most likely ones first.
pub(crate) fn each(case: Case<'_>, effort: Effort, visit: VisitEdit<'_>) -> ControlFlow<()> {
    let others = Others::new(case);
    match others.has_own_signature() {
        true => {
            others.variants(visit)?;
            others.schemes(effort, visit)
        }
        false => {
            others.schemes(effort, visit)?;
            others.variants(visit)
        }
    }
}

/// The configured scheme, and the delivery that may have another one.
pub(super) struct Others<'a> {
    case: Case<'a>,
    traits: Traits<'a>,
    own: Vec<Way>,
    /// The entry of the configured provider.
    configured: Option<&'static Entry>,
}

impl<'a> Others<'a> {
    pub(super) fn new(case: Case<'a>) -> Self {
        let setup = case.setup;
        let provider = setup.provider.as_ref();
        Self {
            case,
            traits: Traits::of(case.capture, setup.url.as_deref(), &setup.secrets),
            own: Way::all(&setup.scheme),
            configured: provider.and_then(|provider| Catalogue::get().named(provider.name())),
        }
    }

    pub(super) fn traits(&self) -> &Traits<'a> {
        &self.traits
    }

    /// Whether the delivery has a signature of an enabled variant.
    pub(super) fn has_enabled_signature(&self) -> bool {
        let chosen = &self.case.setup.variant;
        let mut enabled = self.own.iter().filter(|way| match chosen {
            Some(_) => way.name == *chosen,
            None => !way.is_opt_in,
        });
        enabled.any(|way| way.occurs(&self.traits))
    }

    /// Returns the variant that has signed the delivery, as far as its headers show it, if that
    /// is not an enabled one.
    pub(super) fn applicable_variant(&self) -> Option<&str> {
        let is_refused = |variant: Option<&str>| {
            let change = change(&self.case.setup.scheme, variant);
            let changed = self.case.with(&change);
            let prepared = changed.case().prepare(Age::Ignored);
            prepared.is_ok_and(|prepared| {
                let verdict = prepared.check(self.case.capture.body.clone());
                matches!(
                    verdict,
                    Err(VerifyError::SignatureMissing | VerifyError::SignatureVersionUnknown)
                )
            })
        };
        if self.own.len() < 2 || !is_refused(self.case.setup.variant.as_deref()) {
            return None;
        }
        let mut present = self
            .own
            .iter()
            .filter(|way| way.is_distinctive(&self.traits));
        let applicable = present.find(|way| !is_refused(way.name.as_deref()));
        applicable?.name.as_deref()
    }

    /// Whether the delivery has a signature where the configured scheme expects one.
    pub(super) fn has_own_signature(&self) -> bool {
        let capture = self.case.capture;
        let head = Head::new(&capture.method, &self.traits.uri, &capture.headers);
        self.case.setup.scheme.has_signature(head)
            || self.own.iter().any(|way| way.occurs(&self.traits))
    }

    /// Returns the other providers that may have signed the delivery, the most likely one first.
    pub(super) fn entries(&self) -> Vec<&'static Entry> {
        let candidates = Catalogue::get().entries.iter();
        let candidates = candidates.filter(|entry| {
            let is_configured = self.configured.is_some_and(|own| own.class == entry.class);
            !is_configured && entry.ways.iter().any(|way| self.is_advisable(entry, way))
        });
        ranked(candidates, &self.traits)
    }

    /// Whether the entry is another version of the configured provider.
    pub(super) fn is_version(&self, entry: &Entry) -> bool {
        self.configured.is_some_and(|own| own.is_version_of(entry))
    }

    /// Whether the way can have signed the delivery, and is not the weaker one of two signatures.
    pub(super) fn is_advisable(&self, entry: &Entry, way: &Way) -> bool {
        way.occurs(&self.traits)
            && (!way.is_token() || way.is_distinctive(&self.traits))
            && !self.is_weaker(way)
            && !Catalogue::get().is_superseded(entry, way, &self.traits)
    }

    /// Whether the delivery has a stronger signature of the configured scheme elsewhere.
    fn is_weaker(&self, way: &Way) -> bool {
        self.own.iter().any(|own| {
            own.strength() > way.strength() && !own.shares_place(way) && own.occurs(&self.traits)
        })
    }

    /// Visits the other variants of the configured scheme.
    fn variants(&self, visit: VisitEdit<'_>) -> ControlFlow<()> {
        let setup = self.case.setup;
        let others = self.own.iter().filter(|way| way.name != setup.variant);
        for way in others.filter(|way| way.occurs(&self.traits) && !self.is_weaker(way)) {
            let Some(name) = &way.name else {
                continue;
            };
            visit(Edit {
                cause: other_variant(setup, name),
                change: change(&setup.scheme, Some(name)),
                cost: COST,
            })?;
        }
        ControlFlow::Continue(())
    }

    /// Visits the schemes of other providers.
    fn schemes(&self, effort: Effort, visit: VisitEdit<'_>) -> ControlFlow<()> {
        let mut classes: Vec<usize> = Vec::new();
        for entry in self.entries() {
            if classes.contains(&entry.class) {
                continue;
            }
            if effort == Effort::Common && classes.len() == COMMON {
                break;
            }
            classes.push(entry.class);
            // The default choice stands for every variant that needs no choice.
            let ways = entry
                .ways
                .iter()
                .filter(|way| self.is_advisable(entry, way));
            let mut variants: Vec<Option<&str>> = ways
                .map(|way| way.name.as_deref().filter(|_| way.is_opt_in))
                .collect();
            variants.dedup();
            for variant in variants {
                visit(Edit {
                    cause: other_scheme(self, self.case.setup, entry, variant),
                    change: change(entry.provider.scheme(), variant),
                    cost: self.cost(entry),
                })?;
            }
        }
        ControlFlow::Continue(())
    }

    fn cost(&self, entry: &Entry) -> u8 {
        let mut ways = entry.ways.iter();
        let is_shared = ways.any(|way| self.own.iter().any(|own| own.shares_place(way)));
        match is_shared && Evidence::of(entry, &self.traits).named == 0 {
            true => COST_OF_CLONE,
            false => COST,
        }
    }
}

fn change(scheme: &Scheme, variant: Option<&str>) -> Change {
    Change::Scheme {
        scheme: scheme.clone(),
        variant: variant.map(str::to_owned),
    }
}
