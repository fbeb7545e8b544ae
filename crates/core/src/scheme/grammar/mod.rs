//! From the text of a scheme to its plan: every mistake noted, none guessed at.

mod checks;
mod handshake;
mod values;

use std::collections::BTreeSet;

use http::HeaderName;
use http::header::AUTHORIZATION;
use toml::{Table, Value};

use self::values::{Alg, RefusalStatus, Separator};
use super::ambiguity::SchemeContext;
use super::field::{Encoding, TimeUnit};
use super::handshake::Handshake;
use super::json::{MAX_POINTERS, Pointer};
use super::location::{Item, Location};
use super::message::Message;
use super::signature::{List, ListKind, SignatureField, SignatureLocation};
use super::template::{self, Variable};
use super::{
    BodyBinding, BodyForm, CompiledScheme, Extend, IdField, Plan, SignatureKind, TimestampField,
    UrlRule,
};
use crate::document::Section;
use crate::mac::{Algorithm, KeyEncodingScope, KeyRule, PublicAlgorithm};
use crate::message_signature::{Component, Policy};
use crate::time::Window;

/// No header has more items before its signatures.
const MAX_SKIPPED_ITEMS: usize = 16;

/// Keys of a scheme that are about all of its variants.
const SHARED_KEYS: [&str; 3] = ["variants", "handshake", "status"];

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
    let plans = if root.has("variants") {
        read_variants(&root, extend)?
    } else {
        vec![read_plan(&root, false)?]
    };
    checks::handshakes(&root, &plans, &handshakes);

    let templates = handshakes.iter().flat_map(|handshake| {
        let checks = handshake.check.iter().map(|check| &check.template);
        let headers = handshake.respond.headers.iter().map(|(_, value)| value);
        checks.chain(headers).chain([&handshake.respond.body])
    });
    let from_templates = templates.flat_map(|template| template::locations(template));
    let direct = handshakes.iter().flat_map(|handshake| {
        let when = handshake.when.iter().map(|condition| &condition.location);
        let check = handshake.check.iter().map(|check| &check.location);
        let guards = handshake.guards.iter().map(|guard| &guard.location);
        when.chain(check).chain(guards)
    });
    let mut used: Vec<&Location> = from_templates.chain(direct).collect();
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
        params,
        needs_url,
    })
}

/// The table of `section` with what it extends.
fn merge(section: &Section<'_>, extend: Extend<'_>) -> Option<Table> {
    let merged = extend(section.raw());
    if merged.is_none() {
        section.wrong(
            "extends",
            "not in the catalogue, which `hookgate providers` lists; expected one of it",
        );
    }
    merged
}

/// Each variant is a scheme of its own; what it does not say is said once for all
/// beside `variants`.
fn read_variants(root: &Section<'_>, extend: Extend<'_>) -> Option<Vec<Plan>> {
    let sections = root.sections("variants");
    if sections.is_empty() {
        root.wrong("variants", "expected at least one table");
    }
    let mut common = root.raw().clone();
    for key in SHARED_KEYS {
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
            section.wrong("name", "taken by another variant");
        }
        if Some(index) != last && !section.has("when") {
            section.wrong(
                "when",
                "missing; without it no variant after this one would ever apply",
            );
        }
        plans.extend(read_plan(&section, true));
    }
    if !plans.is_empty() && plans.iter().all(|plan| plan.opt_in) {
        root.wrong("variants", "expected one without `opt_in`");
    }
    (plans.len() == sections.len() && !plans.is_empty()).then_some(plans)
}

