//! The limit on open connections: connections that wait for their clients make room for new ones,
//! so an attacker who holds every slot keeps no genuine delivery out. A connection whose request has
//! arrived makes no room, which is the control of these tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use hookgate_tests::{
    Behaviour, Connection, Gateway, TestProvider, Upstream, count_by_event, raw_delivery, try_send,
};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::upstreams::closed_port;

/// The client of an HTTP/2 connection, and its streams.
type Streams = (
    SendRequest<Bytes>,
    Vec<(h2::client::ResponseFuture, h2::SendStream<Bytes>)>,
);

const LIMIT: usize = 60;
const DELIVERIES: usize = 100;
/// The requests of an HTTP/2 connection.
const STREAMS: usize = 3;
/// The bytes that a waiting body counts towards the unverified bodies, beside its own.
const STALLED_BODY_COST: usize = 16 * 1024;
const UNVERIFIED: &str = "hookgate_unverified_body_bytes ";
const OPEN: &str = "hookgate_connections ";
/// How long a condition may take on a machine under load.
const DEADLINE: Duration = Duration::from_secs(60);

/// How an attacker holds a connection.
#[derive(Clone, Copy, Debug)]
enum Hold {
    /// An idle connection whose only request was refused.
    Idle,
    /// A part of a head, and no more.
    HalfHead,
    /// The head of a delivery and a part of its body, and no more.
    HalfBody,
    /// No byte at all.
    Silent,
    /// An idle HTTP/2 connection, which answers pings.
    IdleHttp2,
    /// An HTTP/2 connection with [`STREAMS`] requests, each with a part of its body.
    HalfBodiesHttp2,
}

impl Hold {
    /// Opens a connection from `client` and holds it until the gateway closes it.
    async fn hold(self, gateway: SocketAddr, client: &str) {
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        let from = SocketAddr::new(client.parse().expect("the address is valid"), 0);
        socket.bind(from).expect("the address is of this machine");
        let Ok(mut stream) = socket.connect(gateway).await else {
            return;
        };
        let delivery = raw_delivery("held");
        let sent: &[u8] = match self {
            Self::Idle => b"POST /hooks/beatapi HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
            Self::HalfHead => b"POST /hooks/beatapi HTTP/1.1\r\nHost: h\r\n",
            Self::HalfBody => &delivery[..delivery.len() - 5],
            Self::Silent => b"",
            Self::IdleHttp2 => return hold_http2(stream, refused_request).await,
            Self::HalfBodiesHttp2 => return hold_http2(stream, half_bodies).await,
        };
        if stream.write_all(sent).await.is_ok() {
            let mut response = [0; 4096];
            while matches!(stream.read(&mut response).await, Ok(1..)) {}
        }
    }
}

/// Holds a connection after `requests` until the gateway closes it.
async fn hold_http2<R>(stream: TcpStream, requests: impl FnOnce(SendRequest<Bytes>) -> R)
where
    R: Future<Output = Result<Streams, h2::Error>>,
{
    let Ok((client, connection)) = h2::client::handshake(stream).await else {
        return;
    };
    let held = async {
        let client = client.ready().await?;
        let _streams = requests(client).await?;
        // Dropping the streams or the client would end them.
        std::future::pending::<Result<(), h2::Error>>().await
    };
    tokio::select! {
        _ = connection => {}
        _ = held => {}
    }
}

/// Sends a request, and waits until it is refused.
async fn refused_request(mut client: SendRequest<Bytes>) -> Result<Streams, h2::Error> {
    let request = http::Request::post("http://h/hooks/beatapi")
        .body(())
        .expect("the request is valid");
    let (response, _) = client.send_request(request, true)?;
    response.await?;
    Ok((client, Vec::new()))
}

async fn half_bodies(mut client: SendRequest<Bytes>) -> Result<Streams, h2::Error> {
    let mut streams = Vec::new();
    let mut headers = TestProvider::named("beatapi")
        .delivery("held")
        .headers()
        .clone();
    // The authority of the request is its host.
    headers.remove(http::header::HOST);
    for _ in 0..STREAMS {
        let mut request = http::Request::post("http://h/hooks/beatapi")
            .body(())
            .expect("the request is valid");
        request.headers_mut().clone_from(&headers);
        client = client.ready().await?;
        let (response, mut body) = client.send_request(request, false)?;
        body.send_data(Bytes::from_static(b"{"), false)?;
        streams.push((response, body));
    }
    Ok((client, streams))
}

/// Opens `LIMIT` connections, and opens another one for each that the gateway closes.
fn hold_all(gateway: SocketAddr, hold: Hold, client: &'static str) -> JoinSet<()> {
    (0..LIMIT)
        .map(|_| async move {
            loop {
                hold.hold(gateway, client).await;
                // Without a pause, a gateway that refuses connections would keep this loop busy.
                sleep(Duration::from_millis(5)).await;
            }
        })
        .collect()
}

