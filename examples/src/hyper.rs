//! A receiver without a framework: hyper, and tower layers around a function. Try it:
//!
//! ```text
//! export BEATAPI_SECRET=whsec_5f0c8a6de2b94a13
//! cargo run -p hookgate-examples --bin hyper -- 127.0.0.1:3000
//! hookgate send --provider beatapi --secret env:BEATAPI_SECRET --to http://127.0.0.1:3000/hooks/beatapi
//! ```

use std::convert::Infallible;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_hookgate::{
    BoxError, HookgateLayer, Secret, Source, Sources, VerifiedBody, VerifiedEvent,
};

async fn handle(request: Request<VerifiedBody>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let event = request.extensions().get::<VerifiedEvent>().cloned();
    let body = request.into_body().into_bytes();
    let id = event.as_ref().and_then(VerifiedEvent::id);
    println!("event {id:?}, {} bytes", body.len());
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let secret = Secret::from_env("BEATAPI_SECRET")?;
    let source = Source::of_provider("beatapi", secret)?.build();
    // Without a router, the layer chooses the source by the path.
    let sources = Sources::new().at("/hooks/beatapi", source);
    let service = ServiceBuilder::new()
        .layer(HookgateLayer::resolving(sources))
        .service(service_fn(handle));

    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.await {
                eprintln!("connection: {error}");
            }
        });
    }
}
