//! Refuses schemes that would let through data that the signature does not cover.

use http::{HeaderName, Method};

use super::signature::can_contain;
use crate::document::Section;
use crate::mac::Algorithm;
use crate::message_signature::Component;
use crate::scheme::handshake::Handshake;
use crate::scheme::location::{Item, Location};
use crate::scheme::message::{self, Part};
use crate::scheme::signature::SignatureLocation;
use crate::scheme::template::{self, Placeholder, Segment, Variable};
use crate::scheme::{BodyBinding, BodyForm, Plan, SignatureKind};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Returns how the signature of `plan` covers the body. A scheme that says `binds_body = false`
/// may read signed fields of a form that has unsigned fields, too.
pub(super) fn binding(plan: &Plan, binds_body: Option<bool>) -> BodyBinding {
    let by_requirement = plan.require.iter().any(|required| {
        // The digest must be the only value: beside another one it could be divided in two ways.
        matches!(&required.template[..], [Segment::Placeholder(value)] if message::binds_body(value))
            && is_signed(&required.location, plan)
    });
    if plan.message.binds_body()
        || plan.body_form == BodyForm::Empty
        || by_requirement
        || covers(plan, &[Component::Field(CONTENT_DIGEST)])
    {
        return BodyBinding::Bound;
    }
    let by_form = plan
        .message
        .placeholders()
        .any(|value| matches!(value.variable, Variable::At(Location::Form(_))));
    if by_form && plan.each.is_none() && binds_body != Some(false) {
        BodyBinding::FormFields
    } else {
        BodyBinding::Unbound
    }
}

/// Whether `plan` uses RFC 9421 and demands a signature over one of `components`.
fn covers(plan: &Plan, components: &[Component]) -> bool {
    match &plan.kind {
        SignatureKind::MessageSignature(policy) => {
            components.iter().any(|one| policy.components.contains(one))
        }
        _ => false,
    }
}

/// Whether the signature covers the whole query.
pub(super) fn signs_query(plan: &Plan) -> bool {
    let is_whole =
        |value: &Placeholder| matches!(value.variable, Variable::Url | Variable::PathQuery);
    let by_claim = plan.require.iter().any(|required| {
        matches!(required.location, Location::Claim(_))
            && template::placeholders(&required.template).any(is_whole)
    });
    by_claim
        || plan.message.placeholders().any(is_whole)
        || covers(
            plan,
            &[
                Component::TargetUri,
                Component::RequestTarget,
                Component::Query,
            ],
        )
}

/// Whether the signature covers the value at `location`.
fn is_signed(location: &Location, plan: &Plan) -> bool {
    let in_message = plan
        .message
        .signed_placeholders()
        .any(|value| value.variable == Variable::At(location.clone()));
    // Fields without separators between them can be divided into other fields.
    let has_form_sorted = plan.message.has(&Variable::FormSorted);
    let bound = plan.body == BodyBinding::Bound && plan.each.is_none() && !has_form_sorted;
    match location {
        Location::Json(_) | Location::Form(_) | Location::Multipart(_) => bound || in_message,
        Location::Query(_) => in_message || signs_query(plan),
        // The verifier refuses a signature that does not list such a header.
        Location::Header(name) => {
            let lists = |value: &Placeholder| matches!(value.variable, Variable::HeaderLines(_));
            in_message
                || covers(plan, &[Component::Field(name.clone())])
                || plan.message.placeholders().any(lists)
        }
        // The signature base of RFC 9421 includes the parameters of the signature.
        Location::Signature(_) => {
            in_message || matches!(plan.kind, SignatureKind::MessageSignature(_))
        }
        Location::Claim(_) | Location::Jose(_) => {
            matches!(plan.kind, SignatureKind::Jwt { .. })
        }
        Location::Param(_) => true,
        Location::Method | Location::UnsignedQuery => false,
    }
}

/// Checks `plan`, and sets whether its event id is signed.
pub(super) fn check_plan(section: &Section<'_>, plan: &mut Plan, binds_body: Option<bool>) {
    check_id(section, plan);
    check_timestamp(section, plan);
    if let Some(location) = &plan.event_type
        && plan.algorithm != Algorithm::Token
        && !is_signed(location, plan)
    {
        section.wrong(
            "type",
            "not signed; expected a location that the signature covers",
        );
    }
    check_binding(section, plan, binds_body);
    check_bearer(section, plan);
    check_items(section, plan);
    check_claims(section, plan);
    check_plain_digest(section, plan);
    check_each(section, plan);
    check_require(section, plan);
    if plan.method != Method::POST && plan.body_form != BodyForm::Empty {
        section.wrong("body", "expected \"empty\", because `method` is not POST");
    }
}

