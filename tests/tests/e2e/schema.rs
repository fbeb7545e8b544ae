//! The JSON Schema that editors use says what the gateway says.

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

/// A configuration as the schema sees it.
fn as_json(text: &str) -> Value {
    let table: toml::Table = text.parse().expect("the text is TOML");
    serde_json::to_value(table).expect("no number is odd")
}

#[test]
fn the_schema_of_the_repository_is_the_one_of_the_program() {
    let committed: Value =
        serde_json::from_str(&read("gateway.schema.json")).expect("the text is JSON");
    assert_eq!(
        committed,
        schema(),
        "`hookgate schema > gateway.schema.json` makes it anew"
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

/// A key that there is not, in each table, and where the schema has that table.
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
fn the_schema_knows_the_keys_that_the_gateway_knows() {
    let schema = schema();
    for (text, pointer) in TABLES {
        let table = schema.pointer(pointer).expect("the schema has the table");
        let properties = table["properties"].as_object().expect("keys");
        let in_schema: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        let said = refusal_of(text);
        let known = said
            .lines()
            .find_map(|line| line.split_once("nokey: unknown key; expected one of "))
            .map(|(_, keys)| keys)
            .unwrap_or_else(|| panic!("{text}: {said}"));
        let in_program: BTreeSet<&str> = known.split(", ").collect();
        assert_eq!(in_schema, in_program, "{text}");
    }
}

/// What is said of a configuration.
fn refusal_of(text: &str) -> String {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    let file = folder.path().join("gateway.toml");
    std::fs::write(&file, text).expect("the file is written");
    let output = Command::new(binary())
        .args(["check", "-c"])
        .arg(&file)
        .output();
    String::from_utf8(output.expect("the command runs").stderr).expect("the bytes are UTF-8")
}
