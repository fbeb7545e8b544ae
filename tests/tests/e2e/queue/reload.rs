//! Reloads and restarts with another configuration while deliveries wait in the queue.

use std::path::Path;
use std::time::Instant;

use hookgate_tests::{Behaviour, Gateway, Upstream, get_admin, now, send};
use http::StatusCode;
use tokio::time::sleep;

use super::{
    LATE, POLL_INTERVAL, SOON, WAIT_TIMEOUT, assert_queued, beatapi, deliver, folder, header,
    wait_for_arrivals, wait_for_state, wait_until_empty, with_queue, with_queue_settings,
};

const FAIL: Behaviour = Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR);
const ACCEPT: Behaviour = Behaviour::Status(StatusCode::NO_CONTENT);
const OLD: &str = "whsec_5f0c8a6de2b94a13";
const NEW: &str = "whsec_77aa12bd90ce4f28";

/// Starts a gateway with the sources `beatapi` and `beel`.
fn start(upstream: &Upstream, folder: &Path, beatapi: &str) -> Gateway {
    let other = "[[sources]]\nname = \"other\"\npath = \"/hooks/other\"\nprovider = \"beatapi\"\n\
                 secrets = [\"env:OLD\"]\nupstream = \"app\"\n";
    with_queue(upstream, folder)
        .env("OLD", OLD)
        .env("NEW", NEW)
        .table(other)
        .table(beatapi)
        .start_without_default_sources()
}

fn source(secret: &str, lines: &str) -> String {
    format!(
        "[[sources]]\nname = \"beatapi\"\npath = \"/hooks/beatapi\"\nprovider = \"beatapi\"\n\
         secrets = [\"env:{secret}\"]\nupstream = \"app\"\nqueue = \"on_failure\"\n{lines}\n"
    )
}

#[tokio::test]
async fn a_reload_applies_another_schedule_without_a_loss() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let patient = "retry = { first = \"100ms\", factor = 1, max = \"100ms\", give_up = \"72h\" }";
    let gateway = start(&upstream, folder.path(), &source("OLD", patient));
    upstream.set_default_behaviour(FAIL);
    assert_queued(&deliver(&gateway, "evt_1").await, "evt_1");
    // The control: with the first schedule the delivery stays.
    wait_for_arrivals(&upstream, 3).await;
    assert_eq!(
        gateway
            .existing_counter("hookgate_queue_deliveries{source=\"beatapi\",state=\"dead\"}")
            .await,
        0
    );
    gateway.edit_config("give_up = \"72h\"", "give_up = \"100ms\"");
    assert!(gateway.reload().await, "{}", gateway.log());
    wait_for_state(&gateway, "dead", 1).await;
    wait_until_empty(&gateway).await;
}

#[tokio::test]
async fn a_reload_that_removes_a_source_with_waiting_deliveries_is_refused_with_their_number() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let table = source("OLD", LATE);
    let gateway = start(&upstream, folder.path(), &table);
    upstream.set_default_behaviour(FAIL);
    for id in ["evt_1", "evt_2"] {
        assert_queued(&deliver(&gateway, id).await, id);
    }
    gateway.edit_config(&table, "");
    assert!(!gateway.reload().await, "{}", gateway.log());
    gateway
        .wait_for_log("2 deliveries of source beatapi wait in the queue")
        .await;
    // The command in the message works as it is.
    gateway
        .wait_for_log("`hookgate queue drop --source beatapi --yes`")
        .await;
    // The earlier configuration still runs.
    assert_queued(&deliver(&gateway, "evt_3").await, "evt_3");
    // The control: a source without deliveries can be removed.
    gateway.edit_config(
        "[[sources]]\nname = \"other\"",
        &format!("{table}[[sources]]\nname = \"renamed\""),
    );
    assert!(gateway.reload().await, "{}", gateway.log());
    wait_for_state(&gateway, "waiting", 3).await;
}

