//! Deliveries in flight during a reload. The keys of the new configuration decide whether they
//! are forwarded.

use std::sync::Arc;
use std::time::Duration;

use hookgate_tests::{Behaviour, Gateway, TestProvider, Upstream, now, send};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{NEW, OLD, folder, gateway, new, old, status, write};

/// A delivery of which half of the body is under way, and the other half.
async fn half_a_delivery(
    gateway: &Gateway,
    provider: &TestProvider,
    id: &str,
) -> (TcpStream, Vec<u8>) {
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
    // Only a head that is good is told to go on.
    let leave = b"HTTP/1.1 100 Continue\r\n\r\n";
    let mut told = [0; 25];
    stream
        .read_exact(&mut told)
        .await
        .expect("the server responds");
    assert_eq!(&told, leave);
    stream.write_all(first).await.expect("the server reads");
    (stream, rest.to_vec())
}

async fn the_rest(half: (TcpStream, Vec<u8>)) -> String {
    let (mut stream, rest) = half;
    stream.write_all(&rest).await.expect("the server reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the server responds");
    answer
}

#[tokio::test]
async fn a_delivery_whose_body_is_under_way_is_checked_by_the_keys_of_when_it_is_whole() {
    // What the key file holds by then, and what becomes of a delivery signed with OLD.
    for (by_then, forwarded) in [(OLD, true), (NEW, false)] {
        let folder = folder();
        let file = folder.path().join("secret");
        write(&file, OLD);
        let upstream = Upstream::start().await;
        let gateway = gateway(&upstream, &format!("\"file:{}\"", file.display()));
        let half = half_a_delivery(&gateway, &old(), "evt_1").await;
        write(&file, by_then);
        assert!(gateway.reload().await);
        let answer = the_rest(half).await;
        if forwarded {
            assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        } else {
            // Told to come again, because a reload came between: its next try is
            // refused for good.
            assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
            assert_eq!(
                status(&gateway, &old(), "evt_1").await,
                StatusCode::UNAUTHORIZED
            );
        }
        assert_eq!(
            upstream.take_received().len(),
            usize::from(forwarded),
            "{by_then}"
        );
    }
}

#[tokio::test]
async fn a_delivery_under_way_whose_key_is_let_in_meanwhile_is_not_lost() {
    let folder = folder();
    let file = folder.path().join("secret");
    write(&file, OLD);
    let upstream = Upstream::start().await;
    let gateway = gateway(&upstream, &format!("\"file:{}\"", file.display()));
    let half = half_a_delivery(&gateway, &new(), "evt_1").await;
    write(&file, NEW);
    assert!(gateway.reload().await);
    let answer = the_rest(half).await;
    // It was begun with the keys of before. 401 might be the end of it.
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.to_lowercase().contains("retry-after"), "{answer}");
    assert_eq!(
        status(&gateway, &new(), "evt_1").await,
        StatusCode::NO_CONTENT
    );
}

#[tokio::test]
async fn a_delivery_that_waits_for_another_is_checked_once_more_before_it_is_forwarded() {
    let folder = folder();
    let file = folder.path().join("secret");
    write(&file, OLD);
    let upstream = Upstream::start().await;
    let gateway = Arc::new(gateway(&upstream, &format!("\"file:{}\"", file.display())));
    let deliver = || {
        let (gateway, old) = (Arc::clone(&gateway), old());
        tokio::spawn(async move { send(gateway.address(), old.delivery("evt_1")).await.status })
    };
    let moment = Duration::from_secs(2);
    upstream.queue_behaviour(Behaviour::DelayedStatus(
        moment,
        StatusCode::INTERNAL_SERVER_ERROR,
    ));
    let first = deliver();
    while upstream.take_received().is_empty() {
        tokio::task::yield_now().await;
    }
    let second = deliver();
    // It is behind the first one once its key has matched.
    while !metric_is(&gateway, "hookgate_key_matches_total", 2).await {}
    write(&file, NEW);
    assert!(gateway.reload().await);
    // The first was forwarded before, and fails; the second would take its place.
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

async fn metric_is(gateway: &Gateway, name: &str, value: u64) -> bool {
    let metrics = gateway.get_admin("/metrics").await;
    metrics
        .lines()
        .filter(|line| line.starts_with(name))
        .any(|line| line.ends_with(&format!(" {value}")))
}
