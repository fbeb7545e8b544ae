//! Webhooks over HTTP/1.1 and a gRPC service on one port, in a tonic server. Here only the webhooks
//! are behind the layer; it can verify signed gRPC calls as well. Try it:
//!
//! ```text
//! export BEATAPI_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run -p hookgate-examples --bin tonic -- 127.0.0.1:3000
//! hookgate send --provider beatapi --secret env:BEATAPI_SECRET --to http://127.0.0.1:3000/hooks/beatapi
//! ```

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::server::{Server, TcpIncoming};
use tower_hookgate::{BoxError, HookgateLayer, Secret, Source, VerifiedEvent};

async fn handle(event: VerifiedEvent, body: Bytes) -> StatusCode {
    println!("event {:?}, {} bytes", event.id(), body.len());
    StatusCode::NO_CONTENT
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret = Secret::from_env("BEATAPI_SECRET")?;
    let source = Source::of_provider("beatapi", secret)?.build();
    let webhooks = Router::new()
        .route("/hooks/beatapi", post(handle))
        .route_layer(HookgateLayer::new(source));
    // Replace this by your own service.
    let (_reporter, health) = tonic_health::server::health_reporter();

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    Server::builder()
        .accept_http1(true) // most webhook senders use HTTP/1.1
        .add_routes(Routes::from(webhooks).add_service(health))
        .serve_with_incoming(TcpIncoming::from(listener))
        .await?;
    Ok(())
}
