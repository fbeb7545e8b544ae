//! A receiver of Stripe's webhooks with poem. Try it in this folder:
//!
//! ```text
//! export STRIPE_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run --bin poem -- 127.0.0.1:3000
//! hookgate send --provider stripe --secret env:STRIPE_SECRET --to http://127.0.0.1:3000/hooks/stripe
//! ```

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::task::Context;

use bytes::Bytes;
use futures_util::Stream;
use hookgate_core::{Head, Secret, Verified};
use hookgate_gate::Receiver;
use poem::http::StatusCode;
use poem::listener::TcpAcceptor;
use poem::web::{Data, Json};
use poem::{Endpoint, EndpointExt, Request, Response, Route, Server, handler, post};
use serde::Deserialize;
use tokio::net::TcpListener;

#[derive(Deserialize)]
pub struct Event {
    r#type: String,
}

/// Handles an event. Without the middleware, this handler responds with 500.
#[handler]
pub fn handle(verified: Data<&Verified>, Json(event): Json<Event>) -> StatusCode {
    println!("event {:?}: {}", verified.id(), event.r#type);
    match event.r#type.as_str() {
        "invoice.paid" => StatusCode::NO_CONTENT,
        _ => StatusCode::NOT_IMPLEMENTED, // Stripe sends the event again
    }
}

/// Lets only genuine deliveries through, and each event once.
async fn verify(
    receiver: Arc<Receiver>,
    endpoint: Arc<impl Endpoint>,
    mut request: Request,
) -> Response {
    let mut chunks = pin!(request.take_body().into_bytes_stream());
    let head = Head::new(request.method(), request.original_uri(), request.headers());
    let next_chunk = |cx: &mut Context<'_>| chunks.as_mut().poll_next(cx);
    let received = match receiver.receive(head, next_chunk).await {
        Ok(received) => received,
        Err(response) => return to_poem(*response),
    };
    request.set_body(received.body().clone());
    if let Some(verified) = received.verified() {
        request.set_data(verified.clone());
    }
    let call = endpoint.get_response(request);
    let result = received.run(call, |response| response.status().as_u16());
    result
        .await
        .unwrap_or_else(|withheld| to_poem(*withheld.response))
}

fn to_poem(response: http::Response<Bytes>) -> Response {
    let (head, body) = response.into_parts();
    let mut response = Response::from(body);
    response.set_status(head.status);
    *response.headers_mut() = head.headers;
    response
}

pub fn app(receiver: Receiver, handler: impl Endpoint + 'static) -> impl Endpoint {
    let receiver = Arc::new(receiver);
    let hooks = post(handler).around(move |endpoint, request| {
        let receiver = Arc::clone(&receiver);
        async move { Ok(verify(receiver, endpoint, request).await) }
    });
    Route::new().at("/hooks/stripe", hooks)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret = Secret::from_env("STRIPE_SECRET")?;
    let receiver = Receiver::provider("stripe", secret)?;
    let address = std::env::args().nth(1);
    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:3000")).await?;
    println!("listening on {}", listener.local_addr()?);
    let acceptor = TcpAcceptor::from_tokio(listener)?;
    Server::new_with_acceptor(acceptor)
        .run(app(receiver, handle))
        .await?;
    Ok(())
}