/// Checks `id`, and sets whether it is signed.
fn check_id(section: &Section<'_>, plan: &mut Plan) {
    let Some(id) = &plan.id else {
        if plan.message.has(&Variable::Id) {
            section.wrong("msg", "{id} needs the key `id` with its location");
        }
        return;
    };
    let in_body = id.locations.iter().filter(|l| l.is_in_body()).count();
    if in_body > 0 && in_body < id.locations.len() {
        section.wrong(
            "id",
            "expected locations in the head or in the body, not in both",
        );
    }
    if id.locations.iter().any(|l| matches!(l, Location::Param(_))) {
        section.wrong(
            "id",
            "expected a location in the delivery; param:NAME is the same for all of them",
        );
    }
    if plan.message.has(&Variable::Id) && id.locations.len() != 1 {
        section.wrong("id", "expected one location, because `msg` contains {id}");
    }
    // A token signs nothing. Its id still recognises the provider's retries.
    let signed = plan.algorithm == Algorithm::Token
        || plan.bearer
        || plan
            .message
            .signed_placeholders()
            .any(|value| value.variable == Variable::Id)
        || id
            .locations
            .iter()
            .all(|location| is_signed(location, plan));
    if let Some(id) = &mut plan.id {
        id.signed = signed;
    }
}

fn check_timestamp(section: &Section<'_>, plan: &Plan) {
    let Some(timestamp) = &plan.timestamp else {
        if matches!(plan.kind, SignatureKind::MessageSignature(_)) {
            section.wrong(
                "ts",
                "missing; expected { in = \"sig:created\", unit = \"s\" }",
            );
        }
        if plan.message.has(&Variable::Timestamp) && !section.has("ts") {
            section.wrong(
                "msg",
                "{ts} needs the table `ts` with its location and unit",
            );
        }
        return;
    };
    if matches!(timestamp.location, Location::Param(_)) {
        section.wrong(
            "ts.in",
            "expected a location in the delivery; param:NAME is the same for all of them",
        );
    }
    if plan.algorithm == Algorithm::Token {
        section.wrong(
            "ts",
            "a token signs nothing, including a timestamp; remove `ts`",
        );
    } else if !plan.message.has(&Variable::Timestamp) && !is_signed(&timestamp.location, plan) {
        section.wrong(
            "ts",
            "not part of `msg`: a forger could change a timestamp that is not signed; add {ts} to \
             `msg` if the provider signs it, or remove `ts`",
        );
    }
}

fn check_binding(section: &Section<'_>, plan: &Plan, binds_body: Option<bool>) {
    let is_token = plan.algorithm == Algorithm::Token;
    match (plan.body, binds_body) {
        (_, Some(_)) if is_token => {
            section.wrong(
                "binds_body",
                "a token never covers the body; remove this key",
            );
        }
        _ if is_token => {}
        (BodyBinding::Unbound, None | Some(true)) => section.wrong(
            match plan.kind {
                SignatureKind::MessageSignature(_) => "sig.components",
                SignatureKind::Jwt { .. } => "claims",
                _ => "msg",
            },
            "does not cover the body: a party that has one delivery could change its body; add \
             {body} or its digest (content-digest), or set `binds_body = false` to accept this",
        ),
        (BodyBinding::Bound | BodyBinding::FormFields, Some(false)) => {
            section.wrong(
                "binds_body",
                "the signature does cover the body; remove this key",
            );
        }
        _ => {}
    }
}

/// Checks that only a token that covers no part of the delivery counts as its caller's.
fn check_bearer(section: &Section<'_>, plan: &Plan) {
    let is_jwt = matches!(plan.kind, SignatureKind::Jwt { .. });
    if plan.bearer && (!is_jwt || plan.body != BodyBinding::Unbound) {
        section.wrong(
            "bearer",
            "only for jwt-… with `binds_body = false`: the token authenticates the caller alone",
        );
    }
    if plan.bearer && plan.timestamp.is_some() {
        section.wrong(
            "bearer",
            "not with `ts`: the time of a token that serves many deliveries is not theirs",
        );
    }
}

/// Checks that a forger cannot extend a plain digest.
///
/// The digest of secret and message is the state from which the digest of a longer message can be
/// computed (length extension). The message must therefore end with a body whose form has an end
/// of its own, so that no extended body verifies.
fn check_plain_digest(section: &Section<'_>, plan: &Plan) {
    if plan.algorithm != Algorithm::Sha256 || !matches!(plan.kind, SignatureKind::Message { .. }) {
        return;
    }
    if plan.body_form == BodyForm::Any || !matches!(plan.message.parts.last(), Some(Part::RawBody))
    {
        section.wrong(
            "alg",
            "sha256 of secret and message lets a forger append to the message; expected {body} at \
             the end of `msg`, and `body` to be \"json\" or \"json-or-empty\"",
        );
    }
}

