//! The control of the other tests: without the layer, the forged delivery reaches a handler. The
//! handlers of the programs respond with 500 then.

use std::net::TcpListener;

use actix_web::HttpResponse;
use actix_web::web::{self, ServiceConfig};
use bytes::Bytes;
use http::{Request, StatusCode};
use poem::listener::TcpAcceptor;
use warp::Filter;

use crate::programs::{
    actix, lambda, poem as poem_program, salvo as salvo_program, warp as warp_program,
};
use crate::support::{PAID, delivery, run_actix, send, serve_in_thread};

fn serve_actix(listener: TcpListener) {
    async fn open() -> HttpResponse {
        HttpResponse::NoContent().finish()
    }
    let app = |config: &mut ServiceConfig| {
        config
            .route("/hooks/stripe", web::post().to(open))
            .route("/handler/hooks/stripe", web::post().to(actix::handle));
    };
    run_actix(listener, app);
}

#[tokio::main(flavor = "current_thread")]
async fn serve_poem(listener: TcpListener) {
    let open = poem::endpoint::make_sync(|_| StatusCode::NO_CONTENT);
    let app = poem::Route::new()
        .at("/hooks/stripe", open)
        .at("/handler/hooks/stripe", poem::post(poem_program::handle));
    let acceptor = TcpAcceptor::from_std(listener).expect("the listener is valid");
    let server = poem::Server::new_with_acceptor(acceptor);
    server.run(app).await.expect("the server runs");
}

#[tokio::main(flavor = "current_thread")]
async fn serve_salvo(listener: TcpListener) {
    #[salvo::handler]
    async fn open() -> StatusCode {
        StatusCode::NO_CONTENT
    }
    let route = salvo::Router::with_path("hooks/stripe").post(open);
    let handler = salvo::Router::with_path("handler/hooks/stripe").post(salvo_program::handle);
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is valid");
    let acceptor = salvo::conn::tcp::TcpAcceptor::try_from(listener);
    let server = salvo::Server::new(acceptor.expect("the listener is valid"));
    server
        .serve(salvo::Router::new().push(route).push(handler))
        .await;
}

#[tokio::main(flavor = "current_thread")]
async fn serve_warp(listener: TcpListener) {
    let open = warp::path!("hooks" / "stripe").map(|| StatusCode::NO_CONTENT);
    let handler = warp::path("handler").and(warp_program::hooks());
    let listener = tokio::net::TcpListener::from_std(listener).expect("the listener is valid");
    warp::serve(open.or(handler)).incoming(listener).run().await;
}

#[test]
fn without_the_layer_a_forged_delivery_reaches_a_handler() {
    for (framework, serve) in [
        ("actix", serve_actix as fn(TcpListener)),
        ("poem", serve_poem),
        ("salvo", serve_salvo),
        ("warp", serve_warp),
    ] {
        let address = serve_in_thread(serve);
        for (path, expected) in [("/hooks/stripe", 204), ("/handler/hooks/stripe", 500)] {
            let forged: Request<Bytes> = delivery(PAID).path(path).forged();
            assert_eq!(
                send(&address, &forged).status,
                expected,
                "{framework} {path}"
            );
        }
    }
}

#[tokio::test]
async fn without_the_layer_the_function_of_lambda_fails() {
    let forged: Request<Bytes> = delivery(PAID).forged();
    let Ok(response) = lambda::handle(forged).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}
