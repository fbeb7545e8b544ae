//! The suite of every queue, on a real server and in real time.

use hookgate_queue::conformance::{Ability, Harness, ProcessEnd, suite};
use hookgate_test_servers::nats::Server;

use super::*;

struct Fixture {
    queue: NatsQueue,
    server: Server,
}

impl Harness for Fixture {
    type Queue = NatsQueue;

    // A loaded machine may need more than a second for the calls between two waits.
    const SLACK: Duration = Duration::from_millis(1_900);
    const LEASE: Duration = Duration::from_secs(4);
    const WAIT: Duration = Duration::from_secs(4);

    const DECLINED: &'static [(Ability, &'static str)] = &[
        (
            Ability::LongestDueFirst,
            "JetStream delivers entries that it has delivered before first",
        ),
        (
            Ability::LeaseIfFirst,
            "JetStream cannot store and deliver a message in one step",
        ),
        (
            Ability::Confirmation,
            "a repeated delivery finds the entry by its key",
        ),
        (
            Ability::Space,
            "the server counts the bytes of a message differently",
        ),
        (
            Ability::SpacePerSource,
            "JetStream limits a stream, and no part of it",
        ),
        (
            Ability::Copies,
            "a message leaves the stream when it is acknowledged",
        ),
    ];

    fn queue(&self) -> &NatsQueue {
        &self.queue
    }

    /// The clock of a server cannot be set, so this waits. The server needs some time to notice
    /// that an entry is due.
    async fn advance(&self, duration: Duration) {
        tokio::time::sleep(duration + Duration::from_millis(400)).await;
    }

    async fn reopen(self, _end: ProcessEnd) -> Self {
        let server = self.server;
        drop(self.queue);
        Self {
            queue: connect(&server.url()).await,
            server,
        }
    }
}

suite!(real, async |_limits| {
    let server = Server::start("");
    Fixture {
        queue: connect(&server.url()).await,
        server,
    }
});