/// Checks that each `sig:…` denotes an item that the list of the signature can contain.
fn check_items(section: &Section<'_>, plan: &Plan) {
    let in_message = plan
        .message
        .placeholders()
        .filter_map(|value| match &value.variable {
            Variable::HeadersOf(item) => Some(item),
            _ => None,
        });
    let in_locations = plan
        .locations()
        .into_iter()
        .filter_map(|location| match location {
            Location::Signature(item) => Some(item),
            _ => None,
        });
    let mut any = false;
    for item in in_locations.chain(in_message) {
        if matches!(plan.kind, SignatureKind::MessageSignature(_)) {
            let known = ["created", "nonce", "keyid"];
            if !matches!(item, Item::Name(name) if known.contains(&&**name)) {
                section.wrong("sig", "expected one of sig:created, sig:nonce, sig:keyid");
            }
            continue;
        }
        any = true;
        if !can_contain(&plan.signature, item) {
            section.wrong(
                "sig",
                "sig:NAME needs a list of named items (`items`, `pair`, `key`) and a NAME of visible \
                 characters without these separators, sig:#POSITION a list with `items` and \
                 `skip`; neither may denote a signature",
            );
        }
    }
    let is_single =
        matches!(&plan.signature.location, SignatureLocation::Locations(l) if l.len() == 1);
    if any && (!is_single || plan.signature.location.is_in_body()) {
        section.wrong(
            "sig.in",
            "expected one header, because sig:… denotes its items",
        );
    }
}

/// Checks that claims have one use each, and only with a JSON Web Token.
fn check_claims(section: &Section<'_>, plan: &Plan) {
    // The claims of RFC 7519 §4.1 that the verifier checks wherever they are present.
    let mut used = vec!["exp", "nbf"];
    let timestamp = plan.timestamp.iter().map(|timestamp| &timestamp.location);
    let ids = plan.id.iter().flat_map(|id| &id.locations);
    let required = plan.require.iter().map(|required| &required.location);
    for location in timestamp.chain(ids).chain(required) {
        if let Location::Claim(name) = location {
            if used.contains(&&**name) {
                section.wrong(
                    "claims",
                    format!("claim:{name} already has another use; expected one use per claim"),
                );
            }
            used.push(name);
        }
    }
    let mut locations = plan.locations().into_iter();
    if locations.any(|location| matches!(location, Location::Claim(_) | Location::Jose(_)))
        && !matches!(plan.kind, SignatureKind::Jwt { .. })
    {
        section.wrong(
            "alg",
            "claim:… needs one of the jwt-… algorithms, and so does jose:…",
        );
    }
}

fn check_each(section: &Section<'_>, plan: &Plan) {
    if plan.each.is_none() {
        return;
    }
    // A token signs no message, so one token can stand for all elements.
    let is_token = matches!(plan.kind, SignatureKind::Token);
    if !is_token && !plan.signature.location.is_in_body() {
        section.wrong(
            "each",
            "expected a signature in each element: `sig.in` = json:/POINTER",
        );
    }
    if plan.signature.groups.is_some() {
        section.wrong("each", "not allowed with `sig.groups`");
    }
    let mut locations = plan.locations().into_iter();
    if locations.any(|at| matches!(at, Location::Form(_) | Location::Multipart(_))) {
        section.wrong(
            "each",
            "not allowed with form:NAME or multipart:NAME; expected json:/POINTER, relative to the element",
        );
    }
}

fn check_require(section: &Section<'_>, plan: &Plan) {
    for required in &plan.require {
        let values = || template::placeholders(&required.template);
        let in_body = values().filter(|value| value.variable.is_in_body()).count();
        if in_body > 0 && in_body < values().count() {
            section.wrong(
                "require",
                "a template with values from both the head and the body; use values from only one \
                 of them",
            );
        }
        if values().any(|value| {
            matches!(
                value.variable,
                Variable::Timestamp | Variable::Id | Variable::HeadersOf(_)
            )
        }) {
            section.wrong(
                "require",
                "{ts}, {id} and {headers-of:…} are only for `msg`; expected other placeholders",
            );
        }
    }
}

/// Checks that a handshake which signs its response can do so.
///
/// The response is signed with the algorithm of deliveries, so the scheme needs exactly one, and
/// it must be an HMAC.
pub(super) fn check_handshakes(section: &Section<'_>, plans: &[Plan], handshakes: &[Handshake]) {
    let signs = handshakes.iter().any(|handshake| {
        let headers = handshake.respond.headers.iter().map(|(_, value)| value);
        headers
            .chain([&handshake.respond.body])
            .flat_map(|template| template::placeholders(template))
            .any(|value| value.filters.iter().any(|filter| filter.signs()))
    });
    if !signs {
        return;
    }
    match plans {
        [plan]
            if matches!(plan.kind, SignatureKind::Message { .. })
                && !matches!(
                    plan.algorithm,
                    Algorithm::Public(_) | Algorithm::Token | Algorithm::Sha256
                ) => {}
        _ => section.wrong(
            "handshake",
            "a signed response needs a scheme without `variants` whose `alg` is an HMAC",
        ),
    }
}
