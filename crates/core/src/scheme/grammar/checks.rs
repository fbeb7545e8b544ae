//! What a scheme must not say: whatever would let something through that the
//! signature does not cover.

use http::HeaderName;

use super::fits;
use crate::document::Section;
use crate::mac::Algorithm;
use crate::message_signature::Component;
use crate::scheme::handshake::Handshake;
use crate::scheme::location::{Item, Location};
use crate::scheme::message::{self, Part};
use crate::scheme::signature::SignatureLocation;
use crate::scheme::template::{self, Segment, Variable};
use crate::scheme::{BodyBinding, BodyForm, Plan, SignatureKind};

/// Whether the signature covers the body.
pub(super) fn binding(plan: &Plan) -> BodyBinding {
    let by_requirement = plan.require.iter().any(|equal| {
        // Alone: beside another value it could be divided in two ways.
        matches!(&equal.template[..], [Segment::Placeholder(value)] if message::binds_body(value))
            && is_signed(&equal.location, plan)
    });
    if plan.message.binds_body() || by_requirement || covers(plan, &[Component::Field(DIGEST)]) {
        return BodyBinding::Bound;
    }
    let by_form = plan
        .message
        .placeholders()
        .any(|value| matches!(value.variable, Variable::At(Location::Form(_))));
    if by_form && plan.each.is_none() {
        BodyBinding::FormFields
    } else {
        BodyBinding::Unbound
    }
}

const DIGEST: HeaderName = HeaderName::from_static("content-digest");

/// Whether `plan` is one of RFC 9421 and demands that one of `components` is
/// covered.
fn covers(plan: &Plan, components: &[Component]) -> bool {
    match &plan.kind {
        SignatureKind::MessageSignature(policy) => {
            components.iter().any(|one| policy.components.contains(one))
        }
        _ => false,
    }
}

/// Whether the signature covers what is at `location`.
fn is_signed(location: &Location, plan: &Plan) -> bool {
    let in_message = plan
        .message
        .signed_placeholders()
        .any(|value| value.variable == Variable::At(location.clone()));
    let has_url = plan.message.has(&Variable::Url) || plan.message.has(&Variable::PathQuery);
    // Fields that are written without anything in between could be others.
    let is_run_together = plan.message.has(&Variable::FormSorted);
    let bound = plan.body == BodyBinding::Bound && plan.each.is_none() && !is_run_together;
    match location {
        Location::Json(_) | Location::Form(_) => bound || in_message,
        Location::Query(_) => {
            has_url
                || in_message
                || covers(
                    plan,
                    &[
                        Component::TargetUri,
                        Component::RequestTarget,
                        Component::Query,
                    ],
                )
        }
        Location::Header(name) => in_message || covers(plan, &[Component::Field(name.clone())]),
        // The parameters of a message signature are part of what is signed.
        Location::Signature(_) => {
            in_message || matches!(plan.kind, SignatureKind::MessageSignature(_))
        }
        Location::Claim(_) => matches!(plan.kind, SignatureKind::Jwt { .. }),
        Location::Param(_) => true,
    }
}

/// Checks `plan`, and notes whether its id is signed.
pub(super) fn plan(section: &Section<'_>, plan: &mut Plan, binds_body: Option<bool>) {
    let is_token = plan.algorithm == Algorithm::Token;
    if let Some(id) = &plan.id {
        let in_body = id.locations.iter().filter(|l| l.is_in_body()).count();
        if in_body > 0 && in_body < id.locations.len() {
            section.wrong(
                "id",
                "expected places of the head or of the body, not of both",
            );
        }
        if id.locations.iter().any(|l| matches!(l, Location::Param(_))) {
            section.wrong("id", "expected a place in the delivery");
        }
        if plan.message.has(&Variable::Id) && id.locations.len() != 1 {
            section.wrong("id", "expected one place for {id} in `msg`");
        }
        // A token signs nothing; there the id serves to recognise retries.
        let signed = is_token
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
    } else if plan.message.has(&Variable::Id) {
        section.wrong("msg", "{id} needs an `id` that says where it is");
    }
    check_timestamp(section, plan);
    if let Some(location) = &plan.event_type
        && !is_token
        && !is_signed(location, plan)
    {
        section.wrong(
            "type",
            "not signed; only what the signature covers may name an event",
        );
    }
    check_binding(section, plan, binds_body);
    check_items(section, plan);
    check_plain_digest(section, plan);
    if plan.each.is_some() && !plan.signature.location.is_in_body() {
        section.wrong(
            "each",
            "expected a signature in each element, `sig.in` = json:/POINTER",
        );
    }
    if plan.each.is_some() && plan.signature.groups.is_some() {
        section.wrong("each", "expected without `sig.groups`");
    }
    if plan.each.is_some()
        && plan
            .locations()
            .iter()
            .any(|location| matches!(location, Location::Form(_)))
    {
        section.wrong(
            "each",
            "expected json: places, which are relative to the element",
        );
    }
    for equal in &plan.require {
        let in_body = template::locations(&equal.template)
            .filter(|variable| variable.is_in_body())
            .count();
        let all = template::placeholders(&equal.template).count();
        let raw = template::placeholders(&equal.template)
            .filter(|value| matches!(value.variable, Variable::Body | Variable::FormSorted))
            .count();
        if in_body + raw > 0 && in_body + raw < all {
            section.wrong(
                "require",
                "a template with parts of the head and of the body; expected one or the other",
            );
        }
        if template::placeholders(&equal.template).any(|value| {
            matches!(
                value.variable,
                Variable::Timestamp | Variable::Id | Variable::HeadersOf(_)
            )
        }) {
            section.wrong("require", "{ts}, {id} and {headers-of:…} are for `msg`");
        }
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
            section.wrong("msg", "{ts} needs a table `ts` that says where it is");
        }
        return;
    };
    if matches!(timestamp.location, Location::Param(_)) {
        section.wrong("ts.in", "expected a place in the delivery");
    }
    if plan.algorithm == Algorithm::Token {
        section.wrong("ts", "a token signs nothing, and no timestamp");
    } else if !plan.message.has(&Variable::Timestamp) && !is_signed(&timestamp.location, plan) {
        section.wrong(
            "ts",
            "not part of `msg`; a timestamp that is not signed can be changed, and protects nothing",
        );
    }
}

