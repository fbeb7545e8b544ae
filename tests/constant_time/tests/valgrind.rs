//! Runs the program under valgrind: the time of a comparison does not depend on a secret.
//!
//! Memcheck takes the secret for undefined, and reports each branch and each address that depends on
//! it. Callgrind counts instructions.

use std::path::Path;
use std::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookgate-constant-time");

/// Returns the log of a run of the program under valgrind. The program asserts its verdicts.
fn valgrind(options: &[&str], arguments: &[&str]) -> String {
    let mut command = Command::new("valgrind");
    command.args(options).arg(PROGRAM).args(arguments);
    let output = command.output().expect("valgrind is installed");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {log}");
    log
}

/// Returns the number that follows `label` in its first line.
fn number_after(log: &str, label: &str) -> Option<u64> {
    let (_, rest) = log.split_once(label)?;
    let digits = rest.trim_start().chars();
    let digits: String = digits
        .take_while(|letter| letter.is_ascii_digit() || *letter == ',')
        .filter(|letter| *letter != ',')
        .collect();
    digits.parse().ok()
}

/// What memcheck has found in one case.
#[derive(Debug)]
struct Reports {
    /// Branches and addresses that depend on the secret.
    found: u64,
    /// Branches on the verdict, which `verdict.supp` allows.
    on_verdict: u64,
    log: String,
}

fn memcheck(case: &str) -> Reports {
    let allowed = Path::new(env!("CARGO_MANIFEST_DIR")).join("verdict.supp");
    let allowed = format!("--suppressions={}", allowed.display());
    let options = [
        "-v",
        "--error-limit=no",
        "--leak-check=no",
        "--read-inline-info=yes",
        &allowed,
    ];
    let log = valgrind(&options, &[case]);
    let used = log
        .lines()
        .filter(|line| line.contains("used_suppression:"));
    let used = used.filter(|line| line.contains("verdict-of"));
    let reports = Reports {
        found: number_after(&log, "ERROR SUMMARY:").expect("memcheck counts its reports"),
        on_verdict: used
            .filter_map(|line| number_after(line, "used_suppression:"))
            .sum(),
        log,
    };
    println!(
        "{case}: {} reports, {} branches on the verdict",
        reports.found, reports.on_verdict
    );
    reports
}

#[test]
fn no_comparison_depends_on_a_secret_but_by_its_verdict() {
    let listed = Command::new(PROGRAM)
        .arg("list")
        .output()
        .expect("the program runs");
    let cases = String::from_utf8(listed.stdout).expect("names");
    assert!(cases.lines().count() >= 10, "{cases}");
    for case in cases.lines() {
        let reports = memcheck(case);
        assert_eq!(reports.found, 0, "{case}: {}", reports.log);
        // Without this branch, the secret has not reached the comparison.
        assert!(reports.on_verdict > 0, "{case}: {}", reports.log);
    }
}

#[test]
fn control_a_comparison_that_ends_at_the_first_difference_is_reported() {
    for control in ["control-early-exit", "control-slice-equality"] {
        let reports = memcheck(control);
        assert!(reports.found > 0, "{control}: {}", reports.log);
    }
    // The same code with a comparison in constant time has the branch on the verdict alone.
    let reports = memcheck("control-constant-time");
    assert!(
        reports.found == 0 && reports.on_verdict > 0,
        "{}",
        reports.log
    );
}

/// Returns the instructions of 100 deliveries that the secret with this index has signed.
fn instructions(subject: &str, secret: usize) -> u64 {
    const FEW: u64 = 20;
    let count = |times: u64| {
        let options = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
        let (secret, times) = (secret.to_string(), times.to_string());
        let log = valgrind(&options, &["steps", subject, &secret, &times]);
        number_after(&log, "Collected :").expect("callgrind counts instructions")
    };
    count(FEW + 100) - count(FEW)
}

/// The difference of the counts by which the matching secret may show, for 100 deliveries. Trying
/// one secret more takes thousands of instructions for each delivery.
const TOLERANCE: u64 = 5_000;

fn spread(subject: &str) -> u64 {
    let counts = [0, 1, 2, 3].map(|secret| instructions(subject, secret));
    println!("{subject}: {counts:?} instructions if the 1st, 2nd, 3rd or 4th secret has signed");
    let (most, fewest) = (counts.iter().max(), counts.iter().min());
    most.zip(fewest).map_or(0, |(most, fewest)| most - fewest)
}

#[test]
fn the_number_of_instructions_does_not_show_which_secret_has_signed() {
    assert!(spread("product") <= TOLERANCE);
}

#[test]
fn control_the_number_of_instructions_shows_where_a_search_ends() {
    assert!(spread("control") > 20 * TOLERANCE);
}
