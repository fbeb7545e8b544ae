//! An upstream that redirects: the log names the location and the usual cause.

use bytes::Bytes;
use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, send};
use http::StatusCode;

use super::lines;

#[tokio::test]
async fn the_log_asks_about_https_if_the_location_differs_in_the_scheme_only() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .server("trusted_proxies = [\"127.0.0.1\"]")
        .start();
    let to_https = &[("location", "https://hooks.example/hooks/beatapi")][..];
    let elsewhere = &[(
        "location",
        "https://user:pass@login.example/in?token=canary#canary",
    )][..];
    let https = "Does the app force https? Set server.trusted_proxies";
    for (index, (status, headers, scheme, expected)) in [
        (301, to_https, "http", https),
        (302, to_https, "http", https),
        (307, to_https, "http", https),
        (308, to_https, "http", https),
        (308, to_https, "https", "It must read X-Forwarded-Proto"),
        (
            302,
            elsewhere,
            "http",
            "the upstream responded 302 (Location: https://login.example/in); the sender gets 502.",
        ),
        (
            304,
            &[][..],
            "http",
            "the upstream responded 304; the sender gets 502.",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let status = StatusCode::from_u16(status).expect("the status is valid");
        upstream.queue_behaviour(Behaviour::Response(status, headers, Bytes::new()));
        let mut request = TestProvider::named("beatapi").delivery(&format!("evt_{index}"));
        request
            .headers_mut()
            .extend(lines(&[("x-forwarded-proto", scheme)]));
        let before = gateway.log().len();
        let response = send(gateway.address(), request).await;
        assert_eq!(response.status, StatusCode::BAD_GATEWAY);
        gateway.wait_for_access_log(index + 1).await;
        let log = gateway.log()[before..].to_owned();
        assert!(log.contains(expected), "{expected}: {log}");
        assert!(
            log.contains(&format!("the upstream responded {}", status.as_u16())),
            "{log}"
        );
        assert!(!log.contains("canary") && !log.contains("pass@"), "{log}");
    }
}

#[tokio::test]
async fn the_location_is_compared_with_the_path_that_the_upstream_got() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .every_source("upstream_path = \"/app\"")
        .start();
    for (id, location, expected) in [
        (
            "evt_1",
            &[("location", "https://hooks.example/app")][..],
            "Does the app force https?",
        ),
        // The control: the app has moved to the path of the sender.
        (
            "evt_2",
            &[("location", "https://hooks.example/hooks/beatapi")][..],
            "Senders follow no redirects",
        ),
    ] {
        let redirect = StatusCode::MOVED_PERMANENTLY;
        upstream.queue_behaviour(Behaviour::Response(redirect, location, Bytes::new()));
        let delivery = TestProvider::named("beatapi").delivery(id);
        let response = send(gateway.address(), delivery).await;
        assert_eq!(response.status, StatusCode::BAD_GATEWAY);
        gateway.wait_for_log(expected).await;
    }
}

#[tokio::test]
async fn a_redirect_of_a_stored_delivery_is_explained_too() {
    let upstream = Upstream::start().await;
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    for mode in ["always", "on_failure"] {
        let path = |name: &str| folder.path().join(format!("{mode}-{name}"));
        let gateway = Gateway::builder(upstream.address())
            .replay(&format!("store = \"disk\"\npath = {:?}", path("replay")))
            .table(&format!(
                "[queue]\nstore = \"disk\"\npath = {:?}",
                path("queue")
            ))
            .every_source(&format!("queue = \"{mode}\"\nupstream_path = \"/app\""))
            .start();
        let location = &[("location", "https://hooks.example/app")][..];
        let redirect = StatusCode::MOVED_PERMANENTLY;
        upstream.queue_behaviour(Behaviour::Response(redirect, location, Bytes::new()));
        let delivery = TestProvider::named("beatapi").delivery(&format!("evt_{mode}"));
        let response = send(gateway.address(), delivery).await;
        assert_eq!(response.outcome(), Some("queued"), "{mode}");
        gateway
            .wait_for_log("the queue sends the delivery again")
            .await;
        gateway.wait_for_log("Does the app force https?").await;
    }
}
