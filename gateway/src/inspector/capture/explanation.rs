//! Explains refused deliveries: a whole capture on demand, and a redacted one when it arrives,
//! because the explanation needs the parts that are removed.
//!
//! An explanation can take seconds. A thread of its own makes one at a time, and rests for three
//! times as long, so that a flood of refused deliveries never takes a processor.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use std::{io, thread};

use hookgate_core::UnixTime;
use hookgate_diagnose::Capture;
use parking_lot::Mutex;
use serde_json::Value;

use super::CapturedSource;
use super::redaction::SecretSearch;
use crate::explain::{self, NotReady};
use crate::inspector::rate_budget::RateBudget;

/// The JSON object of `hookgate verify --explain --json`, or the reason why there is none.
pub(crate) type ExplanationJson = Result<Value, String>;

/// Number of explanations for one source and reason at once.
const BURST: f64 = 5.0;
/// Number of explanations for one source and reason each second after the burst.
const PER_SECOND: f64 = 2.0;
/// Maximum number of requests that wait for their explanation.
const MAX_WAITING: usize = 4;
/// Length of the rest after an explanation, in multiples of the duration of the explanation.
const REST: u32 = 3;
/// Maximum length of the rest after an explanation.
const MAX_REST: Duration = Duration::from_secs(15);

const TOO_MANY: &str = "not explained: too many refused deliveries at that time";
const NOT_YET: &str = "the explanation is being made; ask again in some seconds";
const PANICKED: &str = "not explained: a fault of the gateway, which its log describes";
const HAD_SECRET: &str = "not explained: the explanation contained a redacted value";

/// Held while an explanation is made, because each one takes memory and a processor.
static EXPLAINING: Mutex<()> = Mutex::new(());

/// When the explanation of a capture is made.
#[derive(Debug)]
pub(super) enum Explained {
    /// The capture has all parts of the request.
    OnDemand,
    /// When the request arrived.
    AtArrival(Arc<OnceLock<ExplanationJson>>),
    Never(&'static str),
}

/// Makes explanations of redacted requests.
#[derive(Debug)]
pub(crate) struct Explainer {
    jobs: SyncSender<Job>,
    budgets: HashMap<(String, String), RateBudget>,
}

/// A request to explain.
struct Job {
    source: CapturedSource,
    /// The whole request.
    capture: Capture,
    /// Finds the redacted values, which the explanation must not contain.
    secrets: SecretSearch,
    result: Arc<OnceLock<ExplanationJson>>,
}

impl Explained {
    /// Returns the explanation of `capture`, and makes it if necessary.
    pub(super) fn get(&self, source: &CapturedSource, capture: &Capture) -> ExplanationJson {
        match self {
            Self::OnDemand => explain(source, capture),
            Self::AtArrival(result) => match result.get() {
                Some(explanation) => explanation.clone(),
                None => Err(NOT_YET.to_owned()),
            },
            Self::Never(why) => Err((*why).to_owned()),
        }
    }
}

impl Explainer {
    /// Starts the thread that makes explanations.
    ///
    /// # Errors
    ///
    /// Returns the error of the system if it cannot start a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(MAX_WAITING);
        thread::Builder::new()
            .name("hookgate-explainer".to_owned())
            .spawn(move || work(&waiting))?;
        Ok(Self {
            jobs,
            budgets: HashMap::new(),
        })
    }

    /// Starts the explanation of a request that was refused for `reason`, if the budget allows
    /// it. This call never waits.
    pub(super) fn submit(
        &mut self,
        source: &CapturedSource,
        reason: &str,
        capture: Capture,
        secrets: SecretSearch,
    ) -> Explained {
        let now = Instant::now();
        let class = (source.name().to_owned(), reason.to_owned());
        let budget = self.budgets.entry(class);
        let budget = budget.or_insert_with(|| RateBudget::new(BURST, PER_SECOND, now));
        let result = Arc::new(OnceLock::new());
        let job = Job {
            source: source.clone(),
            capture,
            secrets,
            result: Arc::clone(&result),
        };
        match budget.spend(now) && self.jobs.try_send(job).is_ok() {
            true => Explained::AtArrival(result),
            false => Explained::Never(TOO_MANY),
        }
    }
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").finish_non_exhaustive()
    }
}

