//! The receiver with webhook-verify, which verifies only: the program reads the body and
//! remembers the events.

mod common;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Router, body::Bytes};
use webhook_verify::{Provider, Secret, verify};

use self::common::{BoxError, Event, handle, serve};

type Seen = Arc<Mutex<HashSet<String>>>;

async fn receive(
    State((secret, seen)): State<(Secret, Seen)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let provider = Provider::Stripe;
    if verify(provider, &headers, &body, &secret, Default::default()).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_slice::<Event>(&body) else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    if !seen.lock().expect("no panic").insert(event.id.clone()) {
        return StatusCode::OK;
    }
    let status = handle(&event.id, &event.r#type).await;
    if !status.is_success() {
        seen.lock().expect("no panic").remove(&event.id);
    }
    status
}

fn app(secret: String) -> Result<Router, BoxError> {
    let secret = Secret::new(secret);
    let app = Router::new().route("/hooks", post(receive));
    Ok(app.with_state((secret, Seen::default())))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    serve(app(std::env::var("SECRET")?)?).await
}