fn read_plan(section: &Section<'_>, is_variant: bool) -> Option<Plan> {
    let (mut name, mut when) = (None, Vec::new());
    if is_variant {
        name = section.optional::<String>("name");
        when = handshake::read_conditions(section, "when");
        if when.iter().any(|condition| {
            !matches!(condition.location, Location::Header(_) | Location::Query(_))
        }) {
            section.wrong("when", "expected header:NAME or query:NAME");
        }
    } else {
        for key in SHARED_KEYS {
            section.value(key);
        }
    }
    let opt_in = is_variant && section.optional("opt_in").unwrap_or(false);
    let alg = section.required::<Alg>("alg");
    let algorithm = alg.map(Alg::algorithm);
    let key = read_key(section);
    let sig = section.required_section("sig");
    let policy = sig.as_ref().filter(|sig| is_message_signature(sig));
    let policy = policy.and_then(|sig| read_policy(sig, alg));
    let signature = sig.as_ref().and_then(|sig| read_signature(sig, alg));
    let timestamp = section.section("ts").and_then(|ts| read_timestamp(&ts));
    let (ids, mut exclude) = read_id(section);
    let event_type = section.optional::<Location>("type");
    let forbidden = section.list::<HeaderName>("forbid");
    let mut require = handshake::read_equals(section, "require");
    let claims = match alg {
        Some(Alg::Jwt(..)) => read_claims(section),
        _ => Vec::new(),
    };
    require.extend(claims);
    let each = section.optional::<Location>("each");
    let body_form = section.optional::<BodyForm>("body").unwrap_or_default();
    let binds_body = section.optional::<bool>("binds_body");
    let url = read_url(section);
    let context = SchemeContext {
        timestamp: timestamp
            .as_ref()
            .map(|timestamp| (&timestamp.location, timestamp.unit)),
        ids: &ids,
        json_body: body_form == BodyForm::Json,
    };
    let (kind, message) = match policy {
        Some(policy) => (
            Some(SignatureKind::MessageSignature(policy)),
            Some(Message::from_head()),
        ),
        None => read_message(section, alg, context, &mut exclude),
    };
    section.deny_unknown();

    let each = match each {
        Some(Location::Json(pointer)) => Some(pointer),
        Some(_) => {
            section.wrong("each", "expected json:/POINTER of an array");
            None
        }
        None => None,
    };
    let mut plan = Plan {
        name,
        when,
        opt_in,
        // One that is wrong has been noted; the rest is still to be checked.
        algorithm: algorithm.unwrap_or(Algorithm::HmacSha256),
        kind: kind?,
        key,
        signature: signature?,
        timestamp,
        id: (!ids.is_empty()).then_some(IdField {
            locations: ids,
            exclude,
            signed: false,
        }),
        event_type,
        message: message?,
        forbidden,
        require,
        each,
        body_form,
        body: BodyBinding::Unbound,
        url,
        json: Vec::new(),
    };
    // An element's message is not known before the element is.
    plan.message.streams &= plan.each.is_none() && !plan.signature.location.is_in_body();
    plan.body = checks::binding(&plan);
    checks::plan(section, &mut plan, binds_body);
    plan.json = pointers(section, &plan.locations())?;
    Some(plan)
}

/// What is signed, and the template of it.
fn read_message(
    section: &Section<'_>,
    alg: Option<Alg>,
    context: SchemeContext<'_>,
    exclude: &mut Vec<u8>,
) -> (Option<SignatureKind>, Option<Message>) {
    match alg {
        Some(Alg::Plain(Algorithm::Token)) => {
            (Some(SignatureKind::Token), Some(Message::raw_body()))
        }
        Some(Alg::Jwt(algorithm, _)) => (
            Some(SignatureKind::Jwt { algorithm }),
            Some(Message::from_head()),
        ),
        None | Some(Alg::Plain(_)) => {
            let Some(template) = section.required::<String>("msg") else {
                return (None, None);
            };
            let message = Message::compile(&template, context, exclude)
                .map_err(|message| section.wrong("msg", message))
                .ok();
            (Some(SignatureKind::Message { template }), message)
        }
    }
}

fn read_key(section: &Section<'_>) -> KeyRule {
    let Some(key) = section.section("key") else {
        return KeyRule::default();
    };
    let rule = KeyRule {
        only: key.optional("only"),
        strip: key.list("strip"),
        encoding: key.optional("enc").unwrap_or_default(),
        scope: match key.optional("if_prefixed") {
            Some(true) => KeyEncodingScope::IfPrefixed,
            _ => KeyEncodingScope::Always,
        },
        digest: key.optional("digest").unwrap_or_default(),
    };
    key.deny_unknown();
    rule
}

fn is_message_signature(sig: &Section<'_>) -> bool {
    sig.value("in").and_then(Value::as_str) == Some("http-message-signature")
}

