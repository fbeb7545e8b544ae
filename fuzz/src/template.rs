//! Fuzz target: any template of a signed message.
//!
//! An attacker has one genuine delivery and distributes the bytes of its message over the parts of
//! another one. If that delivery verifies, it must equal the genuine one in every signed part.

use bytes::Bytes;
use hookgate_core::{Scheme, SchemeWarning};
use http::{HeaderName, HeaderValue, Request};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::{NOW, Pair, request};

const ID: HeaderName = HeaderName::from_static("x-id");
const TS: HeaderName = HeaderName::from_static("x-ts");
const A: HeaderName = HeaderName::from_static("x-a");
const B: HeaderName = HeaderName::from_static("x-b");

/// The field value that means an absent part.
const ABSENT: &[u8] = &[1];

/// Signs a delivery with a template, then verifies a forged delivery.
///
/// `data` starts with a byte of flags for the scheme. The fields after it are separated by zero
/// bytes: the template, the id, the headers `x-a` and `x-b`, the query field `q`, the body, and
/// the commands of the attacker.
pub fn template(data: &[u8]) {
    let Some((flags, fields)) = data.split_first() else {
        return;
    };
    let mut fields = fields.splitn(7, |byte| *byte == 0);
    let mut field = || fields.next().unwrap_or_default();
    let Ok(text) = std::str::from_utf8(field()) else {
        return;
    };
    let Ok(scheme) = Scheme::from_toml(&scheme_text(*flags, text)) else {
        return;
    };
    let variant = scheme.variants().next().unwrap();
    let pair = Pair::new(&scheme, variant).unwrap();

    let [id, a, b, q, body] = [field(), field(), field(), field(), field()];
    let id = Some(id).filter(|id| *id != ABSENT);
    let Ok(id) = id.map(std::str::from_utf8).transpose() else {
        return;
    };
    let present = |value: &[u8]| Some(value.to_vec()).filter(|value| value != ABSENT);
    let wanted = Parts {
        a: present(a),
        b: present(b),
        q: present(q),
        body: body.to_vec(),
        ..Parts::default()
    };
    let Some(unsigned) = wanted.apply_to(request(b"")) else {
        return;
    };
    let Ok(signed) = pair.signer.sign_request(unsigned, NOW, id) else {
        return;
    };
    let verdict = pair.verify(&signed);
    assert!(verdict.is_ok(), "{:?} {text:?} {signed:?}", verdict.err());

    let tokens = tokens(text);
    let original = Parts::of(&signed);
    let forged = original.redistribute(&tokens, field());
    let Some(forgery) = forged.apply_to(signed.clone()) else {
        return;
    };
    if pair.verify(&forgery).is_ok() {
        let binds_body = !variant.warnings().contains(&SchemeWarning::BodyUnbound);
        for token in tokens.iter().flatten() {
            let is_same = is_same_value(token, &tokens, &original, &forged, binds_body);
            assert!(is_same, "{token:?} of {text:?}: {signed:?} and {forgery:?}");
        }
    }
}

/// Returns the scheme around a template. The flags choose its timestamp, id, and options.
fn scheme_text(flags: u8, template: &str) -> String {
    let flag = |bit: u8, text: &'static str| if flags & (1 << bit) != 0 { text } else { "" };
    let unit = ["s", "ms", "s-or-ms", "rfc3339"][usize::from(flags & 3)];
    let ts = match flags & (1 << 2) {
        0 => format!("ts = {{ in = \"header:x-ts\", unit = \"{unit}\" }}"),
        _ => String::new(),
    };
    let id = match (flags >> 3) & 3 {
        0 | 1 => "id = \"header:x-id\"",
        2 => "id = \"json:/id\"",
        _ => "",
    };
    // A JSON string is a TOML basic string, except for the character DEL.
    let template = serde_json::Value::from(template).to_string();
    let template = template.replace('\x7f', "\\u007f");
    format!(
        "alg = \"hmac-sha256\"\nsig = {{ in = \"header:x-signature\", enc = \"hex\" }}\n\
         msg = {template}\n{ts}\n{id}\n{}\n{}\n{}\n",
        flag(5, "body = \"json\""),
        flag(6, "binds_body = false"),
        flag(7, "url = { port = \"toggle\", decode = \"-\" }"),
    )
}

