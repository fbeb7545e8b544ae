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
use tower_hookgate::{HookgateLayer, VerifiedBody};
use tracing_subscriber::fmt::MakeWriter;

use self::support::{BODY, SECRET, forged, signed, source_with, status};

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
}
