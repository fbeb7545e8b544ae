//! Tests of the extractors for axum handlers.

#![cfg(feature = "axum")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::{Request, StatusCode};
use tower_hookgate::{HookgateLayer, VerifiedEvent, VerifiedJson};

use self::support::{BODY, SECRET, forged, signed, source, source_with, status};

#[derive(Debug, serde::Deserialize)]
struct Task {
    id: String,
}

async fn json(event: VerifiedEvent, VerifiedJson(task): VerifiedJson<Task>) -> StatusCode {
    assert_eq!(event.id(), Some(&*task.id));
    StatusCode::NO_CONTENT
}

fn body(request: Request<http_body_util::Full<bytes::Bytes>>) -> Request<Body> {
    request.map(Body::new)
}

#[tokio::test]
async fn json_is_read_from_the_verified_bytes() {
    /// A middleware that replaces the body of the request.
    async fn replace_body(
        mut request: axum::extract::Request,
        next: axum::middleware::Next,
    ) -> axum::response::Response {
        *request.body_mut() = Body::from("{}");
        next.run(request).await
    }
    let router: Router = Router::new()
        .route("/hooks", post(json))
        .layer(axum::middleware::from_fn(replace_body))
        .layer(HookgateLayer::new(source()));
    assert_eq!(
        status(&router, body(signed(BODY))).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        status(&router, body(forged())).await,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_delivery_that_the_handler_cannot_deserialise_is_not_lost() {
    let router: Router = Router::new()
        .route("/hooks", post(json))
        .layer(HookgateLayer::new(source()));
    // The delivery is genuine but not a `Task`. After a 500 the sender retries, and the retry
    // reaches the handler again.
    for _ in 0..2 {
        let found = status(&router, body(signed(r#"{"id":1}"#))).await;
        assert_eq!(found, StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn an_extractor_on_a_route_without_the_layer_responds_with_500() {
    let event = async |_: VerifiedEvent| StatusCode::NO_CONTENT;
    for handler in [post(event), post(json)] {
        let late: Router = Router::new()
            .layer(HookgateLayer::new(source()))
            .route("/hooks", handler.clone());
        let found = status(&late, body(signed(BODY))).await;
        assert_eq!(found, StatusCode::INTERNAL_SERVER_ERROR);
        let covered: Router = Router::new()
            .route("/hooks", handler)
            .layer(HookgateLayer::new(source()));
        assert_eq!(
            status(&covered, body(signed(BODY))).await,
            StatusCode::NO_CONTENT
        );
    }
}

#[tokio::test]
async fn in_observe_mode_a_handler_takes_an_optional_event() {
    let handler = async |event: Option<VerifiedEvent>| match event {
        Some(_) => StatusCode::NO_CONTENT,
        None => StatusCode::ACCEPTED,
    };
    let source = source_with(SECRET).with_insecure_observe_mode().build();
    let router: Router = Router::new()
        .route("/hooks", post(handler))
        .layer(HookgateLayer::new(source));
    assert_eq!(
        status(&router, body(signed(BODY))).await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(status(&router, body(forged())).await, StatusCode::ACCEPTED);
}
