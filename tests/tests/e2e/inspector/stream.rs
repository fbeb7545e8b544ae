//! The event stream: new records, filters, limits, and clients that do not read.

use std::time::{Duration, Instant};

use hookgate_tests::Gateway;
use http::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ApiCall, OPS, SUPPORT, deliver, deliver_forged, deliveries, start};

const WAIT: Duration = Duration::from_secs(30);
/// The number of streams that may be open.
const MAX_STREAMS: usize = 64;

/// An open event stream.
struct EventStream {
    connection: TcpStream,
    received: String,
}

/// One event of a stream.
#[derive(Debug)]
struct Event {
    id: u64,
    data: Value,
}

impl EventStream {
    /// Opens a stream, and waits for the head of its response.
    async fn open(gateway: &Gateway, query: &str, token: &str) -> Self {
        let mut connection = connect(gateway).await;
        let request = request(&format!("/api/stream{query}"), token);
        connection
            .write_all(request.as_bytes())
            .await
            .expect("sent");
        let mut stream = Self {
            connection,
            received: String::new(),
        };
        let head = stream.until("\r\n\r\n").await.expect("a response");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.contains("text/event-stream"), "{head}");
        stream
    }

    /// Reads up to `end`. Returns `None` if the connection ends first.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some((text, rest)) = self.received.split_once(end) {
                let text = text.to_owned();
                self.received = rest.to_owned();
                return Some(text);
            }
            let mut buffer = vec![0; 64 * 1024];
            let read = timeout(WAIT, self.connection.read(&mut buffer)).await;
            match read.expect("the stream goes on or ends") {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.received += &String::from_utf8_lossy(&buffer[..read]),
            }
        }
    }

    /// Returns the next event, or `None` at the end of the stream.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let text = self.until("\n\n").await?;
            let field = |name: &str| {
                let mut lines = text.lines();
                lines.find_map(|line| line.strip_prefix(name))
            };
            if field("event: ") == Some("deliveries") {
                return Some(Event {
                    id: field("id: ")?.parse().expect("a number"),
                    data: serde_json::from_str(field("data: ")?).expect("JSON"),
                });
            }
        }
    }

    /// Reads events until they have `count` deliveries.
    async fn deliveries(&mut self, count: usize) -> Vec<Value> {
        let mut all = Vec::new();
        while all.len() < count {
            let event = self.next().await.expect("an event");
            all.extend(event.data["deliveries"].as_array().expect("a list").clone());
        }
        all
    }
}

async fn connect(gateway: &Gateway) -> TcpStream {
    let connected = TcpStream::connect(gateway.admin()).await;
    connected.expect("the admin address accepts connections")
}

