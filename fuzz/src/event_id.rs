//! Fuzz target: any signed body. The verifier reads the same event id as every JSON parser, or
//! none.

use std::fmt;
use std::sync::OnceLock;

use bytes::Bytes;
use hookgate_core::{Head, HeadOutcome, Scheme, Verified};
use http::Request;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{NOW, Pair, request};

/// Location of the id, the steps of each JSON pointer, and the characters that an id excludes.
const IDS: [(&str, &[&[&str]], &str); 4] = [
    (r#""json:/id""#, &[&["id"]], ""),
    (
        r#"["json:/data/0/id", "json:/type"]"#,
        &[&["data", "0", "id"], &["type"]],
        "",
    ),
    (r#"{ in = "json:/id", exclude = "._" }"#, &[&["id"]], "._"),
    (r#""json:/a~1b/~0""#, &[&["a/b", "~"]], ""),
];
const TYPE: &[&str] = &["type"];

fn pairs() -> &'static [Pair] {
    static PAIRS: OnceLock<Vec<Pair>> = OnceLock::new();
    PAIRS.get_or_init(|| {
        let pairs = IDS.iter().map(|(id, _, _)| {
            let scheme = Scheme::from_toml(&format!(
                r#"
                alg = "hmac-sha256"
                sig = {{ in = "header:x-signature", enc = "hex" }}
                msg = "{{body}}"
                id = {id}
                type = "json:/type"
                "#
            ));
            let scheme = scheme.unwrap();
            let variant = scheme.variants().next().unwrap();
            Pair::new(&scheme, variant).unwrap()
        });
        pairs.collect()
    })
}

/// Compares the event id and type of a signed body with a second JSON parser.
///
/// The first byte of `data` chooses the location of the id, the second one the length of the first
/// chunk. The rest is the body.
pub fn event_id(data: &[u8]) {
    let [choice, cut, body @ ..] = data else {
        return;
    };
    let choice = usize::from(*choice) % IDS.len();
    let pair = &pairs()[choice];
    let (_, pointers, exclude) = IDS[choice];
    let signed = pair.signer.sign_request(request(body), NOW, None).unwrap();
    let verified = deliver(pair, &signed, usize::from(*cut));
    assert_eq!(verified.body(), body);

    let json = serde_json::from_slice::<Json>(body).ok();
    let expected = |steps: &[&str], exclude: &str| {
        let text = json.as_ref()?.at(steps)?;
        is_id(&text, exclude).then_some(text)
    };
    // The verifier skips members that no pointer names, even with too large numbers or too deep
    // nesting. The second parser reads all members and fails then, so only the form of the id
    // can be checked.
    let parts: Option<Vec<String>> = pointers
        .iter()
        .map(|steps| expected(steps, exclude))
        .collect();
    let id = parts.map(|parts| parts.join(" "));
    let event_type = expected(TYPE, "");
    match &json {
        Some(_) => {
            assert_eq!(verified.id(), id.as_deref());
            assert_eq!(verified.event_type(), event_type.as_deref());
        }
        None => {
            let parts = verified.id().into_iter().flat_map(|id| id.split(' '));
            for text in parts.chain(verified.event_type()) {
                assert!(is_id(text, ""), "{text:?}");
            }
        }
    }
    // A body that is not JSON has no event id.
    if json.is_none() && !is_json_with_unread_parts(body) {
        assert_eq!(verified.id(), None);
        assert_eq!(verified.event_type(), None);
    }
}

fn deliver(pair: &Pair, signed: &Request<Bytes>, cut: usize) -> Verified {
    let outcome = pair.verifier.begin(Head::from(signed), NOW).unwrap();
    let HeadOutcome::Delivery(mut pending) = outcome else {
        panic!("the scheme has no handshake");
    };
    let body = signed.body();
    let cut = cut.min(body.len());
    pending.push(body.slice(..cut));
    pending.push(body.slice(cut..));
    pending.finish(NOW).unwrap().delivery().unwrap()
}

/// Returns whether `text` has 1 to 256 visible ASCII characters, none of them excluded.
fn is_id(text: &str, exclude: &str) -> bool {
    (1..=256).contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !exclude.contains(c))
}

/// Returns whether the body is JSON apart from limits on numbers and nesting.
fn is_json_with_unread_parts(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

/// A JSON value that keeps members with duplicate names.
enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    /// A string or an integer.
    Text(String),
    Other,
}

impl Json {
    /// Returns the text at a pointer, if no member name on the way occurs twice.
    fn at(&self, steps: &[&str]) -> Option<String> {
        let Some((step, rest)) = steps.split_first() else {
            return match self {
                Self::Text(text) => Some(text.clone()),
                _ => None,
            };
        };
        let next = match self {
            Self::Object(members) => {
                let mut named = members.iter().filter(|(name, _)| name == step);
                let (_, value) = named.next()?;
                named.next().is_none().then_some(value)
            }
            Self::Array(elements) => elements.get(step.parse::<usize>().ok()?),
            _ => None,
        };
        next?.at(rest)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Text(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Text(number.to_string()))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}
