//! The operator of a gateway under faults, who retries the deliveries that the upstream rejected.

use std::time::{Duration, Instant};

use hookgate_tests::Upstream;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::world::World;
use crate::inspector::ApiCall;
use crate::outages::drain::take_arrivals;
use crate::outages::senders::Senders;

/// The longest time after the last fault until every delivery has ended.
const LIMIT: Duration = Duration::from_secs(120);
/// The time without an arrival after which no other can follow. It is longer than three leases.
const QUIET: Duration = Duration::from_secs(45);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Retries the dead letters until every accepted event has arrived. Returns how many were retried.
///
/// The upstream responds with 400 to a request whose body a fault has cut off, as most frameworks do.
/// A delivery that meets such a fault in three attempts is a dead letter.
///
/// # Panics
///
/// Panics if a dead letter has another reason, or if an event does not arrive.
pub(super) async fn retry_rejected(world: &World, upstream: &Upstream, senders: &Senders) -> usize {
    let dead = wait_until_ended(world, upstream, senders).await;
    for entry in &dead {
        assert_eq!(entry["last_failure"]["status"], 400, "{entry}");
        assert!(entry["attempts"].as_u64() >= Some(3), "{entry}");
        let id = entry["id"].as_str().expect("the number is a text");
        let retry = ApiCall::post(&format!("/api/queue/{id}/retry"), &json!({}));
        retry.json(world.gateway()).await;
    }
    let left = wait_until_ended(world, upstream, senders).await;
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(senders.with_history(|history| history.missing()), 0);
    dead.len()
}

/// Waits until the queue has dead letters only, and returns them.
///
/// A server of NATS 2.9 that was killed can count deliveries that it does not have. So the wait ends
/// too when no event is missing, and none arrives for some time.
async fn wait_until_ended(world: &World, upstream: &Upstream, senders: &Senders) -> Vec<Value> {
    let gateway = world.gateway();
    let start = Instant::now();
    let (mut arrived, mut last) = (0, Instant::now());
    loop {
        let list = ApiCall::get("/api/queue?state=dead").json(gateway).await;
        let dead = list["entries"].as_array().expect("a list");
        let now = take_arrivals(upstream, senders);
        if now != arrived {
            (arrived, last) = (now, Instant::now());
        }
        let missing = senders.with_history(|history| history.missing());
        let is_quiet = missing <= dead.len() && last.elapsed() > QUIET;
        if is_done(&list["stats"]["sources"]) || is_quiet {
            return dead.clone();
        }
        if start.elapsed() > LIMIT {
            let waiting = ApiCall::get("/api/queue").json(gateway).await;
            let consumers = world.stores.consumers();
            panic!(
                "{missing} missing: {waiting:#}\n{consumers}\n{}",
                gateway.log()
            );
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Returns whether no delivery waits, and none is in flight.
fn is_done(sources: &Value) -> bool {
    let mut sources = sources.as_array().expect("a list").iter();
    sources.all(|source| source["waiting"] == 0 && source["in_flight"] == 0)
}