/// What a scheme of RFC 9421 demands.
fn read_policy(sig: &Section<'_>, alg: Option<Alg>) -> Option<Policy> {
    let label = sig.optional::<String>("label");
    let tag = sig.optional::<String>("tag");
    let components = sig.required_list::<Component>("components");
    let has = |wanted: &[Component]| wanted.iter().any(|one| components.contains(one));
    if !has(&[Component::Method]) {
        sig.wrong("components", "expected @method among them");
    }
    if !has(&[
        Component::TargetUri,
        Component::Path,
        Component::RequestTarget,
    ]) {
        sig.wrong(
            "components",
            "expected one of @target-uri, @path, @request-target among them: a delivery for one \
             endpoint must not pass at another",
        );
    }
    // By their names in the registry of RFC 9421 §6.2.
    let algorithm = match alg? {
        Alg::Plain(Algorithm::HmacSha256) => "hmac-sha256",
        Alg::Plain(Algorithm::Public(algorithm)) => match algorithm {
            PublicAlgorithm::Ed25519 => "ed25519",
            PublicAlgorithm::EcdsaP256Sha256Fixed => "ecdsa-p256-sha256",
            PublicAlgorithm::RsaPkcs1Sha256 => "rsa-v1_5-sha256",
            PublicAlgorithm::RsaPssSha512 => "rsa-pss-sha512",
            PublicAlgorithm::EcdsaP256Sha256 => {
                sig.wrong("in", "expected alg = \"ecdsa-p256-sha256-fixed\"");
                return None;
            }
        },
        _ => {
            sig.wrong(
                "in",
                "expected one of hmac-sha256, ed25519, ecdsa-p256-sha256-fixed, \
                 rsa-pkcs1-sha256, rsa-pss-sha512 as `alg`",
            );
            return None;
        }
    };
    Some(Policy {
        label,
        components,
        tag,
        algorithm,
    })
}

fn read_signature(sig: &Section<'_>, alg: Option<Alg>) -> Option<SignatureField> {
    if is_message_signature(sig) {
        sig.deny_unknown();
        // The headers and their grammar are those of RFC 9421.
        return Some(SignatureField {
            location: SignatureLocation::Locations(vec![Location::Header(
                HeaderName::from_static("signature"),
            )]),
            prefix: Box::default(),
            prefix_optional: false,
            encoding: Encoding::Base64,
            list: None,
            groups: None,
        });
    }
    let is_token = alg == Some(Alg::Plain(Algorithm::Token));
    let is_jwt = matches!(alg, Some(Alg::Jwt(..)));
    let mut prefix = sig.optional::<String>("prefix").unwrap_or_default();
    let words = sig.value("in").and_then(Value::as_str);
    let (location, encoding) = match words {
        Some("basic") if is_token => {
            prefix = "Basic ".to_owned();
            let location = SignatureLocation::Locations(vec![Location::Header(AUTHORIZATION)]);
            (Some(location), Some(Encoding::Basic))
        }
        _ => {
            let location = match words.and_then(|text| text.strip_prefix("headers:")) {
                Some(prefix) if !prefix.is_empty() => {
                    Some(SignatureLocation::HeaderPrefix(prefix.to_ascii_lowercase()))
                }
                _ => {
                    let locations = sig.required_list::<Location>("in");
                    let usable = locations.iter().all(|location| {
                        matches!(
                            location,
                            Location::Header(_)
                                | Location::Query(_)
                                | Location::Form(_)
                                | Location::Json(_)
                        )
                    });
                    if !usable {
                        sig.wrong(
                            "in",
                            "expected header:NAME, headers:PREFIX, query:NAME, form:NAME, \
                             json:/POINTER, or with alg = \"token\" basic",
                        );
                    }
                    let in_body = locations.iter().filter(|l| l.is_in_body()).count();
                    if in_body > 0 && in_body < locations.len() {
                        sig.wrong(
                            "in",
                            "expected places of the head or of the body, not of both",
                        );
                    }
                    (usable && !locations.is_empty())
                        .then_some(SignatureLocation::Locations(locations))
                }
            };
            let encoding = match (is_token, is_jwt) {
                (true, _) => Some(Encoding::Token),
                (_, true) => Some(Encoding::Base64Url),
                _ => sig.required("enc"),
            };
            (location, encoding)
        }
    };
    let prefix_optional = sig.optional("prefix_optional").unwrap_or(false);
    let list = read_list(sig);
    let groups = sig.optional::<Separator>("groups").map(|groups| groups.0);
    sig.deny_unknown();
    if groups.is_some() && list.is_none() {
        sig.wrong("groups", "expected `items` too: a group is a list of items");
    }
    Some(SignatureField {
        location: location?,
        prefix: prefix.into_bytes().into(),
        prefix_optional,
        encoding: encoding?,
        list,
        groups,
    })
}

