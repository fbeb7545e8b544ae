//! A receiver in axum for the comparison, with the crate `standardwebhooks` or behind the layer.
//!
//! Usage: `axum_receiver standardwebhooks|hookgate LISTEN`.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use hookgate_benches::SECRET;
use standardwebhooks::Webhook;
use tokio::net::TcpListener;
use tower_hookgate::{BodyLimit, HookgateLayer, MemoryStore, Provider, Secret, Source, Verifier};

/// Verifies the delivery with the crate `standardwebhooks`.
async fn verify(State(webhook): State<Arc<Webhook>>, head: HeaderMap, body: Bytes) -> StatusCode {
    match webhook.verify(&body, &head) {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::UNAUTHORIZED,
    }
}

/// Accepts a delivery that the layer has verified.
async fn accept(body: Bytes) -> StatusCode {
    drop(body);
    StatusCode::NO_CONTENT
}

// Every system of the comparison has one worker thread.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, listen] = &arguments[..] else {
        return Err("expected standardwebhooks|hookgate LISTEN".into());
    };
    let app = match &**kind {
        "standardwebhooks" => Router::new()
            .route("/hooks", post(verify))
            .layer(DefaultBodyLimit::max(8 << 20))
            .with_state(Arc::new(Webhook::new(SECRET)?)),
        "hookgate" => {
            let provider = Provider::named("standard-webhooks")?;
            let secret = Secret::new(SECRET)?;
            let verifier = Verifier::builder(provider.scheme()).key(secret).build()?;
            let source = Source::builder("bench", verifier)
                .provider(&provider)
                .body_limit(BodyLimit::new(8 << 20).ok_or("the limit is zero")?)
                .build();
            let store = MemoryStore::with_max_entries(100_000_000);
            Router::new()
                .route("/hooks", post(accept))
                .layer(DefaultBodyLimit::max(8 << 20))
                .layer(HookgateLayer::new(source).replay_store(store))
        }
        _ => return Err("expected standardwebhooks or hookgate".into()),
    };
    axum::serve(TcpListener::bind(listen).await?, app).await?;
    Ok(())
}
