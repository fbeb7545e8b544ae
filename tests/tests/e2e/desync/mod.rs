//! Requests that two parsers may read in two ways, against real origins. Behind the gateway, each
//! origin takes signed deliveries only out of its connections. A pipe in place of the gateway is the
//! control: its origins see requests without a valid signature.
//!
//! `make test` sends every eighth request to the origins of `make proxies`. `make desync` sends all
//! of them to all origins. [`answers`] has hostile upstreams, and [`frames`] has HTTP/2.

mod answers;
mod checker;
mod corpus;
mod frames;
mod origins;
mod sender;
mod trial;
mod verdict;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hookgate_tests::Gateway;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::checker::{Verdict, check};
use self::corpus::{Case, corpus};
use self::origins::{ALL, FEW, Kind, Origin};

/// The variable that asks for all requests and all origins.
const SCOPE: &str = "HOOKGATE_DESYNC";
/// The number of connections at once.
const CONNECTIONS: usize = 32;
/// The longest time of one connection. A server may wait for the rest of an incomplete request.
const PATIENCE: Duration = Duration::from_secs(10);
/// The time for the first byte of a response. A server sends none to an incomplete request.
const FIRST_BYTE: Duration = Duration::from_secs(2);
/// The time for the requests behind the first one.
const PIPELINED: Duration = Duration::from_millis(300);

#[tokio::test(flavor = "multi_thread")]
async fn origins_behind_the_gateway_receive_signed_deliveries_only() {
    let is_full = std::env::var_os(SCOPE).is_some_and(|scope| scope == "full");
    let (kinds, step) = if is_full { (ALL, 1) } else { (FEW, 8) };
    for kind in kinds {
        let cases: Vec<Case> = corpus().into_iter().step_by(step).collect();
        let count = cases.len();
        let (through_gateway, leaked) = behind_the_gateway(*kind, cases).await;
        println!(
            "{kind:?}: {count} requests, {} deliveries",
            through_gateway.genuine
        );
        assert_eq!(through_gateway.flagged, [""; 0], "{kind:?}");
        assert_eq!(leaked, [""; 0], "{kind:?}");
        // The control: some of the requests are genuine deliveries.
        assert!(
            through_gateway.genuine >= 4,
            "{kind:?}: {through_gateway:?}"
        );

        let cases = corpus().into_iter().step_by(step).collect();
        let through_pipe = behind_a_pipe(*kind, cases).await;
        println!(
            "{kind:?} behind a pipe: {} flagged",
            through_pipe.flagged.len()
        );
        assert!(
            !through_pipe.flagged.is_empty(),
            "{kind:?}: the control shows nothing"
        );
    }
}

#[test]
fn the_corpus_has_500_different_requests_of_each_class() {
    let cases = corpus();
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut names = HashSet::new();
    for case in &cases {
        *classes.entry(case.class).or_default() += 1;
        assert!(
            names.insert((case.class, &case.name)),
            "{} {}",
            case.class,
            case.name
        );
    }
    assert!(cases.len() >= 500, "{}", cases.len());
    assert!(classes.len() >= 15, "{classes:?}");
}

/// Sends the requests to a gateway in front of an origin. Returns the verdict about the
/// origin's requests, and those of their fields that the gateway must not forward.
async fn behind_the_gateway(kind: Kind, cases: Vec<Case>) -> (Verdict, Vec<String>) {
    let origin = Origin::start(kind).await;
    let gateway = Gateway::builder(origin.address)
        .table("[limits]\nhead_timeout = \"3s\"")
        .start();
    send_all(gateway.address(), cases).await;
    origin.settle().await;
    let received = origin.received();
    // A proxy in front of the recorder adds fields of its own.
    let direct = received.iter().filter(|_| kind == Kind::Hyper);
    let fields = direct.flat_map(|request| &request.fields);
    let leaked = fields.filter(|(name, value)| is_forbidden(name, value));
    let leaked = leaked
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    (check(&received), leaked)
}

/// Returns whether the gateway must not forward this field.
fn is_forbidden(name: &str, value: &str) -> bool {
    match name.replace('_', "-").as_str() {
        "hookgate-verified" => value != "true",
        "transfer-encoding" | "upgrade" | "te" | "expect" | "trailer" => true,
        name => name.starts_with("x-beatapi-") && value == "00",
    }
}

/// Sends the requests through a pipe, which understands none of them.
async fn behind_a_pipe(kind: Kind, cases: Vec<Case>) -> Verdict {
    let origin = Origin::start(kind).await;
    send_all(pipe_to(origin.address).await, cases).await;
    origin.settle().await;
    check(&origin.received())
}

/// Returns the address of a pipe to `address`, with a connection for each connection.
async fn pipe_to(address: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port is free");
    let pipe = listener.local_addr().expect("the listener is bound");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(address).await {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    pipe
}

/// Sends each request on a connection of its own, and reads until the server closes it.
async fn send_all(address: SocketAddr, cases: Vec<Case>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    for case in cases {
        let permit = Arc::clone(&permits)
            .acquire_owned()
            .await
            .expect("it is never closed");
        connections.spawn(async move {
            let _: Result<(), _> = timeout(PATIENCE, send(address, &case.bytes)).await;
            drop(permit);
        });
    }
    connections.join_all().await;
}

/// The server may close the connection before it has read everything.
async fn send(address: SocketAddr, request: &[u8]) {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    let _ = stream.write_all(request).await;
    // Some servers stop working for a client that has closed its side.
    let mut response = vec![0; 1024];
    let _: Result<_, _> = timeout(FIRST_BYTE, stream.read(&mut response)).await;
    sleep(PIPELINED).await;
    let _ = stream.shutdown().await;
    let _ = stream.read_to_end(&mut response).await;
}