/// The parts of a delivery that a template can sign and a sender can change.
#[derive(Clone, Debug, Default)]
struct Parts {
    id: Option<Vec<u8>>,
    ts: Option<Vec<u8>>,
    a: Option<Vec<u8>>,
    b: Option<Vec<u8>>,
    q: Option<Vec<u8>>,
    body: Vec<u8>,
}

impl Parts {
    /// Reads the parts of a request.
    fn of(request: &Request<Bytes>) -> Self {
        let header = |name: HeaderName| {
            let value = request.headers().get(name);
            value.map(|value| value.as_bytes().to_vec())
        };
        let query = request.uri().query().unwrap_or_default().split('&');
        let mut q = query.filter_map(|field| field.strip_prefix("q="));
        Self {
            id: header(ID),
            ts: header(TS),
            a: header(A),
            b: header(B),
            q: q.next()
                .map(|value| percent_decode(value.as_bytes()).collect()),
            body: request.body().to_vec(),
        }
    }

    /// Returns `request` with these parts, or `None` if they are no valid request.
    fn apply_to(&self, request: Request<Bytes>) -> Option<Request<Bytes>> {
        let before = Self::of(&request);
        let (mut parts, _) = request.into_parts();
        for (name, value) in [(ID, &self.id), (TS, &self.ts), (A, &self.a), (B, &self.b)] {
            parts.headers.remove(&name);
            if let Some(value) = value {
                parts
                    .headers
                    .insert(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
        if self.q != before.q {
            let query = self.q.as_ref().map(|value| {
                let value = percent_encode(value, NON_ALPHANUMERIC);
                format!("?q={value}")
            });
            parts.uri = format!("/in{}", query.unwrap_or_default()).parse().ok()?;
        }
        Some(Request::from_parts(parts, self.body.clone().into()))
    }

    /// Returns the value of a template token.
    fn value(&self, name: &str) -> Value<'_> {
        let known = |value: &'_ Option<Vec<u8>>| match value {
            Some(_) => Presence::Present,
            None => Presence::Absent,
        };
        let (value, presence) = match name {
            "id" | "header:x-id" => (self.id.as_deref(), known(&self.id)),
            "ts" | "header:x-ts" => (self.ts.as_deref(), known(&self.ts)),
            "header:x-a" => (self.a.as_deref(), known(&self.a)),
            "header:x-b" => (self.b.as_deref(), known(&self.b)),
            "query:q" => (self.q.as_deref(), known(&self.q)),
            "url" | "path-query" => (self.q.as_deref(), Presence::Present),
            "body" => (Some(&self.body[..]), Presence::Present),
            "method" | "url-base" | "path" => (None, Presence::Present),
            _ => (None, Presence::Unknown),
        };
        Value { value, presence }
    }

    /// Returns the signed message, without filters.
    fn message(&self, groups: &[Vec<Token>]) -> Vec<u8> {
        let mut message = Vec::new();
        for group in groups {
            if self.presence(group) == Presence::Absent {
                continue;
            }
            for token in group {
                message.extend_from_slice(match token {
                    Token::Literal(text) => text.as_bytes(),
                    Token::Value { name, .. } => self.value(name).value.unwrap_or_default(),
                });
            }
        }
        message
    }

    /// Returns whether every value that a group in brackets needs is present.
    fn presence(&self, group: &[Token]) -> Presence {
        let mut presence = Presence::Present;
        for token in group {
            if let Token::Value { name, filters } = token
                && !filters.iter().any(|filter| filter == "or-empty")
            {
                presence = presence.max(self.value(name).presence);
            }
        }
        presence
    }

    /// Returns parts that are unchanged, absent, or a slice of the message. Each part takes two bytes
    /// of `commands`.
    fn redistribute(&self, groups: &[Vec<Token>], commands: &[u8]) -> Self {
        let message = self.message(groups);
        let mut commands = commands.chunks(2);
        let mut next = |part: &Option<Vec<u8>>| match commands.next() {
            None | Some([] | [_] | [0xff, _]) => part.clone(),
            Some([0xfe, _]) => None,
            Some([start, end, ..]) => {
                let [start, end] = [start, end].map(|at| usize::from(*at) % (message.len() + 1));
                Some(message[start.min(end)..start.max(end)].to_vec())
            }
        };
        Self {
            body: next(&Some(self.body.clone())).unwrap_or_default(),
            a: next(&self.a),
            b: next(&self.b),
            id: next(&self.id),
            q: next(&self.q),
            ts: next(&self.ts),
        }
    }
}

/// The value of a template token in one delivery.
struct Value<'p> {
    value: Option<&'p [u8]>,
    presence: Presence,
}

