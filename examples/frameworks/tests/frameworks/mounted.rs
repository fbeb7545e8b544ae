//! The middleware of each program around handlers of this test, and with other providers.

use std::net::TcpListener;

use actix_web::HttpResponse;
use actix_web::middleware::from_fn;
use actix_web::web::{self, Data, ServiceConfig};
use bytes::Bytes;
use hookgate_gate::Receiver;
use http::{Method, Request, StatusCode};
use lambda_http::Adapter;
use lambda_http::lambda_runtime::{Context, LambdaEvent};
use poem::listener::TcpAcceptor;
use serde_json::Value;
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_hookgate::{
    HookgateLayer, Provider, Secret, Source, Sources, VerifiedBody, VerifiedEvent, Verifier,
};
use warp::Filter;

use crate::lambda::http_api;
use crate::programs;
use crate::support::{SECRET, delivery, exchange, head, run_actix, send, serve_in_thread};

const SERVERS: [(&str, fn(TcpListener, Source)); 4] = [
    ("actix", serve_actix),
    ("poem", serve_poem),
    ("salvo", serve_salvo),
    ("warp", serve_warp),
];

/// Responds with 410 to the type `gone`.
async fn respond(body: Bytes) -> StatusCode {
    let event: Value = serde_json::from_slice(&body).expect("the body is JSON");
    match event["type"].as_str() {
        Some("gone") => StatusCode::GONE,
        _ => StatusCode::NO_CONTENT,
    }
}

fn serve_actix(listener: TcpListener, source: Source) {
    async fn handle(body: web::Bytes) -> HttpResponse {
        let status = respond(body).await.as_u16();
        HttpResponse::build(status.try_into().expect("the status exists")).finish()
    }
    let receiver = Data::new(Receiver::new(source));
    let app = move |config: &mut ServiceConfig| {
        let hooks = web::resource("/hooks/stripe").route(web::post().to(handle));
        let hooks = hooks.wrap(from_fn(programs::actix::verify));
        config.service(hooks.app_data(receiver.clone()));
    };
    run_actix(listener, app);
}

#[tokio::main(flavor = "current_thread")]
async fn serve_poem(listener: TcpListener, source: Source) {
    #[poem::handler]
    async fn handle(body: Vec<u8>) -> StatusCode {
        respond(body.into()).await
    }
    let app = programs::poem::app(Receiver::new(source), handle);
    let acceptor = TcpAcceptor::from_std(listener).expect("the listener is valid");
    let server = poem::Server::new_with_acceptor(acceptor);
    server.run(app).await.expect("the server runs");
}

#[tokio::main(flavor = "current_thread")]
async fn serve_salvo(listener: TcpListener, source: Source) {
    #[salvo::handler]
    async fn handle(request: &mut salvo::Request) -> StatusCode {
        let verified = request.extensions().get::<VerifiedEvent>();
        let body = verified.expect("the layer is outside").body().clone();
        respond(body).await
    }
    let app = programs::salvo::app(HookgateLayer::new(source), handle);
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is valid");
    let acceptor = salvo::conn::tcp::TcpAcceptor::try_from(listener);
    let server = salvo::Server::new(acceptor.expect("the listener is valid"));
    server.serve(app).await;
}

#[tokio::main(flavor = "current_thread")]
async fn serve_warp(listener: TcpListener, source: Source) {
    let filters = warp::body::bytes().then(respond);
    let sources = Sources::new().at("/hooks/stripe", source);
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is valid");
    let serving = programs::warp::serve(listener, HookgateLayer::resolving(sources), filters);
    serving.await.expect("the server runs");
}

fn stripe() -> Source {
    let secret = Secret::new(SECRET).expect("the secret is not empty");
    let source = Source::of_provider("stripe", secret).expect("the provider exists");
    source.build()
}

/// Returns a source of a provider that asks for a handshake with GET.
fn meta() -> Source {
    let meta = Provider::named("meta").expect("the provider exists");
    let verifier = Verifier::builder(meta.scheme())
        .key(Secret::new(SECRET).expect("the secret is not empty"))
        .param("verify_token", "meatyhamhock")
        .build()
        .expect("the parameters are valid");
    Source::builder("meta", verifier).provider(&meta).build()
}

fn handshake(token: &str) -> Request<Bytes> {
    let query = format!("hub.mode=subscribe&hub.challenge=1158&hub.verify_token={token}");
    Request::builder()
        .method(Method::GET)
        .uri(format!("/hooks/stripe?{query}"))
        .body(Bytes::new())
        .expect("the request is valid")
}

#[test]
fn a_handshake_gets_its_response() {
    for (framework, serve) in SERVERS {
        let address = serve_in_thread(move |listener| serve(listener, meta()));
        let answer = send(&address, &handshake("meatyhamhock"));
        assert_eq!(
            (answer.status, answer.body.contains("1158")),
            (200, true),
            "{framework}"
        );
        assert_eq!(
            send(&address, &handshake("wrong")).status,
            403,
            "{framework}"
        );
    }
}

#[tokio::test]
async fn a_handshake_gets_its_response_from_lambda() {
    for (token, status, body) in [("meatyhamhock", 200, Some("1158")), ("wrong", 403, None)] {
        let service = ServiceBuilder::new()
            .layer(HookgateLayer::new(meta()))
            .service(service_fn(programs::lambda::handle::<VerifiedBody>));
        let event = http_api(&handshake(token)).to_string();
        let event = serde_json::from_str(&event).expect("the event is valid");
        let event = LambdaEvent::new(event, Context::default());
        let response = Adapter::from(service).oneshot(event).await;
        let response = response.expect("the service does not fail");
        let response = serde_json::to_value(response).expect("the response is JSON");
        assert_eq!(response["statusCode"], status, "{response}");
        if let Some(body) = body {
            assert_eq!(response["body"], body, "{response}");
        }
    }
}

#[test]
fn a_response_that_would_end_the_subscription_is_replaced() {
    for (framework, serve) in SERVERS {
        let address = serve_in_thread(move |listener| serve(listener, stripe()));
        let delivery = delivery(r#"{"id":"evt_1","type":"gone"}"#);
        for _ in 0..2 {
            assert_eq!(
                send(&address, &delivery.genuine()).status,
                502,
                "{framework}"
            );
        }
    }
}

/// The body exceeds the limit of the source by one byte.
#[test]
fn a_chunked_body_above_the_limit_is_refused() {
    let body = vec![b' '; (1 << 20) + 1];
    for (framework, serve) in SERVERS {
        let address = serve_in_thread(move |listener| serve(listener, stripe()));
        let request: Request<Bytes> = delivery(body.clone()).genuine();
        let head = format!(
            "{}Transfer-Encoding: chunked\r\n\r\n{:x}\r\n",
            head(&request),
            body.len()
        );
        let answer = exchange(
            &address,
            &[head.as_bytes(), &body, b"\r\n0\r\n\r\n"].concat(),
        );
        assert_eq!(answer.parts(), (413, Some("refused")), "{framework}");
    }
}
