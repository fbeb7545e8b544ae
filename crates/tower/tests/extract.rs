//! Tests of the extractors for axum handlers.

#![cfg(feature = "axum")]

mod support;

use axum::Router;
use axum::body::Body;
use axum::routing::post;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;
use tower_hookgate::{HookgateLayer, VerifiedEvent, VerifiedJson, VerifiedJsonRejection};

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
async fn the_error_names_the_mismatch_and_quotes_nothing() {
    #[derive(serde::Deserialize)]
    struct Order {
        id: String,
        #[serde(rename = "amount")]
        _amount: u64,
        #[serde(rename = "currency")]
        _currency: Currency,
    }
    #[derive(serde::Deserialize)]
    enum Currency {
        #[serde(rename = "eur")]
        Euro,
    }
    let handler = async |order: Result<VerifiedJson<Order>, VerifiedJsonRejection>| {
        let text = match order {
            Ok(VerifiedJson(order)) => order.id,
            Err(error) => error.to_string(),
        };
        // No event is done, so that each delivery reaches the handler.
        (StatusCode::INTERNAL_SERVER_ERROR, text)
    };
    let router: Router = Router::new()
        .route("/hooks", post(handler))
        .layer(HookgateLayer::new(source()));
    let answer = async |sent: &'static str, content_type: &str| {
        let mut request = body(signed(sent));
        let content_type = content_type.parse().unwrap();
        request.headers_mut().insert("content-type", content_type);
        let response = router.clone().oneshot(request).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    };
    const JSON: &str = "application/json";
    for (sent, expected) in [
        (
            r#"{"id":"1","amount":1}"#,
            "missing field `currency` at line 1, column 21",
        ),
        (r#"{"id":"1","id":"1"}"#, "duplicate field `id` at"),
        (
            r#"{"id":"1","amount":"private, expected private"}"#,
            "invalid type, expected u64 at line 1, column 46",
        ),
        (
            r#"{"id":"1","amount":-77}"#,
            "invalid value, expected u64 at",
        ),
        (
            r#"{"id":"1","amount":1,"currency":"private"}"#,
            "unknown variant, expected `eur` at",
        ),
        ("private", "the body is not JSON at line 1, column 1"),
        ("payload=private", "the body is not JSON at"),
    ] {
        let text = answer(sent, JSON).await;
        let start = "a genuine delivery of beatapi does not deserialise into the handler's type: ";
        let found = text.strip_prefix(start);
        assert!(
            found.is_some_and(|text| text.starts_with(expected)),
            "{text}"
        );
        assert!(!text.contains("private") && !text.contains("77"), "{text}");
    }
    for form in [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-Urlencoded ; charset=utf-8",
    ] {
        let text = answer("payload=private", form).await;
        assert!(
            text.contains("is a form, and the handler takes JSON: set the content type"),
            "{text}"
        );
        assert!(!text.contains("private"), "{text}");
        // JSON is read, whatever the header says: no signature covers it.
        let order = r#"{"id":"1","amount":1,"currency":"eur"}"#;
        assert_eq!(answer(order, form).await, "1");
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
