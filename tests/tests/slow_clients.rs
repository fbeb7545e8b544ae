//! slowhttptest in its three modes against the gateway, with good traffic meanwhile.
//! Takes some minutes and a quiet machine, so that it runs by `make slow` alone.

use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, TestProvider, Upstream, try_send};
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};

const CONNECTIONS: &str = "500";
/// The time in which the connections are opened.
const OPENING: Duration = Duration::from_secs(3);
/// How late one may be closed.
const LATE: Duration = Duration::from_secs(2);

/// One of its modes, and after how long the gateway ends a connection of it.
struct Mode {
    name: &'static str,
    args: &'static [&'static str],
    deadline: Duration,
}

const MODES: [Mode; 3] = [
    Mode {
        name: "heads that do not end",
        args: &["-H", "-i", "1"],
        deadline: Duration::from_secs(10),
    },
    Mode {
        name: "bodies that do not end",
        args: &["-B", "-i", "1", "-s", "8192", "-x", "10"],
        deadline: Duration::from_secs(15),
    },
    // Its answers are short, and are written at once: what is left is an idle connection.
    Mode {
        name: "answers that nobody reads",
        args: &[
            "-X", "-w", "10", "-y", "20", "-n", "1", "-z", "5", "-k", "3",
        ],
        deadline: Duration::from_secs(60),
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_closed_on_time_and_harm_nobody() {
    for mode in MODES {
        let upstream = Upstream::start().await;
        let gateway = Gateway::builder(upstream.address()).start();
        let url = format!("http://{}/hooks/beatapi", gateway.address());
        let start = Instant::now();
        let slow = Command::new("slowhttptest")
            .args(mode.args)
            .args([
                "-c",
                CONNECTIONS,
                "-r",
                "250",
                "-l",
                "240",
                "-p",
                "3",
                "-u",
                &url,
            ])
            .output();
        let mut slow = std::pin::pin!(slow);
        let mut delivered = Vec::new();
        // Who reads slowly hears late that nothing more comes, so the gateway is asked.
        let mut closed = start;
        let mut pace = interval(Duration::from_millis(20));
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let output = loop {
            tokio::select! {
                output = &mut slow => break output.expect("slowhttptest is installed"),
                _ = pace.tick() => {
                    let id = format!("evt_{}", delivered.len());
                    let delivery = TestProvider::named("beatapi").delivery(&id);
                    let sent = Instant::now();
                    let reply = try_send(gateway.address(), delivery).await.expect("the server responds");
                    assert_eq!(reply.status, 204, "{}", mode.name);
                    delivered.push(sent.elapsed());
                    if connections(&gateway).await > 10 {
                        closed = Instant::now();
                    }
                }
            }
        };
        let took = closed - start;
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(
            told.contains("No open connections left"),
            "{}: {told}",
            mode.name
        );
        assert!(
            took < OPENING + mode.deadline + LATE,
            "{}: {took:?}",
            mode.name
        );
        delivered.sort();
        let p99 = delivered[delivered.len() * 99 / 100];
        println!(
            "{}: {CONNECTIONS} connections closed after {took:?}; {} deliveries meanwhile, none \
             failed, p50 {:?}, p99 {p99:?}",
            mode.name,
            delivered.len(),
            delivered[delivered.len() / 2],
        );
        assert!(p99 <= Duration::from_millis(100), "{}: {p99:?}", mode.name);
        assert_eq!(upstream.take_received().len(), delivered.len());
    }
}

/// Connections that the gateway has open.
async fn connections(gateway: &Gateway) -> usize {
    let metrics = gateway.get_admin("/metrics").await;
    let mut lines = metrics.lines();
    let count = lines.find_map(|line| line.strip_prefix("hookgate_connections "));
    count
        .expect("the metric exists")
        .parse()
        .expect("the value is a number")
}
