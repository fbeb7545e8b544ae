//! The script of `make conformance`, without the libraries of other projects, and its record.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hookgate_tests::binary;

use super::text;
use crate::documents::read;

/// Receivers that need no library. One provider has the most rows.
const RECEIVERS: [&str; 3] = [
    "hookgate, disk (standard-webhooks)",
    "accepts all (standard-webhooks)",
    "refuses all (standard-webhooks)",
];

/// Judges the rows of both controls with the expectations of both.
const JUDGE_CONTROLS: &str = r#"
import peers, run

good = {"row": "good", "expected": "2xx, one run"}
forged = {"row": "other-secret", "expected": "4xx, no run"}
accepting, refusing = peers.controls(peers.STRIPE)
for verdicts, of in [(("pass", "fail"), accepting), (("fail", "pass"), refusing)]:
    rows = [{**row, "verdict": verdict} for row, verdict in zip([good, forged], verdicts)]
    rows = {row["row"]: row for row in rows}
    for control in [accepting, refusing]:
        print(control.name == of.name, run.fault(control, rows) is None)
"#;

/// Tests a process early and late, between two others. Its first two probes fail, or all of them.
const JUDGE_TWICE: &str = r#"
import contextlib, itertools
import peers, run

def peer(name, **options):
    @contextlib.contextmanager
    def start(*_):
        events.append(f"start {name}")
        yield name
        events.append(f"end {name}")
    return peers.Peer(name, "", peers.STRIPE, start, must_fail=lambda _: False, has_secret=False, **options)

def conform(_, peer, running, *only):
    events.append(f"{'probe' if only else 'test'} {running}")
    return [{"row": "old-inside", "verdict": next(probes) if only else "pass"}]

run.conform, run.PAUSE_SECONDS = conform, 0
young = peer("young")
tested = [peer("before"), young, peer("old", earlier=young), peer("after")]
for after_two, run.AGE_SECONDS in [("pass", 60), ("fail", 0)]:
    events, probes = [], itertools.chain(["fail", "fail"], itertools.repeat(after_two))
    verdicts, _, faults = run.judge_all(None, tested)
    print(*events, sep=", ")
    print(*(peer.name for peer in verdicts), *faults, sep=", ")
"#;

fn folder(name: &str) -> PathBuf {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../benches")).join(name)
}

fn python(arguments: &[&str]) -> Output {
    Command::new("python3")
        .arg("-B")
        .args(arguments)
        .current_dir(folder("conformance"))
        .output()
        .expect("`python3` is installed")
}

/// Returns the first cells of the tables in `text` that name a row.
fn rows(text: &str) -> BTreeSet<&str> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `"));
    cells
        .filter_map(|cell| Some(cell.split_once("` |")?.0))
        .collect()
}

#[test]
fn the_script_tests_the_gateway_and_the_controls() {
    let hookgate = binary();
    let hookgate = hookgate.to_str().expect("the path is UTF-8");
    let mut arguments = vec!["run.py", "--hookgate", hookgate, "--installed", "."];
    arguments.extend(RECEIVERS.iter().flat_map(|name| ["--only", name]));
    let output = python(&arguments);
    let record = text(&output);
    assert!(output.status.success(), "{record}");
    for expected in [
        "| row | hookgate, disk | accepts all | refuses all |",
        "| `good` | yes | yes | **no** |",
        "| `other-secret` | yes | **no** | yes |",
        "| `replay` | yes | **no** | **no** |",
        "| hookgate, disk | standard-webhooks | does not start |",
    ] {
        assert!(record.contains(expected), "{expected}: {record}");
    }

    let output = python(&[
        "run.py",
        "--hookgate",
        hookgate,
        "--installed",
        ".",
        "--only",
        "none",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn the_script_fails_if_a_control_has_the_rows_of_the_other() {
    let output = python(&["-c", JUDGE_CONTROLS]);
    let judged = text(&output);
    let expected = "True True\nFalse False\nFalse False\nTrue True\n";
    assert_eq!(judged, expected);
}

/// A process that never accepts an old delivery has no second column.
#[test]
fn the_script_tests_one_process_at_its_start_and_when_it_is_old() {
    let output = python(&["-c", JUDGE_TWICE]);
    let judged = text(&output);
    let start = "start young, test young, start before, test before, end before, \
                 start after, test after, end after, probe young";
    let expected = format!(
        "{start}, probe young, probe young, test young, end young\n\
         before, young, old, after\n\
         {start}, end young\n\
         before, young, after, old (stripe): it refuses old-inside for longer than 0 s\n"
    );
    assert!(judged.starts_with(&expected), "{judged}");
}

#[test]
fn the_record_has_every_row_of_the_kit() {
    let files = fs::read_dir(folder("records")).expect("the folder exists");
    let paths = files.map(|file| file.expect("the entry is read").path());
    let newest = paths
        .filter(|path| path.to_string_lossy().ends_with("-conformance.md"))
        .max();
    let record = fs::read_to_string(newest.expect("there is a record")).expect("the file is read");
    let (_, sections) = record.split_once("\n## ").expect("the record has sections");
    let (matrices, _) = sections
        .split_once("## Why rows fail")
        .expect("the record has reasons");
    let page = read("docs/conformance.md");
    let (_, table) = page
        .split_once("## The rows")
        .expect("the page has the rows");
    let kit = rows(table);
    assert!(kit.len() > 30, "{kit:?}");
    assert_eq!(rows(matrices), kit);
}
