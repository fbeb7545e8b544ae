//! The handlers of docs/mismatch.md, run in their frameworks: each one passes the bytes to the
//! check that the provider sent. `make test` installs the frameworks beside the providers' own
//! libraries. No test runs the handlers in languages that `make test` does not install.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::documents::read;
use crate::provider_sdks::{Installed, Registry};

/// Bodies that every parser changes.
const DELIVERIES: [(&str, &str); 2] = [
    (
        "application/json",
        "{\"id\": 1.0,  \"text\":\"h\\u00e9 \\/ <&>\"}\r\n",
    ),
    ("application/x-www-form-urlencoded", "b=1+2&a=%7e&c="),
];

/// Returns the code of each handler of the page in `language`, by its framework.
fn handlers(language: &str) -> BTreeMap<String, String> {
    let page = read("docs/mismatch.md");
    let start = "## The raw body in your framework";
    let (_, page) = page.split_once(start).expect("the page has the section");
    let sections = page.split("\n### ").skip(1);
    let fence = format!("```{language}\n");
    let of_language = sections.filter_map(|section| {
        let (name, text) = section.split_once('\n')?;
        let (_, code) = text.split_once(&fence)?;
        let (code, _) = code.split_once("```")?;
        Some((name.to_owned(), code.to_owned()))
    });
    of_language.collect()
}

/// Runs `handlers` with `command`. Returns the bodies that each one passed on, in hex.
fn run(
    mut command: Command,
    handlers: &BTreeMap<String, String>,
    deliveries: &[(&str, &str)],
) -> BTreeMap<String, Vec<String>> {
    let deliveries: Vec<_> = deliveries
        .iter()
        .map(|(content_type, body)| json!([content_type, hex::encode(body)]))
        .collect();
    let input = json!({ "handlers": handlers, "deliveries": deliveries });
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the interpreter starts");
    let mut stdin = child.stdin.take().expect("the input is piped");
    stdin
        .write_all(input.to_string().as_bytes())
        .expect("the script reads its input");
    drop(stdin);
    let output = child.wait_with_output().expect("the script ends");
    assert!(output.status.success(), "{}", output.status);
    let bodies: Value = serde_json::from_slice(&output.stdout).expect("the output is JSON");
    serde_json::from_value(bodies).expect("the output has the bodies")
}

/// Asserts that each handler passes on the sent bytes, and that a handler with `changes` does
/// not.
fn assert_raw(
    command: impl Fn() -> Command,
    language: &str,
    expected: &[&str],
    changes: &[(&str, &str)],
) {
    let handlers = handlers(language);
    assert_eq!(handlers.keys().collect::<Vec<_>>(), expected);
    let sent: Vec<String> = DELIVERIES
        .iter()
        .map(|(_, body)| hex::encode(body))
        .collect();
    for (name, bodies) in run(command(), &handlers, &DELIVERIES) {
        assert_eq!(bodies, sent, "{name}");
    }
    // The control: a handler that parses the body passes on other bytes.
    let (name, code) = handlers.iter().next().expect("the page has a handler");
    let parsing = changes.iter().fold(code.clone(), |code, (from, to)| {
        assert!(code.contains(from), "{code}");
        code.replace(from, to)
    });
    let parsing = BTreeMap::from([(name.clone(), parsing)]);
    let bodies = run(command(), &parsing, &DELIVERIES[..1]);
    assert_ne!(bodies[name][0], sent[0], "{name}");
}

#[test]
fn the_python_handlers_read_the_raw_body() {
    let Some(folder) = folder(Registry::PyPi) else {
        return;
    };
    let command = || {
        let mut command = Command::new(folder.join("venv/bin/python"));
        command.arg(script("frameworks.py"));
        command
    };
    let names = ["Django", "FastAPI and Starlette", "Flask"];
    let parsing = "__import__('json').dumps(__import__('json').loads(request.body)).encode()";
    assert_raw(
        command,
        "python",
        &names,
        &[("request.body  #", &format!("{parsing}  #"))],
    );
}

#[test]
fn the_javascript_handlers_read_the_raw_body() {
    let Some(folder) = folder(Registry::Npm) else {
        return;
    };
    let command = || {
        let mut command = Command::new("node");
        command.arg(script("frameworks.mjs")).arg(&folder);
        command
    };
    let names = ["Express", "Fastify", "Hono", "Koa", "Next.js"];
    let changes = [
        (
            "express.raw({ type: \"*/*\", limit: \"5mb\" })",
            "express.json()",
        ),
        (
            "req.body)",
            "Buffer.from(JSON.stringify(req.body ?? null)))",
        ),
    ];
    assert_raw(command, "js", &names, &changes);
}

/// Returns the folder of the frameworks from `registry`, if they are installed.
fn folder(registry: Registry) -> Option<PathBuf> {
    Installed::from_environment()?.folder(registry)
}

fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("raw_body");
    folder.join(name).display().to_string()
}
