//! `hookgate conform`: hookgate passes in full, and each unsafe receiver fails in its own rows.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::process::Output;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use hookgate_core::{Head, Provider, Secret, Verifier, Window};
use hookgate_tests::{Gateway, TestProvider, now};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tower_hookgate::{HookgateLayer, Source};

use super::{hookgate, json, text};

const KEY: &str = "a-key-of-the-tests-0123456789abcdef";

/// Rows whose second delivery a receiver without memory runs again.
const REPEATED: [&str; 4] = ["at-once", "lost-answer", "replay", "retry"];

/// Rows with genuine deliveries of new events.
const GENUINE: [&str; 6] = [
    "ahead-inside",
    "dotted-id",
    "exact-bytes",
    "good",
    "old-inside",
    "slow-body",
];

/// The number of runs of each event.
type Runs = Arc<Mutex<HashMap<String, u64>>>;

/// An application that runs events, and says how often.
struct Application {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Application {
    /// Starts the application. `protect` adds the receiver around its route for deliveries.
    async fn start(protect: impl FnOnce(Router) -> Router) -> Self {
        let runs = Runs::default();
        let events = Router::new().fallback(run_event);
        let events = protect(events.with_state(Arc::clone(&runs)));
        let app = Router::new()
            .route("/runs/{id}", get(count_runs))
            .with_state(runs)
            .fallback_service(events);
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let server = tokio::spawn(async move {
            let served = axum::serve(listener, app).await;
            served.expect("the server does not fail");
        });
        Self { address, server }
    }

    /// Starts the application behind a check of the signature that remembers nothing.
    async fn start_verifying(provider: &str, secret: &str) -> Self {
        let verifier = verifier(provider, secret, Window::DEFAULT);
        Self::start(|events| {
            let check = axum::middleware::from_fn_with_state(Arc::new(verifier), verify);
            events.layer(check)
        })
        .await
    }

    fn runs_url(&self) -> String {
        format!("http://{}/runs/{{id}}", self.address)
    }

