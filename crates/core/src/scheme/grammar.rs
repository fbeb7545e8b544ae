//! From the text of a scheme to its plan: every mistake noted, none guessed at.

use http::HeaderName;
use http::header::AUTHORIZATION;
use toml::Value;

use super::field::{Encoding, List, SignatureField, TimeUnit};
use super::json::Pointer;
use super::template::{Message, Segment};
use super::{IdField, Location, Plan, TimestampField};
use crate::document::{FromValue, Section, text};
use crate::mac::{Algorithm, Applies, KeyEncoding, KeyRule};
use crate::provider::Provider;
use crate::time::Window;

pub(super) fn read(section: &Section<'_>) -> Option<Plan> {
    let Some(extends) = section.optional::<String>("extends") else {
        return read_own(section);
    };
    let Some(merged) = Provider::extend_scheme(section.raw()) else {
        section.wrong(
            "extends",
            format!("no provider {extends:?} in the catalogue"),
        );
        return None;
    };
    read_own(&Section::at_path(section.path(), &merged, section.report()))
}

fn read_own(section: &Section<'_>) -> Option<Plan> {
    let algorithm = section.required::<Algorithm>("alg");
    let key = read_key(section);
    let signature = section
        .required_section("sig")
        .and_then(|sig| read_signature(&sig, algorithm));
    let timestamp = section
        .section("ts")
        .and_then(|ts| read_timestamp(&ts, signature.as_ref()));
    let template = match algorithm {
        Some(Algorithm::Token) => None,
        _ => section.required::<String>("msg"),
    };
    let message = match (&template, algorithm) {
        (None, Some(Algorithm::Token)) => Some(Message::body()),
        (None, _) => None,
        (Some(template), _) => Message::parse(template)
            .map_err(|message| section.wrong("msg", message))
            .ok(),
    };
    let id = read_id(section, message.as_ref(), algorithm);
    let event_type = section.optional::<Location>("type");
    let forbidden = section.list::<HeaderName>("forbid");
    section.deny_unknown();

    let message = message?;
    check_message(section, &message, timestamp.as_ref(), id.as_ref());
    if let Some(location) = &event_type
        && !is_signed(location, &message)
        && algorithm != Some(Algorithm::Token)
    {
        section.wrong(
            "type",
            "not signed; only what the signature covers may name an event",
        );
    }
    Some(Plan {
        algorithm: algorithm?,
        key,
        signature: signature?,
        timestamp,
        id,
        event_type,
        message,
        template,
        forbidden,
    })
}

fn read_key(section: &Section<'_>) -> KeyRule {
    let Some(key) = section.section("key") else {
        return KeyRule {
            strip: Vec::new(),
            encoding: KeyEncoding::Utf8,
            applies: Applies::Always,
        };
    };
    let rule = KeyRule {
        strip: key.list("strip"),
        encoding: key.optional("enc").unwrap_or(KeyEncoding::Utf8),
        applies: match key.optional("if_prefixed") {
            Some(true) => Applies::IfPrefixed,
            _ => Applies::Always,
        },
    };
    key.deny_unknown();
    rule
}

fn read_signature(sig: &Section<'_>, algorithm: Option<Algorithm>) -> Option<SignatureField> {
    let is_token = algorithm == Some(Algorithm::Token);
    let mut prefix = sig.optional::<String>("prefix").unwrap_or_default();
    let is_basic = sig.value("in").and_then(Value::as_str) == Some("basic");
    let (header, encoding) = if is_token && is_basic {
        prefix = "Basic ".to_owned();
        (Some(AUTHORIZATION), Some(Encoding::Basic))
    } else {
        let header = match sig.required::<Location>("in") {
            Some(Location::Header(header)) => Some(header),
            Some(_) => {
                sig.wrong("in", "expected header:NAME");
                None
            }
            None => None,
        };
        let encoding = if is_token {
            Some(Encoding::Token)
        } else {
            sig.required("enc")
        };
        (header, encoding)
    };
    let prefix_optional = sig.optional("prefix_optional").unwrap_or(false);
    let trim = sig.optional("trim").unwrap_or(false);
    let list = match (
        sig.optional::<Separator>("items"),
        sig.optional::<Separator>("pair"),
        sig.optional::<String>("key"),
    ) {
        (Some(items), Some(pair), Some(name)) => {
            if items == pair {
                sig.wrong("pair", "expected another character than `items`");
            }
            Some(List {
                items: items.0,
                pair: pair.0,
                name: name.into_bytes().into(),
                trim,
            })
        }
        (None, None, None) => None,
        _ => {
            sig.wrong(
                "items",
                "expected `items`, `pair` and `key` together, or none of them",
            );
            None
        }
    };
    sig.deny_unknown();
    Some(SignatureField {
        header: header?,
        prefix: prefix.into_bytes().into(),
        prefix_optional,
        encoding: encoding?,
        list,
    })
}

