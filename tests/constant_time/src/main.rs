//! Verifies deliveries while memcheck takes the secret for undefined.
//!
//! Memcheck then reports each branch and each address that depends on the secret: exactly what an
//! attacker could measure. `tests/valgrind.rs` runs each case, and allows only the branch on the verdict.

mod case;
mod control;
mod hidden;
mod steps;

use std::env::args;

use self::case::{CASES, handshake, verify};
use self::control::{Comparison, find_match_by};

/// Comparisons that memcheck must report, and a correct comparison in the same code.
const CONTROLS: [(&str, Comparison); 3] = [
    ("control-early-exit", control::early_exit),
    ("control-slice-equality", control::slice_equality),
    ("control-constant-time", control::constant_time),
];

fn main() {
    let arguments: Vec<String> = args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["list"] => {
            let cases = CASES.iter().map(|case| case.name);
            for name in cases.chain(["handshake-token"]) {
                println!("{name}");
            }
        }
        ["handshake-token"] => handshake(),
        ["steps", subject, secret, count] => steps::run(subject, secret, count),
        [name] => run(name),
        _ => panic!("expected `list`, a case, or `steps SUBJECT SECRET COUNT`"),
    }
}

fn run(name: &str) {
    if let Some(case) = CASES.iter().find(|case| case.name == name) {
        return verify(case);
    }
    let control = CONTROLS.iter().find(|(control, _)| *control == name);
    let (_, comparison) = control.unwrap_or_else(|| panic!("there is no case {name}"));
    find_match_by(*comparison);
}
