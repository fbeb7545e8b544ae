//! A receiver with one of the crates under test.
//!
//! Usage: `SECRET=… hookgate-conformance LIBRARY PROVIDER`. It prints its address.
//!
//! The crates verify, and their documentation leaves repeated events to the application. So these
//! programs add no duplicate detection of their own.

mod application;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use axum_standardwebhooks::{SharedWebhook, StandardWebhook};
use tower_hookgate::{HookgateLayer, VerifiedJson};
use webhook_verify::Provider;

use self::application::{Application, BoxError, Event};

/// A function that verifies a delivery.
type Verify = Arc<dyn Fn(&HeaderMap, &[u8]) -> bool + Send + Sync>;

/// The state of the receivers that verify in their handler.
#[derive(Clone)]
struct Verifying {
    verify: Verify,
    application: Application,
}

/// The state of the receiver with axum-standardwebhooks.
#[derive(Clone)]
struct Extracting {
    webhook: SharedWebhook,
    application: Application,
}

impl FromRef<Extracting> for SharedWebhook {
    fn from_ref(state: &Extracting) -> Self {
        state.webhook.clone()
    }
}

async fn verify_and_run(
    State(Verifying {
        verify,
        application,
    }): State<Verifying>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    if !verify(&headers, &body) {
        return StatusCode::UNAUTHORIZED;
    }
    match serde_json::from_slice(&body) {
        Ok(event) => application.run(event),
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

async fn extract_and_run(
    State(Extracting { application, .. }): State<Extracting>,
    StandardWebhook(Json(event)): StandardWebhook<Json<Event>>,
) -> StatusCode {
    application.run(event)
}

async fn run_verified(
    State(application): State<Application>,
    VerifiedJson(event): VerifiedJson<Event>,
) -> StatusCode {
    application.run(event)
}

/// Returns the function that verifies with the crate `library`.
fn verify_with(library: &str, provider: &str, secret: String) -> Result<Verify, BoxError> {
    match library {
        "standardwebhooks" => {
            let webhook = standardwebhooks::Webhook::new(&secret)?;
            Ok(Arc::new(move |headers, body| {
                webhook.verify(body, headers).is_ok()
            }))
        }
        "svix" => {
            let webhook = svix::webhooks::Webhook::new(&secret)?;
            Ok(Arc::new(move |headers, body| {
                webhook.verify(body, headers).is_ok()
            }))
        }
        "webhook-verify" => {
            let secret = webhook_verify::Secret::new(secret);
            let provider = match provider {
                "standard-webhooks" => Provider::StandardWebhooks,
                "stripe" => Provider::Stripe,
                "github" => Provider::GitHub,
                _ => return Err(format!("unknown provider {provider}").into()),
            };
            Ok(Arc::new(move |headers, body| {
                let options = Default::default();
                webhook_verify::verify(provider, headers, body, &secret, options).is_ok()
            }))
        }
        _ => Err(format!("unknown library {library}").into()),
    }
}

/// Returns the receiver that verifies in its handler.
fn verifying(verify: Verify, application: Application) -> Router {
    let state = Verifying {
        verify,
        application,
    };
    let hooks = Router::new().route("/hooks", post(verify_and_run));
    hooks.with_state(state)
}

/// Returns the receiver with the extractor of axum-standardwebhooks.
fn extracting(secret: &str, application: Application) -> Result<Router, BoxError> {
    let webhook = SharedWebhook::new(axum_standardwebhooks::Webhook::new(secret)?);
    let state = Extracting {
        webhook,
        application,
    };
    let hooks = Router::new().route("/hooks", post(extract_and_run));
    Ok(hooks.with_state(state))
}

/// Returns the receiver with hookgate's layer.
fn layered(provider: &str, secret: String, application: Application) -> Result<Router, BoxError> {
    let layer = HookgateLayer::provider(provider, tower_hookgate::Secret::new(secret)?)?;
    let hooks = Router::new().route("/hooks", post(run_verified));
    Ok(hooks.route_layer(layer).with_state(application))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [library, provider] = &arguments[..] else {
        return Err("expected LIBRARY PROVIDER".into());
    };
    let secret = std::env::var("SECRET")?;
    let application = Application::default();
    let receiver = match &**library {
        "tower-hookgate" => layered(provider, secret, application.clone())?,
        "axum-standardwebhooks" => extracting(&secret, application.clone())?,
        _ => verifying(verify_with(library, provider, secret)?, application.clone()),
    };
    application.serve(receiver).await
}
