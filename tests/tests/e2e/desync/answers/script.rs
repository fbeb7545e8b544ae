//! The table of hostile answers, `tests/hostile_answers.txt`, which also describes its syntax.

use std::time::Duration;

use crate::desync::sender::Size;
use crate::desync::trial::{Expected, Reuse, Trial};
use crate::desync::verdict::ID;

const TABLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/hostile_answers.txt"));
/// Names of frequent parts of an answer.
const MACROS: &[(&str, &str)] = &[
    ("{ok}", r"HTTP/1.1 200 OK\r\nX-Id: {id}\r\n"),
    ("{len}", r"Content-Length: 10\r\n"),
    ("{chunked}", r"Transfer-Encoding: chunked\r\n"),
    ("{body}", r"a\r\n{id}\r\n0\r\n\r\n"),
    (
        "{evil}",
        r"HTTP/1.1 200 OK\r\nX-Id: {id}\r\nContent-Length: 4\r\n\r\nEVIL",
    ),
];
/// The time between two bytes after `{drip}` and after `{slow}`.
const DRIP: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_millis(300);

/// A hostile answer.
pub(super) struct Case {
    pub(super) trial: Trial,
    pub(super) steps: Vec<Step>,
}

/// An action of the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Reads the request to its end.
    ReadBody,
    /// Writes these bytes, with the event id in place of `{id}`.
    Write(Vec<u8>),
    /// Writes the bytes that follow one by one, with this time between them.
    Delay(Duration),
    Pause,
    /// Ends the connection.
    Close,
    Reset,
    /// Keeps the connection open, and reads and writes nothing.
    Hang,
}

/// Reads the table.
pub(super) fn cases() -> Vec<Case> {
    let mut class = "";
    let mut cases = Vec::new();
    for line in TABLE.lines() {
        if let Some(heading) = line.strip_prefix('[') {
            class = heading.trim_end_matches(']');
        } else if !line.is_empty() && !line.starts_with('#') {
            let index = cases.len();
            let case = parse_case(index, class, line);
            cases.push(case.unwrap_or_else(|| panic!("{line}: not a case")));
        }
    }
    cases
}

fn parse_case(index: usize, class: &'static str, line: &'static str) -> Option<Case> {
    let mut columns = line.splitn(4, " | ");
    let [expected, reuse, name, answer] = std::array::from_fn(|_| columns.next());
    let reuse = match reuse? {
        "keep" => Reuse::Keep,
        "once" => Reuse::Once,
        _ => return None,
    };
    let steps = parse_steps(&expand(index, answer?));
    let size = match steps.first() {
        Some(Step::ReadBody) => Size::Small,
        _ => Size::Large,
    };
    let trial = Trial {
        index,
        class,
        name: name?,
        expected: parse_expected(index, expected?)?,
        reuse,
        size,
    };
    Some(Case { trial, steps })
}

fn parse_expected(index: usize, text: &str) -> Option<Expected> {
    let (status, body) = text.split_once(' ').unwrap_or((text, ""));
    Some(match (status, body) {
        ("cut", "") => Expected::Cut,
        ("502" | "504", "") => Expected::GatewayError(status.parse().ok()?),
        _ => Expected::Relayed(status.parse().ok()?, unescape(&expand(index, body))),
    })
}

/// Replaces the macros, and `{case}` by the number of the case.
fn expand(index: usize, text: &str) -> String {
    let text = text.replace("{case}", &format!("{index:04}"));
    let expanded = MACROS.iter();
    expanded.fold(text, |text, (name, value)| text.replace(name, value))
}

fn parse_steps(mut text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    match text.strip_prefix("{early}") {
        Some(rest) => text = rest,
        None => steps.push(Step::ReadBody),
    }
    let mut bytes = Vec::new();
    while let Some((before, rest)) = text.split_once('{') {
        bytes.extend(unescape(before));
        let (directive, rest) = rest.split_once('}').expect("a directive ends with }");
        text = rest;
        let step = match directive {
            "id" => {
                bytes.extend(ID);
                continue;
            }
            "pause" => Step::Pause,
            "drip" => Step::Delay(DRIP),
            "slow" => Step::Delay(SLOW),
            "read" => Step::ReadBody,
            "close" => Step::Close,
            "reset" => Step::Reset,
            "hang" => Step::Hang,
            repeated => {
                let (count, text) = repeated.split_once('*').expect("a known directive");
                let count = count.parse().expect("a number");
                bytes.extend(unescape(text).repeat(count));
                continue;
            }
        };
        if !bytes.is_empty() {
            steps.push(Step::Write(std::mem::take(&mut bytes)));
        }
        steps.push(step);
    }
    bytes.extend(unescape(text));
    if !bytes.is_empty() {
        steps.push(Step::Write(bytes));
    }
    steps
}

/// Reads the escapes `\r`, `\n`, `\t`, `\0` and `\xNN`.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, escape)) = rest.split_once('\\') {
        bytes.extend(before.as_bytes());
        let length = if escape.starts_with('x') { 3 } else { 1 };
        let (escape, after) = escape.split_at(length);
        bytes.push(match escape {
            "r" => b'\r',
            "n" => b'\n',
            "t" => b'\t',
            "0" => 0,
            _ => u8::from_str_radix(&escape[1..], 16).expect("a known escape"),
        });
        rest = after;
    }
    bytes.extend(rest.as_bytes());
    bytes
}
