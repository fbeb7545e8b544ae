//! Several providers in one axum program, each with its own secret, and one replay store. The keys
//! can change while it runs. Try it:
//!
//! ```text
//! export BEATAPI_SECRET=whsec_5f0c8a6de2b94a13
//! export VIDEOGEN_SECRET=whsec_ZXhhbXBsZS12aWRlb2dlbi1zZWNyZXQ=
//! cargo run -p hookgate-examples --bin providers -- 127.0.0.1:3000
//! hookgate send --provider videogen --secret env:VIDEOGEN_SECRET --to http://127.0.0.1:3000/hooks/videogen
//! ```

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tower_hookgate::{
    BoxError, Gate, HookgateLayer, LiveSource, MemoryStore, Secret, Source, Sources, VerifiedEvent,
};

async fn handle(event: VerifiedEvent, body: Bytes) -> StatusCode {
    println!(
        "{}: event {:?} of type {:?}, {} bytes",
        event.source(),
        event.id(),
        event.event_type(),
        body.len()
    );
    StatusCode::NO_CONTENT
}

/// Returns the source of a provider. The environment variable holds its secret.
fn source(provider: &str, variable: &str) -> Result<Source, BoxError> {
    let secret = Secret::from_env(variable)?;
    Ok(Source::of_provider(provider, secret)?.build())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let beatapi = LiveSource::new(source("beatapi", "BEATAPI_SECRET")?);
    let videogen = LiveSource::new(source("videogen", "VIDEOGEN_SECRET")?);
    // To rotate a secret, keep the handle and call `replace` with a new source. The old key stops
    // at once.
    let sources = Sources::new()
        .at("/hooks/beatapi", beatapi.clone())
        .at("/hooks/videogen", videogen.clone());
    let hookgate =
        HookgateLayer::resolving(sources).gate(Gate::new(MemoryStore::with_max_entries(100_000)));

    let app = Router::new()
        .route("/hooks/{provider}", post(handle))
        .route_layer(hookgate);

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
