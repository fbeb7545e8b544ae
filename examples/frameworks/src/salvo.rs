//! A receiver of Stripe's webhooks with salvo. Try it in this folder:
//!
//! ```text
//! export STRIPE_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run --bin salvo -- 127.0.0.1:3000
//! hookgate send --provider stripe --secret env:STRIPE_SECRET --to http://127.0.0.1:3000/hooks/stripe
//! ```

use std::error::Error;

use salvo::conn::tcp::TcpAcceptor;
use salvo::http::{ReqBody, StatusCode, StatusError};
use salvo::prelude::TowerLayerCompat;
use salvo::{Handler, Request, Router, Server, handler};
use serde::Deserialize;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_hookgate::{HookgateLayer, Secret, VerifiedBody, VerifiedEvent};

#[derive(Deserialize)]
struct Event {
    r#type: String,
}

/// Handles an event. Without the layer, this handler responds with 500.
#[handler]
pub async fn handle(request: &mut Request) -> Result<StatusCode, StatusError> {
    let verified = request.extensions().get::<VerifiedEvent>();
    let verified = verified.ok_or_else(StatusError::internal_server_error)?;
    // The verified bytes: `Request::parse_json` would refuse a body above 64 KB.
    let event: Event = serde_json::from_slice(verified.body())
        .map_err(|_| StatusError::internal_server_error())?;
    println!("event {:?}: {}", verified.id(), event.r#type);
    Ok(match event.r#type.as_str() {
        "invoice.paid" => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_IMPLEMENTED, // Stripe sends the event again
    })
}

pub fn app(hookgate: HookgateLayer, handler: impl Handler) -> Router {
    let verify = ServiceBuilder::new()
        .layer(hookgate)
        .map_request(|request: http::Request<VerifiedBody>| {
            request.map(|body| ReqBody::from(body.into_bytes()))
        })
        .compat::<ReqBody>();
    // `post` in place of `goal` would keep the handshakes of a provider from the layer.
    Router::with_path("hooks/stripe").hoop(verify).goal(handler)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("STRIPE_SECRET")?;
    let hookgate = HookgateLayer::provider("stripe", secret)?;
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    let acceptor = TcpAcceptor::try_from(listener)?;
    Server::new(acceptor).serve(app(hookgate, handle)).await;
    Ok(())
}
