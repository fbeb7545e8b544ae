//! A key is swapped while deliveries come: none is lost, none comes twice, and the old
//! key is refused at once.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hookgate_tests::{Gateway, Provided, Upstream, send};
use http::StatusCode;
use tokio::task::JoinSet;

const OLD: &str = "whsec_5f0c8a6de2b94a13";
const NEW: &str = "whsec_77aa12bd90ce4f28";
const SENDERS: usize = 8;

/// What senders share.
#[derive(Debug, Default)]
struct Traffic {
    /// Whether they sign with the new key.
    swapped: AtomicBool,
    over: AtomicBool,
    sent: AtomicUsize,
}

/// Sends one event after the other, each until it is delivered, and then once more as
/// a replay. How often each was told to be delivered, which has to be once.
async fn keep_sending(address: SocketAddr, sender: usize, traffic: Arc<Traffic>) -> Vec<String> {
    let (old, new) = (
        Provided::named("beatapi").with_secret(OLD),
        Provided::named("beatapi").with_secret(NEW),
    );
    let mut delivered = Vec::new();
    for number in 0.. {
        if traffic.over.load(Ordering::SeqCst) {
            break;
        }
        let id = format!("evt_{sender}_{number}");
        let provided = || match traffic.swapped.load(Ordering::SeqCst) {
            true => &new,
            false => &old,
        };
        let reply = send(address, provided().delivery(&id)).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{id}");
        let replay = send(address, provided().delivery(&id)).await;
        assert_eq!(replay.outcome(), Some("duplicate"), "{id}");
        delivered.push(id);
        traffic.sent.fetch_add(1, Ordering::SeqCst);
    }
    delivered
}

async fn some_more(traffic: &Traffic) {
    let enough = traffic.sent.load(Ordering::SeqCst) + 50;
    while traffic.sent.load(Ordering::SeqCst) < enough {
        tokio::task::yield_now().await;
    }
}

fn write(folder: &Path, name: &str, text: &str) {
    fs::write(folder.join(name), text).expect("it can be written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_swapped_under_load_and_nothing_is_lost_or_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    write(folder.path(), "1", OLD);
    let file = |name| format!("\"file:{}\"", folder.path().join(name).display());
    let upstream = Upstream::start().await;
    let gateway = Gateway::builder(upstream.address())
        .table(&format!(
            "[[sources]]\nname = \"beatapi\"\npath = \"/hooks/beatapi\"\nprovider = \"beatapi\"\n\
             upstream = \"app\"\nsecrets = [{}]\n",
            file("1")
        ))
        .start_bare();
    let traffic = Arc::new(Traffic::default());
    let mut senders = JoinSet::new();
    for sender in 0..SENDERS {
        senders.spawn(keep_sending(
            gateway.address(),
            sender,
            Arc::clone(&traffic),
        ));
    }

    some_more(&traffic).await;
    // The new key beside the old one, then the senders, then the old one goes.
    write(folder.path(), "2", NEW);
    let both = format!("{}, {}", file("1"), file("2"));
    gateway.edit(&file("1"), &both);
    assert!(gateway.reload().await);
    some_more(&traffic).await;
    traffic.swapped.store(true, Ordering::SeqCst);
    // What was signed before is through.
    some_more(&traffic).await;
    gateway.edit(&both, &file("2"));
    assert!(gateway.reload().await);
    let forged = Provided::named("beatapi").with_secret(OLD);
    let refused = send(gateway.address(), forged.delivery("evt_forged")).await;
    assert_eq!(refused.status, StatusCode::UNAUTHORIZED);
    // And reloads that change nothing, as many as there may be.
    for _ in 0..20 {
        assert!(gateway.reload().await);
        some_more(&traffic).await;
    }
    traffic.over.store(true, Ordering::SeqCst);

    let delivered = senders.join_all().await.concat();
    let mut arrivals: BTreeMap<String, usize> = BTreeMap::new();
    for arrival in upstream.take() {
        let id = arrival.headers["hookgate-event-id"].to_str().expect("text");
        *arrivals.entry(id.to_owned()).or_default() += 1;
    }
    assert!(arrivals.values().all(|count| *count == 1), "{arrivals:?}");
    assert_eq!(arrivals.len(), delivered.len());
}
