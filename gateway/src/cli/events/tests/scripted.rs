//! The client of the API against a server with prepared responses.

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::cli::Error;
use crate::cli::api::{Api, ApiError};
use crate::cli::events::find::{self, Found, find, request_id};

/// A server that responds to each request with the next response, and records the requests.
struct Scripted {
    api: Api,
    requests: JoinHandle<Vec<String>>,
}

impl Scripted {
    async fn start(responses: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for response in responses {
                let (mut stream, _) = listener.accept().await.expect("the client connects");
                let mut request = vec![0; 16 << 10];
                let read = stream.read(&mut request).await.expect("the client sends");
                requests.push(String::from_utf8_lossy(&request[..read]).into_owned());
                let written = stream.write_all(response.as_bytes()).await;
                written.expect("the client reads");
            }
            requests
        });
        let admin = format!("http://{address}/base/")
            .parse()
            .expect("the URL is valid");
        let api = Api::new(&admin, b"token-of-the-tests").expect("the token is valid");
        Self { api, requests }
    }

    async fn requests(self) -> Vec<String> {
        self.requests.await.expect("the server does not panic")
    }
}

fn response(status: &str, kind: &str, body: &str) -> String {
    let len = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nretry-after: 7\r\ncontent-length: \
         {len}\r\n\r\n{body}"
    )
}

fn ok(body: &serde_json::Value) -> String {
    response("200 OK", "application/json", &body.to_string())
}

fn not_found() -> String {
    let body = r#"{"status":404,"title":"Not Found","detail":"no such delivery"}"#;
    response("404 Not Found", "application/problem+json", body)
}

#[tokio::test]
async fn a_request_has_the_token_and_an_escaped_path() {
    let scripted = Scripted::start(vec![ok(&json!({}))]).await;
    let path = find::path("../a b?x#é\r\n");
    scripted.api.get(&path).await.expect("the server responds");
    let requests = scripted.requests().await;
    let start = "GET /base/api/deliveries/%2E%2E%2Fa%20b%3Fx%23%C3%A9%0D%0A HTTP/1.1\r\n";
    assert!(requests[0].starts_with(start), "{requests:?}");
    let lower = requests[0].to_ascii_lowercase();
    assert!(
        lower.contains("\r\nauthorization: bearer token-of-the-tests\r\n"),
        "{lower}"
    );
    assert!(!lower.contains("content-length"), "{lower}");
}

#[tokio::test]
async fn each_refusal_of_the_gateway_says_what_to_do() {
    for (status, expected) in [
        (
            "401 Unauthorized",
            "the gateway refused the token (status 401): a\\u{1b}[2J; check that --token names a \
             token of [inspector] in the gateway's configuration",
        ),
        (
            "403 Forbidden",
            "the gateway does not allow this (status 403): a\\u{1b}[2J",
        ),
        ("404 Not Found", "not found (status 404): a\\u{1b}[2J"),
        ("409 Conflict", "not possible (status 409): a\\u{1b}[2J"),
        (
            "429 Too Many Requests",
            "too many wrong tokens from this address (status 429): a\\u{1b}[2J; try again in 7 s",
        ),
        (
            "502 Bad Gateway",
            "the gateway reports an error (status 502): a\\u{1b}[2J",
        ),
    ] {
        let body = json!({ "title": "T", "detail": "a\x1b[2J" }).to_string();
        let refusal = response(status, "application/problem+json; charset=utf-8", &body);
        let scripted = Scripted::start(vec![refusal]).await;
        let error = scripted.api.post("/api/events/forget", &json!({})).await;
        let error = error.expect_err("the gateway refuses");
        assert_eq!(error.to_string(), expected);
        let ApiError::Refused(problem) = error else {
            panic!("{error:?}");
        };
        assert_eq!(Some(problem.status.as_str()), status.split(' ').next());
    }
}