/// The delivery waits for its upstream while the reload counts the stored deliveries, so the reload
/// finds none.
#[tokio::test]
async fn a_delivery_that_is_stored_after_a_reload_removed_its_source_is_kept_as_orphaned() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let table = source("OLD", SOON);
    let renamed = table.replace("/hooks/beatapi", "/hooks/renamed");
    let renamed = renamed.replacen("\"beatapi\"", "\"renamed\"", 1);
    // The reload is complete long before this timeout.
    let gateway = with_queue_settings(&upstream, folder.path(), "")
        .upstream("timeout = \"5m\"")
        .env("OLD", OLD)
        .table(&table)
        .start_without_default_sources();
    let held = upstream.hold_response(StatusCode::INTERNAL_SERVER_ERROR);
    let sending = tokio::spawn({
        let (address, delivery) = (gateway.address(), beatapi().delivery("evt_1"));
        async move { send(address, delivery).await }
    });
    wait_for_arrivals(&upstream, 1).await;
    gateway.edit_config(&table, &renamed);
    assert!(gateway.reload().await, "{}", gateway.log());
    held.release();
    let response = sending.await.expect("the task does not panic");
    assert_queued(&response, "evt_1");
    wait_for_state(&gateway, "orphaned", 1).await;
    assert_eq!(upstream.take_received().len(), 0);

    // The control: with its source, the delivery is sent.
    upstream.set_default_behaviour(ACCEPT);
    gateway.edit_config(&renamed, &table);
    assert!(gateway.reload().await, "{}", gateway.log());
    let arrived = wait_for_arrivals(&upstream, 1).await;
    assert_eq!(header(&arrived[0], "hookgate-event-id"), "evt_1");
    wait_until_empty(&gateway).await;
}

#[tokio::test]
async fn deliveries_of_a_source_that_is_gone_at_the_start_are_kept_as_orphaned() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let table = source("OLD", LATE);
    let gateway = start(&upstream, folder.path(), &table);
    upstream.set_default_behaviour(FAIL);
    assert_queued(&deliver(&gateway, "evt_1").await, "evt_1");
    drop(gateway);
    upstream.take_received();
    upstream.set_default_behaviour(ACCEPT);

    let gateway = start(&upstream, folder.path(), "");
    gateway
        .wait_for_log("deliveries of a source that is not configured")
        .await;
    gateway
        .wait_for_log("`hookgate queue drop --source beatapi --yes`")
        .await;
    wait_for_state(&gateway, "orphaned", 1).await;
    wait_for_state(&gateway, "waiting", 0).await;
    assert_eq!(upstream.take_received().len(), 0);
    drop(gateway);

    // With its source, the delivery is a waiting one again.
    let gateway = start(&upstream, folder.path(), &table);
    wait_for_state(&gateway, "waiting", 1).await;
    wait_for_state(&gateway, "orphaned", 0).await;
    let again = deliver(&gateway, "evt_1").await;
    assert_eq!(again.outcome(), Some("duplicate"));
}

#[tokio::test]
async fn a_delivery_whose_key_was_revoked_is_still_delivered() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = start(&upstream, folder.path(), &source("OLD", SOON));
    upstream.set_default_behaviour(FAIL);
    let old = beatapi().with_secret(OLD);
    let stored = send(gateway.address(), old.delivery("evt_1")).await;
    assert_queued(&stored, "evt_1");
    let beatapi_secrets =
        "provider = \"beatapi\"\nsecrets = [\"env:OLD\"]\nupstream = \"app\"\nqueue";
    gateway.edit_config(beatapi_secrets, &beatapi_secrets.replace("OLD", "NEW"));
    assert!(gateway.reload().await, "{}", gateway.log());
    // The control: the key verifies no further delivery.
    let refused = send(gateway.address(), old.delivery("evt_2")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    upstream.take_received();
    upstream.set_default_behaviour(ACCEPT);
    let arrived = wait_for_arrivals(&upstream, 1).await;
    assert_eq!(header(&arrived[0], "hookgate-event-id"), "evt_1");
    wait_until_empty(&gateway).await;
}

#[tokio::test]
async fn a_source_without_the_queue_still_delivers_what_waits() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = start(&upstream, folder.path(), &source("OLD", SOON));
    upstream.set_default_behaviour(FAIL);
    assert_queued(&deliver(&gateway, "evt_1").await, "evt_1");
    gateway.edit_config("queue = \"on_failure\"", "queue = \"off\"");
    assert!(gateway.reload().await, "{}", gateway.log());
    // The control: a further delivery is not stored.
    let failed = deliver(&gateway, "evt_2").await;
    assert_eq!(failed.status, StatusCode::INTERNAL_SERVER_ERROR);
    upstream.set_default_behaviour(ACCEPT);
    wait_until_empty(&gateway).await;
    let again = deliver(&gateway, "evt_1").await;
    assert_eq!(again.outcome(), Some("duplicate"));
}