/// Makes explanations until the other end of the channel is dropped.
fn work(waiting: &Receiver<Job>) {
    while let Ok(job) = waiting.recv() {
        let start = Instant::now();
        let Job {
            source,
            capture,
            secrets,
            result,
        } = job;
        let explanation = catch(|| without_secrets(explain(&source, &capture), &secrets));
        // No other thread sets the result.
        let _: Result<(), _> = result.set(explanation);
        drop((source, capture, secrets));
        thread::sleep((start.elapsed() * REST).min(MAX_REST));
    }
}

/// Returns the result of `explain`. A panic, which the panic hook has reported, must not end the
/// thread: it makes the later explanations, too.
fn catch(explain: impl FnOnce() -> ExplanationJson) -> ExplanationJson {
    catch_unwind(AssertUnwindSafe(explain)).unwrap_or_else(|_| Err(PANICKED.to_owned()))
}

/// Makes the explanation of `capture`.
fn explain(source: &CapturedSource, capture: &Capture) -> ExplanationJson {
    source.with_signing(|signing| {
        let _guard = EXPLAINING.lock();
        let now = capture.arrived.unwrap_or(UnixTime::from_secs(0));
        match explain::explain(signing, capture, now) {
            Ok(report) => Ok(report.to_json()),
            Err(NotReady::Secret(message) | NotReady::Option(message)) => Err(message),
        }
    })
}

/// Returns the explanation, unless it contains one of `secrets`.
fn without_secrets(explanation: ExplanationJson, secrets: &SecretSearch) -> ExplanationJson {
    let has_secret = match &explanation {
        Ok(json) => contains(json, secrets),
        Err(message) => secrets.is_in(message.as_bytes()),
    };
    match has_secret {
        true => Err(HAD_SECRET.to_owned()),
        false => explanation,
    }
}

