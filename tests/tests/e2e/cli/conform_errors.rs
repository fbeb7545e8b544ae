//! `hookgate conform` with a wrong URL, and with a receiver that is not there or that stops.

use std::net::SocketAddr;

use hookgate_tests::{Certificates, DeadUpstream, Upstream};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use super::conform::conform;
use super::{hookgate, json, text};
use crate::upstreams::read_request;

const KEY: &str = "a-key-of-the-tests-0123456789abcdef";

const ACCEPTED: &[u8] = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
const REFUSED: &[u8] =
    b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Starts a receiver that sends each of `responses`. It reads one more request, and ends.
async fn receiver_that_dies_after(responses: &'static [&'static [u8]]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port is free");
    let address = listener.local_addr().expect("the listener is bound");
    tokio::spawn(async move {
        for response in responses {
            let mut stream = accept(&listener).await;
            stream.write_all(response).await.expect("the server writes");
        }
        let unanswered = accept(&listener).await;
        // The client sends its next request when this connection ends.
        drop(listener);
        drop(unanswered);
    });
    address
}

/// Accepts a connection, and reads its request.
async fn accept(listener: &TcpListener) -> TcpStream {
    let (mut stream, _) = listener.accept().await.expect("the server listens");
    assert!(read_request(&mut stream).await, "the request is complete");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_names_the_row_in_which_a_receiver_dies() {
    let rows = [
        "--only",
        "good",
        "--only",
        "body-changed",
        "--only",
        "replay",
    ];
    // The first request finds out whether there is a receiver.
    for (responses, options, expected) in [
        (
            &[REFUSED, ACCEPTED][..],
            &rows[..],
            "the receiver does not respond from the row body-changed on",
        ),
        (
            &[REFUSED],
            &rows[..2],
            "1 row: 0 pass, 1 fail, 0 unseen, 0 not applicable",
        ),
    ] {
        let address = receiver_that_dies_after(responses).await;
        let to = format!("http://{address}/hooks");
        let start = [
            "conform",
            "--provider",
            "stripe",
            "--secret",
            "env:SECRET",
            "--to",
            &to,
        ];
        let output = hookgate(&[&start[..], options].concat(), KEY, b"");
        let printed = text(&output);
        assert_eq!(output.status.code(), Some(1), "{printed}");
        let closed =
            format!("no complete response from {address}: the server closed the connection;");
        for expected in [expected, &closed] {
            assert!(printed.contains(expected), "{expected}: {printed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_receiver_is_an_error() {
    let dead = DeadUpstream::new();
    let to = format!("http://{}/hooks", dead.address());
    let upstream = Upstream::start().await;
    let tls = format!("https://{}/hooks", upstream.address());
    let certificates = Certificates::new();
    let ca = certificates.path("ca.pem").display().to_string();
    for (to, options, status, expected) in [
        (&*to, &[][..], 1, ": is the receiver running?"),
        (
            &to,
            &["--runs", "http://127.0.0.1/runs"],
            1,
            "expected a URL that contains {id}",
        ),
        (&to, &["--only", "god"], 2, "invalid value 'god'"),
        (
            "127.0.0.1:3000/hooks",
            &[],
            2,
            "expected a URL that starts with http:// or https://",
        ),
        (
            "/hooks",
            &[],
            2,
            "expected a URL that starts with http:// or https://",
        ),
        (
            "http://127.0.0.1:99999/hooks",
            &[],
            1,
            "--to: expected a URL whose port is at most 65535",
        ),
        (
            &tls,
            &["--ca", &ca],
            1,
            "does the receiver expect http:// in place of https://?",
        ),
    ] {
        let output = conform("stripe", KEY, to, options);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{to}: {}",
            text(&output)
        );
        let message = json(&output)["error"].to_string();
        assert!(message.contains(expected), "{to}: {message}");
    }
}
