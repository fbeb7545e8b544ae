//! The JSON Schema of the configuration, for editors (`hookgate schema`).
//!
//! The schema is generated from `gateway.example.toml`, which contains every key with its
//! description. This file adds the facts that an example cannot show: required keys, the other
//! values of an enumeration, and values with several forms.

mod example;

use serde_json::{Map, Value, json};
use toml::Value as Toml;

use self::example::Node;
use super::values::{QueueKind, StoreKind};

/// The required keys of each table.
const REQUIRED: [(&str, &[&str]); 5] = [
    // Included files may contain the sources and the upstreams.
    ("", &["server"]),
    ("queue", &["store"]),
    ("server.tls", &["cert", "key", "listen"]),
    ("sources", &["name", "path", "upstream"]),
    ("upstreams.*", &["servers"]),
];

/// Tables that require exactly one of two keys.
const EITHER: [(&str, [&str; 2]); 3] = [
    ("inspector", ["token", "tokens"]),
    ("upstreams.*.health", ["grpc_service", "path"]),
    ("sources", ["keys", "secrets"]),
];

/// Returns the schema.
pub(crate) fn schema() -> Value {
    let mut schema = object(&example::read(), "");
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "hookgate".into();
    schema["description"] = "The configuration of the hookgate gateway.".into();
    schema
}

/// Returns the schema of one key.
fn node(node: &Node, path: &str) -> Value {
    let mut schema = match (special(path), &node.value) {
        (Some(special), _) => special,
        (None, Some(value)) => of_value(value, path),
        (None, None) if node.is_list => json!({ "type": "array", "items": object(node, path) }),
        (None, None) => object(node, path),
    };
    if !node.description.is_empty() {
        schema["description"] = node.description.as_str().into();
    }
    schema
}

/// Returns the schema of a table.
fn object(table: &Node, path: &str) -> Value {
    let below = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    if let Some(named) = table.children.get("*") {
        // The operator chooses the keys of this table.
        return json!({
            "type": "object",
            "additionalProperties": node(named, &below("*")),
        });
    }
    let properties: Map<String, Value> = table
        .children
        .iter()
        .map(|(key, child)| (key.clone(), node(child, &below(key))))
        .collect();
    let required = REQUIRED.iter().find(|(name, _)| *name == path);
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let Some((_, keys)) = required {
        object["required"] = (*keys).into();
    }
    if let Some((_, keys)) = EITHER.iter().find(|(name, _)| *name == path) {
        object["oneOf"] = keys.map(|key| json!({ "required": [key] })).into();
    }
    object
}

/// Returns the schema for all values of the same type as the example `value`.
fn of_value(value: &Toml, path: &str) -> Value {
    match value {
        Toml::Boolean(_) => json!({ "type": "boolean" }),
        Toml::Integer(_) => json!({ "type": "integer", "minimum": 0 }),
        Toml::Array(_) => one_or_several(&json!({ "type": "string" })),
        Toml::Table(table) => {
            let mut node = Node::default();
            for (key, value) in table {
                node.children.entry(key.clone()).or_default().value = Some(value.clone());
            }
            object(&node, path)
        }
        Toml::String(text) if humantime::parse_duration(text).is_ok() => duration(),
        Toml::String(text) if text.parse::<bytesize::ByteSize>().is_ok() => size(),
        _ => json!({ "type": "string" }),
    }
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": "^([0-9]+ *[a-zµ]+ *)+$" })
}

fn size() -> Value {
    json!({ "type": "string", "pattern": "^[0-9.]+ *[kKmMgGtT]?i?[bB]$" })
}

fn one_or_several(item: &Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
}

/// Returns the schema of a key whose example does not show every valid value.
fn special(path: &str) -> Option<Value> {
    let keywords = |keywords: &[&str]| json!({ "enum": keywords });
    let secret = json!({ "type": "string", "pattern": "^(env|file):." });
    let special = match path {
        "server.access_log" => json!({ "anyOf": [
            keywords(&["stdout", "stderr", "off"]),
            { "type": "string", "pattern": "^file:." },
        ] }),
        "server.forwarded" => keywords(&["x-forwarded", "rfc7239"]),
        "replay.store" => keywords(&StoreKind::ALL.map(StoreKind::name)),
        "queue.store" => keywords(&QueueKind::ALL.map(QueueKind::name)),
        "queue.keep_dead" => json!({ "anyOf": [keywords(&["forever"]), duration()] }),
        "replay.durability" | "queue.durability" => keywords(&["process", "power"]),
        "replay.url" | "queue.url" | "queue.credentials" | "inspector.token" => secret,
        "inspector.capture" | "sources.capture" => keywords(&["none", "refused", "all"]),
        "inspector.tokens" => tokens(&secret),
        "upstreams.*.protocol" => keywords(&["http1", "h2", "h2c"]),
        "upstreams.*.balance" => keywords(&["round_robin", "least_requests", "hash"]),
        "sources.queue" => keywords(&["off", "on_failure", "always"]),
        "sources.order" => keywords(&["any", "source"]),
        "sources.retry.factor" => json!({ "type": "number", "minimum": 1, "maximum": 100 }),
        "sources.mode" => keywords(&["enforce", "observe"]),
        "sources.delivery" => keywords(&["at_least_once", "at_most_once"]),
        "sources.dedupe" => json!({ "enum": ["content", "delivery_id", "off", true, false] }),
        "sources.on_conflict" => keywords(&["count", "reject"]),
        "sources.on_duplicate" => json!({ "enum": [200, 409] }),
        "sources.mismatch_status" => json!({ "enum": [401, 503] }),
        "sources.params" | "sources.query" => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        // The scheme language has its own parser and is too large for this schema.
        "sources.scheme" => json!({ "type": "object" }),
        "sources.keys" => keys(&secret),
        "sources.secrets" => json!({
            "type": "array",
            "minItems": 1,
            "maxItems": 8,
            "items": { "anyOf": [secret, {
                "type": "object",
                "properties": {
                    "from": secret,
                    "id": { "type": "string", "minLength": 1, "maxLength": 256 },
                    "not_before": { "type": "string", "format": "date-time" },
                    "not_after": { "type": "string", "format": "date-time" },
                },
                "required": ["from"],
                "additionalProperties": false,
            }, {
                "type": "object",
                "properties": {
                    "resolve": { "type": "string", "pattern": "^https?://.*\\{tenant\\}" },
                    "ttl": duration(),
                    "negative_ttl": duration(),
                    "timeout": duration(),
                    "token": secret,
                },
                "required": ["resolve"],
                "additionalProperties": false,
            }] },
        }),
        _ => return None,
    };
    Some(special)
}

/// Returns the schema of the tokens of the inspector.
fn tokens(secret: &Value) -> Value {
    json!({
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "properties": {
                "name": { "type": "string", "minLength": 1, "maxLength": 64 },
                "from": secret,
                "may": { "enum": ["read", "act"] },
            },
            "required": ["name", "from", "may"],
            "additionalProperties": false,
        },
    })
}

/// Returns the schema of the table `keys` of a source.
fn keys(secret: &Value) -> Value {
    let text = json!({ "type": "string" });
    json!({
        "type": "object",
        "properties": {
            "url": text,
            "ca": text,
            "hosts": one_or_several(&text),
            "path": text,
            "names": one_or_several(&text),
            "chain": { "enum": ["roots", "host"] },
            "timeout": duration(),
            "max_age": duration(),
            "keep": duration(),
            "credentials": { "type": "object", "additionalProperties": secret },
        },
        "additionalProperties": false,
    })
}
