//! Reads the tables `handshake`, and the tables of locations that other keys share.

use std::collections::BTreeSet;

use http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    SET_COOKIE, TRANSFER_ENCODING, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, Method, StatusCode};

use super::values::{HandshakeMethod, Separator, SuccessStatus};
use crate::document::{Section, Value};
use crate::scheme::handshake::{
    AllowedText, CharSet, Condition, Handshake, HandshakeResponse, HandshakeSignature, NamedItem,
    RequiredValue, ResponseType, SigningGuard,
};
use crate::scheme::location::{Item, Location};
use crate::scheme::signature::{List, ListKind, ListWriting, Trim};
use crate::scheme::template::{self, Placeholder, Segment, Variable};

/// Headers that a handshake may not set: hookgate sets them, they frame the response, or they
/// affect the whole site.
const RESERVED: [HeaderName; 9] = [
    CACHE_CONTROL,
    CONNECTION,
    CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY,
    CONTENT_TYPE,
    LOCATION,
    SET_COOKIE,
    TRANSFER_ENCODING,
    X_CONTENT_TYPE_OPTIONS,
];

/// Maximum length of a text that a guard may allow.
const MAX_GUARDED_LEN: u64 = 1024;

/// Reads one handshake.
pub(super) fn read(section: &Section<'_>) -> Option<Handshake> {
    let method = section.required::<HandshakeMethod>("method");
    let when = read_conditions(section, "when");
    let signature = read_signature(section);
    let check = read_required_values(section, "check");
    let guards = read_guards(section);
    let respond = section
        .required_section("respond")
        .and_then(|respond| read_respond(&respond));
    section.deny_unknown();

    let (method, respond) = (method?.0, respond?);
    let mut locations: Vec<&Location> = when.iter().map(|condition| &condition.location).collect();
    for required in &check {
        locations.push(&required.location);
        collect_locations(section, "check", &required.template, &mut locations);
    }
    for (_, template) in &respond.headers {
        collect_locations(section, "respond.headers", template, &mut locations);
    }
    collect_locations(section, "respond.body", &respond.body, &mut locations);
    for guard in &guards {
        locations.push(&guard.location);
    }
    check_locations(section, &locations);
    let verified = signature == HandshakeSignature::Valid;
    let waits_for_body = verified || locations.iter().any(|location| location.is_in_body());
    if waits_for_body && method != Method::POST {
        section.wrong(
            "method",
            "expected POST, because the handshake needs the body",
        );
    }
    check_signing(section, &respond, &guards);
    let head_locations = locations
        .into_iter()
        .filter(|location| {
            waits_for_body && matches!(location, Location::Header(_) | Location::Query(_))
        })
        .cloned()
        .collect();
    Some(Handshake {
        method,
        waits_for_body,
        head_locations,
        when,
        signature,
        check,
        guards,
        respond,
    })
}

/// Checks that a handshake can read each of `locations`.
fn check_locations(section: &Section<'_>, locations: &[&Location]) {
    let is_other = |location: &&Location| {
        matches!(
            location,
            Location::Signature(_)
                | Location::Claim(_)
                | Location::Jose(_)
                | Location::Multipart(_)
        )
    };
    if locations.iter().any(is_other) {
        section.report().add(
            section.path(),
            "sig:…, claim:… or multipart:… in a handshake; expected header:, query:, form:, json: \
             or param:",
        );
    }
}

/// Reads `verified` and `probe`, which exclude each other.
fn read_signature(section: &Section<'_>) -> HandshakeSignature {
    let verified = section.optional("verified").unwrap_or(false);
    let probe = section.optional("probe").unwrap_or(false);
    match (verified, probe) {
        (false, false) => HandshakeSignature::Any,
        (true, false) => HandshakeSignature::Valid,
        (false, true) => HandshakeSignature::Absent,
        (true, true) => {
            section.wrong("probe", "a probe has no signature; remove `verified`");
            HandshakeSignature::Valid
        }
    }
}

/// Checks that a guard limits every value that the response signs.
///
/// Without a guard, a caller could have the body of a forged delivery signed.
fn check_signing(section: &Section<'_>, respond: &HandshakeResponse, guards: &[SigningGuard]) {
    let templates = respond.headers.iter().map(|(_, template)| template);
    for template in templates.chain([&respond.body]) {
        for value in template::placeholders(template) {
            let signs = value.filters.iter().any(|filter| filter.signs());
            let guarded = guards
                .iter()
                .any(|guard| value.variable == Variable::At(guard.location.clone()));
            if signs && !guarded {
                section.wrong(
                    "guard",
                    "missing for a value that the response signs: a caller could have a forged \
                     delivery signed; expected a table such as { \"query:NAME\" = { chars = \
                     \"a-z0-9\", max = 64 } }",
                );
            }
            if signs && value.filters.len() > 1 {
                section.wrong(
                    "respond",
                    "|hmac:… with another filter; remove the other filter",
                );
            }
        }
    }
}

/// Adds the locations in `template` to `locations`, and reports other placeholders at `key`.
fn collect_locations<'t>(
    section: &Section<'_>,
    key: &str,
    template: &'t [Segment],
    locations: &mut Vec<&'t Location>,
) {
    for Placeholder { variable, .. } in template::placeholders(template) {
        match variable {
            Variable::At(location) => locations.push(location),
            _ => section.wrong(
                key,
                "expected placeholders such as {query:NAME}, {header:NAME}, {json:/POINTER} or \
                 {param:NAME}",
            ),
        }
    }
}