#[tokio::test]
async fn a_change_of_the_queue_needs_a_restart() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = start(&upstream, folder.path(), &source("OLD", SOON));
    gateway.edit_config("[queue]\n", "[queue]\nmax_bytes = \"64MiB\"\n");
    assert!(!gateway.reload().await, "{}", gateway.log());
    gateway
        .wait_for_log("queue: it changed; restart the gateway")
        .await;
}

/// A load balancer must keep sending deliveries to a gateway that can store them.
#[tokio::test]
async fn a_gateway_with_a_queue_is_ready_while_its_upstream_is_down() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let gateway = start(&upstream, folder.path(), &source("OLD", LATE));
    let address = upstream.address();
    drop(upstream);
    let ready = get_admin(gateway.admin(), "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains("\"queue\":\"ok\""), "{ready}");
    assert!(ready.contains("\"app\":\"unreachable\""), "{ready}");
    // The control: without a queue, no delivery could go anywhere.
    let gateway = Gateway::builder(address).start();
    let ready = get_admin(gateway.admin(), "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(!ready.contains("queue"), "{ready}");
}

#[tokio::test]
async fn a_reload_raises_the_body_limit_of_a_queued_source() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let table = source("OLD", &format!("body = \"1KiB\"\n{LATE}"));
    let gateway = start(&upstream, folder.path(), &table);
    upstream.set_default_behaviour(FAIL);
    let body = format!("{{\"pad\":\"{}\"}}", "x".repeat(50_000));
    let deliver = async |id: &str| {
        let sender = beatapi().with_secret(OLD);
        let headers = sender.sign(body.as_bytes(), now(), id);
        let request = sender.request(headers, body.clone().into());
        send(gateway.address(), request).await
    };
    assert_eq!(deliver("evt_1").await.status, StatusCode::PAYLOAD_TOO_LARGE);
    gateway.edit_config("body = \"1KiB\"", "body = \"1MiB\"");
    assert!(gateway.reload().await, "{}", gateway.log());
    assert_queued(&deliver("evt_1").await, "evt_1");
    // The control: a setting of the queue still needs a restart.
    gateway.edit_config("[queue]", "[queue]\nkeep_dead = \"1h\"");
    assert!(!gateway.reload().await, "{}", gateway.log());
}

/// A queue that cannot store the next delivery is no reason to send deliveries to this gateway.
#[tokio::test]
async fn a_gateway_whose_queue_has_no_space_for_the_largest_body_is_not_ready() {
    let (folder, upstream) = (folder(), Upstream::start().await);
    let table = source("OLD", &format!("body = \"1MiB\"\n{LATE}"));
    let path = |name: &str| folder.path().join(name).display().to_string();
    let gateway = Gateway::builder(upstream.address())
        .env("OLD", OLD)
        .replay(&format!("store = \"disk\"\npath = {:?}", path("replay")))
        .table(&format!(
            "[queue]\nstore = \"disk\"\npath = {:?}\nmax_bytes = \"1536KiB\"\n\
             max_bytes_per_source = \"1536KiB\"",
            path("queue")
        ))
        .table(&table)
        .start_without_default_sources();
    drop(upstream);
    // The control: the largest body fits.
    let ready = get_admin(gateway.admin(), "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    assert!(ready.contains("\"queue\":\"ok\""), "{ready}");
    let body = format!("{{\"pad\":\"{}\"}}", "x".repeat(600_000));
    let sender = beatapi().with_secret(OLD);
    let headers = sender.sign(body.as_bytes(), now(), "evt_1");
    let stored = send(gateway.address(), sender.request(headers, body.into())).await;
    assert_queued(&stored, "evt_1");
    // A report stays for a second.
    let start = Instant::now();
    loop {
        let ready = get_admin(gateway.admin(), "/readyz").await;
        if ready.starts_with("HTTP/1.1 503") {
            assert!(ready.contains("\"queue\":\"full\""), "{ready}");
            break;
        }
        assert!(start.elapsed() < WAIT_TIMEOUT, "{ready}");
        sleep(POLL_INTERVAL).await;
    }
}
