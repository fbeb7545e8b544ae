//! The tests that the tables of `SECURITY.md` and `docs/pitfalls.md` name: each row has one, and
//! each of them exists.

use std::fs;
use std::path::Path;

/// The heading of the column with the tests.
const COLUMN: &str = "test";

#[test]
fn every_test_that_a_table_names_exists() {
    let mut rows = 0;
    for page in ["SECURITY.md", "docs/pitfalls.md"] {
        let text = fs::read_to_string(root().join(page)).expect("the page is readable");
        let found = check(&text);
        assert_eq!(found.mistakes, [""; 0], "{page}");
        rows += found.rows;
    }
    assert!(rows > 80, "{rows}");
}

#[test]
fn a_row_without_a_test_and_a_test_that_does_not_exist_are_found() {
    let file = "tests/tests/e2e/named_tests.rs";
    let found = check(&format!(
        "| attack | test |\n|---|---|\n\
         | good | `{file}: every_test_that_a_table_names_exists` |\n\
         | none | |\n\
         | renamed | `{file}: every_test_that_a_table` |\n\
         | moved | `tests/no.rs: every_test_that_a_table_names_exists` |\n\
         \n| another | table |\n|---|---|\n| without | tests |\n"
    ));
    assert_eq!(found.rows, 4);
    assert_eq!(
        found.mistakes,
        [
            "| none | |: names no test",
            "tests/tests/e2e/named_tests.rs: every_test_that_a_table does not exist",
            "tests/no.rs: every_test_that_a_table_names_exists does not exist",
        ]
    );
}

#[derive(Default)]
struct Found {
    rows: usize,
    mistakes: Vec<String>,
}

/// Checks the tables of a page whose last column is [`COLUMN`].
fn check(page: &str) -> Found {
    let mut found = Found::default();
    let mut has_tests = false;
    for line in page.lines() {
        let Some(cells) = line
            .strip_prefix('|')
            .and_then(|line| line.strip_suffix('|'))
        else {
            has_tests = false;
            continue;
        };
        let last = cells.rsplit('|').next().unwrap_or_default().trim();
        if last == COLUMN {
            has_tests = true;
            continue;
        }
        if !has_tests || last.starts_with("---") {
            continue;
        }
        found.rows += 1;
        let names: Vec<_> = last.split('`').skip(1).step_by(2).collect();
        if names.is_empty() {
            found.mistakes.push(format!("{line}: names no test"));
        }
        let missing = names.into_iter().filter(|name| !exists(name));
        found
            .mistakes
            .extend(missing.map(|name| format!("{name} does not exist")));
    }
    found
}

/// Returns whether the test `FILE: NAME` exists.
fn exists(test: &str) -> bool {
    let Some((file, name)) = test.split_once(": ") else {
        return false;
    };
    let source = fs::read_to_string(root().join(file)).unwrap_or_default();
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    let is_test = |at: usize| {
        let attributes = lines[..at].iter().rev().take_while(|line| !line.is_empty());
        let mut attributes = attributes.take(4);
        attributes.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    lines.iter().enumerate().any(|(at, line)| {
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line
            .strip_prefix("fn ")
            .and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with('(')) && is_test(at)
    })
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}
