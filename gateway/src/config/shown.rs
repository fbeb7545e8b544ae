//! The configuration in effect as the inspector shows it, without secrets.
//!
//! Most secrets are references such as `env:NAME`, which stay. The rest of this module is for the
//! places where a secret can be part of a text: parameters, the texts of a scheme, and URLs.

use std::borrow::Cow;
use std::path::PathBuf;

use hookgate_core::internal::{Table, Value};

use super::secrets::SecretRef;

/// Stands in place of a text that may be a secret.
const REDACTED: &str = "[redacted]";
/// Keys whose texts are secrets, unless they are references. Keys below these are too.
const SECRET_KEYS: [&str; 7] = [
    "credentials",
    "from",
    "params",
    "secret",
    "secrets",
    "token",
    "tokens",
];
/// Keys of secret tables that contain no secret.
const PLAIN_KEYS: [&str; 5] = ["id", "may", "name", "not_after", "not_before"];
/// Keys of a scheme whose texts are names of the scheme language or of headers. The other texts
/// of a scheme can contain a word that both sides know.
const PLAIN_SCHEME_KEYS: [&str; 5] = ["alg", "enc", "in", "method", "type"];

/// The configuration in effect: the file, with the environment variables merged in.
#[derive(Clone, Debug, Default)]
pub(crate) struct ShownConfig {
    /// The configuration file. `None`: the configuration came from standard input.
    pub(crate) file: Option<PathBuf>,
    /// The text, with [`REDACTED`] in place of secrets.
    pub(crate) toml: String,
}

/// The kind of the texts in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Texts {
    Plain,
    Scheme,
    Secret,
}

impl ShownConfig {
    /// Creates the text of a configuration.
    pub(super) fn new(table: &Table) -> Self {
        let shown = redact_table(table, Texts::Plain);
        Self {
            file: None,
            // This cannot fail: the table was read from TOML.
            toml: toml::to_string(&shown).unwrap_or_default(),
        }
    }
}

fn redact_table(table: &Table, texts: Texts) -> toml::Table {
    let entries = table.iter();
    entries
        .map(|(key, value)| (key.clone(), redact(value, texts.below(key))))
        .collect()
}

fn redact(value: &Value, texts: Texts) -> toml::Value {
    match value {
        Value::String(text) => texts.redact(text).into_owned().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(flag) => (*flag).into(),
        Value::Datetime(text) => match text.parse::<toml::value::Datetime>() {
            Ok(date) => date.into(),
            Err(_) => text.as_str().into(),
        },
        Value::Array(items) => {
            let items = items.iter().map(|item| redact(item, texts));
            toml::Value::Array(items.collect())
        }
        Value::Table(table) => redact_table(table, texts).into(),
    }
}

impl Texts {
    /// Returns the kind of the texts below `key`.
    fn below(self, key: &str) -> Self {
        match self {
            Self::Scheme if PLAIN_SCHEME_KEYS.contains(&key) => Self::Plain,
            Self::Secret if PLAIN_KEYS.contains(&key) => Self::Plain,
            Self::Plain if key == "scheme" => Self::Scheme,
            Self::Plain if SECRET_KEYS.contains(&key) => Self::Secret,
            texts => texts,
        }
    }

    fn redact(self, text: &str) -> Cow<'_, str> {
        match self {
            _ if SecretRef::parse(text).is_some() => text.into(),
            Self::Plain => redact_url(text),
            Self::Scheme => redact_template(text).into(),
            Self::Secret => REDACTED.into(),
        }
    }
}

/// Replaces the user, the password, the query and the fragment of a URL, or of a part of a URL.
fn redact_url(text: &str) -> Cow<'_, str> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let after = &rest[authority.len()..];
    let path = after.split(['?', '#']).next().unwrap_or_default();
    let (user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => (format!("{REDACTED}@"), host),
        None => (String::new(), authority),
    };
    let query = match path.len() < after.len() {
        true => format!("?{REDACTED}"),
        false => String::new(),
    };
    format!("{scheme}{user}{host}{path}{query}").into()
}

