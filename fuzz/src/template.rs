//! Any template of a signed message, and a delivery that is signed by it. The
//! attacker has that one delivery, and divides its message anew: whatever else
//! verifies must agree with it in every part that the template signs.

use bytes::Bytes;
use hookgate_core::{Scheme, SchemeWarning};
use http::{HeaderName, HeaderValue, Request};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::{NOW, Pair, request};

const ID: HeaderName = HeaderName::from_static("x-id");
const TS: HeaderName = HeaderName::from_static("x-ts");
const A: HeaderName = HeaderName::from_static("x-a");
const B: HeaderName = HeaderName::from_static("x-b");

/// As the whole of a field: it is not there.
const ABSENT: &[u8] = &[1];

/// `data` is a byte of flags for the scheme around the template, and then fields
/// with zero bytes in between: the template; of the delivery the id, the headers
/// `x-a` and `x-b`, the query field `q` and the body; and what the attacker does.
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
    let there = |value: &[u8]| Some(value.to_vec()).filter(|value| value != ABSENT);
    let wanted = Parts {
        a: there(a),
        b: there(b),
        q: there(q),
        body: body.to_vec(),
        ..Parts::default()
    };
    let Some(unsigned) = wanted.put_in(request(b"")) else {
        return;
    };
    let Ok(signed) = pair.signer.sign_request(unsigned, NOW, id) else {
        return;
    };
    let verdict = pair.verify(&signed);
    assert!(verdict.is_ok(), "{:?} {text:?} {signed:?}", verdict.err());

    let tokens = tokens(text);
    let original = Parts::of(&signed);
    let forged = original.divided_anew(&tokens, field());
    let Some(forgery) = forged.put_in(signed.clone()) else {
        return;
    };
    if pair.verify(&forgery).is_ok() {
        let binds_body = !variant.warnings().contains(&SchemeWarning::BodyUnbound);
        for token in tokens.iter().flatten() {
            let same = same(token, &tokens, &original, &forged, binds_body);
            assert!(same, "{token:?} of {text:?}: {signed:?} and {forgery:?}");
        }
    }
}

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
    // A basic string of TOML is one of JSON, but for this character.
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

/// What can be signed of a delivery, and what its sender can change.
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

    /// `request` with these parts; none if they cannot be sent.
    fn put_in(&self, request: Request<Bytes>) -> Option<Request<Bytes>> {
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

    fn value(&self, place: &str) -> Value<'_> {
        let known = |value: &'_ Option<Vec<u8>>| match value {
            Some(_) => Presence::There,
            None => Presence::Absent,
        };
        let (value, presence) = match place {
            "id" | "header:x-id" => (self.id.as_deref(), known(&self.id)),
            "ts" | "header:x-ts" => (self.ts.as_deref(), known(&self.ts)),
            "header:x-a" => (self.a.as_deref(), known(&self.a)),
            "header:x-b" => (self.b.as_deref(), known(&self.b)),
            "query:q" => (self.q.as_deref(), known(&self.q)),
            "url" | "path-query" => (self.q.as_deref(), Presence::There),
            "body" => (Some(&self.body[..]), Presence::There),
            "method" | "url-base" | "path" => (None, Presence::There),
            _ => (None, Presence::Unknown),
        };
        Value { value, presence }
    }

    /// The message, as far as it is made of plain values.
    fn message(&self, groups: &[Vec<Token>]) -> Vec<u8> {
        let mut message = Vec::new();
        for group in groups {
            if self.presence(group) == Presence::Absent {
                continue;
            }
            for token in group {
                message.extend_from_slice(match token {
                    Token::Literal(text) => text.as_bytes(),
                    Token::Value { place, .. } => self.value(place).value.unwrap_or_default(),
                });
            }
        }
        message
    }

    /// Whether all that a group in brackets needs is there.
    fn presence(&self, group: &[Token]) -> Presence {
        let mut presence = Presence::There;
        for token in group {
            if let Token::Value { place, filters } = token
                && !filters.iter().any(|filter| filter == "or-empty")
            {
                presence = presence.max(self.value(place).presence);
            }
        }
        presence
    }

    /// Each part as it is, taken out, or another stretch of the message: two bytes
    /// of `commands` each.
    fn divided_anew(&self, groups: &[Vec<Token>], commands: &[u8]) -> Self {
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

struct Value<'p> {
    value: Option<&'p [u8]>,
    presence: Presence,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Presence {
    There,
    /// It is none of the parts that are compared.
    Unknown,
    Absent,
}

/// Whether what `token` stands for is the same in both deliveries, which have the
/// same signature.
fn same(
    token: &Token,
    groups: &[Vec<Token>],
    original: &Parts,
    forged: &Parts,
    binds_body: bool,
) -> bool {
    let Token::Value { place, filters } = token else {
        return true;
    };
    // A scheme that loads without saying otherwise binds the body, be it in
    // brackets or not.
    let whole = filters.is_empty() || filters.iter().any(|f| f.starts_with("sha"));
    if place == "body" {
        return !(binds_body && whole) || original.body == forged.body;
    }
    // What these do to different values may be the same.
    let lossy = ["lower", "upper", "crc32", "or-empty"];
    if filters
        .iter()
        .any(|filter| lossy.contains(&filter.as_str()))
    {
        return true;
    }
    let [before, after] = [original, forged].map(|parts| parts.value(place));
    // What is dropped from the message is not signed.
    let group = groups
        .iter()
        .find(|group| group.iter().any(|other| other == token));
    let dropped = group.is_some_and(|group| {
        [original, forged]
            .iter()
            .any(|parts| parts.presence(group) != Presence::There)
    });
    dropped || before.value == after.value
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Literal(String),
    Value { place: String, filters: Vec<String> },
}

/// The tokens of a template that has loaded: what is in brackets as one group,
/// the rest each as its own.
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
                    let place = words.next().unwrap_or_default();
                    let place = match place.strip_prefix("header:") {
                        Some(name) => format!("header:{}", name.to_ascii_lowercase()),
                        None => place,
                    };
                    let filters = words.filter(|word| word != "free").collect();
                    push(&mut groups, in_brackets, Token::Value { place, filters });
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