/// Waits until every slot is taken.
async fn wait_until_full(gateway: &Gateway) {
    wait_until_at_least(gateway, OPEN, LIMIT).await;
}

/// Waits until a metric has at least this value.
async fn wait_until_at_least(gateway: &Gateway, series: &str, least: usize) {
    let start = Instant::now();
    loop {
        let value = gateway.existing_counter(series).await;
        if value >= least as u64 {
            return;
        }
        assert!(start.elapsed() < DEADLINE, "{series}{value} of {least}");
        sleep(Duration::from_millis(2)).await;
    }
}

fn limited(upstream: &Upstream) -> Gateway {
    Gateway::builder(upstream.address())
        .server("h2c = true")
        .table(&format!(
            "[limits]\nconnections = {LIMIT}\nhead_timeout = \"120s\"\nbody_timeout = \"120s\""
        ))
        .start()
}

/// Sends genuine deliveries while every slot is taken. Returns how many were lost.
async fn lost(gateway: &Gateway, deliveries: usize) -> usize {
    let mut lost = 0;
    for index in 0..deliveries {
        wait_until_full(gateway).await;
        let delivery = TestProvider::named("beatapi").delivery(&format!("evt_{index}"));
        let delivered = match try_send(gateway.address(), delivery).await {
            Ok(response) if response.status == StatusCode::NO_CONTENT => true,
            Ok(response) => {
                println!("delivery {index}: {}", response.status);
                false
            }
            Err(error) => {
                println!("delivery {index}: {error:?}");
                false
            }
        };
        lost += usize::from(!delivered);
    }
    lost
}

async fn assert_nothing_lost(hold: Hold, client: &'static str, reason: &str) {
    let upstream = Upstream::start().await;
    let gateway = limited(&upstream);
    let _attack = hold_all(gateway.address(), hold, client);
    assert_eq!(lost(&gateway, DELIVERIES).await, 0, "{hold:?}");
    let arrivals = count_by_event(&upstream.take_received());
    assert_eq!(arrivals.len(), DELIVERIES);
    assert!(arrivals.values().all(|count| *count == 1), "{arrivals:?}");
    let counter = |name: &str, reason: &str| format!("{name}{{reason=\"{reason}\"}}");
    let refused = counter("hookgate_connections_refused_total", "connections");
    assert_eq!(gateway.existing_counter(&refused).await, 0);
    let evicted = counter("hookgate_connections_evicted_total", reason);
    let evicted = gateway.existing_counter(&evicted).await;
    assert!(evicted >= DELIVERIES as u64 / 2, "{evicted}");
    let idle = counter("hookgate_connections_evicted_total", "idle");
    assert_eq!(gateway.existing_counter(&idle).await, 0);
    gateway.wait_for_log("limits.connections is reached").await;
}

#[tokio::test]
async fn idle_connections_of_one_address_keep_no_genuine_delivery_out() {
    assert_nothing_lost(Hold::Idle, "127.0.0.2", "idle_unverified").await;
}

#[tokio::test]
async fn half_heads_of_one_address_keep_no_genuine_delivery_out() {
    assert_nothing_lost(Hold::HalfHead, "127.0.0.2", "incomplete_head").await;
}

#[tokio::test]
async fn half_bodies_of_one_address_keep_no_genuine_delivery_out() {
    assert_nothing_lost(Hold::HalfBody, "127.0.0.2", "incomplete_body").await;
}

#[tokio::test]
async fn silent_connections_of_one_address_keep_no_genuine_delivery_out() {
    assert_nothing_lost(Hold::Silent, "127.0.0.2", "incomplete_head").await;
}

#[tokio::test]
async fn idle_http2_connections_of_one_address_keep_no_genuine_delivery_out() {
    assert_nothing_lost(Hold::IdleHttp2, "127.0.0.2", "idle_unverified").await;
}

/// No connection of the attacker is new, so only one with stalled bodies can make room.
#[tokio::test]
async fn a_connection_whose_bodies_stall_over_http2_makes_room() {
    let upstream = Upstream::start().await;
    let gateway = limited(&upstream);
    let hold = || Hold::HalfBodiesHttp2.hold(gateway.address(), "127.0.0.2");
    let _attack: JoinSet<()> = (0..LIMIT).map(|_| hold()).collect();
    wait_until_at_least(&gateway, UNVERIFIED, LIMIT * STREAMS * STALLED_BODY_COST).await;
    assert_eq!(lost(&gateway, 1).await, 0);
    let evicted = "hookgate_connections_evicted_total{reason=\"incomplete_body\"}";
    assert_eq!(gateway.existing_counter(evicted).await, 1);
}

