//! Compiles the TOML table of a scheme. Every mistake is reported at its key path.
//!
//! [`plan`] reads one way to sign, [`signature`] its key `sig`, [`handshake`] the handshakes.
//! [`checks`] refuses a scheme that would let unsigned data through.

mod checks;
mod handshake;
mod keys;
mod plan;
mod signature;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use self::handshake::read_conditions;

use std::collections::BTreeSet;

use http::Method;

use self::values::RefusalStatus;
pub(crate) use self::values::SuccessStatus;
use super::handshake::{Condition, Handshake, RequiredValue};
use super::json::{MAX_POINTERS, Pointer};
use super::location::Location;
use super::template::{self, Segment, Variable};
use super::{CompiledScheme, Extend, Plan};
use crate::document::{Section, Table};

/// Keys that apply to a whole scheme, not to one of its variants.
const SCHEME_KEYS: [&str; 5] = ["variants", "handshake", "status", "keys", "retry_unsigned"];

/// Compiles the scheme in `section`. Reports every mistake to the section; returns `None` if a
/// mistake leaves nothing to compile.
pub(super) fn read(section: &Section<'_>, extend: Extend<'_>) -> Option<CompiledScheme> {
    let merged = merge(section, extend)?;
    let root = Section::at_path(section.path(), &merged, section.report());
    let handshakes: Vec<Handshake> = root
        .sections("handshake")
        .iter()
        .filter_map(handshake::read)
        .collect();
    let status = root
        .optional::<RefusalStatus>("status")
        .map(|status| status.0);
    let retry_unsigned = root.optional("retry_unsigned").unwrap_or(false);
    let mut plans = if root.has("variants") {
        read_variants(&root, extend)?
    } else {
        vec![plan::read(&root)?]
    };
    bind_methods(&mut plans);
    checks::check_handshakes(&root, &plans, &handshakes);
    let fetch = root
        .section("keys")
        .and_then(|section| keys::read(&section, &plans));

    let mut used = handshake_locations(&handshakes);
    let handshake_json = pointers(&root, &used)?;
    for plan in &plans {
        used.extend(plan.locations());
    }
    let params = used
        .iter()
        .filter_map(|location| match location {
            Location::Param(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    let needs_url = plans.iter().any(needs_url);
    Some(CompiledScheme {
        plans,
        handshakes,
        handshake_json,
        status,
        retry_unsigned,
        params,
        needs_url,
        fetch,
    })
}

/// Merges the table of `section` with the scheme that it extends.
fn merge(section: &Section<'_>, extend: Extend<'_>) -> Option<Table> {
    let merged = extend(section.raw());
    if merged.is_none() {
        section.wrong(
            "extends",
            "no provider of this name; `hookgate providers` lists the names",
        );
    }
    merged
}

/// Reads the variants. A variant inherits the keys beside `variants` that it does not set.
fn read_variants(root: &Section<'_>, extend: Extend<'_>) -> Option<Vec<Plan>> {
    let sections = root.sections("variants");
    if sections.is_empty() {
        root.wrong("variants", "expected at least one table");
    }
    let mut common = root.raw().clone();
    for key in SCHEME_KEYS {
        common.remove(key);
    }
    let last = sections.len().checked_sub(1);
    let mut names = BTreeSet::new();
    let mut plans = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let Some(own) = merge(section, extend) else {
            continue;
        };
        let mut table = common.clone();
        table.extend(own);
        let section = Section::at_path(section.path(), &table, section.report());
        if let Some(name) = section.required::<String>("name")
            && !names.insert(name)
        {
            section.wrong(
                "name",
                "another variant has this name; expected another name",
            );
        }
        if Some(index) != last && !section.has("when") && !section.has("method") {
            section.wrong(
                "when",
                "missing; without a condition this variant always applies and the next ones never",
            );
        }
        plans.extend(plan::read_variant(&section));
    }
    if !plans.is_empty() && plans.iter().all(|plan| plan.opt_in) {
        root.wrong(
            "variants",
            "every variant has `opt_in = true`; expected at least one without it",
        );
    }
    (plans.len() == sections.len() && !plans.is_empty()).then_some(plans)
}

/// Adds the method to the conditions and requirements of `plans`, if one of them has deliveries
/// with another method than POST.
///
/// The method is not signed. A variant for GET must not accept the POST deliveries of another
/// variant without their body, nor the other way round. A POST delivery that is signed without a
/// body may also verify as a GET delivery, if both sign the same: nothing is lost or added then,
/// and both are one event.
fn bind_methods(plans: &mut [Plan]) {
    if plans.iter().all(|plan| plan.method == Method::POST) {
        return;
    }
    for plan in plans {
        let text = plan.method.to_string();
        plan.require.push(RequiredValue {
            location: Location::Method,
            template: vec![Segment::Literal(text.as_bytes().into())],
        });
        // A GET delivery has its fields in the query.
        if plan.method != Method::POST && !checks::signs_query(plan) {
            plan.require.push(RequiredValue {
                location: Location::UnsignedQuery,
                template: Vec::new(),
            });
        }
        if plan.method != Method::POST {
            plan.when.push(Condition {
                location: Location::Method,
                item: None,
                value: Some(text),
            });
        }
    }
}

/// Returns every location that the handshakes read.
fn handshake_locations(handshakes: &[Handshake]) -> Vec<&Location> {
    let templates = handshakes.iter().flat_map(|handshake| {
        let checks = handshake.check.iter().map(|check| &check.template);
        let headers = handshake.respond.headers.iter().map(|(_, value)| value);
        checks.chain(headers).chain([&handshake.respond.body])
    });
    let in_templates = templates.flat_map(|template| template::locations(template));
    let direct = handshakes.iter().flat_map(|handshake| {
        let when = handshake.when.iter().map(|condition| &condition.location);
        let check = handshake.check.iter().map(|check| &check.location);
        let guards = handshake.guards.iter().map(|guard| &guard.location);
        when.chain(check).chain(guards)
    });
    in_templates.chain(direct).collect()
}

/// Returns the distinct JSON pointers in `locations`.
fn pointers(section: &Section<'_>, locations: &[&Location]) -> Option<Vec<Pointer>> {
    let mut pointers: Vec<Pointer> = Vec::new();
    for location in locations {
        if let Location::Json(pointer) = location
            && !pointers.contains(pointer)
        {
            pointers.push(pointer.clone());
        }
    }
    if pointers.len() > MAX_POINTERS {
        section.report().add(
            section.path(),
            format!(
                "reads {} different members of the body; expected at most {MAX_POINTERS}",
                pointers.len()
            ),
        );
        return None;
    }
    Some(pointers)
}

/// Whether the operator must configure the URL that the provider calls.
fn needs_url(plan: &Plan) -> bool {
    let is_url = |variable: &Variable| matches!(variable, Variable::Url | Variable::UrlBase);
    let mut values = plan.message.placeholders();
    let mut required = plan
        .require
        .iter()
        .flat_map(|required| template::placeholders(&required.template));
    plan.message.url_constraints.fixed_path
        || values.any(|value| is_url(&value.variable))
        || required.any(|value| is_url(&value.variable))
}