    /// Runs `hookgate conform` against the application itself.
    fn conform(&self, provider: &str, secret: &str) -> Output {
        let to = format!("http://{}/hooks", self.address);
        conform(provider, secret, &to, &["--runs", &self.runs_url()])
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Runs an event. The first run of an event that must fail once is a failure.
async fn run_event(State(runs): State<Runs>, request: Request) -> StatusCode {
    let body = to_bytes(request.into_body(), usize::MAX).await;
    let Ok(body) = body else {
        return StatusCode::BAD_REQUEST;
    };
    let Ok(event) = serde_json::from_slice::<Value>(&body) else {
        return StatusCode::NO_CONTENT;
    };
    let id = event["id"].as_str().unwrap_or_default().to_owned();
    let mut runs = runs.lock().expect("no handler panics");
    let count = runs.entry(id).or_default();
    *count += 1;
    match *count == 1 && event["type"] == "conform.fail_once" {
        true => StatusCode::INTERNAL_SERVER_ERROR,
        false => StatusCode::NO_CONTENT,
    }
}

async fn count_runs(State(runs): State<Runs>, Path(id): Path<String>) -> String {
    let runs = runs.lock().expect("no handler panics");
    runs.get(&id).copied().unwrap_or_default().to_string()
}

async fn verify(
    State(verifier): State<Arc<Verifier>>,
    request: Request,
    next: axum::middleware::Next,
) -> Result<axum::response::Response, StatusCode> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await;
    let body: Bytes = body.map_err(|_| StatusCode::BAD_REQUEST)?;
    let verified = verifier.verify(Head::from(&parts), body.clone(), now());
    verified.map_err(|_| StatusCode::UNAUTHORIZED)?;
    Ok(next.run(Request::from_parts(parts, body.into())).await)
}

fn verifier(provider: &str, secret: &str, window: Window) -> Verifier {
    let provider = Provider::named(provider).expect("the catalogue has the provider");
    let secret = Secret::new(secret).expect("the secret is not empty");
    let verifier = Verifier::builder(provider.scheme()).key(secret);
    let verifier = verifier.window(window).build();
    verifier.expect("the secret fits the scheme")
}

pub(super) fn conform(provider: &str, secret: &str, to: &str, options: &[&str]) -> Output {
    let start = ["conform", "--json", "--provider", provider];
    let signing = ["--secret", "env:SECRET", "--to", to];
    hookgate(&[&start[..], &signing, options].concat(), secret, b"")
}

/// Returns the rows with a verdict.
fn rows(output: &Output, verdict: &str) -> BTreeSet<String> {
    let report = json(output);
    let rows = report["rows"].as_array().expect("the report has rows");
    let of_verdict = rows.iter().filter(|row| row["verdict"] == verdict);
    let ids = of_verdict.map(|row| row["row"].as_str().expect("a row has an id"));
    ids.map(str::to_owned).collect()
}

fn set<'r>(rows: impl IntoIterator<Item = &'r str>) -> BTreeSet<String> {
    rows.into_iter().map(str::to_owned).collect()
}

/// Runs the corpus against a gateway with a source of `provider`. Returns the rows that do not
/// apply.
async fn conform_gateway(provider: &str, secret: &str) -> BTreeSet<String> {
    let application = Application::start(|events| events).await;
    let table = format!(
        "[[sources]]\nname = \"tested\"\npath = \"/tested\"\nprovider = \"{provider}\"\n\
         secrets = [\"env:KEY\"]\nupstream = \"app\""
    );
    let gateway = Gateway::builder(application.address)
        .env("KEY", secret)
        .table(&table)
        .start_without_default_sources();
    let to = format!("http://{}/tested", gateway.address());
    let output = conform(provider, secret, &to, &["--runs", &application.runs_url()]);
    assert!(output.status.success(), "{}", text(&output));
    for verdict in ["fail", "unseen"] {
        assert_eq!(rows(&output, verdict), set([]), "{}", text(&output));
    }
    rows(&output, "n/a")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_passes_every_row_of_standard_webhooks() {
    let secret = TestProvider::named("standard-webhooks").secret;
    let inapplicable = conform_gateway("standard-webhooks", secret).await;
    assert_eq!(inapplicable, set(["unsigned-id-changed"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_passes_every_row_of_stripe() {
    let inapplicable = conform_gateway("stripe", KEY).await;
    let expected = [
        "field-missing",
        "field-repeated",
        "signature-respelled",
        "signed-id-changed",
        "two-divisions",
        "unsigned-id-changed",
    ];
    assert_eq!(inapplicable, set(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_passes_every_row_of_github() {
    let inapplicable = conform_gateway("github", KEY).await;
    // The signature has no timestamp and no id.
    assert!(
        !inapplicable.contains("unsigned-id-changed"),
        "{inapplicable:?}"
    );
    assert!(inapplicable.contains("old-outside"), "{inapplicable:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_layer_passes_every_row_and_a_one_sided_window_fails_in_one() {
    let provider = TestProvider::named("standard-webhooks");
    let application = Application::start(|events| events.layer(provider.layer())).await;
    let output = application.conform(provider.name, provider.secret);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(rows(&output, "unseen"), set([]), "{}", text(&output));

    let window = Window::new(Window::DEFAULT.past(), Duration::from_secs(86_400));
    let verifier = verifier(provider.name, provider.secret, window);
    let layer = HookgateLayer::new(Source::builder("one-sided", verifier).build());
    let application = Application::start(|events| events.layer(layer)).await;
    let output = application.conform(provider.name, provider.secret);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        rows(&output, "fail"),
        set(["ahead-outside"]),
        "{}",
        text(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_accepts_everything_fails_every_row_but_genuine_ones() {
    let application = Application::start(|events| events).await;
    let provider = TestProvider::named("standard-webhooks");
    let output = application.conform(provider.name, provider.secret);
    assert_eq!(output.status.code(), Some(1));
    let mut expected = set(GENUINE);
    expected.insert("retry-after-failure".to_owned());
    assert_eq!(rows(&output, "pass"), expected, "{}", text(&output));
    assert_eq!(rows(&output, "n/a"), set(["unsigned-id-changed"]));
    assert!(
        rows(&output, "fail").is_superset(&set(REPEATED)),
        "{}",
        text(&output)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_without_memory_fails_where_an_event_is_repeated() {
    let provider = TestProvider::named("standard-webhooks");
    let application = Application::start_verifying(provider.name, provider.secret).await;
    let output = application.conform(provider.name, provider.secret);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(rows(&output, "fail"), set(REPEATED), "{}", text(&output));

    // Without a count of the runs, the status shows none of this, and the report says so.
    let to = format!("http://{}/hooks", application.address);
    let output = conform(provider.name, provider.secret, &to, &[]);
    assert!(output.status.success(), "{}", text(&output));
    let mut unseen = set(REPEATED);
    unseen.insert("retry-after-failure".to_owned());
    assert_eq!(rows(&output, "unseen"), unseen, "{}", text(&output));

    // An unsigned id must not make the same bytes another event.
    let application = Application::start_verifying("github", KEY).await;
    let output = application.conform("github", KEY);
    let failed = rows(&output, "fail");
    assert!(failed.contains("unsigned-id-changed"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_matrix_fits_the_terminal_and_names_the_reasons() {
    let application = Application::start(|events| events).await;
    let to = format!("http://{}/hooks", application.address);
    let only = [
        "--only",
        "good",
        "--only",
        "signature-cut-off",
        "--only",
        "replay",
    ];
    let start = [
        "conform",
        "--provider",
        "standard-webhooks",
        "--secret",
        "env:SECRET",
    ];
    let secret = TestProvider::named("standard-webhooks").secret;
    let output = hookgate(&[&start[..], &["--to", &to], &only].concat(), secret, b"");
    let printed = text(&output);
    assert_eq!(output.status.code(), Some(1), "{printed}");
    for expected in [
        "3 rows: 1 pass, 1 fail, 1 unseen, 0 not applicable",
        "fail  signature-cut-off: a request was accepted that no provider sends",
        "CVE-2024-21491",
        "--runs counts the runs",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}
