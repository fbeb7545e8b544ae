//! Waits until the upstream has every accepted event.

use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, Upstream};
use tokio::time::sleep;

use super::history::Arrival;
use super::senders::Senders;

/// The time without an arrival after which a test fails. It is longer than a lease, which is the
/// timeouts of the upstream and a margin of 5 s.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two checks. Each check reads the whole history.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Adds the new arrivals to the history. Returns the number of all arrivals.
pub(super) fn take_arrivals(upstream: &Upstream, senders: &Senders) -> usize {
    let received = upstream.take_received();
    senders.with_history(|history| {
        history.arrivals.extend(received.iter().map(Arrival::new));
        history.arrivals.len()
    })
}

/// Waits until every accepted event has arrived, and until the queue is empty, so that no other
/// arrival can follow.
pub(super) async fn wait_until_drained(gateway: &Gateway, upstream: &Upstream, senders: &Senders) {
    let arrived = || take_arrivals(upstream, senders);
    let (mut last, mut stalled) = (arrived(), Instant::now());
    loop {
        let missing = senders.with_history(|history| history.missing());
        // A dead letter counts too: the upstream accepts everything.
        if missing == 0 && gateway.counter("hookgate_queue_deliveries{").await == 0 {
            arrived();
            return;
        }
        sleep(POLL_INTERVAL).await;
        let now = arrived();
        if now != last {
            (last, stalled) = (now, Instant::now());
        }
        if stalled.elapsed() >= STALL_TIMEOUT {
            let metrics = gateway.get_admin("/metrics").await;
            let queue = metrics
                .lines()
                .filter(|line| line.starts_with("hookgate_queue_"));
            panic!(
                "{missing} events do not arrive, {now} have:\n{}\n{}",
                queue.collect::<Vec<_>>().join("\n"),
                gateway.log()
            );
        }
    }
}