/// Replaces the words of a template, outside of its placeholders in braces.
fn redact_template(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, placeholder) = match rest.find('{') {
            Some(start) => rest.split_at(start),
            None => (rest, ""),
        };
        let has_word = literal.chars().any(char::is_alphanumeric);
        shown.push_str(if has_word { REDACTED } else { literal });
        let end = placeholder
            .find('}')
            .map_or(placeholder.len(), |end| end + 1);
        let (placeholder, after) = placeholder.split_at(end);
        shown.push_str(placeholder);
        rest = after;
    }
    shown
}

#[cfg(test)]
mod tests {
    use hookgate_core::internal::parse;

    use super::*;

    fn shown(toml: &str) -> String {
        ShownConfig::new(&parse(toml).expect("valid TOML")).toml
    }

    #[test]
    fn no_place_shows_a_secret() {
        const CANARY: &str = "canary0123456789";
        for place in [
            "[inspector]\ntoken = \"CANARY\"",
            "[inspector]\ntokens = [{ name = \"a\", from = \"CANARY\", may = \"act\" }]",
            "[replay]\nurl = \"rediss://user:CANARY@cache:6379/0\"",
            "[replay]\nurl = \"redis+sentinel://:CANARY@a,b/main\"",
            "[upstreams.app]\nservers = [\"https://app:CANARY@app:443\"]",
            "[upstreams.app]\nservers = [\"app:CANARY@app:80\"]",
            "[upstreams.app]\nhealth = { path = \"/healthz?key=CANARY\" }",
            "[[sources]]\nsecrets = [\"CANARY\"]",
            "[[sources]]\nsecrets = [{ from = \"CANARY\", id = \"1\" }]",
            "[[sources]]\nparams = { account = \"CANARY\" }",
            "[[sources]]\nparams = { account = \"https://CANARY\" }",
            "[[sources]]\nurl = \"https://user:CANARY@hooks.example/in\"",
            "[[sources]]\nurl = \"https://hooks.example/in?token=CANARY\"",
            "[[sources]]\nurl = \"https://hooks.example/in#CANARY\"",
            "[[sources]]\nurl = \"https://a@b:CANARY@hooks.example/in\"",
            "[[sources]]\nkeys = { credentials = { client = \"CANARY\" } }",
            "[[sources]]\nkeys = { url = \"https://keys.example/{key}?apikey=CANARY\" }",
            "[sources.scheme]\nmsg = \"CANARY.{body}\"",
            "[sources.scheme]\nmsg = \"{body}CANARY{timestamp}\"",
            "[sources.scheme]\nsig = { in = \"header:x\", prefix = \"CANARY\" }",
            "[[sources.scheme.handshake]]\nwhen = { \"query:token\" = \"CANARY\" }",
            "[[sources.scheme.handshake]]\nrespond = { body = \"CANARY\" }",
        ] {
            let text = shown(&place.replace("CANARY", CANARY));
            assert!(!text.contains(CANARY), "{place}: {text}");
            assert!(text.contains(REDACTED), "{place}: {text}");
            // The control: the text is there if nothing is redacted.
            assert!(place.replace("CANARY", CANARY).contains(CANARY));
        }
    }

    #[test]
    fn references_and_other_values_stay() {
        for place in [
            "admin = \"127.0.0.1:9090\"",
            "secrets = [\"env:NAME\", \"file:/run/secret\"]",
            "tokens = [{ from = \"env:OPS\", may = \"act\", name = \"ops\" }]",
            "url = \"env:REDIS_URL\"",
            "url = \"https://hooks.example/hooks/partner\"",
            "servers = [\"https://app:8443\"]",
            "max_entries = 1000",
            "factor = 1.5",
            "not_after = 2026-12-01T00:00:00Z",
            "msg = \"{param:account}.{body}\"",
        ] {
            let text = shown(place);
            assert!(!text.contains(REDACTED), "{text}");
            assert_eq!(parse(&text), parse(place), "{text}");
        }
        let scheme = "[scheme]\nalg = \"hmac-sha256\"\nmsg = \"{param:account}.{body}\"\n";
        assert_eq!(shown(scheme), scheme);
    }
}