fn read_timestamp(ts: &Section<'_>, signature: Option<&SignatureField>) -> Option<TimestampField> {
    let location = ts.required::<Location>("in");
    match &location {
        Some(Location::Json(_)) => ts.wrong("in", "expected header:NAME or sig:NAME"),
        Some(Location::SignatureItem(name)) if signature.is_some_and(|sig| sig.list.is_none()) => {
            ts.wrong(
                "in",
                format!("sig:{name} needs a signature header with named items"),
            );
        }
        _ => {}
    }
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

/// `id` is a location, or a table with more to say about it.
fn read_id(
    section: &Section<'_>,
    message: Option<&Message>,
    algorithm: Option<Algorithm>,
) -> Option<IdField> {
    let (location, exclude) = match section.value("id")? {
        Value::Table(_) => {
            let id = section.section("id")?;
            let location = id.required::<Location>("in");
            let exclude = id.optional::<String>("exclude").unwrap_or_default();
            id.deny_unknown();
            (location?, exclude.into_bytes())
        }
        _ => (section.optional::<Location>("id")?, Vec::new()),
    };
    if let Location::SignatureItem(_) = location {
        section.wrong("id", "expected header:NAME or json:POINTER");
        return None;
    }
    let message = message?;
    // A token signs nothing; there the id serves to recognise retries.
    let signed = is_signed(&location, message)
        || message.contains(&Segment::Id)
        || algorithm == Some(Algorithm::Token);
    let mut exclude = exclude;
    exclude.extend(&message.id_delimiters);
    Some(IdField {
        location,
        exclude,
        signed,
    })
}

fn check_message(
    section: &Section<'_>,
    message: &Message,
    timestamp: Option<&TimestampField>,
    id: Option<&IdField>,
) {
    match (timestamp, message.contains(&Segment::Timestamp)) {
        (Some(_), false) => section.wrong(
            "ts",
            "not part of `msg`; a timestamp that is not signed can be changed, and protects nothing",
        ),
        (None, true) if !section.has("ts") => {
            section.wrong("msg", "{ts} needs a table `ts` that says where it is");
        }
        _ => {}
    }
    if message.contains(&Segment::Id) {
        match id.map(|id| &id.location) {
            Some(Location::Header(_)) => {}
            Some(_) => section.wrong("msg", "{id} needs an `id` in a header"),
            None if !section.has("id") => {
                section.wrong("msg", "{id} needs an `id` that says where it is");
            }
            None => {}
        }
    }
}

fn is_signed(location: &Location, message: &Message) -> bool {
    match location {
        // `msg` always contains the body.
        Location::Json(_) => true,
        Location::Header(name) => message.headers().any(|header| header.name == *name),
        Location::SignatureItem(_) => false,
    }
}

// === The values of single keys ===

/// Reads one of a few words.
fn word<T: Copy + FromValue>(value: &Value, words: &[(&str, T)]) -> Result<T, String> {
    text(value, |text| {
        words
            .iter()
            .find(|(word, _)| *word == text)
            .map(|(_, meaning)| *meaning)
    })
}

impl FromValue for Algorithm {
    const EXPECTED: &'static str =
        "one of hmac-sha1, hmac-sha256, hmac-sha384, hmac-sha512, ed25519, token";

    fn from_value(value: &Value) -> Result<Self, String> {
        word(value, &Self::NAMES)
    }
}

impl FromValue for KeyEncoding {
    const EXPECTED: &'static str = "one of utf8, base64, hex";

    fn from_value(value: &Value) -> Result<Self, String> {
        word(
            value,
            &[
                ("utf8", Self::Utf8),
                ("base64", Self::Base64),
                ("hex", Self::Hex),
            ],
        )
    }
}

impl FromValue for Encoding {
    const EXPECTED: &'static str = "one of hex, base64, base64url";

    fn from_value(value: &Value) -> Result<Self, String> {
        let words = [
            ("hex", Self::Hex),
            ("base64", Self::Base64),
            ("base64url", Self::Base64Url),
        ];
        word(value, &words)
    }
}

impl FromValue for TimeUnit {
    const EXPECTED: &'static str = "one of s, ms, rfc3339";

    fn from_value(value: &Value) -> Result<Self, String> {
        word(
            value,
            &[
                ("s", Self::Seconds),
                ("ms", Self::Milliseconds),
                ("rfc3339", Self::Rfc3339),
            ],
        )
    }
}

impl FromValue for Location {
    const EXPECTED: &'static str = "header:NAME, sig:NAME or json:/POINTER";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text.split_once(':')? {
            ("header", name) => HeaderName::from_bytes(name.as_bytes())
                .map(Self::Header)
                .ok(),
            ("sig", name) if !name.is_empty() => Some(Self::SignatureItem(name.to_owned())),
            ("json", pointer) => Pointer::parse(pointer).map(Self::Json),
            _ => None,
        })
    }
}

impl FromValue for HeaderName {
    const EXPECTED: &'static str = "a header name";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| Self::from_bytes(text.as_bytes()).ok())
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Separator(u8);

impl FromValue for Separator {
    const EXPECTED: &'static str = "one ASCII character";

    fn from_value(value: &Value) -> Result<Self, String> {
        text(value, |text| match text.as_bytes() {
            [byte] if byte.is_ascii() => Some(Self(*byte)),
            _ => None,
        })
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
                "msg: the message does not contain {body}",
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
                "ts.unit: expected one of s, ms, rfc3339",
            ),
            (
                "\"json:/id\"",
                "\"json:id\"",
                "id: expected header:NAME, sig:NAME or json:/POINTER",
            ),
            ("id  =", "idd =", "idd: unknown key"),
            (
                "enc = \"hex\"",
                "enc = \"hex\", items = \",\"",
                "sig.items: expected `items`, `pair` and `key`",
            ),
            (
                "header:x-ts",
                "sig:t",
                "ts.in: sig:t needs a signature header with named items",
            ),
            (
                "id  =",
                "type = \"header:x-type\"\nid  =",
                "type: not signed",
            ),
            (
                "id  =",
                "extends = \"nobody\"\nid  =",
                "extends: no provider \"nobody\"",
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
