//! A receiver of Stripe's webhooks as a function of AWS Lambda, behind an API Gateway, a load
//! balancer or a function URL. Try it in this folder with `cargo lambda`:
//!
//! ```text
//! export STRIPE_SECRET=whsec_5f0c8a6de2b94a13
//! cargo lambda watch --bin lambda
//! hookgate send --provider stripe --secret env:STRIPE_SECRET --to http://127.0.0.1:9000/hooks/stripe
//! ```

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use lambda_http::{Body, Error};
use serde::Deserialize;
use tower::{ServiceBuilder, service_fn};
use tower_hookgate::{HookgateLayer, Secret, Source, VerifiedBody, VerifiedEvent};

#[derive(Deserialize)]
struct Event {
    r#type: String,
}

/// Handles an event. It responds with 500 rather than return an error: the claim of the event is then
/// released before Lambda freezes the process.
pub async fn handle<B>(request: Request<B>) -> Result<Response<Body>, Infallible> {
    let verified = request.extensions().get::<VerifiedEvent>();
    let event = verified.and_then(|verified| serde_json::from_slice(verified.body()).ok());
    let status = match event {
        Some(Event { r#type }) if r#type == "invoice.paid" => StatusCode::NO_CONTENT,
        Some(_) => StatusCode::NOT_IMPLEMENTED, // Stripe sends the event again
        None => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    Ok(response)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let secret = Secret::from_env("STRIPE_SECRET")?;
    // Lambda ends a call after three seconds, unless the function has another timeout.
    let source = Source::of_provider("stripe", secret)?
        .lease(Duration::from_secs(3))
        .duplicate_wait(Duration::from_secs(1))
        .build();
    // In production, add a store that all instances of the function share, such as `RedisStore`.
    let hookgate = HookgateLayer::new(source);
    let service = ServiceBuilder::new()
        .layer(hookgate)
        .service(service_fn(handle::<VerifiedBody>));
    lambda_http::run(service).await
}
