//! The receiver without verification. The lines that another program adds are its set-up.

mod common;

use axum::routing::post;
use axum::{Json, Router, http::StatusCode};

use self::common::{BoxError, Event, handle, serve};

async fn receive(Json(event): Json<Event>) -> StatusCode {
    handle(&event.id, &event.r#type).await
}

fn app(_secret: String) -> Result<Router, BoxError> {
    let app = Router::new().route("/hooks", post(receive));
    Ok(app)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    serve(app(std::env::var("SECRET")?)?).await
}