fn check_binding(section: &Section<'_>, plan: &Plan, binds_body: Option<bool>) {
    let is_token = plan.algorithm == Algorithm::Token;
    match (plan.body, binds_body) {
        (_, Some(_)) if is_token => section.wrong(
            "binds_body",
            "a token signs nothing; this goes without saying",
        ),
        _ if is_token => {}
        (BodyBinding::Unbound, None | Some(true)) => section.wrong(
            match plan.kind {
                SignatureKind::MessageSignature(_) => "sig.components",
                SignatureKind::Jwt { .. } => "claims",
                _ => "msg",
            },
            "does not cover the body: whoever has one delivery could change it; expected {body}, \
             a digest of it (content-digest), or `binds_body = false` to say that it is so",
        ),
        (BodyBinding::Bound | BodyBinding::FormFields, Some(false)) => {
            section.wrong(
                "binds_body",
                "expected nothing: the signature covers the body",
            );
        }
        _ => {}
    }
}

/// Whoever has a digest of secret and message has that of any message that goes on
/// where this one ends. So nothing must verify that could be one gone on: what comes
/// last is a body that has an end of its own.
fn check_plain_digest(section: &Section<'_>, plan: &Plan) {
    if plan.algorithm != Algorithm::Sha256 || !matches!(plan.kind, SignatureKind::Message { .. }) {
        return;
    }
    if plan.body_form == BodyForm::Any || !matches!(plan.message.parts.last(), Some(Part::RawBody))
    {
        section.wrong(
            "alg",
            "sha256 of secret and message lets anybody append to the message: expected {body} at \
             the end of `msg`, and `body` \"json\" or \"json-or-empty\"",
        );
    }
}

/// `sig:…` has to be an item that the signature's list can have.
fn check_items(section: &Section<'_>, plan: &Plan) {
    let list = plan.signature.list.as_ref();
    let of_message = plan
        .message
        .placeholders()
        .filter_map(|value| match &value.variable {
            Variable::HeadersOf(item) => Some(item),
            _ => None,
        });
    let items = plan
        .locations()
        .into_iter()
        .filter_map(|location| match location {
            Location::Signature(item) => Some(item),
            _ => None,
        });
    let mut any = false;
    for item in items.chain(of_message) {
        if matches!(plan.kind, SignatureKind::MessageSignature(_)) {
            let known = ["created", "nonce", "keyid"];
            if !matches!(item, Item::Name(name) if known.contains(&&**name)) {
                section.wrong("sig", "expected one of sig:created, sig:nonce, sig:keyid");
            }
            continue;
        }
        any = true;
        if !fits(list, item) {
            section.wrong(
                "sig",
                "sig:NAME needs a list of named items, sig:#POSITION one of items without names and \
                 `skip`; neither may mean a signature",
            );
        }
    }
    let one_place =
        matches!(&plan.signature.location, SignatureLocation::Locations(l) if l.len() == 1);
    if any && (!one_place || plan.signature.location.is_in_body()) {
        section.wrong("sig.in", "expected one header, whose items sig:… means");
    }
    check_claims(section, plan);
    let claims = plan
        .locations()
        .iter()
        .any(|location| matches!(location, Location::Claim(_)));
    if claims && !matches!(plan.kind, SignatureKind::Jwt { .. }) {
        section.wrong("alg", "claim:… needs one of jwt-…");
    }
}

/// A claim says one thing.
fn check_claims(section: &Section<'_>, plan: &Plan) {
    // Those of RFC 7519 §4.1 that are checked wherever they are.
    let mut said = vec!["exp", "nbf"];
    let timestamp = plan.timestamp.iter().map(|timestamp| &timestamp.location);
    let ids = plan.id.iter().flat_map(|id| &id.locations);
    let required = plan.require.iter().map(|equal| &equal.location);
    for location in timestamp.chain(ids).chain(required) {
        if let Location::Claim(name) = location {
            if said.contains(&&**name) {
                section.wrong(
                    "claims",
                    format!("claim:{name} has another meaning already; expected one"),
                );
            }
            said.push(name);
        }
    }
}

/// A handshake that signs uses the algorithm of deliveries, so there has to be
/// one, and it has to be one that can be computed.
pub(super) fn handshakes(section: &Section<'_>, plans: &[Plan], handshakes: &[Handshake]) {
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
            "an answer that is signed needs a scheme of one variant, with an HMAC",
        ),
    }
}