#[tokio::test]
async fn an_evicted_body_counts_as_a_refused_delivery() {
    let upstream = Upstream::start().await;
    let gateway = limited(&upstream);
    let attack = hold_all(gateway.address(), Hold::HalfBody, "127.0.0.2");
    assert_eq!(lost(&gateway, 10).await, 0);
    // The bodies that were not evicted end early now, which is another reason.
    drop(attack);
    let evicted = "hookgate_connections_evicted_total{reason=\"incomplete_body\"}";
    let evicted = gateway.existing_counter(evicted).await;
    assert!(evicted > 0);
    let overloaded = "hookgate_refused_total{reason=\"overloaded\",source=\"beatapi\"}";
    let is_logged = || {
        gateway
            .access_log()
            .iter()
            .any(|line| line["reason"] == "overloaded")
    };
    let start = Instant::now();
    while gateway.counter(overloaded).await != evicted || !is_logged() {
        assert!(start.elapsed() < DEADLINE, "{evicted} are not counted");
        sleep(Duration::from_millis(5)).await;
    }
    let refused = "hookgate_deliveries_total{outcome=\"refused\",source=\"beatapi\"}";
    assert!(gateway.existing_counter(refused).await >= evicted);
    // The control: a verified delivery counts once.
    let forwarded = "hookgate_deliveries_total{outcome=\"forwarded\",source=\"beatapi\"}";
    assert_eq!(gateway.existing_counter(forwarded).await, 10);
}

/// In observe mode, a request that failed did not always verify.
#[tokio::test]
async fn an_observed_request_that_is_forged_and_fails_leaves_its_connection_unproven() {
    let (address, _port) = closed_port().await;
    let gateway = Gateway::builder(address)
        .every_source("mode = \"observe\"")
        .table(&format!("[limits]\nconnections = {LIMIT}"))
        .start();
    let _attack = hold_all(gateway.address(), Hold::Idle, "127.0.0.2");
    // The upstream is gone, so each delivery fails.
    assert_eq!(lost(&gateway, 10).await, 10);
    let evicted = |reason: &str| format!("hookgate_connections_evicted_total{{reason={reason:?}}}");
    let failed = "hookgate_deliveries_total{outcome=\"failed\",source=\"beatapi\"}";
    assert!(gateway.existing_counter(failed).await > 10);
    assert!(gateway.existing_counter(&evicted("idle_unverified")).await > 0);
    assert_eq!(gateway.existing_counter(&evicted("idle")).await, 0);
}

/// The sender and the attacker share an address, for example that of a NAT.
#[tokio::test]
async fn idle_connections_of_the_senders_own_address_keep_no_genuine_delivery_out() {
    assert_nothing_lost(Hold::Idle, "127.0.0.1", "idle_unverified").await;
}

/// The control: the limit holds where no connection may be closed, and `lost` notices the loss.
#[tokio::test]
async fn a_request_in_progress_keeps_its_connection_at_the_limit() {
    let upstream = Upstream::start().await;
    let held = Arc::new(Semaphore::new(0));
    let behaviour = Behaviour::HeldStatus(Arc::clone(&held), StatusCode::NO_CONTENT);
    upstream.set_default_behaviour(behaviour);
    let gateway = limited(&upstream);
    let mut streams = Vec::new();
    for index in 0..LIMIT {
        let stream = TcpStream::connect(gateway.address()).await;
        let mut stream = stream.expect("the gateway listens");
        let delivery = raw_delivery(&format!("held_{index}"));
        let sent = stream.write_all(&delivery).await;
        sent.expect("the gateway reads");
        streams.push(stream);
    }
    wait_until_full(&gateway).await;
    let (start, mut received) = (Instant::now(), 0);
    while received < LIMIT {
        assert!(start.elapsed() < DEADLINE, "the deliveries do not arrive");
        sleep(Duration::from_millis(5)).await;
        received += upstream.take_received().len();
    }
    assert_eq!(lost(&gateway, 5).await, 5);
    let refused = "hookgate_connections_refused_total{reason=\"connections\"}";
    assert_eq!(gateway.existing_counter(refused).await, 5);
    held.add_permits(LIMIT);
    for mut stream in streams {
        let mut response = [0; 12];
        let read = timeout(DEADLINE, stream.read_exact(&mut response)).await;
        read.expect("the gateway responds")
            .expect("the connection is open");
        assert_eq!(&response, b"HTTP/1.1 204");
    }
    assert!(upstream.take_received().is_empty());
}

/// An idle connection after a verified delivery stays while an attacker's can be closed.
#[tokio::test]
async fn the_connection_of_a_genuine_sender_outlasts_those_of_an_attacker() {
    let upstream = Upstream::start().await;
    let gateway = limited(&upstream);
    let mut genuine = Connection::open(gateway.address())
        .await
        .expect("the gateway listens");
    let delivery = |id: &str| TestProvider::named("beatapi").delivery(id);
    let first = genuine.send(delivery("first")).await;
    assert_eq!(first.expect("the gateway responds").status, 204);
    let _attack = hold_all(gateway.address(), Hold::HalfHead, "127.0.0.2");
    assert_eq!(lost(&gateway, 20).await, 0);
    let last = genuine.send(delivery("last")).await;
    assert_eq!(last.expect("the connection is open").status, 204);
    assert_eq!(upstream.take_received().len(), 22);
}