fn read_list(sig: &Section<'_>) -> Option<List> {
    let trim = sig.optional("trim").unwrap_or(false);
    let skip = sig.optional::<u64>("skip");
    let kind = match (
        sig.optional::<Separator>("items"),
        sig.optional::<Separator>("pair"),
        sig.optional::<String>("key"),
    ) {
        (Some(items), Some(pair), Some(name)) => {
            if items == pair {
                sig.wrong("pair", "expected another character than `items`");
            }
            if skip.is_some() {
                sig.wrong("skip", "expected without `pair` and `key`");
            }
            let name = (name != "*").then(|| name.into_bytes().into());
            Some((items, ListKind::Named { pair: pair.0, name }))
        }
        (Some(items), None, None) => {
            let skip = usize::try_from(skip.unwrap_or(0)).unwrap_or(usize::MAX);
            if skip > MAX_SKIPPED_ITEMS {
                sig.wrong("skip", format!("expected 0 to {MAX_SKIPPED_ITEMS}"));
            }
            Some((items, ListKind::Positional { skip }))
        }
        (None, None, None) => {
            if skip.is_some() {
                sig.wrong("skip", "expected `items` too");
            }
            None
        }
        _ => {
            sig.wrong(
                "items",
                "expected `items` alone, `items`, `pair` and `key` together, or none of them",
            );
            None
        }
    };
    kind.map(|(items, kind)| List {
        items: items.0,
        trim,
        kind,
    })
}

fn read_timestamp(ts: &Section<'_>) -> Option<TimestampField> {
    let location = ts.required::<Location>("in");
    let unit = ts.required::<TimeUnit>("unit");
    let past = ts.optional("past").unwrap_or(Window::DEFAULT.past());
    let future = ts.optional("future").unwrap_or(Window::DEFAULT.future());
    ts.deny_unknown();
    Some(TimestampField {
        location: location?,
        unit: unit?,
        window: Window::new(past, future),
    })
}

/// `id` is a location, several, or a table with more to say about one.
fn read_id(section: &Section<'_>) -> (Vec<Location>, Vec<u8>) {
    let Some(Value::Table(_)) = section.value("id") else {
        return (section.list::<Location>("id"), Vec::new());
    };
    let Some(id) = section.section("id") else {
        return (Vec::new(), Vec::new());
    };
    let location = id.required::<Location>("in");
    let exclude = id.optional::<String>("exclude").unwrap_or_default();
    id.deny_unknown();
    (location.into_iter().collect(), exclude.into_bytes())
}

/// `claims`: names of claims, and the templates of their values.
fn read_claims(section: &Section<'_>) -> Vec<super::handshake::RequiredValue> {
    let Some(claims) = section.section("claims") else {
        return Vec::new();
    };
    let mut equals = Vec::new();
    for (name, value) in claims.raw() {
        match value.as_str().map(template::parse) {
            Some(Ok(template)) => equals.push(super::handshake::RequiredValue {
                location: Location::Claim(name.as_str().into()),
                template,
            }),
            Some(Err(message)) => claims.wrong(name, message),
            None => claims.wrong(name, "expected a template"),
        }
    }
    equals
}

fn read_url(section: &Section<'_>) -> UrlRule {
    let Some(url) = section.section("url") else {
        return UrlRule::default();
    };
    let toggle_port = match url.optional::<String>("port").as_deref() {
        None => false,
        Some("toggle") => true,
        Some(_) => {
            url.wrong("port", "expected \"toggle\"");
            false
        }
    };
    let decode = url.optional::<String>("decode").unwrap_or_default();
    if !decode.bytes().all(|byte| byte.is_ascii_graphic())
        || decode.contains(['&', '=', '%', '#', '+'])
    {
        url.wrong(
            "decode",
            "expected visible ASCII characters, but none of & = % # +: those separate the fields \
             of a query, and two addresses would be one",
        );
    }
    url.deny_unknown();
    UrlRule {
        toggle_port,
        decode: decode.into_bytes(),
    }
}

