//! A receiver of Stripe's webhooks with warp. Try it in this folder:
//!
//! ```text
//! export STRIPE_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run --bin warp -- 127.0.0.1:3000
//! hookgate send --provider stripe --secret env:STRIPE_SECRET --to http://127.0.0.1:3000/hooks/stripe
//! ```

use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use serde::Deserialize;
use tokio::net::TcpListener;
use tower::ServiceBuilder;
use tower_hookgate::{BoxError, HookgateLayer, Secret, Source, Sources, VerifiedEvent};
use warp::http::StatusCode;
use warp::{Filter, Rejection, Reply};

#[derive(Deserialize)]
pub struct Event {
    r#type: String,
}

/// Handles an event.
fn handle(verified: VerifiedEvent, event: Event) -> StatusCode {
    println!("event {:?}: {}", verified.id(), event.r#type);
    match event.r#type.as_str() {
        "invoice.paid" => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_IMPLEMENTED, // Stripe sends the event again
    }
}

/// The filters behind the layer. Without the layer, they respond with 500.
pub fn hooks() -> impl Filter<Extract = (impl Reply,), Error = Rejection> + Clone {
    warp::path!("hooks" / "stripe")
        .and(warp::post())
        .and(warp::ext::get::<VerifiedEvent>())
        .and(warp::body::json())
        .map(handle)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret = Secret::from_env("STRIPE_SECRET")?;
    let source = Source::of_provider("stripe", secret)?.build();
    // The layer is outside of the filters, so it chooses the source by the path.
    let sources = Sources::new().at("/hooks/stripe", source);
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, HookgateLayer::resolving(sources), hooks()).await
}

/// Serves the filters behind the layer.
pub async fn serve<F>(
    listener: TcpListener,
    hookgate: HookgateLayer<Sources>,
    filters: F,
) -> Result<(), BoxError>
where
    F: Filter<Extract: Reply, Error = Rejection> + Clone + Send + Sync + 'static,
{
    let service = ServiceBuilder::new()
        .layer(hookgate)
        .service(warp::service(filters));
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(Duration::from_secs(10))
            .serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("connection: {error}");
            }
        });
    }
}
