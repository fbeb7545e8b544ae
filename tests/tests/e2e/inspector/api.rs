//! The list and the detail view of deliveries, and the errors of the API.

use hookgate_tests::{Gateway, Upstream};
use http::{Method, StatusCode};

use super::{ApiCall, deliver, deliver_forged, deliveries, start};

#[tokio::test]
async fn each_request_is_listed_with_its_outcome() {
    let (gateway, _upstream) = start("").await;
    // A record exists when its request has ended, which can be after the response.
    deliver(&gateway, "evt_1").await;
    deliveries(&gateway, "", 1).await;
    deliver(&gateway, "evt_1").await;
    deliveries(&gateway, "", 2).await;
    deliver_forged(&gateway, "evt_2").await;
    let listed = deliveries(&gateway, "", 3).await;
    let outcomes: Vec<_> = listed.iter().map(|record| &record["outcome"]).collect();
    assert_eq!(outcomes, ["refused", "duplicate", "forwarded"]);
    assert_eq!(listed[0]["reason"], "signature_mismatch");
    assert_eq!(listed[2]["event_id"], "evt_1");
    assert_eq!(listed[2]["source"], "beatapi");
    assert!(listed[2]["seq"].is_u64(), "{}", listed[2]);

    let refused = deliveries(&gateway, "outcome=refused&reason=signature_mismatch", 1).await;
    assert_eq!(refused[0], listed[0]);
    let id = listed[0]["request_id"].as_str().expect("an id");
    for query in [
        "q=EVT_1&outcome=forwarded",
        "source=beatapi&outcome=duplicate",
    ] {
        assert_eq!(deliveries(&gateway, query, 1).await.len(), 1, "{query}");
    }
    let found = deliveries(&gateway, &format!("q={id}"), 1).await;
    assert_eq!(found[0], listed[0]);

    let detail = ApiCall::get(&format!("/api/deliveries/{id}"));
    let detail = detail.json(&gateway).await;
    assert_eq!(detail["delivery"], listed[0]);
    assert!(detail["capture"].is_null(), "{detail}");
}

#[tokio::test]
async fn pages_follow_each_other() {
    let (gateway, _upstream) = start("").await;
    for id in ["evt_1", "evt_2", "evt_3"] {
        deliver(&gateway, id).await;
    }
    let all = deliveries(&gateway, "", 3).await;
    let first = ApiCall::get("/api/deliveries?limit=2").json(&gateway).await;
    assert_eq!(first["deliveries"][1], all[1]);
    let before = first["next_before"].as_u64().expect("there is a next page");
    let second = ApiCall::get(&format!("/api/deliveries?limit=2&before={before}"));
    let second = second.json(&gateway).await;
    assert_eq!(second["deliveries"][0], all[2]);
    assert!(second["next_before"].is_null(), "{second}");
}

#[tokio::test]
async fn a_search_without_a_result_names_the_oldest_record() {
    let (gateway, _upstream) = start("").await;
    deliver(&gateway, "evt_1").await;
    let oldest = deliveries(&gateway, "", 1).await.remove(0);
    let list = ApiCall::get("/api/deliveries?q=evt_2").json(&gateway).await;
    let time = oldest["time"].as_str().expect("a time");
    assert_eq!(
        list["message"],
        format!("not among the records since {time}")
    );
    assert_eq!(list["since"], time);
    let unknown = "/api/deliveries/00000000000000000000000000000000";
    let detail = ApiCall::get(unknown)
        .problem(&gateway, StatusCode::NOT_FOUND)
        .await;
    assert_eq!(detail, format!("not among the records since {time}"));
}

#[tokio::test]
async fn mistakes_in_requests_are_named() {
    let (gateway, _upstream) = start("").await;
    for (path, expected) in [
        ("/api/deliveries?colour=red", "colour"),
        ("/api/deliveries?source=a&source=b", "repeated"),
        ("/api/deliveries?limit=501", "limit"),
        ("/api/deliveries?before=x", "before"),
        ("/api/session?x=1", "no parameters"),
    ] {
        let detail = ApiCall::get(path)
            .problem(&gateway, StatusCode::BAD_REQUEST)
            .await;
        assert!(detail.contains(expected), "{path}: {detail}");
    }
    for path in ["/api/", "/api/other", "/api/deliveries/x", "/other"] {
        ApiCall::get(path)
            .problem(&gateway, StatusCode::NOT_FOUND)
            .await;
    }
    let mut call = ApiCall::get("/api/deliveries");
    call.method = Method::DELETE;
    let response = call.send(&gateway).await;
    assert_eq!(response.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers["allow"], "GET, HEAD");
}

/// The page and the API exist only with the table `[inspector]`.
#[tokio::test]
async fn nothing_is_served_without_the_table() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address()).start();
    let paths = ["/", "/page.js", "/api/session", "/api/deliveries", "/api/x"];
    for path in paths {
        let response = ApiCall::get(path).send(&gateway).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            response.body,
            "not found; expected /healthz, /readyz, /metrics or /reload\n"
        );
        let mut call = ApiCall::get(path);
        call.method = Method::POST;
        let response = call.send(&gateway).await;
        assert_eq!(response.status, StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let mut call = ApiCall::get(path).without("authorization");
        let response = call.send(&gateway).await;
        assert_eq!(response.status, StatusCode::OK, "{path}");
        call.method = Method::HEAD;
        let head = call.send(&gateway).await;
        assert_eq!(head.status, StatusCode::OK, "{path}");
        assert!(head.body.is_empty(), "{path}");
        assert!(head.headers.contains_key("content-length"), "{path}");
    }
}
