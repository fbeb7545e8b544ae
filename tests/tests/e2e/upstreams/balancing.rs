//! The choice among the servers of an upstream: health checks, balancing, and servers that are
//! down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::routing::get;
use hookgate_tests::{Behaviour, Gateway, Upstream, send, try_send};
use http::StatusCode;

use super::{beatapi, closed_port, deliver_own, gateway};

#[tokio::test]
async fn the_live_one_of_two_servers_receives_every_delivery() {
    let (dead, _socket) = closed_port().await;
    let upstream = Upstream::start().await;
    let live = upstream.address();
    let gateway = Gateway::builder(dead)
        .table(&format!(
            "[upstreams.pair]\nservers = [\"{dead}\", \"{live}\"]"
        ))
        .table(
            "[[sources]]\nname = \"pair\"\npath = \"/pair\"\nprovider = \"beatapi\"\n\
             secrets = [\"env:PAIR\"]\nupstream = \"pair\"",
        )
        .env("PAIR", beatapi().secret)
        .start();
    for index in 0..6 {
        let mut request = beatapi().delivery(&format!("evt_{index}"));
        *request.uri_mut() = "/pair".parse().expect("the path is valid");
        assert_eq!(
            send(gateway.address(), request).await.status,
            StatusCode::NO_CONTENT
        );
    }
    assert_eq!(upstream.take_received().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_delivery_is_lost_to_a_server_that_is_down_under_load() {
    let (dead, _socket) = closed_port().await;
    let upstream = Upstream::start().await;
    let live = upstream.address();
    let pair = format!("[upstreams.pair]\nservers = [\"{dead}\", \"{live}\"]");
    let source = "[[sources]]\nname = \"pair\"\npath = \"/pair\"\nprovider = \"beatapi\"\n\
                  secrets = [\"env:PAIR\"]\nupstream = \"pair\"";
    let gateway = Gateway::builder(live)
        .table(&pair)
        .table(source)
        .env("PAIR", beatapi().secret)
        .start();
    let mut deliveries = tokio::task::JoinSet::new();
    for index in 0..200 {
        let mut request = beatapi().delivery(&format!("evt_{index}"));
        *request.uri_mut() = "/pair".parse().expect("the path is valid");
        deliveries.spawn(send(gateway.address(), request));
    }
    let responses = deliveries.join_all().await;
    assert!(
        responses
            .iter()
            .all(|response| response.status == StatusCode::NO_CONTENT)
    );
    assert_eq!(upstream.take_received().len(), 200);
}

/// Starts an upstream whose health check fails while the flag is set. It still serves deliveries.
async fn with_health_check() -> (Upstream, Arc<AtomicBool>) {
    let unhealthy = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&unhealthy);
    let health = get(async move || match fails.load(Ordering::SeqCst) {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    });
    let upstream = Upstream::start_with(|router| router.route("/healthz", health)).await;
    (upstream, unhealthy)
}

#[tokio::test]
async fn an_unhealthy_server_receives_nothing_until_it_is_healthy_again() {
    for protocol in ["http1", "h2c"] {
        let ((one, unhealthy), (two, _)) = (with_health_check().await, with_health_check().await);
        let gateway = gateway(&format!(
            "servers = [\"{}\", \"{}\"]\nprotocol = \"{protocol}\"\n\
             health = {{ path = \"/healthz\", interval = \"50ms\", fall = 2, rise = 2 }}",
            one.address(),
            two.address()
        ))
        .start();
        let share = async |round: &str| {
            for index in 0..10 {
                let id = format!("evt_{round}_{index}");
                assert_eq!(deliver_own(&gateway, &id).await, 204, "{protocol}");
            }
            (one.take_received().len(), two.take_received().len())
        };
        assert_eq!(share("healthy").await, (5, 5), "{protocol}");
        unhealthy.store(true, Ordering::SeqCst);
        gateway.wait_for_log("server unhealthy").await;
        assert_eq!(share("unhealthy").await, (0, 10), "{protocol}");
        let metrics = gateway.get_admin("/metrics").await;
        let out = "hookgate_upstream_unhealthy_servers{upstream=\"own\"} 1\n";
        assert!(metrics.contains(out), "{metrics}");
        unhealthy.store(false, Ordering::SeqCst);
        gateway.wait_for_log("server healthy").await;
        assert_eq!(share("recovered").await, (5, 5), "{protocol}");
    }
}

#[tokio::test]
async fn without_a_healthy_server_deliveries_are_still_sent() {
    let (upstream, unhealthy) = with_health_check().await;
    unhealthy.store(true, Ordering::SeqCst);
    let gateway = gateway(&format!(
        "servers = [\"{}\"]\nhealth = {{ path = \"/healthz\", interval = \"50ms\", fall = 1 }}",
        upstream.address()
    ))
    .start();
    gateway.wait_for_log("server unhealthy").await;
    assert_eq!(deliver_own(&gateway, "evt_1").await, 204);
}

#[tokio::test]
async fn with_hash_balancing_retries_of_an_event_go_to_one_server() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let servers = format!("servers = [\"{}\", \"{}\"]", one.address(), two.address());
    let by_event = gateway(&format!("{servers}\nbalance = \"hash\"")).start();
    for index in 0..8 {
        let id = format!("evt_{index}");
        for upstream in [&one, &two] {
            // The first two attempts fail, the third succeeds.
            upstream.queue_behaviour(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR));
            upstream.queue_behaviour(Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR));
        }
        for expected in [500, 500, 204] {
            assert_eq!(deliver_own(&by_event, &id).await, expected, "{id}");
        }
        let (to_one, to_two) = (one.take_received().len(), two.take_received().len());
        assert!(
            matches!((to_one, to_two), (3, 0) | (0, 3)),
            "{to_one} {to_two}"
        );
        // The other server must not apply its queued responses to the next event.
        let other = if to_one == 0 { &one } else { &two };
        consume_queued(other).await;
    }
}

/// Consumes the two queued responses of a server that received no delivery.
async fn consume_queued(upstream: &Upstream) {
    for _ in 0..2 {
        let request = beatapi().delivery("spent");
        let _ = try_send(upstream.address(), request).await;
    }
    upstream.take_received();
}

#[tokio::test]
async fn with_least_requests_a_busy_server_receives_nothing() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let gateway = gateway(&format!(
        "servers = [\"{}\", \"{}\"]\nbalance = \"least_requests\"",
        one.address(),
        two.address()
    ))
    .start();
    one.queue_behaviour(Behaviour::Hang);
    let stuck = deliver_own(&gateway, "evt_stuck");
    let others = async {
        while one.take_received().is_empty() {
            tokio::task::yield_now().await;
        }
        for index in 0..6 {
            assert_eq!(deliver_own(&gateway, &format!("evt_{index}")).await, 204);
        }
    };
    tokio::select! {
        status = stuck => panic!("the hanging server responded: {status}"),
        () = others => {}
    }
    assert_eq!(
        (one.take_received().len(), two.take_received().len()),
        (0, 6)
    );
}