/// Whether a delivery has a part.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Presence {
    Present,
    /// The token names no compared part.
    Unknown,
    Absent,
}

/// Returns whether two deliveries with the same signature have the same value for `token`.
fn is_same_value(
    token: &Token,
    groups: &[Vec<Token>],
    original: &Parts,
    forged: &Parts,
    binds_body: bool,
) -> bool {
    let Token::Value { name, filters } = token else {
        return true;
    };
    // A scheme that loads binds the body, inside of brackets too, unless it sets
    // `binds_body = false`.
    let whole = filters.is_empty() || filters.iter().any(|f| f.starts_with("sha"));
    if name == "body" {
        return !(binds_body && whole) || original.body == forged.body;
    }
    // These filters can map different values to the same text.
    let lossy = ["lower", "upper", "crc32", "or-empty"];
    if filters
        .iter()
        .any(|filter| lossy.contains(&filter.as_str()))
    {
        return true;
    }
    let [before, after] = [original, forged].map(|parts| parts.value(name));
    // A group that is dropped from the message is not signed.
    let group = groups
        .iter()
        .find(|group| group.iter().any(|other| other == token));
    let dropped = group.is_some_and(|group| {
        [original, forged]
            .iter()
            .any(|parts| parts.presence(group) != Presence::Present)
    });
    dropped || before.value == after.value
}

/// A part of a template.
#[derive(Debug, PartialEq, Eq)]
enum Token {
    Literal(String),
    Value { name: String, filters: Vec<String> },
}

/// Returns the tokens of a loaded template. Brackets form one group; every other token is its own
/// group.
fn tokens(template: &str) -> Vec<Vec<Token>> {
    let mut groups: Vec<Vec<Token>> = Vec::new();
    let mut in_brackets = false;
    let mut chars = template.chars().peekable();
    while let Some(char) = chars.next() {
        if matches!(char, '{' | '}' | '[' | ']') && chars.next_if_eq(&char).is_none() {
            match char {
                '[' => groups.push(Vec::new()),
                '{' => {
                    let text: String = chars.by_ref().take_while(|char| *char != '}').collect();
                    let mut words = text.split('|').map(str::to_owned);
                    let name = words.next().unwrap_or_default();
                    let name = match name.strip_prefix("header:") {
                        Some(header) => format!("header:{}", header.to_ascii_lowercase()),
                        None => name,
                    };
                    let filters = words.filter(|word| word != "free").collect();
                    push(&mut groups, in_brackets, Token::Value { name, filters });
                }
                _ => {}
            }
            in_brackets = match char {
                '[' => true,
                ']' => false,
                _ => in_brackets,
            };
            continue;
        }
        push(&mut groups, in_brackets, Token::Literal(char.to_string()));
    }
    groups
}

fn push(groups: &mut Vec<Vec<Token>>, in_brackets: bool, token: Token) {
    match groups.last_mut() {
        Some(group) if in_brackets => group.push(token),
        _ => groups.push(vec![token]),
    }
}
