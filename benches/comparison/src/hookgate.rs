//! The receiver with hookgate.

mod common;

use axum::routing::post;
use axum::{Router, http::StatusCode};
use tower_hookgate::{HookgateLayer, Secret, VerifiedJson};

use self::common::{BoxError, Event, handle, serve};

async fn receive(VerifiedJson(event): VerifiedJson<Event>) -> StatusCode {
    handle(&event.id, &event.r#type).await
}

fn app(secret: String) -> Result<Router, BoxError> {
    let hookgate = HookgateLayer::provider("stripe", Secret::new(secret)?)?;
    let app = Router::new().route("/hooks", post(receive));
    Ok(app.route_layer(hookgate))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    serve(app(std::env::var("SECRET")?)?).await
}
