//! A JSON Schema of the configuration, for editors. It is made of the example, which has
//! every key with its meaning; only what an example cannot say stands here.

mod example;

use serde_json::{Map, Value, json};
use toml::Value as Toml;

use self::example::Node;

/// Keys that have to be there, by their table.
const REQUIRED: [(&str, &[&str]); 4] = [
    ("", &["server", "sources", "upstreams"]),
    ("server.tls", &["cert", "key", "listen"]),
    ("sources", &["name", "path", "secrets", "upstream"]),
    ("upstreams.*", &["servers"]),
];

/// Keys of which one has to be there, by their table.
const EITHER: (&str, [&str; 2]) = ("upstreams.*.health", ["grpc_service", "path"]);

/// The schema.
pub(crate) fn schema() -> Value {
    let mut schema = object(&example::read(), "");
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "hookgate".into();
    schema["description"] = "The configuration of the hookgate gateway.".into();
    schema
}

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

fn object(of: &Node, path: &str) -> Value {
    let below = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    if let Some(named) = of.children.get("*") {
        // Its keys are names that the user chooses.
        return json!({
            "type": "object",
            "additionalProperties": node(named, &below("*")),
        });
    }
    let properties: Map<String, Value> = of
        .children
        .iter()
        .map(|(key, child)| (key.clone(), node(child, &below(key))))
        .collect();
    let required = REQUIRED.iter().find(|(table, _)| *table == path);
    let mut object = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if let Some((_, keys)) = required {
        object["required"] = (*keys).into();
    }
    if path == EITHER.0 {
        object["oneOf"] = EITHER.1.map(|key| json!({ "required": [key] })).into();
    }
    object
}

/// What can stand in place of an example.
fn of_value(value: &Toml, path: &str) -> Value {
    match value {
        Toml::Boolean(_) => json!({ "type": "boolean" }),
        Toml::Integer(_) => json!({ "type": "integer", "minimum": 0 }),
        Toml::Array(_) => one_or_several(&json!({ "type": "string" })),
        Toml::Table(table) => {
            let mut of = Node::default();
            for (key, value) in table {
                of.children.entry(key.clone()).or_default().value = Some(value.clone());
            }
            object(&of, path)
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
    json!({ "type": "string", "pattern": "^[0-9.]+ *[kKmMgG]?i?[bB]$" })
}

fn one_or_several(item: &Value) -> Value {
    json!({ "anyOf": [item, { "type": "array", "items": item, "minItems": 1 }] })
}

/// What an example does not show: that there are other words, or other forms.
fn special(path: &str) -> Option<Value> {
    let words = |words: &[&str]| json!({ "enum": words });
    let secret = json!({ "type": "string", "pattern": "^(env|file):." });
    let special = match path {
        "server.access_log" => words(&["stdout", "stderr", "off"]),
        "replay.store" => words(&["memory", "disk", "redis"]),
        "replay.durability" => words(&["process", "power"]),
        "replay.url" => secret,
        "upstreams.*.protocol" => words(&["http1", "h2", "h2c"]),
        "upstreams.*.balance" => words(&["round_robin", "least_requests", "hash"]),
        "sources.mode" => words(&["enforce", "observe"]),
        "sources.delivery" => words(&["at_least_once", "at_most_once"]),
        "sources.on_conflict" => words(&["count", "reject"]),
        "sources.on_duplicate" => json!({ "enum": [200, 409] }),
        "sources.mismatch_status" => json!({ "enum": [401, 503] }),
        "sources.params" => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        // Its own language.
        "sources.scheme" => json!({ "type": "object" }),
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
            }] },
        }),
        _ => return None,
    };
    Some(special)
}
