//! Deliveries with a known verdict. Some repeat public bug reports of other receivers. The others
//! were signed or judged by the providers' own libraries.
//!
//! A case with `contested: true` is left out, because two sources disagree. Its `note` names
//! them.

mod requests;

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hookgate_tests::binary;
use serde::Deserialize;
use serde_json::{Map, Value};

const BUG_REPORTS: &str = include_str!("../../../vectors/bug_reports.json");
const SDK_VECTORS: &str = include_str!("../../../vectors/sdk_vectors.json");

/// One delivery that is judged alone.
#[derive(Debug, Deserialize)]
struct VerifyCase {
    #[serde(default)]
    name: String,
    #[serde(default)]
    origin: String,
    #[serde(default)]
    note: String,
    provider: String,
    variant: Option<String>,
    secret: String,
    headers: Value,
    body: Option<String>,
    body_base64: Option<String>,
    method: Option<String>,
    url: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(alias = "now")]
    at: i64,
    expect: Verdict,
    #[serde(default)]
    contested: bool,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Accept,
    Reject,
}

impl VerifyCase {
    /// Returns the name of the case. A case without a name has its note instead.
    fn label(&self) -> String {
        match self.name.is_empty() {
            true => format!("{}: {} ({})", self.provider, self.note, self.origin),
            false => self.name.clone(),
        }
    }

    /// Returns the header lines of the delivery.
    fn header_lines(&self) -> String {
        let line = |name: &str, value: &Value| {
            let value = value.as_str().expect("a header value is text");
            format!("{name}: {value}\n")
        };
        match &self.headers {
            Value::Object(headers) => headers
                .iter()
                .map(|(name, value)| line(name, value))
                .collect(),
            Value::Array(headers) => headers
                .iter()
                .map(|pair| line(pair[0].as_str().expect("a header name is text"), &pair[1]))
                .collect(),
            other => panic!("headers are a list or an object, not {other}"),
        }
    }

    fn body(&self) -> Vec<u8> {
        match (&self.body, &self.body_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => STANDARD.decode(text).expect("body_base64 is base64"),
            (None, None) => Vec::new(),
        }
    }

    /// Returns the parameters of the scheme as `name=value`.
    fn params(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().expect("a parameter is text").to_owned();
        match &self.params {
            Value::Array(params) => params.iter().map(text).collect(),
            Value::Object(params) => {
                let pairs = params.iter();
                pairs
                    .map(|(name, value)| format!("{name}={}", text(value)))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    /// Runs `hookgate verify` on the case. Returns its exit status and its output.
    fn verify(&self) -> (Option<i32>, String) {
        let folder = tempfile::tempdir().expect("the temporary folder is created");
        let (headers, body) = (folder.path().join("headers"), folder.path().join("body"));
        fs::write(&headers, self.header_lines()).expect("the file is written");
        fs::write(&body, self.body()).expect("the file is written");
        let mut command = Command::new(binary());
        command
            .args(["verify", "--json", "--secret", "env:SECRET", "--at"])
            .arg(self.at.to_string())
            .args(["--provider", &self.provider])
            .args(["--headers".as_ref(), headers.as_os_str()])
            .args(["--body".as_ref(), body.as_os_str()])
            .env("SECRET", &self.secret);
        for (option, value) in [
            ("--variant", &self.variant),
            ("--url", &self.url),
            ("--method", &self.method),
        ] {
            if let Some(value) = value {
                command.args([option, value]);
            }
        }
        for param in self.params() {
            command.args(["--param", &param]);
        }
        let output = command.output().expect("the process runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }
}

/// Verifies `cases` and returns the wrong verdicts, by the name of the case.
fn wrong_verdicts(cases: &[VerifyCase]) -> BTreeMap<String, String> {
    let wrong = Mutex::new(BTreeMap::new());
    let next = AtomicUsize::new(0);
    let workers = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (status, output) = case.verify();
                    let expected = match case.expect {
                        Verdict::Accept => Some(0),
                        Verdict::Reject => Some(1),
                    };
                    if status != expected {
                        let name = case.label();
                        let text = format!("expected {:?}, found {output}", case.expect);
                        wrong.lock().expect("no worker panics").insert(name, text);
                    }
                }
            });
        }
    });
    wrong.into_inner().expect("no worker panics")
}

/// Returns the cases of `text` that `keep` selects and that are not contested.
fn verify_cases(text: &str, keep: impl Fn(&Map<String, Value>) -> bool) -> Vec<VerifyCase> {
    let cases: Vec<Map<String, Value>> = serde_json::from_str(text).expect("the cases are JSON");
    cases
        .into_iter()
        .filter(keep)
        .map(|case| serde_json::from_value(case.into()).expect("the case has the known members"))
        .filter(|case: &VerifyCase| !case.contested)
        .collect()
}

#[test]
fn every_delivery_of_a_bug_report_gets_its_verdict() {
    let cases = verify_cases(BUG_REPORTS, |case| case["kind"] == "verify");
    assert_eq!(cases.len(), 31);
    let wrong = wrong_verdicts(&cases);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_delivery_of_a_provider_library_gets_its_verdict() {
    let cases = verify_cases(SDK_VECTORS, |_| true);
    let rejected = cases
        .iter()
        .filter(|case| case.expect == Verdict::Reject)
        .count();
    assert_eq!((cases.len(), rejected), (214, 101));
    let wrong = wrong_verdicts(&cases);
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The control: without the right secret no genuine delivery verifies.
#[test]
fn no_delivery_of_a_case_verifies_with_another_secret() {
    let mut cases = verify_cases(BUG_REPORTS, |case| case["kind"] == "verify");
    cases.retain(|case| case.expect == Verdict::Accept && !case.secret.contains("BEGIN"));
    for case in &mut cases {
        let last = case.secret.pop().expect("the secret is not empty");
        // The replaced character keeps a secret of hexadecimal digits or base64 decodable.
        let at = case.secret.len() - 4;
        let other = if &case.secret[at..=at] == "0" {
            "1"
        } else {
            "0"
        };
        case.secret.replace_range(at..=at, other);
        case.secret.push(last);
        case.expect = Verdict::Reject;
    }
    assert!(cases.len() > 20);
    let wrong = wrong_verdicts(&cases);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
