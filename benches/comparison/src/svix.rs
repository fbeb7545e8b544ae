//! The receiver with svix, which verifies only: the program reads the body and remembers the events.

mod common;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Router, body::Bytes};
use svix::webhooks::Webhook;

use self::common::{BoxError, Event, handle, serve};

type Seen = Arc<Mutex<HashSet<String>>>;

async fn receive(
    State((webhook, seen)): State<(Arc<Webhook>, Seen)>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if webhook.verify(&body, &headers).is_err() {
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
    let webhook = Arc::new(Webhook::new(&secret)?);
    let app = Router::new().route("/hooks", post(receive));
    Ok(app.with_state((webhook, Seen::default())))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    serve(app(std::env::var("SECRET")?)?).await
}
