//! docs/frameworks.md and docs/comparison.md show the code that these tests run, and the figures of
//! a record.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns the Rust blocks of each section, with the section's first link to a program in `folder`.
fn blocks(page: &str, folder: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for section in page.split("\n## ").skip(1) {
        for block in section.split("```rust\n").skip(1) {
            let start = section.split_once(&format!("](../{folder}/src/"));
            let (_, link) = start.expect("a section with code links its program");
            let (file, _) = link.split_once(')').expect("the link ends");
            let (code, _) = block.split_once("```").expect("the block ends");
            found.push((format!("{folder}/src/{file}"), code.to_owned()));
        }
    }
    found
}

#[test]
fn the_pages_show_the_code_of_the_programs() {
    for (page, folder, count) in [
        ("docs/frameworks.md", "examples/frameworks", 6),
        ("docs/comparison.md", "benches/comparison", 5),
    ] {
        let blocks = blocks(&read(page), folder);
        let mut programs: Vec<_> = blocks.iter().map(|(program, _)| program).collect();
        programs.dedup();
        assert_eq!(programs.len(), count, "{page}: {programs:?}");
        for (program, code) in &blocks {
            assert!(
                read(program).contains(code.as_str()),
                "{page}: {program}:\n{code}"
            );
        }
    }
}

#[test]
fn each_program_says_how_to_run_it() {
    let page = read("docs/frameworks.md");
    for entry in std::fs::read_dir(root().join("examples/frameworks/src")).expect("it exists") {
        let name = entry.expect("the entry is readable").file_name();
        let name = name.to_str().expect("the name is UTF-8");
        let text = read(format!("examples/frameworks/src/{name}"));
        assert!(
            text.contains("//! hookgate send --provider stripe "),
            "{name}"
        );
        assert!(
            page.contains(&format!("](../examples/frameworks/src/{name})")),
            "{name}"
        );
    }
}

#[test]
fn the_page_of_the_comparison_has_the_tables_of_its_record() {
    let page = read("docs/comparison.md");
    let (_, link) = page
        .split_once("](../benches/records/")
        .expect("the page links a record");
    let (name, _) = link.split_once(')').expect("the link ends");
    let record = read(format!("benches/records/{name}"));
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 15, "{rows:?}");
    for row in rows {
        assert!(record.lines().any(|line| line == row), "{row}");
    }
}
