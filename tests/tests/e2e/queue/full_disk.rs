//! A gateway whose replay store and queue are on one disk that another program fills.

use std::collections::BTreeSet;
use std::time::Instant;

use hookgate_tests::{Behaviour, Gateway, Upstream, fill, free, on_own_disk};
use http::StatusCode;
use tokio::time::sleep;

use super::{
    POLL_INTERVAL, SOON, WAIT_TIMEOUT, deliver, header, wait_until_empty, with_queue_settings,
};

const FAIL: Behaviour = Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR);
const ACCEPT: Behaviour = Behaviour::Status(StatusCode::NO_CONTENT);

/// The deliveries that a sender has sent.
#[derive(Default)]
struct Sent {
    accepted: BTreeSet<String>,
    refused: BTreeSet<String>,
}

impl Sent {
    /// Sends deliveries of the events `name`-0, `name`-1 and so on.
    async fn send(&mut self, gateway: &Gateway, name: &str, count: usize) {
        for number in 0..count {
            self.send_one(gateway, format!("{name}-{number}")).await;
        }
    }

    async fn send_one(&mut self, gateway: &Gateway, id: String) {
        let response = deliver(gateway, &id).await;
        match response.status {
            StatusCode::OK => self.accepted.insert(id),
            StatusCode::SERVICE_UNAVAILABLE => {
                assert!(response.headers.contains_key("retry-after"), "{response:?}");
                self.refused.insert(id)
            }
            _ => panic!("{id}: {response:?}\n{}", gateway.log()),
        };
    }
}

/// Sends a delivery until it is accepted, as a sender does after a 503.
async fn deliver_until_accepted(gateway: &Gateway, id: &str) {
    let begin = Instant::now();
    while deliver(gateway, id).await.status != StatusCode::OK {
        assert!(begin.elapsed() < WAIT_TIMEOUT, "{id}\n{}", gateway.log());
        sleep(POLL_INTERVAL).await;
    }
}

/// Adds the events that have arrived at the upstream since the last call.
fn collect(upstream: &Upstream, arrived: &mut BTreeSet<String>) {
    for request in upstream.take_received() {
        arrived.insert(header(&request, "hookgate-event-id").to_owned());
    }
}

#[tokio::test]
async fn a_gateway_on_a_full_disk_loses_no_accepted_delivery_and_drains() {
    let name = "queue::full_disk::a_gateway_on_a_full_disk_loses_no_accepted_delivery_and_drains";
    // The reserve of the queue takes 2 MiB, and the one of the replay store 8 MiB.
    let Some(disk) = on_own_disk(name, "32M") else {
        return;
    };
    let upstream = Upstream::start().await;
    upstream.set_default_behaviour(FAIL);
    let start = || {
        with_queue_settings(&upstream, &disk, "max_bytes = \"8MiB\"")
            .upstream("timeout = \"3s\"")
            .every_source(&format!("queue = \"always\"\n{SOON}"))
            .start()
    };
    let mut sent = Sent::default();

    let gateway = start();
    for number in 0..200 {
        let id = format!("before-{number}");
        deliver_until_accepted(&gateway, &id).await;
        sent.accepted.insert(id);
    }
    fill(&disk);
    // The files have some space that is not used yet, and the workers free some of it.
    for number in 0.. {
        if sent.refused.len() == 50 {
            break;
        }
        sent.send_one(&gateway, format!("full-{number}")).await;
        assert!(number < 2_000, "{} are refused", sent.refused.len());
    }

    // A process that was killed, and a process that has ended, have successors on the full disk. The
    // stores have released their reserves, and the other program leaves that space.
    let mut gateway = gateway;
    for (signal, name) in [("KILL", "killed"), ("TERM", "ended")] {
        gateway.signal(signal);
        gateway.wait_for_exit().await;
        gateway = start();
        sent.send(&gateway, name, 20).await;
    }

    // The deliveries arrive although the disk is still full.
    upstream.set_default_behaviour(ACCEPT);
    let mut arrived = BTreeSet::new();
    wait_until_empty(&gateway).await;
    collect(&upstream, &mut arrived);
    let lost: Vec<_> = sent.accepted.difference(&arrived).collect();
    assert!(lost.is_empty(), "{lost:?}\n{}", gateway.log());

    // With free space, the senders repeat the refused deliveries, and the gateway accepts them.
    free(&disk);
    for id in &sent.refused {
        deliver_until_accepted(&gateway, id).await;
    }
    wait_until_empty(&gateway).await;
    collect(&upstream, &mut arrived);
    let all: BTreeSet<String> = sent.accepted.union(&sent.refused).cloned().collect();
    let lost: Vec<_> = all.difference(&arrived).collect();
    assert!(lost.is_empty(), "{lost:?}\n{}", gateway.log());
    let begin = Instant::now();
    let reserves = ["queue/queue.reserve", "replay/replay.reserve"];
    while !reserves.iter().all(|file| disk.join(file).exists()) {
        assert!(begin.elapsed() < WAIT_TIMEOUT, "{}", gateway.log());
        sleep(POLL_INTERVAL).await;
    }
}