/// The different members of the body among `locations`.
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
            format!("more than {MAX_POINTERS} members of the body"),
        );
        return None;
    }
    Some(pointers)
}

/// Whether the operator has to say at which address the provider calls.
fn needs_url(plan: &Plan) -> bool {
    let is_url = |variable: &Variable| matches!(variable, Variable::Url | Variable::UrlBase);
    plan.message.url_constraints.fixed_path
        || plan
            .message
            .placeholders()
            .any(|value| is_url(&value.variable))
        || plan.require.iter().any(|equal| {
            template::placeholders(&equal.template).any(|value| is_url(&value.variable))
        })
}

/// Whether a list can have `item` besides its signatures.
fn fits(list: Option<&List>, item: &Item) -> bool {
    match (list.map(|list| &list.kind), item) {
        (Some(ListKind::Named { name, .. }), Item::Name(item)) => {
            let signatures = name.as_deref();
            signatures.is_some_and(|signatures| signatures != item.as_bytes())
        }
        (Some(ListKind::Positional { skip }), Item::Position(position)) => position < skip,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::Scheme;

    const GOOD: &str = r#"
        alg = "hmac-sha256"
        sig = { in = "header:x-sig", enc = "hex" }
        ts  = { in = "header:x-ts", unit = "s" }
        msg = "{ts}.{body}"
        id  = "json:/id"
    "#;

    fn mistakes(text: &str) -> Vec<String> {
        Scheme::from_toml(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_good_scheme_loads() {
        let scheme = Scheme::from_toml(GOOD).unwrap();
        assert!(scheme.signs_id());
    }

    #[test]
    fn a_scheme_that_could_wave_something_through_does_not_load() {
        for (from, to, expected) in [
            (
                r#""{ts}.{body}""#,
                r#""{ts}""#,
                "msg: does not cover the body",
            ),
            (r#""{ts}.{body}""#, r#""{body}""#, "ts: not part of `msg`"),
            (
                r#""hmac-sha256""#,
                r#""none""#,
                "alg: expected one of hmac-sha1",
            ),
            (
                "unit = \"s\"",
                "unit = \"m\"",
                "ts.unit: expected one of s, ms, s-or-ms, rfc3339",
            ),
            (
                "\"json:/id\"",
                "\"json:id\"",
                "id: expected header:NAME, query:NAME",
            ),
            ("id  =", "idd =", "idd: unknown key"),
            (
                "enc = \"hex\"",
                "enc = \"hex\", items = \",\", pair = \"=\"",
                "sig.items: expected `items` alone",
            ),
            (
                "header:x-ts",
                "sig:t",
                "sig: sig:NAME needs a list of named items",
            ),
            (
                "id  =",
                "type = \"header:x-type\"\nid  =",
                "type: not signed",
            ),
            (
                "id  =",
                "extends = \"nobody\"\nid  =",
                "extends: not in the catalogue",
            ),
        ] {
            assert!(GOOD.contains(from), "{from}");
            let found = mistakes(&GOOD.replace(from, to));
            assert!(
                found.iter().any(|m| m.starts_with(expected)),
                "{to}: {found:?}"
            );
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        assert_eq!(mistakes("alg = 1\nmsg = \"{x}\"\nfoo = 1").len(), 4);
    }

    #[test]
    fn an_unsigned_header_does_not_count_as_a_signed_id() {
        let scheme = Scheme::from_toml(&GOOD.replace("json:/id", "header:x-id")).unwrap();
        assert!(!scheme.signs_id());
    }

    #[test]
    fn a_scheme_may_change_one_of_the_catalogue() {
        let scheme = Scheme::from_toml("extends = \"standard-webhooks\"\nkey = { enc = \"utf8\" }");
        assert!(scheme.unwrap().signs_id());
    }
}
