//! A receiver of BeatAPI's webhooks with axum. Try it:
//!
//! ```text
//! export BEATAPI_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run -p hookgate-examples --bin axum -- 127.0.0.1:3000
//! hookgate send --provider beatapi --secret env:BEATAPI_SECRET --to http://127.0.0.1:3000/hooks/beatapi
//! ```

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Router, serve};
use tokio::net::TcpListener;
use tower_hookgate::{HookgateLayer, Provider, Secret, Source, VerifiedEvent, Verifier};

/// Runs once an event: forged, stale and repeated deliveries do not get here.
/// Any other answer than success, and the provider's retry does.
async fn handle(event: VerifiedEvent, body: Bytes) -> StatusCode {
    println!(
        "event {:?} of type {:?}, {} bytes",
        event.id(),
        event.event_type(),
        body.len()
    );
    StatusCode::NO_CONTENT
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let provider = Provider::named("beatapi").ok_or("not in the catalogue")?;
    let secret = Secret::from_env("BEATAPI_SECRET")?;
    let verifier = Verifier::builder(provider.scheme()).key(secret).build()?;
    let source = Source::builder("beatapi", verifier)
        .provider(&provider)
        .build();

    let app = Router::new()
        .route("/hooks/beatapi", post(handle))
        .layer(HookgateLayer::new(source)); // covers the routes above it

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, app).await?;
    Ok(())
}