/// Whether a text, a number or the name of a member in `json` contains one of `secrets`.
fn contains(json: &Value, secrets: &SecretSearch) -> bool {
    let is_in = |text: &str| secrets.is_in(text.as_bytes());
    match json {
        Value::Null | Value::Bool(_) => false,
        Value::Number(number) => is_in(&number.to_string()),
        Value::String(text) => is_in(text),
        Value::Array(elements) => elements.iter().any(|value| contains(value, secrets)),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| is_in(name) || contains(value, secrets)),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hookgate_core::Provider;
    use http::Request;

    use super::*;
    use crate::config::{CaptureConfig, SecretRef};
    use crate::explain::{ReadSecret, Signing};
    use crate::inspector::capture::tests::{raw, source};
    use crate::inspector::capture::{Captured, Tools};
    use crate::inspector::record::DeliveryRecord;

    const SENT: &str = "canary-sent-token-9876543210";
    /// A blank at the end is a mistake that an explanation names.
    const CONFIGURED: &str = "canary-sent-token-9876543210 ";

    /// Returns a GitLab source whose token is [`CONFIGURED`].
    fn gitlab() -> CapturedSource {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), CONFIGURED).unwrap();
        let reference = SecretRef::File(file.path().to_str().unwrap().to_owned());
        let provider = Provider::named("gitlab").unwrap();
        let mut source = source("gitlab");
        Arc::get_mut(&mut source.facts).unwrap().signing = Some(Signing {
            source: Some("in".to_owned()),
            scheme: provider.scheme().clone(),
            provider: Some(provider),
            secrets: vec![ReadSecret::new(&reference, None)],
            window: None,
            url: None,
            variant: Some("token".to_owned()),
            params: Vec::new(),
            method: None,
        });
        source
    }

    /// Returns the capture of a delivery with another token.
    fn refused(source: &CapturedSource, explainer: &mut Explainer) -> Captured {
        let request = Request::post("/in")
            .header("x-gitlab-event", "Push Hook")
            .header("x-gitlab-token", SENT)
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        let mut record = DeliveryRecord {
            reason: Some("signature_mismatch".into()),
            ..DeliveryRecord::default()
        };
        let config = CaptureConfig {
            keep_for: Duration::from_secs(3600),
            max_bytes: 1 << 20,
            redact: Vec::new(),
        };
        let tools = Tools {
            explainer: Some(explainer),
            files: None,
        };
        Captured::new(raw(source.clone(), request), &mut record, &config, tools)
    }

    fn wait_for(captured: &Captured) -> ExplanationJson {
        let start = Instant::now();
        loop {
            match captured.explain() {
                Err(message) if message == NOT_YET => {}
                explanation => return explanation,
            }
            assert!(start.elapsed() < Duration::from_secs(60), "no explanation");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_redacted_delivery_is_explained_without_its_secrets() {
        let captured = refused(&gitlab(), &mut Explainer::start().unwrap());
        let explanation = wait_for(&captured).unwrap();
        assert_eq!(explanation["verified"], false);
        assert_eq!(explanation["reason"], "signature_mismatch");
        assert_eq!(explanation["causes"][0]["proved"], true, "{explanation}");
        for text in [explanation.to_string(), format!("{captured:?}")] {
            assert!(!text.contains("canary"), "{text}");
        }
        // The control: without its token, nothing can be proved.
        let later = explain(&captured.source, &captured.capture).unwrap();
        assert_ne!(later["causes"][0]["proved"], true, "{later}");
    }

    #[test]
    fn a_panic_is_an_explanation_without_a_result() {
        let panics = || -> ExplanationJson { panic!("a fault of the test") };
        assert_eq!(catch(panics), Err(PANICKED.to_owned()));
        let explained = Ok(serde_json::json!({}));
        assert_eq!(catch(|| explained.clone()), explained);
    }

    #[test]
    fn an_explanation_with_a_secret_is_not_stored() {
        let secrets = SecretSearch::of(SENT);
        let clean = Ok(serde_json::json!({ "detail": "clean" }));
        assert_eq!(without_secrets(clean.clone(), &secrets), clean);
        let leaking = Ok(serde_json::json!({ "detail": format!("token {SENT}") }));
        assert_eq!(
            without_secrets(leaking, &secrets),
            Err(HAD_SECRET.to_owned())
        );
        // JSON escapes this secret.
        let secret = r#"canary"sent\token"#;
        let secrets = SecretSearch::of(secret);
        assert_eq!(without_secrets(clean.clone(), &secrets), clean);
        for leaking in [
            serde_json::json!({ "causes": [{ "detail": format!("token {secret}") }] }),
            serde_json::json!({ secret: true }),
        ] {
            assert_eq!(
                without_secrets(Ok(leaking), &secrets),
                Err(HAD_SECRET.to_owned())
            );
        }
    }

    #[test]
    fn a_flood_of_refused_deliveries_is_not_explained() {
        let mut explainer = Explainer::start().unwrap();
        let source = gitlab();
        let start = Instant::now();
        let captured: Vec<_> = (0..1000)
            .map(|_| refused(&source, &mut explainer))
            .collect();
        let allowed = BURST + (start.elapsed().as_secs_f64() * PER_SECOND).ceil();
        let explained = captured.iter().map(wait_for);
        let explained = explained
            .filter(|explanation| explanation.is_ok() || *explanation != Err(TOO_MANY.to_owned()));
        let explained = explained.count();
        assert!((1..=allowed as usize).contains(&explained), "{explained}");
    }
}
