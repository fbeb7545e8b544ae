//! Deliveries in flight during a reload. The keys of the new configuration decide whether they
//! are forwarded.

use std::sync::Arc;

use hookgate_tests::{Gateway, TestProvider, Upstream, now, send};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{NEW, OLD, folder, gateway, new, old, status, write};

/// Sends a delivery except for the second half of its body. Returns the connection and that half.
async fn send_half(gateway: &Gateway, provider: &TestProvider, id: &str) -> (TcpStream, Vec<u8>) {
    let body = provider.body(id);
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: hooks.example\r\nconnection: close\r\n\
         expect: 100-continue\r\ncontent-length: {}\r\n",
        provider.path(),
        body.len()
    );
    for (name, value) in &provider.sign(&body, now(), id) {
        head.push_str(&format!(
            "{name}: {}\r\n",
            value.to_str().expect("the bytes are UTF-8")
        ));
    }
    head.push_str("\r\n");
    let (first, rest) = body.split_at(body.len() / 2);
    let mut stream = TcpStream::connect(gateway.address())
        .await
        .expect("the server listens");
    stream
        .write_all(head.as_bytes())
        .await
        .expect("the server reads");
    // The gateway sends 100 Continue after the head check has passed.
    let continue_response = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut interim = [0; 25];
    stream
        .read_exact(&mut interim)
        .await
        .expect("the server responds");
    assert_eq!(&interim, continue_response);
    stream.write_all(first).await.expect("the server reads");
    (stream, rest.to_vec())
}

/// Sends the second half of the body. Returns the response.
async fn send_rest(half: (TcpStream, Vec<u8>)) -> String {
    let (mut stream, rest) = half;
    stream.write_all(&rest).await.expect("the server reads");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("the server responds");
    response
}

#[tokio::test]
async fn a_delivery_whose_key_is_removed_during_its_body_is_not_forwarded() {
    // The key at the end of the body, and whether a delivery signed with OLD is forwarded.
    for (key_at_end, forwarded) in [(OLD, true), (NEW, false)] {
        let folder = folder();
        let file = folder.path().join("secret");
        write(&file, OLD);
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, &format!("\"file:{}\"", file.display()));
        let half = send_half(&gateway, &old(), "evt_1").await;
        write(&file, key_at_end);
        assert!(gateway.reload().await);
        let response = send_rest(half).await;
        if forwarded {
            assert!(response.starts_with("HTTP/1.1 204"), "{response}");
        } else {
            // A reload came between, so the sender must retry. The retry is refused with 401.
            assert!(response.starts_with("HTTP/1.1 503"), "{response}");
            assert_eq!(
                status(&gateway, &old(), "evt_1").await,
                StatusCode::UNAUTHORIZED
            );
        }
        assert_eq!(
            upstream.take_received().len(),
            usize::from(forwarded),
            "{key_at_end}"
        );
    }
}

#[tokio::test]
async fn a_delivery_whose_key_is_added_during_its_body_is_not_lost() {
    let folder = folder();
    let file = folder.path().join("secret");
    write(&file, OLD);
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, &format!("\"file:{}\"", file.display()));
    let half = send_half(&gateway, &new(), "evt_1").await;
    write(&file, NEW);
    assert!(gateway.reload().await);
    let response = send_rest(half).await;
    // The head was checked with the old keys. After a 401 the provider might not retry.
    assert!(response.starts_with("HTTP/1.1 503"), "{response}");
    assert!(
        response.to_lowercase().contains("retry-after"),
        "{response}"
    );
    assert_eq!(
        status(&gateway, &new(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_waiting_duplicate_is_checked_again_before_it_is_forwarded() {
    let folder = folder();
    let file = folder.path().join("secret");
    write(&file, OLD);
    let upstream = Upstream::start().await;
    let gateway = Arc::new(gateway(&upstream, &format!("\"file:{}\"", file.display())));
    let deliver = || {
        let (gateway, old) = (Arc::clone(&gateway), old());
        tokio::spawn(async move { send(gateway.address(), old.delivery("evt_1")).await.status })
    };
    let held = upstream.hold_response(StatusCode::INTERNAL_SERVER_ERROR);
    let first = deliver();
    while upstream.take_received().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = deliver();
    // The second delivery waits for the claim once its key has matched.
    while !metric_is(&gateway, "hookgate_key_matches_total", 2).await {}
    write(&file, NEW);
    assert!(gateway.reload().await);
    held.release();
    // The first one was forwarded before the reload and fails, so the second one gets the claim.
    assert_eq!(
        first.await.expect("the task does not panic"),
        StatusCode::INTERNAL_SERVER_ERROR
    );
    assert_eq!(
        second.await.expect("the task does not panic"),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(upstream.take_received().len(), 0);
}

/// Returns whether a metric that starts with `name` has this value.
async fn metric_is(gateway: &Gateway, name: &str, value: u64) -> bool {
    let metrics = gateway.get_admin("/metrics").await;
    metrics
        .lines()
        .filter(|line| line.starts_with(name))
        .any(|line| line.ends_with(&format!(" {value}")))
}
