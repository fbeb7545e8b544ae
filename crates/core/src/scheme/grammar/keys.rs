//! Reads the key `keys`: how the keys of a scheme are fetched.

use super::pointers;
use crate::document::{Section, Value};
use crate::mac::Algorithm;
use crate::scheme::fetch::{FetchRule, KeyFormat, NamePattern, PathPattern, TokenRule};
use crate::scheme::json::Pointer;
use crate::scheme::location::Location;
use crate::scheme::{Plan, SignatureKind};

/// Reads the table `keys`. `plans` are all the ways to sign that the scheme has.
pub(super) fn read(section: &Section<'_>, plans: &[Plan]) -> Option<FetchRule> {
    let format = section.required::<KeyFormat>("fetch");
    let (url, named_url) = read_url(section);
    let id = section.optional::<Location>("id");
    let at = section.optional::<String>("at");
    let hosts = section.list::<NamePattern>("hosts");
    let path = section.optional::<PathPattern>("path");
    let names = section.list::<NamePattern>("names");
    let issuers = section.list::<NamePattern>("issuers");
    let body = read_body(section);
    let token = section
        .section("token")
        .and_then(|token| read_token(&token));
    section.deny_unknown();
    if at
        .as_deref()
        .is_some_and(|text| Pointer::parse(text).is_none())
    {
        section.wrong("at", "expected a JSON Pointer, such as /keys");
    }
    let mut rule = FetchRule {
        format: format?,
        at,
        url,
        named_url,
        id,
        hosts,
        path,
        names,
        issuers,
        body,
        token,
        json: Vec::new(),
    };
    check(section, &rule, plans);
    rule.json = pointers(section, &rule.locations().collect::<Vec<_>>())?;
    Some(rule)
}

/// Reads `url`: an address, or the location of an address.
fn read_url(section: &Section<'_>) -> (Option<String>, Option<Location>) {
    let Some(text) = section.value("url").and_then(Value::as_str) else {
        return (section.optional::<String>("url"), None);
    };
    match Location::parse(text) {
        Some(location) => (None, Some(location)),
        None if text.starts_with("https://") => (Some(text.to_owned()), None),
        None => {
            section.wrong(
                "url",
                "expected an address that begins with https://, or a location such as header:NAME",
            );
            (None, None)
        }
    }
}

/// Reads `body`, whose values are texts.
fn read_body(section: &Section<'_>) -> Vec<(String, String)> {
    let Some(body) = section.section("body") else {
        return Vec::new();
    };
    let mut members = Vec::new();
    for (name, value) in body.raw() {
        match value.as_str() {
            Some(text) => members.push((name.clone(), text.to_owned())),
            None => body.wrong(name, "expected a text, {key} or {CREDENTIAL}"),
        }
    }
    members
}

fn read_token(token: &Section<'_>) -> Option<TokenRule> {
    let url = token.required::<String>("url");
    let scope = token.optional::<String>("scope");
    token.deny_unknown();
    if url
        .as_deref()
        .is_some_and(|url| !url.starts_with("https://"))
    {
        token.wrong("url", "expected an address that begins with https://");
    }
    Some(TokenRule { url: url?, scope })
}

/// Checks that the keys of the rule can be fetched, and that the pins are complete.
fn check(section: &Section<'_>, rule: &FetchRule, plans: &[Plan]) {
    let is_public = |plan: &Plan| matches!(plan.algorithm, Algorithm::Public(_));
    if !plans.iter().all(is_public) {
        section.wrong(
            "fetch",
            "needs an `alg` with public keys: a secret must not be published",
        );
    }
    if plans.iter().any(|plan| plan.each.is_some()) {
        section.wrong("fetch", "not allowed with `each`");
    }
    if rule.named_url.is_some() && (rule.hosts.is_empty() || rule.path.is_none()) {
        section.wrong(
            "hosts",
            "`hosts` and `path` must pin the address that a delivery names: otherwise a forger \
             names his own key",
        );
    }
    if rule.named_url.is_none() && (!rule.hosts.is_empty() || rule.path.is_some()) {
        section.wrong("hosts", "only for an address that deliveries name");
    }
    let has_list = matches!(rule.format, KeyFormat::Jwks | KeyFormat::PemList);
    let in_url = rule.url.as_deref().is_some_and(|url| url.contains("{key}"));
    let in_body = rule.body.iter().any(|(_, value)| value == "{key}");
    if rule.id.is_none() && (has_list || in_url || in_body) {
        section.wrong("id", "missing; expected the location of the key's id");
    }
    if rule.id.is_none() && rule.named_url.is_none() {
        section.wrong(
            "id",
            "missing; a delivery must name its key, so that a new key is noticed",
        );
    }
    if (rule.format == KeyFormat::Certificate) == rule.names.is_empty() {
        section.wrong(
            "names",
            "expected the names of the certificate, with fetch = \"certificate\" alone",
        );
    }
    let jose = |location: &Location| matches!(location, Location::Jose(_));
    let has_header = |plan: &Plan| matches!(plan.kind, SignatureKind::Jwt { .. });
    if rule.locations().any(jose) && !plans.iter().all(has_header) {
        section.wrong("id", "jose:… needs one of the jwt-… algorithms");
    }
    let usable = |location: &Location| {
        matches!(
            location,
            Location::Header(_) | Location::Json(_) | Location::Jose(_) | Location::Signature(_)
        )
    };
    if !rule.locations().all(usable) {
        section.wrong(
            "id",
            "expected header:NAME, json:/POINTER, jose:NAME or sig:NAME",
        );
    }
}
