//! The operator of a gateway under faults, who retries the deliveries that the upstream rejected.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::world::World;
use crate::inspector::ApiCall;

/// The longest time after the last fault until no delivery waits.
const LIMIT: Duration = Duration::from_secs(120);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until the queue has dead letters only, and retries them. Returns their number.
///
/// The upstream responds with 400 to a request whose body a fault has cut off, as most frameworks do.
/// A delivery that meets such a fault in three attempts is a dead letter.
///
/// # Panics
///
/// Panics if a dead letter has another reason.
pub(super) async fn retry_rejected(world: &World) -> usize {
    let (gateway, start) = (world.gateway(), Instant::now());
    let dead = loop {
        let list = ApiCall::get("/api/queue?state=dead").json(gateway).await;
        if is_done(&list["stats"]["sources"]) {
            break list["entries"].as_array().expect("a list").clone();
        }
        if start.elapsed() > LIMIT {
            let waiting = ApiCall::get("/api/queue").json(gateway).await;
            let consumers = world.stores.consumers();
            panic!(
                "deliveries wait: {waiting:#}\n{consumers}\n{}",
                gateway.log()
            );
        }
        sleep(POLL_INTERVAL).await;
    };
    for entry in &dead {
        assert_eq!(entry["last_failure"]["status"], 400, "{entry}");
        assert!(entry["attempts"].as_u64() >= Some(3), "{entry}");
        let id = entry["id"].as_str().expect("the number is a text");
        let retry = ApiCall::post(&format!("/api/queue/{id}/retry"), &json!({}));
        retry.json(gateway).await;
    }
    dead.len()
}

/// Returns whether no delivery waits, and none is in flight.
fn is_done(sources: &Value) -> bool {
    let mut sources = sources.as_array().expect("a list").iter();
    sources.all(|source| source["waiting"] == 0 && source["in_flight"] == 0)
}
