//! The JSON Schema for editors agrees with the configuration that the gateway accepts.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use hookgate_tests::binary;
use serde_json::Value;

fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(repository().join(name)).expect("the file is readable")
}

fn schema() -> Value {
    let output = Command::new(binary()).arg("schema").output();
    serde_json::from_slice(&output.expect("the command runs").stdout).expect("the text is JSON")
}

/// Returns a configuration as JSON, for the schema.
fn as_json(text: &str) -> Value {
    let table: toml::Table = text.parse().expect("the text is TOML");
    serde_json::to_value(table).expect("TOML converts to JSON")
}

#[test]
fn the_committed_schema_is_the_one_the_program_prints() {
    let committed: Value =
        serde_json::from_str(&read("gateway.schema.json")).expect("the text is JSON");
    assert_eq!(
        committed,
        schema(),
        "regenerate it: hookgate schema > gateway.schema.json"
    );
}

#[test]
fn the_schema_accepts_the_example_and_refuses_mistakes() {
    let schema = jsonschema::validator_for(&schema()).expect("the schema is valid");
    let example = read("gateway.example.toml");
    let errors: Vec<String> = schema
        .iter_errors(&as_json(&example))
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert_eq!(errors, [""; 0]);
    for (good, bad) in [
        ("[server]\n", "[sever]\n"),
        ("admin = \"127", "adnim = \"127"),
        ("head_timeout = \"10s\"", "head_timeout = 10"),
        ("head_timeout = \"10s\"", "head_timeout = \"10\""),
        ("body = \"1MiB\"", "body = \"1000\""),
        ("store = \"memory\"", "store = \"momory\""),
        ("boot_fence = true", "boot_fence = \"yes\""),
        ("\"env:BEATAPI_SECRET\"", "\"whsec_secret\""),
        ("secrets = [\"env:PARTNER_SECRET\"]\n", ""),
        ("on_duplicate = 200", "on_duplicate = 202"),
        ("past = \"300s\"", "passed = \"300s\""),
        ("servers = [", "server = ["),
        ("path = \"/healthz\", ", ""),
        (
            "path = \"/healthz\", ",
            "path = \"/\", grpc_service = \"\", ",
        ),
    ] {
        assert!(example.contains(good), "{good}");
        let text = example.replacen(good, bad, 1);
        assert!(!schema.is_valid(&as_json(&text)), "{bad}");
    }
}

/// An unknown key in each table, and the JSON pointer of that table in the schema.
const TABLES: [(&str, &str); 9] = [
    ("nokey = 1", ""),
    ("[server]\nnokey = 1", "/properties/server"),
    (
        "[[server.tls]]\nnokey = 1",
        "/properties/server/properties/tls/items",
    ),
    ("[limits]\nnokey = 1", "/properties/limits"),
    ("[replay]\nnokey = 1", "/properties/replay"),
    (
        "[upstreams.app]\nnokey = 1",
        "/properties/upstreams/additionalProperties",
    ),
    (
        "[upstreams.app]\nhealth = { nokey = 1 }",
        "/properties/upstreams/additionalProperties/properties/health",
    ),
    ("[[sources]]\nnokey = 1", "/properties/sources/items"),
    (
        "[[sources]]\nwindow = { nokey = 1 }",
        "/properties/sources/items/properties/window",
    ),
];

#[test]
fn the_schema_has_exactly_the_keys_of_the_gateway() {
    let schema = schema();
    for (text, pointer) in TABLES {
        let table = schema.pointer(pointer).expect("the schema has the table");
        let properties = table["properties"]
            .as_object()
            .expect("the table has properties");
        let in_schema: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        let errors = check_errors(text);
        let known = errors
            .lines()
            .find_map(|line| line.split_once("nokey: unknown key; expected one of "))
            .map(|(_, keys)| keys)
            .unwrap_or_else(|| panic!("{text}: {errors}"));
        let in_program: BTreeSet<&str> = known.split(", ").collect();
        assert_eq!(in_schema, in_program, "{text}");
    }
}

/// Returns the errors of `check` for a configuration.
fn check_errors(text: &str) -> String {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).expect("the file is written");
    let output = Command::new(binary())
        .args(["check", "-c"])
        .arg(&file)
        .output();
    String::from_utf8(output.expect("the command runs").stderr).expect("the bytes are UTF-8")
}
