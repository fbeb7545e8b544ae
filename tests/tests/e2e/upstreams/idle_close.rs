//! Idle connections that the upstream closes while a delivery is on its way.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::{deliver_own, gateway};

/// The time after which the upstream closes an idle connection.
const IDLE: Duration = Duration::from_millis(500);
/// The number of gateways, and of deliveries to each of them.
const GATEWAYS: usize = 4;
const DELIVERIES: usize = 16;

/// Starts an upstream that closes idle connections. Returns its address, and the id of each event
/// that it reads.
fn closing_upstream() -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    let (arrived, arrivals) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, arrived) = (stream.expect("a connection arrives"), arrived.clone());
            std::thread::spawn(move || serve(stream, &arrived));
        }
    });
    (address, arrivals)
}

/// Responds to requests until none comes for [`IDLE`].
fn serve(mut stream: TcpStream, arrived: &Sender<String>) {
    stream.set_read_timeout(Some(IDLE)).expect("a duration");
    let mut received = String::new();
    loop {
        let mut part = [0; 4096];
        match stream.read(&mut part) {
            Ok(0) => return,
            Ok(len) => received.push_str(&String::from_utf8_lossy(&part[..len])),
            Err(error) => {
                let is_idle = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                assert!(
                    is_idle || error.kind() == ErrorKind::ConnectionReset,
                    "{error}"
                );
                return;
            }
        }
        // The body of a delivery ends with this brace.
        if received.ends_with('}') {
            let id = received.split("hookgate-event-id: ").nth(1);
            let id = id.and_then(|rest| rest.lines().next());
            // The test may have ended.
            let _ = arrived.send(id.expect("the delivery has an id").to_owned());
            received.clear();
            if stream
                .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
                .is_err()
            {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_meets_the_closing_of_its_connection_arrives_at_most_once() {
    let deliver = |index: usize| async move {
        let (address, arrivals) = closing_upstream();
        let gateway = gateway(&format!(
            "servers = [\"{address}\"]\nidle_timeout = \"60s\""
        ))
        .start();
        let mut answered = Vec::new();
        for delivery in 0..DELIVERIES {
            let id = format!("evt_{index}_{delivery}");
            let status = deliver_own(&gateway, &id).await;
            let idle_since = Instant::now();
            // Without a proof that the upstream saw nothing, the delivery is not sent again.
            assert!(matches!(status, 204 | 502), "{id}: {status}");
            answered.push((id, status));
            // The next delivery leaves at the moment of the closing, or shortly before or after it.
            let offset = (index * DELIVERIES + delivery) % 25 * 100;
            sleep_until(
                idle_since + IDLE + Duration::from_micros(offset as u64)
                    - Duration::from_micros(1500),
            )
            .await;
        }
        let arrivals: Vec<String> = arrivals.try_iter().collect();
        for (id, status) in &answered {
            let count = arrivals.iter().filter(|arrival| *arrival == id).count();
            assert!(count <= 1, "{id} arrived {count} times");
            assert_eq!(
                count == 1,
                *status == 204,
                "{id}: {status}\n{}",
                gateway.log()
            );
        }
        answered.iter().filter(|(_, status)| *status == 502).count()
    };
    let lost = futures_util::future::join_all((0..GATEWAYS).map(deliver)).await;
    println!(
        "{} of {} lost",
        lost.iter().sum::<usize>(),
        GATEWAYS * DELIVERIES
    );
}