fn request(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

#[tokio::test]
async fn new_records_arrive_in_order_and_a_stream_can_resume() {
    let (gateway, _upstream) = start("").await;
    deliver(&gateway, "evt_0").await;
    deliveries(&gateway, "", 1).await;
    let mut all = EventStream::open(&gateway, "", OPS).await;
    let mut refused = EventStream::open(&gateway, "?outcome=refused", SUPPORT).await;
    for id in ["evt_1", "evt_2"] {
        deliver(&gateway, id).await;
        deliver_forged(&gateway, id).await;
    }
    let received = all.deliveries(4).await;
    let seqs: Vec<_> = received.iter().map(|one| one["seq"].as_u64()).collect();
    assert!(seqs.is_sorted(), "{received:?}");
    let refusals = refused.deliveries(2).await;
    assert!(refusals.iter().all(|one| one["outcome"] == "refused"));
    // The records before the stream are not in it, and those after `after` are.
    assert!(received.iter().all(|one| one["event_id"] != "evt_0"));
    let after = seqs[1].expect("a number");
    let mut resumed = EventStream::open(&gateway, &format!("?after={after}"), OPS).await;
    let event = resumed.next().await.expect("an event");
    assert_eq!(event.data["deliveries"].as_array().map(Vec::len), Some(2));
    assert_eq!(event.data["deliveries"][0]["seq"].as_u64(), seqs[2]);
    assert_eq!(Some(event.id), seqs[3]);
    assert_eq!(event.data["skipped"], 0);
}

#[tokio::test]
async fn a_burst_is_one_event_that_counts_the_rest() {
    let (gateway, _upstream) = start("").await;
    deliver(&gateway, "evt_first").await;
    let first = deliveries(&gateway, "", 1).await.remove(0);
    for id in 0..120 {
        deliver_forged(&gateway, &format!("evt_{id}")).await;
    }
    deliveries(&gateway, "limit=500&outcome=refused", 120).await;
    let after = first["seq"].as_u64().expect("a number");
    let mut stream = EventStream::open(&gateway, &format!("?after={after}"), OPS).await;
    let event = stream.next().await.expect("an event");
    assert_eq!(event.data["deliveries"].as_array().map(Vec::len), Some(100));
    assert_eq!(event.data["skipped"], 20);
}

#[tokio::test]
async fn a_stream_ends_when_a_reload_removes_its_token() {
    let (gateway, _upstream) = start("").await;
    let mut support = EventStream::open(&gateway, "", SUPPORT).await;
    let mut ops = EventStream::open(&gateway, "", OPS).await;
    gateway.edit_config(
        "{ name = \"support\", from = \"env:SUPPORT_TOKEN\", may = \"read\" }",
        "",
    );
    assert!(gateway.reload().await);
    assert!(support.next().await.is_none(), "the stream ends");
    // The control: the other stream goes on.
    deliver(&gateway, "evt_1").await;
    assert_eq!(ops.deliveries(1).await[0]["event_id"], "evt_1");
}

#[tokio::test]
async fn streams_end_at_shutdown() {
    let (mut gateway, _upstream) = start("").await;
    let mut stream = EventStream::open(&gateway, "", OPS).await;
    gateway.signal("TERM");
    assert!(stream.next().await.is_none(), "the stream ends");
    assert!(gateway.wait_for_exit().await.success());
}

#[tokio::test]
async fn a_thousand_streams_are_bounded_and_harm_nothing() {
    let (gateway, upstream) = start("").await;
    let mut open = Vec::new();
    for _ in 0..MAX_STREAMS {
        open.push(EventStream::open(&gateway, "", OPS).await);
    }
    let mut refused = Vec::new();
    for _ in MAX_STREAMS..1000 {
        let mut connection = connect(&gateway).await;
        let request = request("/api/stream", OPS);
        connection
            .write_all(request.as_bytes())
            .await
            .expect("sent");
        refused.push(connection);
    }
    let call = ApiCall::get("/api/stream");
    let response = call.send(&gateway).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers.contains_key("retry-after"));
    let health = gateway.get_admin("/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200"), "{health}");
    let metrics = gateway.get_admin("/metrics").await;
    let streams = format!("hookgate_inspector_streams {MAX_STREAMS}");
    assert!(metrics.contains(&streams), "{metrics}");
    for id in 0..20 {
        let response = deliver(&gateway, &format!("evt_{id}")).await;
        assert_eq!(response.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(upstream.take_received().len(), 20);
    for stream in &mut open {
        assert_eq!(stream.deliveries(20).await.len(), 20);
    }
    // A closed stream frees its place.
    open.pop();
    let started = Instant::now();
    while call.send_head(&gateway).await != StatusCode::OK {
        assert!(
            started.elapsed() < WAIT,
            "the place of a closed stream is free"
        );
    }
}

#[tokio::test]
async fn idle_and_half_open_connections_keep_no_health_check_out() {
    let (gateway, _upstream) = start("").await;
    let mut connections = Vec::new();
    for index in 0..1000 {
        let mut connection = connect(&gateway).await;
        if index % 2 == 0 {
            let half = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
            connection.write_all(half).await.expect("sent");
        }
        connections.push(connection);
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        let response = gateway.get_admin(path).await;
        assert!(response.starts_with("HTTP/1.1 200"), "{path}: {response}");
    }
    // The responses came before a timeout closed the idle connections.
    let newest = connections.last().expect("there are connections");
    let read = newest.try_read(&mut [0]);
    assert!(
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock),
        "the newest connection is closed"
    );
    // The connections end by themselves.
    let mut rest = Vec::new();
    for mut connection in connections {
        let closed = timeout(WAIT, connection.read_to_end(&mut rest)).await;
        assert!(closed.is_ok(), "the connection is closed");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let (gateway, _upstream) = start("").await;
    let mut connection = connect(&gateway).await;
    // The responses fill the buffers of the system, and then the gateway waits.
    let request = request("/metrics", OPS);
    let flood = async { while connection.write_all(request.as_bytes()).await.is_ok() {} };
    let closed = timeout(Duration::from_secs(60), flood).await;
    assert!(closed.is_ok(), "the gateway closes the connection");
}
