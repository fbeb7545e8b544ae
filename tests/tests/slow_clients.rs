//! Slow clients: the three modes of slowhttptest against the gateway, with genuine deliveries
//! meanwhile. Only `make slow-clients` runs this suite: it takes minutes and a quiet machine.

use std::time::{Duration, Instant};

use hookgate_tests::{Gateway, TestProvider, Upstream, try_send};
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};

const CONNECTIONS: &str = "500";
/// The time in which slowhttptest opens the connections.
const OPENING_TIME: Duration = Duration::from_secs(3);
/// The tolerated delay after a deadline.
const TOLERANCE: Duration = Duration::from_secs(2);

/// A mode of slowhttptest, and the deadline after which the gateway closes its connections.
struct Mode {
    name: &'static str,
    args: &'static [&'static str],
    deadline: Duration,
}

const MODES: [Mode; 3] = [
    Mode {
        name: "endless heads",
        args: &["-H", "-i", "1"],
        deadline: Duration::from_secs(10),
    },
    Mode {
        name: "endless bodies",
        args: &["-B", "-i", "1", "-s", "8192", "-x", "10"],
        deadline: Duration::from_secs(15),
    },
    // The responses are short and written at once, so an idle connection remains.
    Mode {
        name: "unread responses",
        args: &[
            "-X", "-w", "10", "-y", "20", "-n", "1", "-z", "5", "-k", "3",
        ],
        deadline: Duration::from_secs(60),
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn slow_clients_are_closed_in_time_and_delay_no_delivery() {
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
        // A slow reader notices the close late, so the metric of the gateway decides.
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
                    let response = try_send(gateway.address(), delivery).await.expect("the server responds");
                    assert_eq!(response.status, 204, "{}", mode.name);
                    delivered.push(sent.elapsed());
                    if open_connections(&gateway).await > 10 {
                        closed = Instant::now();
                    }
                }
            }
        };
        let elapsed = closed - start;
        let stdout = String::from_utf8_lossy(&output.stdout);
        assert!(
            stdout.contains("No open connections left"),
            "{}: {stdout}",
            mode.name
        );
        assert!(
            elapsed < OPENING_TIME + mode.deadline + TOLERANCE,
            "{}: {elapsed:?}",
            mode.name
        );
        delivered.sort();
        let p99 = delivered[delivered.len() * 99 / 100];
        println!(
            "{}: {CONNECTIONS} connections closed after {elapsed:?}; {} deliveries meanwhile, none \
             failed, p50 {:?}, p99 {p99:?}",
            mode.name,
            delivered.len(),
            delivered[delivered.len() / 2],
        );
        assert!(p99 <= Duration::from_millis(100), "{}: {p99:?}", mode.name);
        assert_eq!(upstream.take_received().len(), delivered.len());
    }
}

/// Returns the number of open connections of the gateway.
async fn open_connections(gateway: &Gateway) -> usize {
    let metrics = gateway.get_admin("/metrics").await;
    let mut lines = metrics.lines();
    let count = lines.find_map(|line| line.strip_prefix("hookgate_connections "));
    count
        .expect("the metric exists")
        .parse()
        .expect("the value is a number")
}
