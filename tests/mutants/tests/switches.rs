//! A program with all mutants behaves, with one of them switched on, like the program with that change.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

const FILE: &str = "src/main.rs";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sample")
}

/// The mutants that `cargo mutants --list --json` lists for the sample.
fn mutants() -> Vec<Value> {
    let listed = fs::read(folder().join("mutants.json")).unwrap();
    let mut mutants: Vec<Value> = serde_json::from_slice(&listed).unwrap();
    for (id, mutant) in mutants.iter_mut().enumerate() {
        mutant["id"] = id.into();
    }
    mutants
}

/// Returns the report of the program under test, which writes the sample with these mutants to a folder.
fn switch(mutants: &[Value], to: &Path) -> Value {
    let mut program = Command::new(env!("CARGO_BIN_EXE_hookgate-mutants"))
        .args([folder().as_path(), to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    program
        .stdin
        .take()
        .unwrap()
        .write_all(&serde_json::to_vec(mutants).unwrap())
        .unwrap();
    let output = program.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn ids(value: &Value) -> BTreeSet<u64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_u64().unwrap())
        .collect()
}

/// Compiles a file. Returns `None` if it does not compile.
fn compile(source: &Path) -> Option<PathBuf> {
    let program = source.with_extension("program");
    let status = Command::new("rustc")
        .args([
            "--edition",
            "2024",
            "-C",
            "overflow-checks",
            "--cap-lints",
            "warn",
            "-o",
        ])
        .args([&program, source])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    status.success().then_some(program)
}

/// Returns the output of a program, and whether it ends without a panic.
fn run(program: &Path, mutant: Option<u64>) -> (String, bool) {
    let mut command = Command::new(program);
    if let Some(id) = mutant {
        command.env("HOOKGATE_MUTANT", id.to_string());
    }
    let output = command.output().unwrap();
    (
        String::from_utf8(output.stdout).unwrap(),
        output.status.success(),
    )
}

/// Replaces the code of the mutant.
fn replaced(source: &str, mutant: &Value) -> String {
    let position = |end: &str| {
        let place = &mutant["span"][end];
        let line = place["line"].as_u64().unwrap() as usize;
        let before: usize = source
            .split_inclusive('\n')
            .take(line - 1)
            .map(str::len)
            .sum();
        before + place["column"].as_u64().unwrap() as usize - 1
    };
    let replacement = mutant["replacement"].as_str().unwrap();
    format!(
        "{}{replacement}{}",
        &source[..position("start")],
        &source[position("end")..]
    )
}

/// Builds the sample with a switch for each of these mutants.
fn switched(mutants: &[Value], to: &Path) -> PathBuf {
    switch(mutants, to);
    let source = to.join(FILE);
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("mutant_switch.rs");
    fs::copy(module, source.with_file_name("mutant_switch.rs")).unwrap();
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text + "\nmod mutant_switch;\n").unwrap();
    compile(&source).expect("the sample with the switches compiles")
}

#[test]
fn a_switch_does_what_the_replaced_code_does() {
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("switched");
    let report = switch(&mutants(), &to);
    let without: BTreeSet<u64> = &ids(&report["constant"]) | &ids(&report["unviable"]);
    let source = fs::read_to_string(folder().join(FILE)).unwrap();
    let file = to.join("replaced.rs");
    let mut expected = Vec::new();
    for mutant in mutants() {
        fs::write(&file, replaced(&source, &mutant)).unwrap();
        if let Some(program) = compile(&file)
            && !without.contains(&mutant["id"].as_u64().unwrap())
        {
            expected.push((mutant, run(&program, None)));
        }
    }
    let with_switches: Vec<Value> = expected.iter().map(|(mutant, _)| mutant.clone()).collect();
    let program = switched(&with_switches, &to);
    let original = run(&program, None);
    for (mutant, expected) in &expected {
        assert_eq!(
            &run(&program, mutant["id"].as_u64()),
            expected,
            "{}",
            mutant["name"]
        );
    }
    let changed = expected
        .iter()
        .filter(|(_, output)| *output != original)
        .count();
    assert!(
        changed > 60,
        "only {changed} mutants change what the sample prints"
    );
}

#[test]
fn only_code_that_runs_at_compile_time_has_no_switch() {
    let report = switch(
        &mutants(),
        &Path::new(env!("CARGO_TARGET_TMPDIR")).join("constant"),
    );
    let outside_of_functions: BTreeSet<u64> = mutants()
        .iter()
        .filter(|mutant| mutant["function"].is_null())
        .map(|mutant| mutant["id"].as_u64().unwrap())
        .collect();
    assert!(!outside_of_functions.is_empty());
    assert_eq!(ids(&report["constant"]), outside_of_functions);
}
