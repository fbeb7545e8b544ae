//! Tests of the layer's logs.
//!
//! This test needs a process of its own: `tracing` caches for the whole process whether a
//! subscriber wants an event.

#![expect(clippy::unwrap_used, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::future::ready;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, service_fn};
use tower_hookgate::{HookgateLayer, Secret, Source, VerifiedBody, Verifier};
use tracing_subscriber::fmt::MakeWriter;

use self::support::{BODY, SECRET, beatapi, forged, signed, source_with, status};

/// A writer that keeps the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

impl Log {
    fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.lock().unwrap())).unwrap()
    }
}

/// A handler that does not accept an event is a warning, which says what follows.
async fn failures_are_warnings(log: &Log) {
    for (code, expected) in [
        (
            422,
            Some("the handler rejected the event, so it is not done; many senders"),
        ),
        (500, Some("the handler failed, so the event is not done")),
        // These have a line of their own, because the sender gets 502.
        (410, None),
        (204, None),
    ] {
        let handler = service_fn(move |_: Request<VerifiedBody>| {
            let mut response = Response::<Full<Bytes>>::default();
            *response.status_mut() = StatusCode::from_u16(code).unwrap();
            ready(Ok::<_, Infallible>(response))
        });
        let service = HookgateLayer::new(source_with(SECRET).build()).layer(handler);
        let _: StatusCode = status(&service, signed(BODY)).await;
        let text = log.take();
        let line = text.lines().find(|line| line.contains("not done"));
        match (line, expected) {
            (Some(line), Some(expected)) => {
                assert!(
                    line.contains("WARN delivery{") && line.contains(expected),
                    "{line}"
                );
            }
            (line, expected) => assert_eq!(line, expected, "{code}"),
        }
    }
}

/// A weak secret is one warning for each key, without the secret.
fn weak_secrets_are_warnings(log: &Log) {
    const WEAK: [&str; 2] = ["whsec_7d1e9a", "whsec_7d1e9b"];
    for (secrets, expected) in [
        (vec![SECRET], vec![]),
        (vec![SECRET, WEAK[0]], vec!["key=\"2\""]),
        (WEAK.to_vec(), vec!["key=\"1\"", "key=\"2\""]),
    ] {
        let mut verifier = Verifier::builder(beatapi().scheme());
        for secret in secrets {
            verifier = verifier.key(Secret::new(secret).unwrap());
        }
        let source = Source::builder("beatapi", verifier.build().unwrap()).tenant("acme");
        let _: HookgateLayer = HookgateLayer::new(source.build());
        let text = log.take();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("WARN")).collect();
        assert_eq!(lines.len(), expected.len(), "{text}");
        for (line, key) in lines.iter().zip(expected) {
            let message = "a secret decodes to fewer than 16 bytes and could be guessed";
            for wanted in [message, key, "source=\"beatapi\"", "tenant=\"acme\""] {
                assert!(line.contains(wanted), "{wanted} is not in {line}");
            }
        }
        assert!(!text.contains("7d1e9a"), "{text}");
    }
}

/// The lines of a queued delivery, also those of the handler, are in its span.
#[cfg(feature = "queue")]
async fn queued_deliveries_have_a_span(log: &Log) {
    use tower::ServiceExt;
    let (called, mut calls) = tokio::sync::mpsc::unbounded_channel();
    let handler = service_fn(move |_: Request<VerifiedBody>| {
        tracing::info!("handled");
        called.send(()).unwrap();
        let mut response = Response::<Full<Bytes>>::default();
        *response.status_mut() = StatusCode::GONE;
        ready(Ok::<_, Infallible>(response))
    });
    let queue = Arc::new(hookgate_queue::MemoryQueue::new());
    let layer = HookgateLayer::new(source_with(SECRET).tenant("acme").build()).queued(queue);
    let workers = layer.start_workers(handler.clone()).await.unwrap();
    let response = layer.layer(handler).oneshot(signed(BODY)).await.unwrap();
    assert_eq!(response.headers()["hookgate-outcome"], "queued");
    calls.recv().await.unwrap();
    workers.stop().await;
    let text = log.take();
    let span = "delivery{source=\"beatapi\" tenant=\"acme\" event=\"evt_1\" queue_id=1 attempt=1}";
    for message in [
        "handled",
        "the handler rejected",
        "a queued delivery is a dead letter",
    ] {
        let line = text.lines().find(|line| line.contains(message));
        let line = line.unwrap_or_else(|| panic!("{message} is not in {text}"));
        assert!(line.contains(span), "{line}");
    }
    assert!(!text.contains("task.succeeded"), "{text}");
}

#[tokio::test]
async fn a_delivery_has_a_span_and_nothing_secret_is_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let handler = service_fn(|_: Request<VerifiedBody>| {
        tracing::info!("handled");
        ready(Ok::<_, Infallible>(Response::<Full<Bytes>>::default()))
    });
    let source = source_with(SECRET).tenant("acme").build();
    let service = HookgateLayer::new(source).layer(handler);

    let span = "delivery{source=\"beatapi\" tenant=\"acme\"";
    let event = " event=\"evt_1\"}";
    let mut all = String::new();
    for (request, expected, wanted) in [
        (signed(BODY), StatusCode::OK, [event, "handled"]),
        (signed(BODY), StatusCode::OK, [event, "duplicate"]),
        (
            forged(),
            StatusCode::UNAUTHORIZED,
            [
                "}",
                "delivery refused reason=\"signature_mismatch\" status=401",
            ],
        ),
    ] {
        let signature = request.headers()["x-beatapi-signature"].clone();
        assert_eq!(status(&service, request).await, expected);
        let text = log.take();
        let line = text.lines().find(|line| line.contains(wanted[1]));
        let line = line.unwrap_or_else(|| panic!("{wanted:?} in {text}"));
        assert!(line.contains(&format!("{span}{}", wanted[0])), "{line}");
        assert!(!text.contains(signature.to_str().unwrap()), "{text}");
        all.push_str(&text);
    }
    // A source that observes forwards the delivery and logs its verdict.
    let source = source_with(SECRET).with_insecure_observe_mode().build();
    let service = HookgateLayer::new(source).layer(handler);
    assert_eq!(status(&service, forged()).await, StatusCode::OK);
    let text = log.take();
    let expected = "would be refused reason=\"signature_mismatch\"";
    assert!(text.contains(expected), "{text}");
    assert!(!text.contains("delivery refused"), "{text}");
    all.push_str(&text);
    for secret in [SECRET, "5f0c8a6de2b94a13", "task.succeeded"] {
        assert!(!all.contains(secret), "{secret} in {all}");
    }
    failures_are_warnings(&log).await;
    weak_secrets_are_warnings(&log);
    #[cfg(feature = "queue")]
    queued_deliveries_have_a_span(&log).await;
}
