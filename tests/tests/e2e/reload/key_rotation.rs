//! Rotation of a source's keys: a removed key stops at once, a new one counts at once, and no
//! event is lost or forwarded twice.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hookgate_core::UnixTime;
use hookgate_tests::{Gateway, TestProvider, Upstream, now, send};
use http::StatusCode;
use tokio::task::JoinSet;

use super::{NEW, OLD, folder, gateway, new, old, source, status, write};

#[tokio::test]
async fn a_removed_key_stops_at_once_and_an_added_key_counts_at_once() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    assert_eq!(
        status(&gateway, &old(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        status(&gateway, &new(), "evt_2").await,
        StatusCode::UNAUTHORIZED
    );
    gateway.edit_config("env:OLD", "env:NEW");
    assert!(gateway.reload().await);
    assert_eq!(
        status(&gateway, &old(), "evt_3").await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(
        status(&gateway, &new(), "evt_4").await,
        StatusCode::NO_CONTENT
    );
    // The reload kept the replay store.
    let again = send(gateway.address(), new().delivery("evt_1")).await;
    assert_eq!(again.outcome(), Some("duplicate"));
    assert_eq!(upstream.take_received().len(), 2);
}

#[tokio::test]
async fn mismatch_status_503_makes_the_sender_retry_until_the_new_key_is_configured() {
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, "\"env:OLD\"");
    gateway.edit_config("secrets = [", "mismatch_status = 503\nsecrets = [");
    assert!(gateway.reload().await);
    // The provider already signs with the new secret, and the gateway has only the old one.
    let response = send(gateway.address(), new().delivery("evt_1")).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers.contains_key("retry-after"));
    // A stale delivery is no sign of a rotation, so its sender must not retry.
    let body = new().body("evt_2");
    let stale = new().sign(&body, now().minus(Duration::from_secs(3600)), "evt_2");
    let response = send(gateway.address(), new().request(stale, body)).await;
    assert_eq!(response.status, StatusCode::UNAUTHORIZED);
    gateway.edit_config("\"env:OLD\"", "\"env:NEW\"");
    assert!(gateway.reload().await);
    assert_eq!(
        status(&gateway, &new(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn keys_count_between_not_before_and_not_after_and_a_metric_counts_each_match() {
    let folder = folder();
    let clock = folder.path().join("clock");
    let start = UnixTime::from_secs(1_784_187_600);
    let at = |second: u64| start.plus(Duration::from_secs(second));
    let set = |second| write(&clock, &at(second).secs().to_string());
    set(0);
    let upstream = Upstream::start().await;
    let keys = "{ from = \"env:OLD\", id = \"old\", not_after = \"2026-07-16T07:41:40Z\" }, \
                { from = \"env:NEW\", id = \"new\", not_before = \"2026-07-16T07:40:50Z\" }";
    let gateway = Gateway::builder(upstream.address())
        .env("OLD", OLD)
        .env("NEW", NEW)
        .env("HOOKGATE_TEST_CLOCK", &clock.display().to_string())
        .table(&source(keys))
        .start_without_default_sources();
    for (second, old_counts, new_counts) in [(0, true, false), (75, true, true), (150, false, true)]
    {
        set(second);
        for (provider, name, counts) in [(old(), "old", old_counts), (new(), "new", new_counts)] {
            let id = format!("evt_{name}_{second}");
            let body = provider.body(&id);
            let headers = provider.sign(&body, at(second), &id);
            let response = send(gateway.address(), provider.request(headers, body)).await;
            let expected = match counts {
                true => StatusCode::NO_CONTENT,
                false => StatusCode::UNAUTHORIZED,
            };
            assert_eq!(response.status, expected, "{id}");
        }
    }
    let metrics = gateway.get_admin("/metrics").await;
    for key in ["old", "new"] {
        let line = format!("hookgate_key_matches_total{{key=\"{key}\",source=\"beatapi\"}} 2");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}

const SENDERS: usize = 8;

/// The state that the senders share.
#[derive(Debug, Default)]
struct Traffic {
    /// Whether the senders sign with the new key.
    uses_new_key: AtomicBool,
    over: AtomicBool,
    sent: AtomicUsize,
}

/// Sends events one after the other, each of them twice, until the traffic is over. Returns the
/// ids of the delivered events.
async fn keep_sending(address: SocketAddr, sender: usize, traffic: Arc<Traffic>) -> Vec<String> {
    let (old, new) = (
        TestProvider::named("beatapi").with_secret(OLD),
        TestProvider::named("beatapi").with_secret(NEW),
    );
    let mut delivered = Vec::new();
    for number in 0.. {
        if traffic.over.load(Ordering::SeqCst) {
            break;
        }
        let id = format!("evt_{sender}_{number}");
        let provider = || match traffic.uses_new_key.load(Ordering::SeqCst) {
            true => &new,
            false => &old,
        };
        let response = send(address, provider().delivery(&id)).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT, "{id}");
        let replay = send(address, provider().delivery(&id)).await;
        assert_eq!(replay.outcome(), Some("duplicate"), "{id}");
        delivered.push(id);
        traffic.sent.fetch_add(1, Ordering::SeqCst);
    }
    delivered
}

/// Waits until 50 more events were delivered.
async fn wait_for_more(traffic: &Traffic) {
    let enough = traffic.sent.load(Ordering::SeqCst) + 50;
    while traffic.sent.load(Ordering::SeqCst) < enough {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_loses_no_event_and_forwards_none_twice() {
    let folder = tempfile::tempdir().expect("the temporary folder is created");
    write(&folder.path().join("1"), OLD);
    let file = |name| format!("\"file:{}\"", folder.path().join(name).display());
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table(&format!(
            "[[sources]]\nname = \"beatapi\"\npath = \"/hooks/beatapi\"\nprovider = \"beatapi\"\n\
             upstream = \"app\"\nsecrets = [{}]\n",
            file("1")
        ))
        .start_without_default_sources();
    let traffic = Arc::new(Traffic::default());
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(keep_sending(
            gateway.address(),
            sender,
            Arc::clone(&traffic),
        ));
    }

    wait_for_more(&traffic).await;
    // Add the new key, let the senders use it, then remove the old key.
    write(&folder.path().join("2"), NEW);
    let both = format!("{}, {}", file("1"), file("2"));
    gateway.edit_config(&file("1"), &both);
    assert!(gateway.reload().await);
    wait_for_more(&traffic).await;
    traffic.uses_new_key.store(true, Ordering::SeqCst);
    // By now no delivery with the old signature is in flight.
    wait_for_more(&traffic).await;
    gateway.edit_config(&both, &file("2"));
    assert!(gateway.reload().await);
    let forged = TestProvider::named("beatapi").with_secret(OLD);
    let refused = send(gateway.address(), forged.delivery("evt_forged")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    // Reloads without a change must not disturb the traffic either.
    for _ in 0..20 {
        assert!(gateway.reload().await);
        wait_for_more(&traffic).await;
    }
    traffic.over.store(true, Ordering::SeqCst);

    let delivered = senders.join_all().await.concat();
    let mut arrivals: BTreeMap<String, usize> = BTreeMap::new();
    for arrival in upstream.take_received() {
        let id = arrival.headers["hookgate-event-id"]
            .to_str()
            .expect("the bytes are UTF-8");
        *arrivals.entry(id.to_owned()).or_default() += 1;
    }
    assert!(arrivals.values().all(|count| *count == 1), "{arrivals:?}");
    assert_eq!(arrivals.len(), delivered.len());
}
