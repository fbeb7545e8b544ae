//! Reads the key `sig`: the location and the format of the signature.

use http::HeaderName;
use http::header::AUTHORIZATION;

use super::values::{SchemeAlgorithm, Separator};
use crate::document::{Section, Value};
use crate::mac::{Algorithm, PublicAlgorithm};
use crate::message_signature::{Component, Policy};
use crate::scheme::field::Encoding;
use crate::scheme::location::{Item, Location};
use crate::scheme::signature::{
    List, ListKind, ListWriting, SignatureField, SignatureLocation, Trim,
};

/// Maximum value of `skip`.
const MAX_SKIPPED_ITEMS: usize = 16;

/// Reads `sig`, and the policy if the signature is one of RFC 9421.
pub(super) fn read(
    section: &Section<'_>,
    alg: Option<SchemeAlgorithm>,
) -> (Option<Policy>, Option<SignatureField>) {
    let Some(sig) = section.required_section("sig") else {
        return (None, None);
    };
    if sig.value("in").and_then(Value::as_str) == Some("http-message-signature") {
        let policy = read_policy(&sig, alg);
        sig.deny_unknown();
        (policy, Some(message_signature_field()))
    } else {
        (None, read_field(&sig, alg))
    }
}

/// Reads the demands on a signature of RFC 9421.
fn read_policy(sig: &Section<'_>, alg: Option<SchemeAlgorithm>) -> Option<Policy> {
    let label = sig.optional::<String>("label");
    let tag = sig.optional::<String>("tag");
    let components = sig.required_list::<Component>("components");
    let has = |wanted: &[Component]| wanted.iter().any(|one| components.contains(one));
    if !has(&[Component::Method]) {
        sig.wrong("components", "expected @method among the components");
    }
    if !has(&[
        Component::TargetUri,
        Component::Path,
        Component::RequestTarget,
    ]) {
        sig.wrong(
            "components",
            "expected one of @target-uri, @path, @request-target among the components: without \
             it, a delivery for one endpoint would pass at another",
        );
    }
    // The names of the algorithms in the registry of RFC 9421 §6.2.
    let algorithm = match alg? {
        SchemeAlgorithm::Plain(Algorithm::HmacSha256) => "hmac-sha256",
        SchemeAlgorithm::Plain(Algorithm::Public(algorithm)) => match algorithm {
            PublicAlgorithm::Ed25519 => "ed25519",
            PublicAlgorithm::EcdsaP256Sha256Fixed => "ecdsa-p256-sha256",
            PublicAlgorithm::RsaPkcs1Sha256 => "rsa-v1_5-sha256",
            PublicAlgorithm::RsaPssSha512 => "rsa-pss-sha512",
            PublicAlgorithm::EcdsaP256Sha256
            | PublicAlgorithm::EcdsaP256Sha1
            | PublicAlgorithm::EcdsaP521Sha512Fixed
            | PublicAlgorithm::RsaPkcs1Sha256OrSha1 => {
                sig.wrong(
                    "in",
                    "http-message-signature uses neither DER nor SHA-1; expected alg = \
                     \"ecdsa-p256-sha256-fixed\" or \"rsa-pkcs1-sha256\"",
                );
                return None;
            }
        },
        _ => {
            sig.wrong(
                "in",
                "http-message-signature does not know this algorithm; expected `alg` to be one of \
                 hmac-sha256, ed25519, ecdsa-p256-sha256-fixed, rsa-pkcs1-sha256, rsa-pss-sha512",
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

/// Returns the field of a signature of RFC 9421, whose headers and format the RFC fixes.
fn message_signature_field() -> SignatureField {
    SignatureField {
        location: SignatureLocation::Locations(vec![Location::Header(HeaderName::from_static(
            "signature",
        ))]),
        prefix: Box::default(),
        prefix_optional: false,
        encoding: Encoding::Base64,
        list: None,
        groups: None,
    }
}

fn read_field(sig: &Section<'_>, alg: Option<SchemeAlgorithm>) -> Option<SignatureField> {
    let is_token = alg == Some(SchemeAlgorithm::Plain(Algorithm::Token));
    let is_basic = is_token && sig.value("in").and_then(Value::as_str) == Some("basic");
    let prefix = sig.optional::<String>("prefix").unwrap_or_default();
    let (location, encoding, prefix) = if is_basic {
        let location = SignatureLocation::Locations(vec![Location::Header(AUTHORIZATION)]);
        (Some(location), Some(Encoding::Basic), "Basic ".to_owned())
    } else {
        let location = read_location(sig);
        let encoding = match alg {
            _ if is_token => Some(Encoding::Token),
            Some(SchemeAlgorithm::Jwt(..) | SchemeAlgorithm::Jws(..)) => Some(Encoding::Base64Url),
            _ => sig.required("enc"),
        };
        (location, encoding, prefix)
    };
    let prefix_optional = sig.optional("prefix_optional").unwrap_or(false);
    let list = read_list(sig);
    let groups = sig.optional::<Separator>("groups");
    if let Some(list) = &list {
        check_separators(sig, list, groups);
    }
    sig.deny_unknown();
    if groups.is_some() && list.is_none() {
        sig.wrong("groups", "needs `items`: a group is a list of items");
    }
    Some(SignatureField {
        location: location?,
        prefix: prefix.into_bytes().into(),
        prefix_optional,
        encoding: encoding?,
        list,
        groups: groups.map(|groups| groups.0),
    })
}

/// Checks that neither a signature nor its name is divided at a separator.
fn check_separators(sig: &Section<'_>, list: &List, groups: Option<Separator>) {
    let items = match list.kind {
        ListKind::Object { .. } => None,
        ListKind::Named { .. } | ListKind::Positional { .. } => Some(Separator(list.items)),
    };
    for (key, separator) in [("items", items), ("groups", groups)] {
        if separator.is_some_and(Separator::can_be_in_signature) {
            sig.wrong(
                key,
                "expected a character that no encoding of a signature contains",
            );
        }
    }
    if let ListKind::Named {
        name: Some(name), ..
    } = &list.kind
        && !keeps_name(list, groups.map(|groups| groups.0), name)
    {
        sig.wrong(
            "key",
            "expected visible characters except for `items`, `pair` and `groups`",
        );
    }
}

/// Whether no separator divides the name of an item.
fn keeps_name(list: &List, groups: Option<u8>, name: &[u8]) -> bool {
    let ListKind::Named { pair, .. } = list.kind else {
        return true;
    };
    let separators = [Some(list.items), Some(pair), groups];
    name.iter()
        .all(|byte| byte.is_ascii_graphic() && !separators.contains(&Some(*byte)))
}

fn read_location(sig: &Section<'_>) -> Option<SignatureLocation> {
    let text = sig.value("in").and_then(Value::as_str);
    if let Some(prefix) = text.and_then(|text| text.strip_prefix("headers:"))
        && !prefix.is_empty()
    {
        return Some(SignatureLocation::HeaderPrefix(prefix.to_ascii_lowercase()));
    }
    let locations = sig.required_list::<Location>("in");
    let usable = locations.iter().all(|location| {
        matches!(
            location,
            Location::Header(_)
                | Location::Query(_)
                | Location::Form(_)
                | Location::Multipart(_)
                | Location::Json(_)
        )
    });
    if !usable {
        sig.wrong(
            "in",
            "expected header:NAME, headers:PREFIX, query:NAME, form:NAME, multipart:NAME or \
             json:/POINTER; with alg = \"token\" also basic",
        );
    }
    let in_body = locations.iter().filter(|l| l.is_in_body()).count();
    if in_body > 0 && in_body < locations.len() {
        sig.wrong(
            "in",
            "expected locations in the head or in the body, not in both",
        );
    }
    (usable && !locations.is_empty()).then_some(SignatureLocation::Locations(locations))
}

fn read_list(sig: &Section<'_>) -> Option<List> {
    match sig.optional::<String>("object").as_deref() {
        Some("base64-json") => {
            let name = sig.required::<String>("key")?.into();
            return Some(List {
                items: 0,
                trim: Trim::Nothing,
                kind: ListKind::Object { name },
                writing: ListWriting::default(),
            });
        }
        Some(_) => sig.wrong("object", "expected \"base64-json\""),
        None => {}
    }
    let trim = sig.optional("trim").unwrap_or(Trim::Nothing);
    let skip = sig.optional::<u64>("skip");
    let writing = read_writing(sig);
    let kind = match (
        sig.optional::<Separator>("items"),
        sig.optional::<Separator>("pair"),
        sig.optional::<String>("key"),
    ) {
        (Some(items), Some(pair), Some(name)) => {
            if items == pair {
                sig.wrong("pair", "expected a character that differs from `items`");
            }
            if skip.is_some() {
                sig.wrong("skip", "not allowed with `pair` and `key`; remove it");
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
                sig.wrong("skip", "needs `items`");
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
        writing,
    })
}

/// Reads the keys of a list that only a signer uses.
fn read_writing(sig: &Section<'_>) -> ListWriting {
    let named_by = sig.optional::<Location>("named_by");
    if named_by
        .as_ref()
        .is_some_and(|location| !matches!(location, Location::Param(_)))
    {
        sig.wrong("named_by", "expected param:NAME");
    }
    ListWriting {
        spaced: sig.optional("spaced").unwrap_or(false),
        named_by,
    }
}

/// Whether the list of a field can contain `item` beside its signatures.
pub(super) fn can_contain(field: &SignatureField, item: &Item) -> bool {
    let Some(list) = &field.list else {
        return false;
    };
    match (&list.kind, item) {
        (ListKind::Named { name, .. }, Item::Name(item)) => {
            let is_other = name.as_deref().is_some_and(|name| name != item.as_bytes());
            is_other && keeps_name(list, field.groups, item.as_bytes())
        }
        (ListKind::Positional { skip }, Item::Position(position)) => position < skip,
        (ListKind::Object { name }, Item::Name(item)) => name != item,
        _ => false,
    }
}
