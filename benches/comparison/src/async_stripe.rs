//! The receiver with async-stripe, which verifies only: the program reads the header and the body,
//! and remembers the events.

mod common;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use stripe_webhook::Webhook;

use self::common::{BoxError, handle, serve};

type Seen = Arc<Mutex<HashSet<String>>>;

async fn receive(
    State((secret, seen)): State<(Arc<str>, Seen)>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let signature = headers.get("stripe-signature");
    let Some(signature) = signature.and_then(|value| value.to_str().ok()) else {
        return StatusCode::UNAUTHORIZED;
    };
    let Ok(event) = Webhook::construct_event(&body, signature, &secret) else {
        return StatusCode::UNAUTHORIZED;
    };
    let (id, kind) = (event.id.to_string(), event.type_.as_str());
    if !seen.lock().expect("no panic").insert(id.clone()) {
        return StatusCode::OK;
    }
    let status = handle(&id, kind).await;
    if !status.is_success() {
        seen.lock().expect("no panic").remove(&id);
    }
    status
}

fn app(secret: String) -> Result<Router, BoxError> {
    let app = Router::new().route("/hooks", post(receive));
    Ok(app.with_state((secret.into(), Seen::default())))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    serve(app(std::env::var("SECRET")?)?).await
}