#[tokio::test]
async fn another_server_is_recognised() {
    for response in [
        response(
            "404 Not Found",
            "text/plain",
            "not found; expected /healthz",
        ),
        response("200 OK", "text/html", "<html>"),
        response("200 OK", "application/json", "{"),
    ] {
        let scripted = Scripted::start(vec![response]).await;
        let error = scripted.api.get("/api/session").await;
        let error = error
            .expect_err("the response is not one of the API")
            .to_string();
        assert!(error.contains("has no inspector API"), "{error}");
        assert!(
            error.contains("has the gateway a table [inspector]"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_missing_gateway_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    drop(listener);
    let admin = format!("http://user:canary@{address}")
        .parse()
        .expect("the URL is valid");
    let api = Api::new(&admin, b"token-of-the-tests").expect("the token is valid");
    let error = api
        .get("/api/session")
        .await
        .expect_err("nothing listens")
        .to_string();
    let start = format!("connection refused at {address}; is the gateway");
    assert!(error.starts_with(&start), "{error}");
    let end = "is the gateway running, has it a table [inspector], and is --admin its address \
               `server.admin`?";
    assert!(error.ends_with(end), "{error}");
    assert!(!error.contains("canary"), "{error}");
}

#[tokio::test]
async fn a_truncated_or_huge_response_is_an_error() {
    let short = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{}";
    let scripted = Scripted::start(vec![short.to_owned()]).await;
    let error = scripted
        .api
        .get("/api/session")
        .await
        .expect_err("the body is cut");
    assert!(
        error.to_string().starts_with("no complete response from "),
        "{error}"
    );

    let huge = format!("\"{}\"", "x".repeat(33 << 20));
    let scripted = Scripted::start(vec![response("200 OK", "application/json", &huge)]).await;
    let error = scripted
        .api
        .get("/api/session")
        .await
        .expect_err("the body is huge");
    assert!(
        error.to_string().contains("has more than 33554432 bytes"),
        "{error}"
    );
    // The server cannot write the rest.
    scripted.requests.abort();
}

#[tokio::test]
async fn a_token_with_other_characters_is_refused_and_not_shown() {
    let admin = "http://127.0.0.1:1".parse().expect("the URL is valid");
    for token in [&b""[..], b"can\rary", b"can\nary", b"canary ", b" canary"] {
        let error = Api::new(&admin, token).err().expect("the token is refused");
        assert!(
            error.message.starts_with("--token: the token "),
            "{}",
            error.message
        );
        assert!(!error.message.contains("ary"), "{}", error.message);
    }
    assert!(Api::new(&admin, b"a good token").is_ok());
}

/// Returns records with a request id, an event id and a delivery id each.
fn records(ids: &[[&str; 3]]) -> serde_json::Value {
    let records = ids.iter().map(|[request, event, delivery]| {
        json!({ "request_id": request, "event_id": event, "delivery_id": delivery })
    });
    json!({ "deliveries": records.collect::<Vec<_>>(), "since": "2026-11-30T07:00:00Z" })
}

#[tokio::test]
async fn an_event_id_finds_its_deliveries() {
    let id = |last| format!("{:032x}", 0x5f0c_0000_0000_u64 + last);
    let (one, other) = (id(1), id(2));
    let two = [[&*one, "evt_1", "d_1"], [&*other, "evt_12", "d_2"]];
    let detail = || ok(&json!({ "delivery": { "request_id": one } }));
    // The exact id counts, not the text that contains it. So does the end of a request id.
    for name in ["evt_1", "d_1", "00000001"] {
        let scripted = Scripted::start(vec![ok(&records(&two)), detail()]).await;
        let found = find(&scripted.api, name).await;
        assert!(matches!(found, Ok(Found::One(_))), "{found:?}");
        let requests = scripted.requests().await;
        let lines: Vec<_> = requests.iter().filter_map(|r| r.lines().next()).collect();
        let expected = [
            format!("GET /base/api/deliveries?q={name}&limit=500 HTTP/1.1"),
            format!("GET /base/api/deliveries/{one} HTTP/1.1"),
        ];
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn a_request_id_needs_no_search_unless_it_is_unknown() {
    let one = format!("{:032x}", 1);
    let detail = || ok(&json!({ "delivery": { "request_id": one } }));
    let scripted = Scripted::start(vec![detail()]).await;
    let found = find(&scripted.api, &one).await;
    assert!(matches!(found, Ok(Found::One(_))), "{found:?}");
    let list = ok(&records(&[[&one, "evt_1", "d_1"]]));
    let scripted = Scripted::start(vec![not_found(), list, detail()]).await;
    let found = find(&scripted.api, &one).await;
    assert!(matches!(found, Ok(Found::One(_))), "{found:?}");
    // Another refusal is not taken for an unknown id.
    let refusal = response("401 Unauthorized", "application/problem+json", "{}");
    let scripted = Scripted::start(vec![refusal]).await;
    let error = find(&scripted.api, &one)
        .await
        .expect_err("the token is wrong");
    let status = StatusCode::UNAUTHORIZED.as_str();
    assert!(error.message.contains(status), "{}", error.message);
}

#[tokio::test]
async fn a_part_of_several_ids_lists_them() {
    let two = [["r1", "evt_1", "d_1"], ["r2", "evt_12", "d_2"]];
    let scripted = Scripted::start(vec![ok(&records(&two))]).await;
    let found = find(&scripted.api, "evt").await;
    let Ok(Found::Several(list)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(list["deliveries"].as_array().map(Vec::len), Some(2));
    let scripted = Scripted::start(vec![ok(&records(&[]))]).await;
    let error = find(&scripted.api, "evt")
        .await
        .expect_err("nothing is found");
    let expected = "not among the records since 2026-11-30 07:00:00 UTC";
    assert_eq!(error.message, expected);
}

/// Returns the request id that the end `id` names among `ids`.
async fn resolved(id: &str, ids: &[[&str; 3]]) -> Result<String, Error> {
    let scripted = Scripted::start(vec![ok(&records(ids))]).await;
    request_id(&scripted.api, id).await
}

#[tokio::test]
async fn acts_need_the_request_id_or_a_unique_end_of_it() {
    // A sender that invents an event id cannot make it look like the end of a request id.
    let ids = [
        ["aaaa00000001", "evt_1", "d_1"],
        ["aaaa00000002", "00000001", "00000001"],
        ["bbbb00000003", "evt_3", "d_3"],
        ["cccc00000003", "evt_3", "d_3"],
    ];
    let one = resolved("00000001", &ids).await;
    assert_eq!(one.expect("one delivery has the end"), "aaaa00000001");
    for (id, expected) in [
        ("evt_1", "no delivery has the request id evt_1"),
        (
            "00000003",
            "2 deliveries have a request id that ends with 00000003",
        ),
        ("1", "no delivery has the request id 1"),
    ] {
        let error = resolved(id, &ids).await.expect_err("the end is not unique");
        assert!(error.message.starts_with(expected), "{}", error.message);
    }
}
