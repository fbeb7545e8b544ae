//! The parts that all programs share: the event, its handler, and the server.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;

pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

#[derive(Deserialize)]
#[cfg_attr(
    feature = "async-stripe",
    expect(dead_code, reason = "async-stripe has a type of its own")
)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) r#type: String,
}

static CALLS: AtomicUsize = AtomicUsize::new(0);
static FAILURES: AtomicUsize = AtomicUsize::new(0);

/// Handles an event. The type says how: see the cases of `compare.py`.
pub(crate) async fn handle(_id: &str, kind: &str) -> StatusCode {
    CALLS.fetch_add(1, Ordering::SeqCst);
    match kind {
        "test.fails_once" if FAILURES.fetch_add(1, Ordering::SeqCst) == 0 => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        "test.fails_late" => {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            StatusCode::INTERNAL_SERVER_ERROR
        }
        _ => StatusCode::NO_CONTENT,
    }
}

/// Serves `app`, and the number of calls of the handler at `/calls`.
pub(crate) async fn serve(app: Router) -> Result<(), BoxError> {
    let calls = get(async || CALLS.load(Ordering::SeqCst).to_string());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app.route("/calls", calls)).await?;
    Ok(())
}
