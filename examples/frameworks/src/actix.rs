//! A receiver of Stripe's webhooks with actix-web. Try it in this folder:
//!
//! ```text
//! export STRIPE_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run --bin actix -- 127.0.0.1:3000
//! hookgate send --provider stripe --secret env:STRIPE_SECRET --to http://127.0.0.1:3000/hooks/stripe
//! ```

use std::error::Error;
use std::net::TcpListener;
use std::task::Context;

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::{ErrorBadRequest, InternalError};
use actix_web::http::StatusCode;
use actix_web::middleware::{Next, from_fn};
use actix_web::web::{self, Data, Json, ReqData, ServiceConfig};
use actix_web::{App, HttpMessage, HttpResponse, HttpServer, ResponseError};
use bytes::Bytes;
use futures_util::StreamExt;
use hookgate_core::{Head, Secret, Verified};
use hookgate_gate::Receiver;
use serde::Deserialize;

#[derive(Deserialize)]
pub struct Event {
    r#type: String,
}

/// Handles an event. Without the middleware, this handler responds with 500.
pub async fn handle(verified: ReqData<Verified>, Json(event): Json<Event>) -> HttpResponse {
    println!("event {:?}: {}", verified.id(), event.r#type);
    match event.r#type.as_str() {
        "invoice.paid" => HttpResponse::NoContent().finish(),
        _ => HttpResponse::NotImplemented().finish(), // Stripe sends the event again
    }
}

/// Lets only genuine deliveries through, and each event once.
pub async fn verify(
    receiver: Data<Receiver>,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> actix_web::Result<ServiceResponse> {
    let head = head(&request).map_err(ErrorBadRequest)?;
    let mut chunks = request.take_payload();
    let next_chunk = |cx: &mut Context<'_>| chunks.poll_next_unpin(cx);
    let received = match receiver.receive(Head::from(&head), next_chunk).await {
        Ok(received) => received,
        Err(response) => return Ok(request.into_response(to_actix(*response))),
    };
    request.set_payload(Payload::from(received.body().clone()));
    if let Some(verified) = received.verified() {
        request.extensions_mut().insert(verified.clone());
    }
    // The status of the response to an error may differ from `status_code`.
    let call = async {
        next.call(request).await.map_err(|error| {
            let response = error.error_response();
            InternalError::from_response(error, response)
        })
    };
    let status = |result: &Result<ServiceResponse, InternalError<actix_web::Error>>| match result {
        Ok(response) => response.status().as_u16(),
        Err(error) => error.status_code().as_u16(),
    };
    match received.run(call, status).await {
        Ok(result) => Ok(result?),
        Err(withheld) => {
            let response = to_actix(*withheld.response);
            match withheld.output {
                Ok(output) => Ok(output.into_response(response)),
                Err(error) => Err(InternalError::from_response(error, response).into()),
            }
        }
    }
}

/// actix-web has the types of version 0.2 of the crate `http`.
fn head(request: &ServiceRequest) -> http::Result<http::Request<()>> {
    let mut head = http::Request::builder()
        .method(request.method().as_str())
        .uri(request.uri().to_string());
    for (name, value) in request.headers() {
        head = head.header(name.as_str(), value.as_bytes());
    }
    head.body(())
}

fn to_actix(response: http::Response<Bytes>) -> HttpResponse {
    let status = StatusCode::from_u16(response.status().as_u16());
    let mut builder = HttpResponse::build(status.expect("both versions have the same statuses"));
    for (name, value) in response.headers() {
        builder.append_header((name.as_str(), value.as_bytes()));
    }
    builder.body(response.into_body())
}

pub fn app(receiver: Data<Receiver>) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        let hooks = web::resource("/hooks/stripe").route(web::post().to(handle));
        config.service(hooks.wrap(from_fn(verify)).app_data(receiver));
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("STRIPE_SECRET")?;
    // All workers share the memory of events.
    let receiver = Data::new(Receiver::provider("stripe", secret)?);
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:3000"))?;
    println!("listening on {}", listener.local_addr()?);
    let server = HttpServer::new(move || App::new().configure(app(receiver.clone())));
    server.listen(listener)?.run().await?;
    Ok(())
}
