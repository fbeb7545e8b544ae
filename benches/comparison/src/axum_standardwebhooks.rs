//! The receiver with axum-standardwebhooks, which verifies only: the program remembers the events.

mod common;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use axum::extract::{FromRef, State};
use axum::routing::post;
use axum::{Json, Router, http::StatusCode};
use axum_standardwebhooks::{SharedWebhook, StandardWebhook, Webhook};

use self::common::{BoxError, Event, handle, serve};

type Seen = Arc<Mutex<HashSet<String>>>;

#[derive(Clone)]
struct AppState {
    webhook: SharedWebhook,
    seen: Seen,
}

impl FromRef<AppState> for SharedWebhook {
    fn from_ref(state: &AppState) -> Self {
        state.webhook.clone()
    }
}

async fn receive(
    State(AppState { seen, .. }): State<AppState>,
    StandardWebhook(Json(event)): StandardWebhook<Json<Event>>,
) -> StatusCode {
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
    let webhook = SharedWebhook::new(Webhook::new(&secret)?);
    let seen = Seen::default();
    let app = Router::new().route("/hooks", post(receive));
    Ok(app.with_state(AppState { webhook, seen }))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    serve(app(std::env::var("SECRET")?)?).await
}