/// Reads a table of locations and their values. The value `*` matches any value.
pub(crate) fn read_conditions(section: &Section<'_>, key: &'static str) -> Vec<Condition> {
    let mut conditions = Vec::new();
    for (location, path, value) in location_entries(section, key) {
        match value {
            Value::String(text) => conditions.push(Condition {
                location,
                value: (text != "*").then(|| text.to_owned()),
                item: None,
            }),
            Value::Table(table) => {
                let table = Section::at_path(&path, table, section.report());
                conditions.extend(read_item_condition(&table, location));
            }
            _ => section.report().add(
                path,
                "expected a string or a table; \"*\" matches any value",
            ),
        }
    }
    conditions
}

/// Reads a condition on one item of the list at `location`.
fn read_item_condition(table: &Section<'_>, location: Location) -> Option<Condition> {
    if !matches!(location, Location::Header(_)) {
        table.report().add(
            table.path(),
            "a list only in header:NAME; expected a string",
        );
    }
    let items = table.required::<Separator>("items");
    let pair = table.required::<Separator>("pair");
    let name = table.required::<String>("key");
    let value = table.required::<String>("value");
    table.deny_unknown();
    let (items, pair, name) = (items?.0, pair?.0, name?);
    Some(Condition {
        location,
        value: Some(value?),
        item: Some(Box::new(NamedItem {
            list: List {
                items,
                trim: Trim::Blanks,
                kind: ListKind::Named { pair, name: None },
                writing: ListWriting::default(),
            },
            pair,
            name: Item::Name(name.into()),
        })),
    })
}

/// Reads a table of locations and the templates of their values.
pub(super) fn read_required_values(section: &Section<'_>, key: &'static str) -> Vec<RequiredValue> {
    let mut required = Vec::new();
    for (location, path, value) in location_entries(section, key) {
        match value.as_str().map(template::parse) {
            Some(Ok(template)) => required.push(RequiredValue { location, template }),
            Some(Err(message)) => section.report().add(path, message),
            None => section.report().add(path, "expected a template"),
        }
    }
    required
}

fn read_guards(section: &Section<'_>) -> Vec<SigningGuard> {
    let mut guards = Vec::new();
    for (location, path, value) in location_entries(section, "guard") {
        let Value::Table(table) = value else {
            section.report().add(
                path,
                "expected a table such as { chars = \"a-z0-9\", max = 64 }",
            );
            continue;
        };
        let guard = Section::at_path(&path, table, section.report());
        let chars = guard.required::<CharSet>("chars");
        let max_len = guard.required::<u64>("max");
        guard.deny_unknown();
        if max_len.is_some_and(|len| !(1..=MAX_GUARDED_LEN).contains(&len)) {
            guard.wrong("max", format!("expected 1 to {MAX_GUARDED_LEN}"));
        }
        if let (Some(chars), Some(max_len)) = (chars, max_len) {
            let max_len = usize::try_from(max_len).unwrap_or(usize::MAX);
            guards.push(SigningGuard {
                location,
                text: AllowedText { chars, max_len },
            });
        }
    }
    guards
}

fn read_respond(section: &Section<'_>) -> Option<HandshakeResponse> {
    let status = section
        .optional::<SuccessStatus>("status")
        .map_or(StatusCode::OK, |status| status.0);
    let response_type = section.optional::<ResponseType>("type");
    let template = |text: &str| template::parse(text);
    let body = match section.optional::<String>("body") {
        None => Vec::new(),
        Some(text) => match template(&text) {
            Ok(body) => body,
            Err(message) => {
                section.wrong("body", message);
                return None;
            }
        },
    };
    if !body.is_empty() && response_type.is_none() {
        section.wrong("type", "missing; expected text/plain or application/json");
    }
    let mut headers = Vec::new();
    let mut names = BTreeSet::new();
    if let Some(table) = section.section("headers") {
        for (name, value) in table.raw() {
            let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
                table.wrong(name, "expected a header name");
                continue;
            };
            if !names.insert(header.as_str().to_owned()) {
                table.wrong(name, "repeated; expected each header once");
            }
            if RESERVED.contains(&header) {
                table.wrong(
                    name,
                    "expected another header: hookgate sets this one, or it would affect more than \
                     the response",
                );
            }
            match value.as_str().map(template) {
                Some(Ok(template)) => headers.push((header, template)),
                Some(Err(message)) => table.wrong(name, message),
                None => table.wrong(name, "expected a template"),
            }
        }
    }
    section.deny_unknown();
    Some(HandshakeResponse {
        status,
        response_type,
        headers,
        body,
    })
}

/// Returns the entries of the table `key`, whose names must be locations: location, key path and
/// value.
fn location_entries<'t>(
    section: &Section<'t>,
    key: &'static str,
) -> Vec<(Location, String, &'t Value)> {
    let Some(table) = section.section(key) else {
        return Vec::new();
    };
    let mut entries = Vec::new();
    for (name, value) in table.raw() {
        match Location::parse(name) {
            Some(location) => entries.push((location, table.key_path(name), value)),
            None => table.wrong(
                name,
                format!(
                    "expected {}",
                    <Location as crate::document::FromValue>::EXPECTED
                ),
            ),
        }
    }
    entries
}
