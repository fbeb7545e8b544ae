//! The choice among the servers of an upstream: health checks, balancing, and servers that are
//! down.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::routing::get;
use hookgate_tests::{Behaviour, Gateway, Upstream, send, try_send};
use http::StatusCode;

use super::{beatapi, closed_port, deliver_own, gateway};

#[tokio::test]
async fn of_two_servers_the_one_that_lives_gets_it() {
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
async fn under_load_no_delivery_is_lost_to_the_server_that_is_down() {
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
    let replies = deliveries.join_all().await;
    assert!(
        replies
            .iter()
            .all(|reply| reply.status == StatusCode::NO_CONTENT)
    );
    assert_eq!(upstream.take_received().len(), 200);
}

/// A server that can be sick, for its health checks alone.
async fn patient() -> (Upstream, Arc<AtomicBool>) {
    let sick = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&sick);
    let health = get(async move || match asked.load(Ordering::SeqCst) {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::OK,
    });
    let upstream = Upstream::start_with(|router| router.route("/healthz", health)).await;
    (upstream, sick)
}

#[tokio::test]
async fn a_sick_server_gets_nothing_until_it_is_well_again() {
    for protocol in ["http1", "h2c"] {
        let ((one, sick), (two, _)) = (patient().await, patient().await);
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
        assert_eq!(share("well").await, (5, 5), "{protocol}");
        sick.store(true, Ordering::SeqCst);
        gateway.wait_for_log("server is out").await;
        assert_eq!(share("sick").await, (0, 10), "{protocol}");
        let metrics = gateway.get_admin("/metrics").await;
        let out = "hookgate_upstream_unhealthy_servers{upstream=\"own\"} 1\n";
        assert!(metrics.contains(out), "{metrics}");
        sick.store(false, Ordering::SeqCst);
        gateway.wait_for_log("server is back").await;
        assert_eq!(share("again").await, (5, 5), "{protocol}");
    }
}

#[tokio::test]
async fn with_no_server_well_a_delivery_is_tried_and_not_lost() {
    let (upstream, sick) = patient().await;
    sick.store(true, Ordering::SeqCst);
    let gateway = gateway(&format!(
        "servers = [\"{}\"]\nhealth = {{ path = \"/healthz\", interval = \"50ms\", fall = 1 }}",
        upstream.address()
    ))
    .start();
    gateway.wait_for_log("server is out").await;
    assert_eq!(deliver_own(&gateway, "evt_1").await, 204);
}

#[tokio::test]
async fn an_event_keeps_to_its_server() {
    let (one, two) = (Upstream::start().await, Upstream::start().await);
    let servers = format!("servers = [\"{}\", \"{}\"]", one.address(), two.address());
    let by_event = gateway(&format!("{servers}\nbalance = \"hash\"")).start();
    for index in 0..8 {
        let id = format!("evt_{index}");
        for upstream in [&one, &two] {
            // Every try of it fails but the last.
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
        // What the other one was told to do is not for the next event.
        let other = if to_one == 0 { &one } else { &two };
        drain(other).await;
    }
}

/// Spends the two behaviours that nobody has asked for.
async fn drain(upstream: &Upstream) {
    for _ in 0..2 {
        let request = beatapi().delivery("spent");
        let _ = try_send(upstream.address(), request).await;
    }
    upstream.take_received();
}

#[tokio::test]
async fn a_server_that_is_busy_comes_after_one_that_is_not() {
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
        status = stuck => panic!("it hangs: {status}"),
        () = others => {}
    }
    assert_eq!(
        (one.take_received().len(), two.take_received().len()),
        (0, 6)
    );
}
